/* shareable.c — see shareable.h. */
#include "binding/shareable.h"

bool
sipy_is_shareable(const sipy_state *state, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    return obj == Py_None || type == &PyBool_Type || type == &PyLong_Type ||
           type == &PyFloat_Type || type == &PyUnicode_Type || type == &PyBytes_Type ||
           type == &PyTuple_Type || type == &PyMemoryView_Type ||
           (PyObject *)type == state->Queue;
}

/* Raises NotShareableError for obj, caused by the exception that is set, if any. */
static int
refuse(const sipy_state *state, PyObject *obj)
{
    PyObject *cause = PyErr_GetRaisedException();
    PyErr_Format(state->NotShareableError, "%R does not support cross-interpreter data",
                 obj);
    if (cause != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetCause(error, cause); /* takes the reference */
        PyErr_SetRaisedException(error);
    }
    return -1;
}

static int
check_items(const sipy_state *state, PyObject *tuple)
{
    if (Py_EnterRecursiveCall(" while checking what can be shared")) {
        return -1;
    }
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(tuple); i++) {
        result = sipy_check_shareable(state, PyTuple_GET_ITEM(tuple, i));
    }
    Py_LeaveRecursiveCall();
    return result;
}

int
sipy_check_shareable(const sipy_state *state, PyObject *obj)
{
    if (!sipy_is_shareable(state, obj)) {
        return refuse(state, obj);
    }
    if (PyTuple_CheckExact(obj)) {
        return check_items(state, obj);
    }
    int overflow = 0;
    if (PyLong_CheckExact(obj)) {
        (void)PyLong_AsLongLongAndOverflow(obj, &overflow);
    }
    if (overflow != 0) {
        PyErr_SetString(PyExc_OverflowError, "try sending as bytes");
        return refuse(state, obj);
    }
    return 0;
}
