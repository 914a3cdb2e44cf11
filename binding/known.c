/* known.c — see known.h. */
#include "binding/known.h"

PyObject *
sipy_known_get(PyObject *known, int64_t id)
{
    PyObject *key = PyLong_FromLongLong(id);
    if (key == NULL) {
        return NULL;
    }
    PyObject *ref = PyDict_GetItemWithError(known, key);
    PyObject *obj = ref == NULL ? NULL : sipy_compat_weakref_get(ref);
    Py_DECREF(key);
    return obj;
}

int
sipy_known_put(PyObject *known, int64_t id, PyObject *obj)
{
    PyObject *key = PyLong_FromLongLong(id);
    PyObject *ref = key == NULL ? NULL : PyWeakref_NewRef(obj, NULL);
    int result = ref == NULL ? -1 : PyDict_SetItem(known, key, ref);
    Py_XDECREF(ref);
    Py_XDECREF(key);
    return result;
}

void
sipy_known_forget(PyObject *known, int64_t id)
{
    if (known == NULL) {
        return; /* the module was cleared before its last objects */
    }
    PyObject *saved = PyErr_GetRaisedException();
    PyObject *live = sipy_known_get(known, id);
    if (live == NULL && !PyErr_Occurred()) {
        PyObject *key = PyLong_FromLongLong(id);
        if (key != NULL) {
            (void)PyDict_DelItem(known, key);
            Py_DECREF(key);
        }
    }
    Py_XDECREF(live);
    PyErr_SetRaisedException(saved);
}

int64_t
sipy_id_from_object(PyObject *arg, const char *what)
{
    if (!PyLong_Check(arg)) {
        PyErr_Format(PyExc_TypeError, "id must be an int, got %R", arg);
        return -1;
    }
    int overflow = 0;
    long long id = PyLong_AsLongLongAndOverflow(arg, &overflow);
    if (id == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow != 0) {
        PyErr_Format(PyExc_OverflowError, "%s too large: %R", what, arg);
        return -1;
    }
    if (id < 0) {
        PyErr_Format(PyExc_ValueError, "%s must be a non-negative int, got %R", what, arg);
        return -1;
    }
    return id;
}
