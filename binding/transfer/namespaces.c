/* namespaces.c — where the globals of functions that crossed live.
 *
 * One namespace per module of each sending interpreter. What a function needs is bound
 * in it when the function arrives; a name that the sender has not rebound since is left
 * alone, so that what functions do to their globals here persists.
 */
#include "binding/transfer/functions.h"

/* Bindings remembered at the sender; beyond it they are forgotten and sent anew. */
#define BINDINGS_MAX 20000

int
sipy__namespace(sipy_transfer *t, PyObject *interp_id, PyObject *module, PyObject **ns,
                PyObject **applied)
{
    sipy_functions *fs = sipy__functions(t);
    PyObject *key = fs == NULL ? NULL : PyTuple_Pack(2, interp_id, module);
    if (key == NULL) {
        return -1;
    }
    PyObject *pair = PyDict_GetItemWithError(fs->namespaces, key);
    if (pair == NULL && !PyErr_Occurred()) {
        PyObject *space = PyDict_New();
        PyObject *bound = PyDict_New();
        if (space != NULL && bound != NULL &&
            PyDict_SetItem(space, t->n___name__, module) == 0 &&
            PyDict_SetItem(space, t->n___builtins__, PyEval_GetBuiltins()) == 0 &&
            (pair = PyTuple_Pack(2, space, bound)) != NULL) {
            int failed = PyDict_SetItem(fs->namespaces, key, pair);
            Py_DECREF(pair);
            pair = failed ? NULL : pair;
        }
        Py_XDECREF(space);
        Py_XDECREF(bound);
    }
    Py_DECREF(key);
    if (pair == NULL) {
        return -1;
    }
    *ns = PyTuple_GET_ITEM(pair, 0);
    *applied = PyTuple_GET_ITEM(pair, 1);
    return 0;
}

PyObject *
sipy__binding(sipy_encoder *e, PyObject *module, PyObject *name, PyObject *value)
{
    sipy_functions *fs = sipy__functions(e->t);
    PyObject *key = fs == NULL ? NULL : PyTuple_Pack(2, module, name);
    if (key == NULL) {
        return NULL;
    }
    /* A function that has changed is another one at the receiver. */
    PyObject *described = PyLong_FromUnsignedLongLong(sipy__described_id(e, value));
    PyObject *last = described == NULL ? NULL : PyDict_GetItemWithError(fs->bindings, key);
    PyObject *id = NULL;
    if (last != NULL && PyTuple_GET_ITEM(last, 0) == value &&
        PyObject_RichCompareBool(PyTuple_GET_ITEM(last, 2), described, Py_EQ) == 1) {
        id = Py_NewRef(PyTuple_GET_ITEM(last, 1));
    }
    else if (!PyErr_Occurred()) {
        if (PyDict_GET_SIZE(fs->bindings) >= BINDINGS_MAX) {
            PyDict_Clear(fs->bindings);
        }
        id = PyLong_FromUnsignedLongLong(sipy__new_id());
        PyObject *now = id == NULL ? NULL : PyTuple_Pack(3, value, id, described);
        if (now == NULL || PyDict_SetItem(fs->bindings, key, now) < 0) {
            Py_CLEAR(id);
        }
        Py_XDECREF(now);
    }
    Py_XDECREF(described);
    Py_DECREF(key);
    return id;
}
