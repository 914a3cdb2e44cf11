/* attributes.h — what Interpreter and Queue objects have beside their own fields: weak
 * references and, as the objects of CPython's own module, any attribute that a script sets.
 *
 * These belong to one object in one interpreter and do not cross with it. Attached to it.
 */
#ifndef SIPY_ATTRIBUTES_H
#define SIPY_ATTRIBUTES_H

#include "binding/compat/compat.h"

/* The first fields of such an object. */
#define SIPY_OBJECT_HEAD  \
    PyObject_HEAD         \
    PyObject *attributes; \
    PyObject *weakrefs;

/* For the slots and flags of its type, which is collected by the garbage collector. */
extern PyMemberDef sipy_attribute_members[];
#define SIPY_ATTRIBUTE_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC)
#define SIPY_ATTRIBUTE_GETSET \
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}

int
sipy_attributes_traverse(PyObject *self, visitproc visit, void *arg);

int
sipy_attributes_clear(PyObject *self);

/* The first step of its dealloc. Runs destructors. */
void
sipy_attributes_drop(PyObject *self);

#endif /* SIPY_ATTRIBUTES_H */
