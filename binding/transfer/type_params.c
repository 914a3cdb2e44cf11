/* type_params.c — type variables and their kin that cannot be found by their name, and
 * whatever else crosses as an id and a call that makes it.
 *
 * typing pickles them by name, which fails for those of a script, of a function, and of
 * `class G[T]`. Variables and NewType cross as classes by value do: an id, and a
 * description that is written once, so that a variable is one object at the receiver and
 * leads back to the original at home. The description is a tuple: class, arguments,
 * keywords, attributes. Descriptions of one variable may nest (its bound is a class that
 * names it); the innermost counts. An alias crosses by what it is made with.
 */
#include "binding/transfer/functions.h"

/* ---- writing ---- */

typedef enum param_kind {
    PARAM_NONE, /* something else */
    PARAM_TYPE_VARIABLE,
    PARAM_VARIABLE, /* ParamSpec, TypeVarTuple */
    PARAM_NEW_TYPE,
    PARAM_ALIAS,
} param_kind;

/* -> kind | -1 with an exception */
static int
kind_of(PyTypeObject *type)
{
    static const struct {
        const char *name;
        param_kind kind;
    } known[] = {{"typing.TypeVar", PARAM_TYPE_VARIABLE},
                 {"typing.ParamSpec", PARAM_VARIABLE},
                 {"typing.TypeVarTuple", PARAM_VARIABLE},
                 {"typing.TypeAliasType", PARAM_ALIAS},
                 {"NewType", PARAM_NEW_TYPE},
                 {NULL, PARAM_NONE}};
    int i = 0;
    while (known[i].name != NULL && strcmp(type->tp_name, known[i].name) != 0) {
        i++;
    }
    if (known[i].name == NULL) {
        return PARAM_NONE;
    }
    /* A class of that name may be anybody's. */
    const char *dot = strrchr(known[i].name, '.');
    PyObject *typing = PyImport_ImportModule("typing");
    PyObject *found =
        typing == NULL ? NULL : sipy_compat_attr(typing, dot ? dot + 1 : known[i].name);
    Py_XDECREF(typing);
    Py_XDECREF(found);
    return found == NULL ? -1 : found == (PyObject *)type ? (int)known[i].kind : PARAM_NONE;
}

/* Puts attribute __word__ of obj, if there is one, into dict as word. */
static int
keep(PyObject *dict, PyObject *obj, const char *word)
{
    PyObject *attr = PyUnicode_FromFormat("__%s__", word), *value = NULL;
    if (attr != NULL) {
        PyUnicode_InternInPlace(&attr);
    }
    int failed = attr == NULL || sipy_compat_get_optional(obj, attr, &value) < 0 ||
                 (value != NULL && PyDict_SetItemString(dict, word, value) < 0);
    Py_XDECREF(attr);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

static PyObject *
keywords_of(PyObject *obj, param_kind kind)
{
    static const char *const words[] = {"bound",          "covariant", "contravariant",
                                        "infer_variance", "default",   NULL};
    PyObject *kwargs = PyDict_New();
    int failed = kwargs == NULL;
    if (!failed && kind == PARAM_ALIAS) {
        failed = keep(kwargs, obj, "type_params") < 0;
    }
    for (int i = 0; !failed && kind < PARAM_NEW_TYPE && words[i] != NULL; i++) {
        failed = keep(kwargs, obj, words[i]) < 0;
    }
    if (failed) {
        Py_CLEAR(kwargs);
    }
    return kwargs;
}

/* The name, then the constraints or what it stands for. */
static PyObject *
arguments_of(PyObject *obj, param_kind kind)
{
    const char *attr = kind == PARAM_TYPE_VARIABLE ? "__constraints__"
                       : kind == PARAM_ALIAS       ? "__value__"
                                                   : "__supertype__";
    PyObject *name = sipy_compat_attr(obj, "__name__");
    PyObject *args = name == NULL ? NULL : PyTuple_Pack(1, name);
    Py_XDECREF(name);
    if (args == NULL || kind == PARAM_VARIABLE) {
        return args;
    }
    PyObject *rest = sipy_compat_attr(obj, attr);
    if (rest != NULL && kind != PARAM_TYPE_VARIABLE) {
        Py_SETREF(rest, PyTuple_Pack(1, rest));
    }
    PyObject *both = rest == NULL ? NULL : PySequence_Concat(args, rest);
    Py_XDECREF(rest);
    Py_DECREF(args);
    return both;
}

/* The attributes that obj has beside what it computes. */
static PyObject *
attributes_of(sipy_transfer *t, PyObject *obj)
{
    PyObject *module = PyObject_GetAttr(obj, t->n___module__);
    PyObject *own = module == NULL ? NULL : PyObject_GenericGetDict(obj, NULL);
    PyObject *all = own == NULL ? NULL : PyDict_New();
    if (all != NULL &&
        (PyDict_SetItem(all, t->n___module__, module) < 0 || PyDict_Update(all, own) < 0)) {
        Py_CLEAR(all);
    }
    Py_XDECREF(module);
    Py_XDECREF(own);
    return all;
}

static PyObject *
parts_of_param(sipy_transfer *t, PyObject *obj, deps *list)
{
    (void)list;
    int kind = kind_of(Py_TYPE(obj));
    PyObject *args = kind < 0 ? NULL : arguments_of(obj, (param_kind)kind);
    PyObject *kwargs = args == NULL ? NULL : keywords_of(obj, (param_kind)kind);
    PyObject *attributes = kwargs == NULL ? NULL : attributes_of(t, obj);
    PyObject *all =
        attributes == NULL ? NULL : PyTuple_Pack(4, Py_TYPE(obj), args, kwargs, attributes);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(attributes);
    return all;
}

static int
write_parts(sipy_encoder *e, building *b, PyObject *parts)
{
    (void)b;
    return sipy__enc_described(e, parts, "parts", NULL);
}

/* The record of what b describes; takes what that depends on. */
static record *
keep_record(sipy_functions *fs, building *b)
{
    if (b->tag != TAG_CACHED) {
        record *r = sipy__record_of(fs, b->obj);
        return r != NULL ? r : sipy__record_new(fs, RECORD_CLASS, b->obj, b->id, true);
    }
    record *r = sipy__record_renew(fs, RECORD_FUNCTION, b->obj, b->id);
    if (r != NULL) {
        r->tag = TAG_CACHED;
        r->deps = b->deps;
        memset(&b->deps, 0, sizeof(b->deps));
    }
    return r;
}

static int
ship(sipy_encoder *e, PyObject *obj, unsigned tag,
     PyObject *(*parts_of)(sipy_transfer *t, PyObject *obj, deps *list))
{
    building b = {.obj = obj, .tag = (uint8_t)tag};
    PyObject *parts = parts_of(e->t, obj, &b.deps);
    si_block *blob = parts == NULL ? NULL : sipy__describe(e, &b, write_parts, parts);
    Py_XDECREF(parts);
    int failed = blob == NULL;
    if (!failed && tag == TAG_TYPE_PARAM && e->building != NULL) {
        failed = sipy__deps_move(&e->building->deps, &b.deps) < 0;
    }
    record *r = failed ? NULL : keep_record(e->t->functions, &b);
    if (r != NULL) {
        sipy__described_as(e, r, &b, blob);
        failed = sipy__enc_by_id(e, obj, tag, b.id, blob) < 0;
    }
    sipy__deps_clear(&b.deps);
    si_block_drop(blob);
    return r == NULL || failed ? -1 : 0;
}

static int
write_alias(sipy_encoder *e, PyObject *obj, bool memo)
{
    PyObject *args = arguments_of(obj, PARAM_ALIAS);
    PyObject *kwargs = args == NULL ? NULL : keywords_of(obj, PARAM_ALIAS);
    PyObject *reduced = kwargs == NULL ? NULL
                                       : Py_BuildValue("O(OOO)", e->t->o_newobj_ex,
                                                       Py_TYPE(obj), args, kwargs);
    int failed = reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0;
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(reduced);
    return failed ? -1 : 1;
}

int
sipy__enc_type_param(sipy_encoder *e, PyObject *obj, bool memo)
{
    int kind = kind_of(Py_TYPE(obj));
    if (kind <= 0) {
        return kind;
    }
    if (kind == PARAM_ALIAS) {
        return write_alias(e, obj, memo);
    }
    return sipy__enc_made(e, obj, TAG_TYPE_PARAM, parts_of_param);
}

int
sipy__enc_made(sipy_encoder *e, PyObject *obj, unsigned tag,
               PyObject *(*parts_of)(sipy_transfer *t, PyObject *obj, deps *list))
{
    sipy_functions *fs = sipy__functions(e->t);
    if (fs == NULL) {
        return -1;
    }
    record *r = sipy__record_of(fs, obj);
    if (r != NULL && !sipy__record_valid(e, r)) {
        r = PyErr_Occurred() ? NULL : sipy__record_of(fs, obj);
        if (r != NULL) {
            sipy__record_end(fs, r);
            r = NULL;
        }
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    si_block *blob = r == NULL ? NULL : sipy__blob_for(e, r);
    int failed = blob == NULL ? ship(e, obj, tag, parts_of)
                              : sipy__enc_by_id(e, obj, tag, r->id, blob);
    return failed ? -1 : 1;
}

/* ---- reading ---- */

static PyObject *
make(sipy_decoder *d)
{
    PyObject *all = sipy__decode_value(d), *obj = NULL;
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    if (all == NULL) {
        return NULL;
    }
    if (!PyTuple_CheckExact(all) || PyTuple_GET_SIZE(all) != 4 ||
        !PyCallable_Check(PyTuple_GET_ITEM(all, 0)) ||
        !PyTuple_CheckExact(PyTuple_GET_ITEM(all, 1)) ||
        !PyDict_CheckExact(PyTuple_GET_ITEM(all, 2)) ||
        !PyDict_CheckExact(PyTuple_GET_ITEM(all, 3))) {
        sipy__damaged(d);
    }
    else {
        obj = PyObject_Call(PyTuple_GET_ITEM(all, 0), PyTuple_GET_ITEM(all, 1),
                            PyTuple_GET_ITEM(all, 2));
        while (obj != NULL && PyDict_Next(PyTuple_GET_ITEM(all, 3), &pos, &name, &value)) {
            if (PyObject_SetAttr(obj, name, value) < 0) {
                Py_CLEAR(obj);
            }
        }
    }
    Py_DECREF(all);
    return obj;
}

PyObject *
sipy__receive_made(sipy_transfer *t, uint64_t id, si_block *blob, unsigned tag)
{
    sipy_decoder *d = sipy__blob_open(t, blob);
    if (d == NULL) {
        return NULL;
    }
    PyObject *obj = make(d);
    record *r = obj == NULL ? NULL : sipy__record_by_id(t->functions, id);
    if (r != NULL) {
        Py_SETREF(obj, Py_NewRef(r->obj));
    }
    else if (obj != NULL) {
        r = sipy__record_new(t->functions,
                             tag == TAG_CACHED ? RECORD_FUNCTION : RECORD_CLASS, obj, id,
                             false);
        if (r == NULL) {
            Py_CLEAR(obj);
        }
        else {
            r->tag = (uint8_t)tag;
            sipy__received_by(r, blob);
        }
    }
    sipy__decoder_end(d);
    return obj;
}
