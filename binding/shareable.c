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

/* Where the item that is looked at sits: in which tuples, from the inside out. */
typedef struct place {
    const struct place *outer; /* NULL: in the value itself */
    Py_ssize_t index;
} place;

/* "name[1][0]" */
static PyObject *
describe(PyObject *name, const place *at)
{
    if (at == NULL) {
        return PyUnicode_FromObject(name);
    }
    PyObject *outer = describe(name, at->outer);
    PyObject *text = NULL;
    if (outer != NULL) {
        text = PyUnicode_FromFormat("%U[%zd]", outer, at->index);
        Py_DECREF(outer);
    }
    return text;
}

/* Raises NotShareableError for obj, caused by the exception that is set, if any. */
static int
refuse(const sipy_state *state, PyObject *obj, PyObject *name, const place *at)
{
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *where = describe(name, at);
    if (where != NULL) {
        PyErr_Format(state->NotShareableError,
                     "%R does not support cross-interpreter data (at %U)", obj, where);
        Py_DECREF(where);
    }
    if (cause != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetCause(error, cause); /* takes the reference */
        PyErr_SetRaisedException(error);
    }
    return -1;
}

static int
check(const sipy_state *state, PyObject *obj, PyObject *name, const place *at);

static int
check_items(const sipy_state *state, PyObject *tuple, PyObject *name, const place *at)
{
    if (Py_EnterRecursiveCall(" while checking what can be shared")) {
        return -1;
    }
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(tuple); i++) {
        const place item = {.outer = at, .index = i};
        result = check(state, PyTuple_GET_ITEM(tuple, i), name, &item);
    }
    Py_LeaveRecursiveCall();
    return result;
}

static int
check(const sipy_state *state, PyObject *obj, PyObject *name, const place *at)
{
    if (!sipy_is_shareable(state, obj)) {
        return refuse(state, obj, name, at);
    }
    if (PyTuple_CheckExact(obj)) {
        return check_items(state, obj, name, at);
    }
    int overflow = 0;
    if (PyLong_CheckExact(obj)) {
        (void)PyLong_AsLongLongAndOverflow(obj, &overflow);
    }
    if (overflow != 0) {
        PyErr_SetString(PyExc_OverflowError, "try sending as bytes");
        return refuse(state, obj, name, at);
    }
    return 0;
}

int
sipy_check_shareable(const sipy_state *state, PyObject *obj, PyObject *name)
{
    return check(state, obj, name, NULL);
}
