/* namespaces.c — where the globals of functions that crossed live.
 *
 * One namespace per namespace of each sending interpreter. What a function needs is bound
 * in it when the function arrives; a name that the sender has not rebound since is left
 * alone, so that what functions do to their globals here persists.
 *
 * That of a module is known by the module's name, and its number is 0. Any other (of exec,
 * of a module that sys.modules has no more) has a number. It is known, on both sides, as
 * long as a function of it is: nothing can refer to a dict weakly.
 */
#include "binding/transfer/functions.h"

/* Bindings remembered at the sender; beyond it they are forgotten and sent anew. */
#define BINDINGS_MAX 20000

/* ---- writing ---- */

/* Whether a module of that name in sys.modules has these globals. -> 1 | 0 | -1 */
static int
is_of_module(PyObject *globals, PyObject *name)
{
    PyObject *module = PyImport_GetModule(name);
    if (module == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int same = PyModule_Check(module) && PyModule_GetDict(module) == globals;
    Py_DECREF(module);
    return same;
}

/* The number under which globals are known: by what is described right now, by a function
 * that was described here, as a namespace of functions that came here; or a new one. */
static uint64_t
number_of(sipy_encoder *e, PyObject *globals)
{
    sipy_functions *fs = e->t->functions;
    for (const building *b = e->building; b != NULL; b = b->outer) {
        if (b->globals == globals && b->space != 0) {
            return b->space;
        }
    }
    for (size_t i = 0; i < RECORD_BUCKETS; i++) {
        for (record *r = fs->by_id[i]; r != NULL; r = r->next_by_id) {
            if (r->globals == globals && r->space != 0 &&
                sipy__refers_to(r->weak, r->obj)) {
                return r->space;
            }
        }
    }
    PyObject *key, *known;
    Py_ssize_t pos = 0;
    while (PyDict_Next(fs->namespaces, &pos, &key, &known)) {
        if (PyTuple_GET_ITEM(known, 0) == globals) {
            return PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(known, 2));
        }
    }
    return sipy__new_id();
}

PyObject *
sipy__space_of(sipy_encoder *e, building *b)
{
    PyFunctionObject *func = (PyFunctionObject *)b->obj;
    PyObject *name = PyDict_GetItemWithError(func->func_globals, e->t->n___name__);
    if (PyErr_Occurred()) {
        return NULL;
    }
    int module = 0;
    if (name != NULL && PyUnicode_CheckExact(name)) {
        module = is_of_module(func->func_globals, name);
    }
    else {
        bool told = func->func_module != NULL && PyUnicode_CheckExact(func->func_module);
        name = told ? func->func_module : e->t->n___main__;
    }
    if (module < 0) {
        return NULL;
    }
    b->globals = func->func_globals;
    b->space = module ? 0 : number_of(e, func->func_globals);
    return Py_BuildValue("OK", name, (unsigned long long)b->space);
}

PyObject *
sipy__binding(sipy_encoder *e, PyObject *space, PyObject *name, PyObject *value)
{
    sipy_functions *fs = e->t->functions;
    PyObject *key = PyTuple_Pack(2, space, name);
    if (key == NULL) {
        return NULL;
    }
    bool gone = value == NULL;
    value = gone ? e->t->unset : value;
    /* A function that has changed is another one at the receiver. */
    PyObject *described = PyLong_FromUnsignedLongLong(sipy__described_id(e, value));
    PyObject *last = described == NULL ? NULL : PyDict_GetItemWithError(fs->bindings, key);
    PyObject *id = NULL;
    if (last != NULL && PyTuple_GET_ITEM(last, 0) == value &&
        PyObject_RichCompareBool(PyTuple_GET_ITEM(last, 2), described, Py_EQ) == 1) {
        id = Py_NewRef(PyTuple_GET_ITEM(last, 1));
    }
    else if (!PyErr_Occurred() && last == NULL && gone) {
        id = Py_NewRef(Py_None);
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

/* ---- reading ---- */

static PyObject *
new_space(sipy_transfer *t, PyObject *name)
{
    PyObject *space = PyDict_New();
    if (space != NULL &&
        (PyDict_SetItem(space, t->n___name__, name) < 0 ||
         PyDict_SetItem(space, t->n___builtins__, PyEval_GetBuiltins()) < 0)) {
        Py_CLEAR(space);
    }
    return space;
}

/* That with this number, which a function that came here before has; or a new one. */
static int
numbered(sipy_transfer *t, PyObject *name, uint64_t number, PyObject **ns,
         PyObject **applied)
{
    sipy_functions *fs = t->functions;
    for (size_t i = 0; i < RECORD_BUCKETS; i++) {
        for (record *r = fs->by_id[i]; r != NULL; r = r->next_by_id) {
            if (r->space == number && r->applied != NULL &&
                (r->weak == NULL || sipy__refers_to(r->weak, r->obj))) {
                *ns = Py_NewRef(PyFunction_GET_GLOBALS(r->obj));
                *applied = Py_NewRef(r->applied);
                return 0;
            }
        }
    }
    *ns = new_space(t, name);
    *applied = *ns == NULL ? NULL : PyDict_New();
    if (*applied == NULL) {
        Py_CLEAR(*ns);
        return -1;
    }
    return 0;
}

int
sipy__namespace(sipy_transfer *t, PyObject *interp_id, PyObject *name, uint64_t number,
                PyObject **ns, PyObject **applied)
{
    sipy_functions *fs = sipy__functions(t);
    if (fs != NULL && number != 0) {
        return numbered(t, name, number, ns, applied);
    }
    PyObject *key = fs == NULL ? NULL : PyTuple_Pack(2, interp_id, name);
    if (key == NULL) {
        return -1;
    }
    PyObject *known = Py_XNewRef(PyDict_GetItemWithError(fs->namespaces, key));
    if (known == NULL && !PyErr_Occurred()) {
        PyObject *space = new_space(t, name);
        PyObject *bound = space == NULL ? NULL : PyDict_New();
        known = bound == NULL ? NULL
                              : Py_BuildValue("OOK", space, bound,
                                              (unsigned long long)sipy__new_id());
        if (known != NULL && PyDict_SetItem(fs->namespaces, key, known) < 0) {
            Py_CLEAR(known);
        }
        Py_XDECREF(space);
        Py_XDECREF(bound);
    }
    Py_DECREF(key);
    if (known == NULL) {
        return -1;
    }
    *ns = Py_NewRef(PyTuple_GET_ITEM(known, 0));
    *applied = Py_NewRef(PyTuple_GET_ITEM(known, 1));
    Py_DECREF(known);
    return 0;
}
