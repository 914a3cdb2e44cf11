/* known.h — one Python object per id in each interpreter.
 *
 * A dict from id to a weak reference, so that Interpreter(3) is Interpreter(3). Belongs
 * to one interpreter; attached to it.
 */
#ifndef SIPY_KNOWN_H
#define SIPY_KNOWN_H

#include "binding/compat/compat.h"

/* The live object for id (new reference), or NULL; an exception only on failure. */
PyObject *
sipy_known_get(PyObject *known, int64_t id);

/* Remembers obj under id. -> 0 | -1 with an exception */
int
sipy_known_put(PyObject *known, int64_t id, PyObject *obj);

/* Forgets id if its object is gone. Never fails; keeps the exception that is set. */
void
sipy_known_forget(PyObject *known, int64_t id);

/* A Python int from an argument that must be a non-negative id. Bools pass as ints.
 * -> id, or -1 with TypeError, ValueError or OverflowError set. what: "interpreter ID" */
int64_t
sipy_id_from_object(PyObject *arg, const char *what);

#endif /* SIPY_KNOWN_H */
