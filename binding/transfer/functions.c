/* functions.c — functions: by reference where they can be imported, else by value.
 *
 * The description of a function, in this order: flags, interpreter, module, name,
 * qualified name, number of cells, namespace | code | defaults, keyword defaults,
 * attributes | for each cell whether it is filled, and with what | number of needed
 * globals, and for each its name, its value, the number of its binding | of those that are
 * not bound any more: a dict of name and that number | a list of submodules.
 * The receiver makes the function from the first two parts and makes it known by its
 * id, so that the rest may refer to it.
 */
#include "binding/transfer/functions.h"
#include "binding/transfer/scalars.h"

typedef enum function_flag {
    FUNCTION_IN_MAIN = 1, /* it needs nothing: it runs in the __main__ of the receiver */
} function_flag;

/* ---- writing ---- */

int
sipy__enc_described(sipy_encoder *e, PyObject *value, const char *what, PyObject *name)
{
    Py_CLEAR(e->culprit);
    if (sipy__encode_value(e, value) == 0) {
        return 0;
    }
    PyObject *exc = PyErr_GetRaisedException();
    Py_XSETREF(e->root, name == NULL ? PyUnicode_FromString(what)
                                     : PyUnicode_FromFormat("%s %R", what, name));
    if (e->root == NULL) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(exc);
    return -1;
}

/* What func looks up as globals and has there: name -> value; a name that it does not
 * have is noted among the dependencies. */
static PyObject *
needed_globals(sipy_transfer *t, PyFunctionObject *func, deps *list)
{
    PyObject *names = sipy__global_names(t, func->func_code);
    PyObject *needs = names == NULL ? NULL : PyDict_New();
    for (Py_ssize_t i = 0; needs != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        PyObject *value = PyDict_GetItemWithError(func->func_globals, name);
        bool own = PyUnicode_CompareWithASCIIString(name, "__name__") == 0 ||
                   PyUnicode_CompareWithASCIIString(name, "__builtins__") == 0;
        if (PyErr_Occurred() ||
            (!own && sipy__deps_add(list, DEP_GLOBAL, (PyObject *)func, (PyObject *)func,
                                    name, value) < 0) ||
            (value != NULL && PyDict_SetItem(needs, name, own ? Py_None : value) < 0)) {
            Py_CLEAR(needs);
        }
    }
    Py_XDECREF(names);
    return needs;
}

/* What a function without globals, closure and defaults is, as CPython has it. */
static bool
is_stateless(PyFunctionObject *func, PyObject *needs)
{
    return func->func_closure == NULL && func->func_defaults == NULL &&
           func->func_kwdefaults == NULL && PyDict_GET_SIZE(needs) == 0;
}

static int
write_cells(sipy_encoder *e, PyFunctionObject *func, deps *list)
{
    Py_ssize_t count =
        func->func_closure == NULL ? 0 : PyTuple_GET_SIZE(func->func_closure);
    PyObject *names = PyCode_GetFreevars((PyCodeObject *)func->func_code);
    if (names == NULL) {
        return -1;
    }
    int failed = 0;
    for (Py_ssize_t i = 0; i < count && !failed; i++) {
        PyObject *cell = PyTuple_GET_ITEM(func->func_closure, i);
        PyObject *value = Py_XNewRef(PyCell_GET(cell));
        PyObject *name = i < PyTuple_GET_SIZE(names) ? PyTuple_GET_ITEM(names, i) : NULL;
        failed =
            enc_bare(e, value != NULL ? TAG_TRUE : TAG_FALSE) < 0 ||
            sipy__deps_add_cell(list, (PyObject *)func, i, value) < 0 ||
            (value != NULL && sipy__enc_described(e, value, "closure variable", name) < 0);
        Py_XDECREF(value);
    }
    Py_DECREF(names);
    return failed ? -1 : 0;
}

static int
write_needs(sipy_encoder *e, PyObject *space, PyObject *needs)
{
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    Py_ssize_t count = PyDict_GET_SIZE(needs);
    if (enc_room(e, 16) < 0) {
        return -1;
    }
    enc_varint(e, (uint64_t)count);
    while (PyDict_Next(needs, &pos, &name, &value)) {
        if (sipy__enc_text(e, name) < 0 ||
            sipy__enc_described(e, value, "global", name) < 0) {
            return -1;
        }
        PyObject *id = sipy__binding(e, space, name, value);
        int failed = id == NULL || sipy__encode_value(e, id) < 0;
        Py_XDECREF(id);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

/* The globals that func looks up and has no more, though a receiver may. */
static int
write_gone(sipy_encoder *e, PyFunctionObject *func, PyObject *space, PyObject *needs)
{
    PyObject *names = sipy__global_names(e->t, func->func_code);
    PyObject *gone = names == NULL ? NULL : PyDict_New();
    Py_ssize_t size =
        names == NULL || is_stateless(func, needs) ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; gone != NULL && i < size; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int needed = PyDict_Contains(needs, name);
        PyObject *id = needed != 0 ? NULL : sipy__binding(e, space, name, NULL);
        if (needed < 0 || (id == NULL && needed == 0) ||
            (id != NULL && id != Py_None && PyDict_SetItem(gone, name, id) < 0)) {
            Py_CLEAR(gone);
        }
        Py_XDECREF(id);
    }
    int failed = gone == NULL || sipy__encode_value(e, gone) < 0;
    Py_XDECREF(names);
    Py_XDECREF(gone);
    return failed ? -1 : 0;
}

static int
write_head(sipy_encoder *e, PyFunctionObject *func, PyObject *needs, PyObject *space)
{
    PyObject *module = func->func_module != NULL && PyUnicode_Check(func->func_module)
                           ? func->func_module
                           : e->t->n___main__;
    Py_ssize_t cells =
        func->func_closure == NULL ? 0 : PyTuple_GET_SIZE(func->func_closure);
    PyObject *head =
        Py_BuildValue("iLOOOnO", is_stateless(func, needs) ? FUNCTION_IN_MAIN : 0,
                      (long long)e->t->hooks.interp_id, module, func->func_name,
                      func->func_qualname, cells, space);
    int failed = head == NULL || sipy__encode_value(e, head) < 0;
    Py_XDECREF(head);
    return failed ? -1 : 0;
}

static int
write_description(sipy_encoder *e, building *b, PyObject *needs)
{
    PyFunctionObject *func = (PyFunctionObject *)b->obj;
    PyObject *self = b->obj, *none = Py_None;
    deps *list = &b->deps;
    PyObject *space = sipy__space_of(e, b);
    PyObject *defaults = func->func_defaults == NULL ? none : func->func_defaults;
    PyObject *kwdefaults = func->func_kwdefaults == NULL ? none : func->func_kwdefaults;
    PyObject *dict = func->func_dict == NULL || PyDict_GET_SIZE(func->func_dict) == 0
                         ? none
                         : func->func_dict;
    int failed =
        space == NULL || write_head(e, func, needs, space) < 0 ||
        sipy__deps_add(list, DEP_CODE, self, self, NULL, func->func_code) < 0 ||
        sipy__deps_add(list, DEP_DEFAULTS, self, self, NULL, func->func_defaults) < 0 ||
        sipy__deps_add(list, DEP_KWDEFAULTS, self, self, NULL, func->func_kwdefaults) < 0 ||
        sipy__deps_add_items(list, self, self) < 0 ||
        sipy__enc_code(e, func->func_code) < 0 ||
        sipy__enc_described(e, defaults, "default values", NULL) < 0 ||
        sipy__enc_described(e, kwdefaults, "keyword defaults", NULL) < 0 ||
        sipy__enc_described(e, dict, "attributes", NULL) < 0 ||
        write_cells(e, func, list) < 0 || write_needs(e, space, needs) < 0 ||
        write_gone(e, func, space, needs) < 0 || sipy__enc_submodules(e, func, needs) < 0;
    Py_XDECREF(space);
    return failed ? -1 : 0;
}

/* needs is NULL for a generic function. */
static int
write_either(sipy_encoder *e, building *b, PyObject *needs)
{
    PyFunctionObject *func = (PyFunctionObject *)b->obj;
    return needs == NULL ? sipy__write_dispatcher(e, func, &b->deps)
                         : write_description(e, b, needs);
}

/* Describes func under id (0: a new one) and makes it known. -> its record, which the
 * next use of the table may end, or NULL with an exception */
static record *
ship(sipy_encoder *e, PyFunctionObject *func, PyObject *needs, deps *found, uint64_t id,
     si_block **blob)
{
    sipy_functions *fs = e->t->functions;
    building b = {.obj = (PyObject *)func,
                  .id = id != 0 ? id : sipy__new_id(),
                  .tag = needs == NULL ? TAG_DISPATCHER : TAG_FUNCTION,
                  .deps = *found};
    memset(found, 0, sizeof(*found));
    *blob = sipy__describe(e, &b, write_either, needs);
    record *r = NULL;
    if (*blob != NULL) {
        r = sipy__record_renew(fs, RECORD_FUNCTION, (PyObject *)func, b.id);
    }
    if (r == NULL) {
        sipy__deps_clear(&b.deps);
        si_block_drop(*blob);
        *blob = NULL;
        return NULL;
    }
    r->tag = b.tag;
    r->deps = b.deps;
    r->globals = b.globals;
    r->space = b.space;
    sipy__described_as(e, r, &b, *blob);
    return r;
}

/* By value: writes the id and the description, which is made anew if anything that it
 * depends on has changed. */
static int
write_by_value(sipy_encoder *e, PyFunctionObject *func, PyObject *needs, deps *found,
               bool importable)
{
    record *r = sipy__record_of(e->t->functions, (PyObject *)func);
    uint64_t id = r != NULL && sipy__record_valid(e, r) ? r->id : 0;
    si_block *blob;
    if (PyErr_Occurred()) {
        return -1;
    }
    r = ship(e, func, needs, found, id, &blob);
    if (r == NULL) {
        return -1;
    }
    r->importable = importable;
    int failed = sipy__enc_by_id(e, (PyObject *)func, r->tag, r->id, blob);
    si_block_drop(blob);
    return failed;
}

static int
write_slowly(sipy_encoder *e, PyFunctionObject *func)
{
    sipy__enc_hold(e);
    deps found = {0};
    if (sipy__registry_of(func) != NULL) {
        int known = sipy__enc_global(e, (PyObject *)func, NULL);
        return known == 0 ? write_by_value(e, func, NULL, &found, false)
                          : (known < 0 ? -1 : 0);
    }
    PyObject *needs = PyErr_Occurred() ? NULL : needed_globals(e->t, func, &found);
    if (needs == NULL) {
        sipy__deps_clear(&found);
        return -1;
    }
    bool bare = e->calling && is_stateless(func, needs);
    int result = bare ? 0 : sipy__enc_global(e, (PyObject *)func, NULL);
    if (result == 0) {
        bool main = func->func_module != NULL && PyUnicode_Check(func->func_module) &&
                    PyUnicode_Compare(func->func_module, e->t->n___main__) == 0;
        result = write_by_value(e, func, needs, &found, bare && !main);
    }
    sipy__deps_clear(&found);
    Py_DECREF(needs);
    return result < 0 ? -1 : 0;
}

int
sipy__enc_function(sipy_encoder *e, PyObject *func)
{
    uint32_t number;
    if (sipy__enc_find(e, func, &number)) {
        return enc_tag(e, TAG_REF, number);
    }
    sipy_functions *fs = sipy__functions(e->t);
    if (fs == NULL) {
        return -1;
    }
    uint64_t id;
    if (sipy__is_building(e, func, &id)) {
        return sipy__enc_by_id(e, func, TAG_FUNCTION, id, NULL);
    }
    record *r = sipy__record_of(fs, func);
    if (r != NULL && (e->calling || !r->importable) && sipy__record_valid(e, r)) {
        si_block *blob = sipy__blob_for(e, r);
        if (blob != NULL) {
            return sipy__enc_by_id(e, func, r->tag, r->id, blob);
        }
    }
    return PyErr_Occurred() ? -1 : write_slowly(e, (PyFunctionObject *)func);
}

int
sipy__enc_module(sipy_encoder *e, PyObject *module)
{
    PyObject *name = PyModule_GetNameObject(module);
    PyObject *found = name == NULL ? NULL : PyImport_GetModule(name);
    int failed = -1;
    if (found != module || PyUnicode_Compare(name, e->t->n___main__) == 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "the module cannot be imported by its name");
        }
    }
    else if (enc_bare(e, TAG_MODULE) == 0) {
        failed = sipy__enc_text(e, name);
    }
    Py_XDECREF(found);
    Py_XDECREF(name);
    return failed;
}

/* ---- reading ---- */

PyObject *
sipy__dec_module(sipy_decoder *d)
{
    PyObject *name = sipy__dec_text(d);
    if (name == NULL) {
        return NULL;
    }
    PyObject *module = NULL;
    if (d->pure) {
        sipy__damaged(d);
    }
    else {
        module = PyImport_GetModule(name);
        if (module == NULL && !PyErr_Occurred()) {
            /* PyImport_Import gives the top package, but leaves all in sys.modules. */
            PyObject *top = PyImport_Import(name);
            module = top == NULL ? NULL : PyImport_GetModule(name);
            Py_XDECREF(top);
            if (module == NULL && !PyErr_Occurred()) {
                PyErr_Format(PyExc_ModuleNotFoundError, "No module named '%U'", name);
            }
        }
    }
    Py_DECREF(name);
    return module;
}

/* The function that the first parts of a description make; *applied: the bindings applied
 * in its namespace, a new reference, or NULL. */
static PyObject *
make_function(sipy_decoder *d, PyObject **applied, unsigned long long *space)
{
    sipy_transfer *t = d->t;
    PyObject *head = sipy__decode_value(d);
    PyObject *code = head == NULL ? NULL : sipy__dec_code(d);
    PyObject *func = NULL, *ns = NULL;
    int flags;
    Py_ssize_t cells;
    PyObject *interp_id, *module, *name, *qualname, *space_name;
    *applied = NULL;
    if (code != NULL && PyArg_ParseTuple(head, "iOUUUn(UK)", &flags, &interp_id, &module,
                                         &name, &qualname, &cells, &space_name, space)) {
        if (flags & FUNCTION_IN_MAIN) {
            PyObject *main = PyImport_AddModule("__main__");
            ns = main == NULL ? NULL : Py_NewRef(PyModule_GetDict(main));
            *space = 0;
        }
        else if (sipy__namespace(t, interp_id, space_name, *space, &ns, applied) < 0) {
            ns = NULL;
        }
        func = ns == NULL ? NULL : PyFunction_NewWithQualName(code, ns, qualname);
        Py_XDECREF(ns);
    }
    if (func != NULL) {
        PyFunctionObject *f = (PyFunctionObject *)func;
        Py_XSETREF(f->func_name, Py_NewRef(name));
        Py_XSETREF(f->func_module, Py_NewRef(module));
        PyObject *closure = NULL;
        if (cells != PyCode_GetNumFree((PyCodeObject *)code)) {
            sipy__damaged(d);
            Py_CLEAR(func);
        }
        else if (cells > 0) {
            closure = PyTuple_New(cells);
            for (Py_ssize_t i = 0; closure != NULL && i < cells; i++) {
                PyObject *cell = PyCell_New(NULL);
                if (cell == NULL) {
                    Py_CLEAR(closure);
                    break;
                }
                PyTuple_SET_ITEM(closure, i, cell);
            }
            if (closure == NULL || PyFunction_SetClosure(func, closure) < 0) {
                Py_CLEAR(func);
            }
            Py_XDECREF(closure);
        }
    }
    Py_XDECREF(head);
    Py_XDECREF(code);
    return func;
}

static int
fill_cells(sipy_decoder *d, PyObject *func)
{
    PyObject *closure = PyFunction_GET_CLOSURE(func);
    Py_ssize_t count = closure == NULL ? 0 : PyTuple_GET_SIZE(closure);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *filled = sipy__decode_value(d);
        if (filled == NULL) {
            return -1;
        }
        bool is = filled == Py_True;
        Py_DECREF(filled);
        if (is) {
            PyObject *value = sipy__decode_value(d);
            if (value == NULL) {
                return -1;
            }
            int failed = PyCell_Set(PyTuple_GET_ITEM(closure, i), value);
            Py_DECREF(value);
            if (failed) {
                return -1;
            }
        }
    }
    return 0;
}

/* Binds one needed global, unless the sender has not rebound it since it was bound here. */
static int
bind(sipy_decoder *d, PyObject *ns, PyObject *applied)
{
    PyObject *name = sipy__dec_text(d);
    PyObject *value = name == NULL ? NULL : sipy__decode_value(d);
    PyObject *id = value == NULL ? NULL : sipy__decode_value(d);
    int failed = id == NULL;
    if (!failed && PyUnicode_CompareWithASCIIString(name, "__name__") != 0 &&
        PyUnicode_CompareWithASCIIString(name, "__builtins__") != 0) {
        PyObject *last = PyDict_GetItemWithError(applied, name);
        /* A description may be older than what was bound since. */
        int same = last == NULL ? 0 : PyObject_RichCompareBool(last, id, Py_GE);
        failed =
            PyErr_Occurred() != NULL || (!same && (PyDict_SetItem(ns, name, value) < 0 ||
                                                   PyDict_SetItem(applied, name, id) < 0));
    }
    Py_XDECREF(name);
    Py_XDECREF(id);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

/* What the sender has no more is no longer bound, unless it has been bound anew since. */
static int
unbind(sipy_decoder *d, PyObject *ns, PyObject *applied)
{
    PyObject *gone = sipy__decode_value(d), *name, *id;
    Py_ssize_t pos = 0;
    bool usable = gone != NULL && PyDict_CheckExact(gone) &&
                  (applied != NULL || PyDict_GET_SIZE(gone) == 0);
    if (gone != NULL && !usable) {
        sipy__damaged(d);
    }
    int failed = !usable;
    while (!failed && PyDict_Next(gone, &pos, &name, &id)) {
        PyObject *last = PyDict_GetItemWithError(applied, name);
        int older = last == NULL ? 0 : PyObject_RichCompareBool(last, id, Py_LT);
        PyObject *had = older != 1 ? NULL : PyDict_GetItemWithError(ns, name);
        failed = older < 0 || (PyErr_Occurred() != NULL) ||
                 (had != NULL && PyDict_DelItem(ns, name) < 0) ||
                 (older == 1 && PyDict_SetItem(applied, name, id) < 0);
    }
    Py_XDECREF(gone);
    return failed ? -1 : 0;
}

static int
fill_function(sipy_decoder *d, PyObject *func, PyObject *applied)
{
    PyFunctionObject *f = (PyFunctionObject *)func;
    PyObject *rest[3];
    for (int i = 0; i < 3; i++) {
        rest[i] = sipy__decode_value(d);
        if (rest[i] == NULL) {
            while (i > 0) {
                Py_DECREF(rest[--i]);
            }
            return -1;
        }
    }
    int failed = PyFunction_SetDefaults(func, rest[0]) < 0 ||
                 PyFunction_SetKwDefaults(func, rest[1]) < 0;
    if (!failed && PyDict_CheckExact(rest[2])) {
        Py_XSETREF(f->func_dict, Py_NewRef(rest[2]));
    }
    for (int i = 0; i < 3; i++) {
        Py_DECREF(rest[i]);
    }
    uint64_t count;
    if (failed || fill_cells(d, func) < 0) {
        return -1;
    }
    if (dec_varint(d, &count) < 0 || (count > 0 && applied == NULL)) {
        sipy__damaged(d);
        return -1;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (bind(d, f->func_globals, applied) < 0) {
            return -1;
        }
    }
    return unbind(d, f->func_globals, applied) < 0 ? -1 : sipy__dec_submodules(d);
}

PyObject *
sipy__receive_function(sipy_transfer *t, uint64_t id, si_block *blob, unsigned tag)
{
    sipy_decoder *d = sipy__blob_open(t, blob);
    if (d == NULL) {
        return NULL;
    }
    bool plain = tag == TAG_FUNCTION;
    PyObject *applied = NULL;
    unsigned long long space = 0;
    PyObject *func = plain ? make_function(d, &applied, &space) : sipy__make_dispatcher(d);
    record *r = func == NULL
                    ? NULL
                    : sipy__record_new(t->functions, RECORD_FUNCTION, func, id, false);
    if (r == NULL) {
        Py_CLEAR(func);
    }
    else {
        r->tag = (uint8_t)tag;
        r->pending = true;
        r->space = space;
        r->applied = space == 0 ? NULL : Py_XNewRef(applied);
        sipy__received_by(r, blob);
        if ((plain ? fill_function(d, func, applied) : sipy__fill_dispatcher(d, func)) <
            0) {
            Py_CLEAR(func);
        }
        r = sipy__record_by_id(t->functions, id);
        if (r != NULL) {
            r->pending = false;
            if (func == NULL) {
                PyObject *exc = PyErr_GetRaisedException();
                sipy__record_end(t->functions, r);
                PyErr_SetRaisedException(exc);
            }
        }
    }
    Py_XDECREF(applied);
    sipy__decoder_end(d);
    return func;
}
