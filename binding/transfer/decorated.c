/* decorated.c — what functools makes of functions: cached ones, and generic ones.
 *
 * Those that can be imported cross by name, as any function. A cached one of a function
 * crosses as type variables do (type_params.c): an id, and a description that makes it,
 * with an empty cache. One of anything else (a bound method) is made anew each time, in
 * the image itself, as what it caches may lead back to it.
 * A generic one (singledispatch) has the description: name, qualified name, module, doc |
 * other attributes | class and implementation, in turn. The receiver makes it from the
 * first part and makes it known by its id, so that its implementations may refer to it.
 */
#include "binding/transfer/functions.h"
#include "binding/transfer/scalars.h"

/* A copy of the attributes of obj without those named, which it gets by being made. */
static PyObject *
attributes_without(PyObject *obj, const char *const *made_anew)
{
    PyObject *own = PyObject_GenericGetDict(obj, NULL);
    PyObject *all = own == NULL ? NULL : PyDict_Copy(own);
    for (int i = 0; all != NULL && made_anew[i] != NULL; i++) {
        PyObject *name = PyUnicode_InternFromString(made_anew[i]);
        int there = name == NULL ? -1 : PyDict_Contains(all, name);
        if (there < 0 || (there > 0 && PyDict_DelItem(all, name) < 0)) {
            Py_CLEAR(all);
        }
        Py_XDECREF(name);
    }
    Py_XDECREF(own);
    return all;
}

/* ---- lru_cache ---- */

static const char *const cached_anew[] = {"cache_parameters", "__annotations__",
                                          "__annotate__", NULL};

/* lru_cache(maxsize, typed)(wrapped) as one call of something that can be imported:
 * reduce(call, (maxsize, wrapped), partial(lru_cache, typed=typed)). */
static PyObject *
cached_call(PyObject *obj)
{
    PyObject *got[5] = {
        sipy__from_module("operator", "call"),
        sipy__from_module("functools", "partial"),
        sipy__from_module("functools", "lru_cache"),
        sipy_compat_method(obj, "cache_parameters", NULL),
        sipy_compat_attr(obj, "__wrapped__"),
    };
    PyObject *args = NULL, *first = NULL, *kwargs = NULL;
    bool all = true;
    for (int i = 0; i < 5; i++) {
        all = all && got[i] != NULL;
    }
    if (all && !PyDict_Check(got[3])) {
        PyErr_SetString(PyExc_TypeError, "its cache_parameters() are no dict");
        all = false;
    }
    PyObject *maxsize = all ? sipy__dict_item(got[3], "maxsize") : NULL;
    PyObject *typed = all ? sipy__dict_item(got[3], "typed") : NULL;
    if (maxsize != NULL && typed != NULL) {
        kwargs = Py_BuildValue("{sO}", "typed", typed);
        args = PyTuple_Pack(1, got[2]);
        first = kwargs == NULL || args == NULL ? NULL : PyObject_Call(got[1], args, kwargs);
        Py_XDECREF(args);
        Py_XDECREF(kwargs);
        args = first == NULL ? NULL
                             : Py_BuildValue("(O(OO)O)", got[0], maxsize, got[4], first);
        Py_XDECREF(first);
    }
    else if (all && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "its cache_parameters() are not complete");
    }
    for (int i = 0; i < 5; i++) {
        Py_XDECREF(got[i]);
    }
    return args;
}

static PyObject *
cached_parts(sipy_transfer *t, PyObject *obj, deps *list)
{
    (void)t;
    PyObject *own = PyObject_GenericGetDict(obj, NULL);
    PyObject *reduce = sipy__from_module("functools", "reduce");
    PyObject *args = reduce == NULL ? NULL : cached_call(obj);
    PyObject *attributes = args == NULL ? NULL : attributes_without(obj, cached_anew);
    PyObject *all = NULL;
    if (attributes != NULL && own != NULL && sipy__deps_add_items(list, obj, own) == 0) {
        all = Py_BuildValue("(OO{}O)", reduce, args, attributes);
    }
    Py_XDECREF(own);
    Py_XDECREF(reduce);
    Py_XDECREF(args);
    Py_XDECREF(attributes);
    return all;
}

/* In the image itself. */
static int
write_inline(sipy_encoder *e, PyObject *obj, bool memo)
{
    PyObject *reduce = sipy__from_module("functools", "reduce");
    PyObject *args = reduce == NULL ? NULL : cached_call(obj);
    PyObject *attributes = args == NULL ? NULL : attributes_without(obj, cached_anew);
    PyObject *reduced =
        attributes == NULL ? NULL : PyTuple_Pack(3, reduce, args, attributes);
    int failed = reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0;
    Py_XDECREF(reduce);
    Py_XDECREF(args);
    Py_XDECREF(attributes);
    Py_XDECREF(reduced);
    return failed ? -1 : 1;
}

int
sipy__enc_cached(sipy_encoder *e, PyObject *obj, bool memo)
{
    if (strcmp(Py_TYPE(obj)->tp_name, "functools._lru_cache_wrapper") != 0) {
        return 0;
    }
    PyObject *wrapped;
    if (sipy_compat_get_optional(obj, e->t->n___wrapped__, &wrapped) < 0) {
        return -1;
    }
    if (wrapped == NULL) {
        return 0;
    }
    bool function = PyFunction_Check(wrapped);
    Py_DECREF(wrapped);
    e->calling = false;
    return function ? sipy__enc_made(e, obj, TAG_CACHED, cached_parts)
                    : write_inline(e, obj, memo);
}

/* ---- singledispatch ---- */

static bool
is_str(PyObject *obj, const char *text)
{
    return obj != NULL && PyUnicode_Check(obj) &&
           PyUnicode_CompareWithASCIIString(obj, text) == 0;
}

PyObject *
sipy__registry_of(PyFunctionObject *func)
{
    PyCodeObject *code = (PyCodeObject *)func->func_code;
    if (!is_str(code->co_qualname, "singledispatch.<locals>.wrapper") ||
        !is_str(sipy__dict_item(func->func_globals, "__name__"), "functools") ||
        func->func_dict == NULL) {
        return NULL;
    }
    PyObject *give = sipy__dict_item(func->func_dict, "register");
    if (give == NULL || !PyFunction_Check(give) || PyFunction_GET_CLOSURE(give) == NULL) {
        return NULL;
    }
    PyObject *cells = PyFunction_GET_CLOSURE(give), *registry = NULL;
    PyObject *names = PyCode_GetFreevars((PyCodeObject *)PyFunction_GET_CODE(give));
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(cells); i++) {
        PyObject *value = PyCell_GET(PyTuple_GET_ITEM(cells, i));
        if (is_str(PyTuple_GET_ITEM(names, i), "registry") && value != NULL &&
            PyDict_CheckExact(value)) {
            registry = value;
        }
    }
    Py_XDECREF(names);
    return registry;
}

/* Class and implementation, in turn: a tuple. */
static PyObject *
flat_registry(PyObject *registry)
{
    PyObject *all = PyTuple_New(PyDict_GET_SIZE(registry) * 2);
    PyObject *cls, *impl;
    Py_ssize_t pos = 0, i = 0;
    while (all != NULL && PyDict_Next(registry, &pos, &cls, &impl)) {
        PyTuple_SET_ITEM(all, i++, Py_NewRef(cls));
        PyTuple_SET_ITEM(all, i++, Py_NewRef(impl));
    }
    return all;
}

int
sipy__write_dispatcher(sipy_encoder *e, PyFunctionObject *func, deps *list)
{
    static const char *const made_anew[] = {"register", "dispatch", "registry",
                                            "_clear_cache", NULL};
    PyObject *self = (PyObject *)func, *registry = sipy__registry_of(func);
    PyObject *module = func->func_module == NULL ? Py_None : func->func_module;
    PyObject *doc = func->func_doc == NULL ? Py_None : func->func_doc;
    if (sipy__deps_add_items(list, self, self) < 0 ||
        sipy__deps_add_items(list, self, registry) < 0) {
        return -1;
    }
    PyObject *head = PyTuple_Pack(4, func->func_name, func->func_qualname, module, doc);
    PyObject *pairs = head == NULL ? NULL : flat_registry(registry);
    PyObject *attributes = pairs == NULL ? NULL : attributes_without(self, made_anew);
    int failed = attributes == NULL || sipy__enc_described(e, head, "name", NULL) < 0 ||
                 sipy__enc_described(e, attributes, "attributes", NULL) < 0 ||
                 sipy__enc_described(e, pairs, "implementations", NULL) < 0;
    Py_XDECREF(head);
    Py_XDECREF(pairs);
    Py_XDECREF(attributes);
    return failed ? -1 : 0;
}

PyObject *
sipy__make_dispatcher(sipy_decoder *d)
{
    PyObject *head = sipy__decode_value(d), *base = NULL, *func = NULL;
    PyObject *name, *qualname, *module, *doc;
    PyObject *make = head == NULL ? NULL : sipy__from_module("functools", "singledispatch");
    if (make == NULL) {
        /* the exception is set */
    }
    else if (!PyTuple_CheckExact(head) || !PyFunction_Check(make)) {
        sipy__damaged(d);
    }
    else if (PyArg_ParseTuple(head, "UUOO", &name, &qualname, &module, &doc)) {
        /* The true base is among the implementations: this one lends its names only. */
        base = PyFunction_NewWithQualName(PyFunction_GET_CODE(make),
                                          PyFunction_GET_GLOBALS(make), qualname);
    }
    if (base != NULL) {
        PyFunctionObject *f = (PyFunctionObject *)base;
        Py_XSETREF(f->func_name, Py_NewRef(name));
        Py_XSETREF(f->func_module, Py_NewRef(module));
        Py_XSETREF(f->func_doc, Py_NewRef(doc));
        func = PyObject_CallOneArg(make, base);
    }
    if (func != NULL &&
        (!PyFunction_Check(func) || PyObject_DelAttr(func, d->t->n___wrapped__) < 0)) {
        Py_CLEAR(func);
    }
    Py_XDECREF(base);
    Py_XDECREF(make);
    Py_XDECREF(head);
    return func;
}

int
sipy__fill_dispatcher(sipy_decoder *d, PyObject *func)
{
    PyObject *attributes = sipy__decode_value(d);
    PyObject *pairs = attributes == NULL ? NULL : sipy__decode_value(d);
    PyObject *give = pairs == NULL ? NULL : sipy_compat_attr(func, "register");
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    int failed = give == NULL;
    if (!failed && (!PyDict_CheckExact(attributes) || !PyTuple_CheckExact(pairs))) {
        sipy__damaged(d);
        failed = 1;
    }
    while (!failed && PyDict_Next(attributes, &pos, &name, &value)) {
        failed = PyObject_SetAttr(func, name, value) < 0;
    }
    for (Py_ssize_t i = 0; !failed && i + 1 < PyTuple_GET_SIZE(pairs); i += 2) {
        PyObject *done = PyObject_CallFunctionObjArgs(give, PyTuple_GET_ITEM(pairs, i),
                                                      PyTuple_GET_ITEM(pairs, i + 1), NULL);
        failed = done == NULL;
        Py_XDECREF(done);
    }
    Py_XDECREF(attributes);
    Py_XDECREF(pairs);
    Py_XDECREF(give);
    return failed ? -1 : 0;
}

/* A partialmethod by the call that makes it. CPython pickles it by its attributes, though
 * from 3.14 on it cannot be made without arguments. -> 1 | 0 obj is none | -1 */
static int
write_partial_method(sipy_encoder *e, PyObject *obj)
{
    if (strcmp(Py_TYPE(obj)->tp_name, "partialmethod") != 0) {
        return 0;
    }
    PyObject *type = sipy__from_module("functools", "partialmethod");
    PyObject *call = type == NULL ? NULL : sipy__from_module("functools", "partial");
    Py_XDECREF(type);
    if (call == NULL || type != (PyObject *)Py_TYPE(obj)) {
        Py_XDECREF(call);
        return type == NULL || PyErr_Occurred() ? -1 : 0;
    }
    bool memo;
    int result = sipy__enc_memo_late(e, obj, &memo);
    if (result == 0) {
        PyObject *got[3] = {sipy_compat_attr(obj, "func"), sipy_compat_attr(obj, "args"),
                            sipy_compat_attr(obj, "keywords")};
        sipy__enc_hold(e);
        PyObject *first = got[0] == NULL ? NULL : PyTuple_Pack(2, type, got[0]);
        PyObject *all = first == NULL || got[1] == NULL || got[2] == NULL
                            ? NULL
                            : PySequence_Concat(first, got[1]);
        PyObject *made = all == NULL ? NULL : PyObject_Call(call, all, got[2]);
        PyObject *reduced = made == NULL ? NULL : Py_BuildValue("O()", made);
        result = reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0
                     ? -1
                     : 1;
        Py_XDECREF(reduced);
        Py_XDECREF(made);
        Py_XDECREF(all);
        Py_XDECREF(first);
        for (int i = 0; i < 3; i++) {
            Py_XDECREF(got[i]);
        }
    }
    Py_DECREF(call);
    return result;
}

int
sipy__enc_dispatch_method(sipy_encoder *e, PyObject *obj)
{
    static const char *const made_anew[] = {"_method_cache", "_all_weakrefable_instances",
                                            NULL};
    if (strcmp(Py_TYPE(obj)->tp_name, "singledispatchmethod") != 0) {
        return write_partial_method(e, obj);
    }
    PyObject *type = sipy__from_module("functools", "singledispatchmethod");
    PyObject *func = NULL, *state = NULL, *reduced = NULL;
    bool memo = false;
    int result = type == NULL ? -1 : 0;
    if (type == (PyObject *)Py_TYPE(obj)) {
        result = sipy__enc_memo_late(e, obj, &memo);
        func = result == 0 ? sipy_compat_attr(obj, "func") : NULL;
        state = func == NULL ? NULL : attributes_without(obj, made_anew);
        reduced = state == NULL ? NULL : Py_BuildValue("O(O)O", type, func, state);
        if (result == 0) {
            sipy__enc_hold(e);
            result =
                reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0
                    ? -1
                    : 1;
        }
    }
    Py_XDECREF(type);
    Py_XDECREF(func);
    Py_XDECREF(state);
    Py_XDECREF(reduced);
    return result;
}
