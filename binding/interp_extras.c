/* interp_extras.c — see interp_extras.h. */
#include "binding/interp_extras.h"

#include "binding/state.h"

PyObject *
sipy_interpreter_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

PyObject *
sipy_interpreter_exit(PyObject *self, PyObject *Py_UNUSED(args))
{
    sipy_state *state = sipy_state_of_type(Py_TYPE(self));
    PyObject *closed = state == NULL ? NULL : PyObject_CallMethod(self, "close", NULL);
    if (closed == NULL && state != NULL &&
        PyErr_ExceptionMatches(state->InterpreterNotFoundError)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return closed;
}
