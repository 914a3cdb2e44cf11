/* interp_extras.h — methods of Interpreter past the documented ones. */
#ifndef SIPY_INTERP_EXTRAS_H
#define SIPY_INTERP_EXTRAS_H

#include "binding/compat/compat.h"

/* with create() as interp: closes it at the end, unless it is closed already. */
PyObject *
sipy_interpreter_enter(PyObject *self, PyObject *ignored);
PyObject *
sipy_interpreter_exit(PyObject *self, PyObject *args);

#endif /* SIPY_INTERP_EXTRAS_H */
