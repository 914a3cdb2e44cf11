/* attributes.c — see attributes.h. */
#include "binding/attributes.h"

#include <stddef.h>

typedef struct attributed {
    SIPY_OBJECT_HEAD
} attributed;

PyMemberDef sipy_attribute_members[] = {
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(attributed, attributes), Py_READONLY, NULL},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(attributed, weakrefs), Py_READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

int
sipy_attributes_traverse(PyObject *self, visitproc visit, void *arg)
{
    /* Not the type: the collector would clear it, and with it the state of the module that
     * dealloc needs, before the last object is gone. */
    Py_VISIT(((attributed *)self)->attributes);
    return 0;
}

int
sipy_attributes_clear(PyObject *self)
{
    Py_CLEAR(((attributed *)self)->attributes);
    return 0;
}

void
sipy_attributes_drop(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    if (((attributed *)self)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    (void)sipy_attributes_clear(self);
}
