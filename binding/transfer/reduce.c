/* reduce.c — objects by what their __reduce_ex__(5) says, as pickle does it.
 *
 * The callable, its arguments and the state are values of the same image, so that
 * sharing and cycles are kept across them, and nothing recurses.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"

/* Objects nested in each other's arguments, each of which must exist before the next:
 * beyond this an object is taken to reduce to itself for ever. */
#define REDUCING_MAX 200000

int
sipy__need_pickling(sipy_transfer *t)
{
    if (SI_LIKELY(t->o_object_getstate != NULL)) {
        return 0;
    }
    PyTypeObject *object = &PyBaseObject_Type;
    t->o_object_reduce_ex = Py_XNewRef(_PyType_Lookup(object, t->n___reduce_ex__));
    t->o_object_reduce = Py_XNewRef(_PyType_Lookup(object, t->n___reduce__));
    Py_XSETREF(t->o_dispatch_table, sipy__from_module("copyreg", "dispatch_table"));
    Py_XSETREF(t->o_newobj, sipy__from_module("copyreg", "__newobj__"));
    Py_XSETREF(t->o_newobj_ex, sipy__from_module("copyreg", "__newobj_ex__"));
    Py_XSETREF(t->o_slotnames, sipy__from_module("copyreg", "_slotnames"));
    if (t->o_dispatch_table == NULL || t->o_newobj == NULL || t->o_newobj_ex == NULL ||
        t->o_slotnames == NULL) {
        return -1;
    }
    if (!PyDict_Check(t->o_dispatch_table)) {
        PyErr_SetString(PyExc_TypeError, "copyreg.dispatch_table is no dict");
        return -1;
    }
    t->o_object_getstate = Py_XNewRef(_PyType_Lookup(object, t->n___getstate__));
    return 0;
}

/* ---- writing ---- */

/* What obj reduces to: a new tuple or str. */
static PyObject *
reduce(sipy_encoder *e, PyObject *obj)
{
    sipy_transfer *t = e->t;
    if (sipy__need_pickling(t) < 0) {
        return NULL;
    }
    PyObject *type = (PyObject *)Py_TYPE(obj);
    PyObject *reducer = PyDict_GetItemWithError(t->o_dispatch_table, type);
    if (reducer != NULL) {
        Py_INCREF(reducer);
        PyObject *result = PyObject_CallOneArg(reducer, obj);
        Py_DECREF(reducer);
        return result;
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    PyObject *args[2] = {obj, t->five};
    return PyObject_VectorcallMethod(t->n___reduce_ex__, args,
                                     2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static PyObject *
bad_reduce(PyObject *obj, const char *what)
{
    PyErr_Format(PyExc_TypeError, "__reduce_ex__ of %.200s object: %s",
                 Py_TYPE(obj)->tp_name, what);
    return NULL;
}

/* A flat list of what an iterator of pairs gives. */
static PyObject *
flat_pairs(PyObject *obj, PyObject *pairs)
{
    PyObject *flat = PyList_New(0), *pair = NULL;
    PyObject *iterator = flat == NULL ? NULL : PyObject_GetIter(pairs);
    while (iterator != NULL && (pair = PyIter_Next(iterator)) != NULL) {
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
            bad_reduce(obj, "its items must be pairs");
            break;
        }
        if (PyList_Append(flat, PyTuple_GET_ITEM(pair, 0)) < 0 ||
            PyList_Append(flat, PyTuple_GET_ITEM(pair, 1)) < 0) {
            break;
        }
        Py_CLEAR(pair);
    }
    Py_XDECREF(pair);
    Py_XDECREF(iterator);
    if (PyErr_Occurred()) {
        Py_CLEAR(flat);
    }
    return flat;
}

/* Whether args begin with a class that makes instances: if not, the call will say so. */
static bool
begin_with_class(PyObject *args)
{
    return PyTuple_GET_SIZE(args) >= 1 && PyType_Check(PyTuple_GET_ITEM(args, 0)) &&
           ((PyTypeObject *)PyTuple_GET_ITEM(args, 0))->tp_new != NULL;
}

/* The callable and arguments with copyreg's helpers resolved; fills in *parts. */
static int
split_call(sipy_encoder *e, PyObject *obj, PyObject *reduced, PyObject **func,
           PyObject **args, unsigned *parts)
{
    sipy_transfer *t = e->t;
    *func = PyTuple_GET_ITEM(reduced, 0);
    *args = PyTuple_GET_ITEM(reduced, 1);
    if (!PyCallable_Check(*func) || !PyTuple_Check(*args)) {
        bad_reduce(obj, "it must give a callable and a tuple of arguments");
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(*args);
    if (*func == t->o_newobj && begin_with_class(*args)) {
        *parts |= REDUCE_NEWOBJ;
        *func = PyTuple_GET_ITEM(*args, 0);
        *args = PyTuple_GetSlice(*args, 1, count);
    }
    else if (*func == t->o_newobj_ex && count == 3 && begin_with_class(*args) &&
             PyTuple_Check(PyTuple_GET_ITEM(*args, 1)) &&
             PyDict_Check(PyTuple_GET_ITEM(*args, 2))) {
        *parts |= REDUCE_NEWOBJ_EX;
        *func = PyTuple_GET_ITEM(*args, 0);
        *args = PyTuple_GetSlice(*args, 1, 3);
    }
    else {
        Py_INCREF(*args);
    }
    Py_INCREF(*func);
    return *args == NULL ? -1 : 0;
}

/* Fills list with what is written after the tag. -> 0 | -1 */
static int
list_parts(sipy_encoder *e, PyObject *obj, PyObject *reduced, PyObject *list[6],
           Py_ssize_t *count, unsigned *parts)
{
    PyObject *optional[6] = {NULL};
    for (Py_ssize_t i = 2; i < PyTuple_GET_SIZE(reduced); i++) {
        PyObject *part = PyTuple_GET_ITEM(reduced, i);
        optional[i] = part == Py_None ? NULL : part;
    }
    if (split_call(e, obj, reduced, &list[0], &list[1], parts) < 0) {
        return -1;
    }
    *count = 2;
    if (optional[3] != NULL) {
        *parts |= REDUCE_ITEMS;
        if ((list[(*count)++] = PySequence_List(optional[3])) == NULL) {
            return -1;
        }
    }
    if (optional[4] != NULL) {
        *parts |= REDUCE_PAIRS;
        if ((list[(*count)++] = flat_pairs(obj, optional[4])) == NULL) {
            return -1;
        }
    }
    if (optional[2] != NULL) {
        *parts |= REDUCE_STATE;
        list[(*count)++] = Py_NewRef(optional[2]);
        if (optional[5] != NULL) {
            *parts |= REDUCE_SETTER;
            list[(*count)++] = Py_NewRef(optional[5]);
        }
    }
    return 0;
}

int
sipy__enc_parts(sipy_encoder *e, PyObject *obj, unsigned tag, unsigned parts,
                PyObject *tuple, Py_ssize_t due, bool memo)
{
    size_t at = enc_offset(e);
    memo = memo || !enc_is_lone(e, obj); /* what it was reduced to may lead back to it */
    if (enc_bare(e, tag | (memo ? TAG_MEMO : 0)) < 0) {
        Py_DECREF(tuple);
        return -1;
    }
    *e->p++ = (uint8_t)parts;
    enc_frame *f = sipy__enc_push(e, ENC_PARTS, tuple, true);
    if (f == NULL) {
        return -1;
    }
    f->label = LABEL_REDUCE;
    f->size = PyTuple_GET_SIZE(tuple);
    f->due = due;
    f->memo = memo;
    e->late += memo;
    f->subject = obj;
    f->aside = Py_NewRef(obj);
    f->at = at;
    f->parts = (uint8_t)parts;
    if (++e->reducing > REDUCING_MAX) {
        PyErr_SetString(PyExc_RecursionError, "objects that reduce to themselves");
        return -1;
    }
    return 0;
}

int
sipy__enc_reduced(sipy_encoder *e, PyObject *obj, PyObject *reduced, unsigned parts,
                  PyObject *const *more, bool memo)
{
    PyObject *list[10] = {NULL};
    Py_ssize_t count = 0;
    PyObject *tuple = NULL;
    if (!PyTuple_Check(reduced) || PyTuple_GET_SIZE(reduced) < 2 ||
        PyTuple_GET_SIZE(reduced) > 6) {
        bad_reduce(obj, "it must give a str or a tuple of 2 to 6 items");
        return -1;
    }
    PyObject *func = PyTuple_GET_ITEM(reduced, 0);
    if (PyTuple_GET_SIZE(reduced) == 2 && parts == 0 && func != e->t->o_newobj &&
        func != e->t->o_newobj_ex && PyCallable_Check(func) &&
        PyTuple_Check(PyTuple_GET_ITEM(reduced, 1))) {
        /* What was reduced is what is written. */
        return sipy__enc_parts(e, obj, TAG_REDUCE, 0, Py_NewRef(reduced), 2, memo);
    }
    int failed = list_parts(e, obj, reduced, list, &count, &parts);
    if (parts & REDUCE_ERROR) {
        for (int i = 0; i < 4; i++) {
            list[count++] = Py_NewRef(more[i]);
        }
    }
    if (!failed) {
        tuple = PyTuple_New(count);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, list[i]);
        }
        else {
            Py_XDECREF(list[i]);
        }
    }
    if (tuple == NULL) {
        return -1;
    }
    return sipy__enc_parts(e, obj, TAG_REDUCE, parts, tuple, 2, memo);
}

/* obj as an attribute of whatever module has it by that name: some objects do not know
 * their module (typing.NoDefault). -> as sipy__enc_global */
static int
write_found(sipy_encoder *e, PyObject *obj, PyObject *name)
{
    PyObject *search = sipy__from_module("pickle", "whichmodule");
    PyObject *module =
        search == NULL ? NULL : PyObject_CallFunctionObjArgs(search, obj, name, NULL);
    int result = module == NULL ? -1 : 0;
    if (module != NULL && PyUnicode_Check(module) &&
        PyUnicode_Compare(module, e->t->n___main__) != 0) {
        result = sipy__is_found(module, name, obj);
        if (result > 0 && sipy__enc_reference(e, obj, module, name) < 0) {
            result = -1;
        }
    }
    Py_XDECREF(search);
    Py_XDECREF(module);
    return result;
}

int
sipy__enc_reduce(sipy_encoder *e, PyObject *obj)
{
    bool memo;
    int begun = sipy__enc_begin_late(e, obj, &memo);
    if (begun <= 0) {
        return begun;
    }
    PyObject *reduced = reduce(e, obj);
    if (reduced == NULL) {
        return -1;
    }
    int result;
    if (PyUnicode_Check(reduced)) {
        result = sipy__enc_global(e, obj, reduced);
        if (result == 0 && (result = sipy__enc_cached(e, obj, memo)) == 0) {
            result = sipy__enc_type_param(e, obj, memo);
        }
        if (result == 0) {
            result = write_found(e, obj, reduced);
        }
        if (result == 0) {
            PyErr_Format(PyExc_TypeError, "%U cannot be imported by that name", reduced);
            result = -1;
        }
    }
    else if ((result = sipy__enc_kept_method(e, obj)) == 0) {
        result = sipy__enc_reduced(e, obj, reduced, 0, NULL, memo);
    }
    Py_DECREF(reduced);
    return result < 0 ? -1 : 0;
}

/* ---- reading ---- */

int
sipy__dec_reduce(sipy_decoder *d, unsigned tag, bool memo)
{
    if (!dec_has(d, 1)) {
        sipy__damaged(d);
        return -1;
    }
    dec_frame *f = sipy__dec_push(d, DEC_REDUCE);
    if (f == NULL) {
        return -1;
    }
    f->parts = *d->p++;
    f->tag = (uint8_t)tag;
    f->memo = memo;
    return 0;
}

/* An exception made as its C base makes it, without an __init__ written in Python,
 * which may want other arguments than those that the exception keeps. */
static PyObject *
make_exception(sipy_decoder *d, PyTypeObject *type, PyObject *args)
{
    if (!PyType_FastSubclass(type, Py_TPFLAGS_BASE_EXC_SUBCLASS) || !PyTuple_Check(args)) {
        return sipy__damaged(d);
    }
    PyTypeObject *base = type;
    while (PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE)) {
        base = base->tp_base;
    }
    PyObject *exc = base->tp_new(type, args, NULL);
    if (exc == NULL) {
        return NULL;
    }
    if (base->tp_init(exc, args, NULL) < 0) {
        /* The C base wants other arguments too: args alone are kept. */
        PyErr_Clear();
        Py_XSETREF(((PyBaseExceptionObject *)exc)->args, Py_NewRef(args));
    }
    return exc;
}

static PyObject *
make_object(sipy_decoder *d, unsigned parts, PyObject *func, PyObject *args)
{
    if (!(parts & (REDUCE_NEWOBJ | REDUCE_NEWOBJ_EX | REDUCE_NO_INIT))) {
        if (!PyTuple_Check(args)) {
            return sipy__damaged(d);
        }
        return PyObject_CallObject(func, args);
    }
    if (!PyType_Check(func) || ((PyTypeObject *)func)->tp_new == NULL) {
        return sipy__damaged(d);
    }
    PyTypeObject *type = (PyTypeObject *)func;
    if (parts & REDUCE_NO_INIT) {
        return make_exception(d, type, args);
    }
    PyObject *kwargs = NULL;
    if (parts & REDUCE_NEWOBJ_EX) {
        if (!PyTuple_CheckExact(args) || PyTuple_GET_SIZE(args) != 2 ||
            !PyTuple_Check(PyTuple_GET_ITEM(args, 0)) ||
            !PyDict_Check(PyTuple_GET_ITEM(args, 1))) {
            return sipy__damaged(d);
        }
        kwargs = PyTuple_GET_ITEM(args, 1);
        args = PyTuple_GET_ITEM(args, 0);
    }
    if (!PyTuple_Check(args)) {
        return sipy__damaged(d);
    }
    return type->tp_new(type, args, kwargs);
}

static int
append_items(sipy_decoder *d, PyObject *obj, PyObject *items)
{
    if (!PyList_CheckExact(items)) {
        sipy__damaged(d);
        return -1;
    }
    if (PyList_CheckExact(obj)) {
        return PyList_SetSlice(obj, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, items);
    }
    PyObject *extend, *done = NULL;
    if (sipy_compat_get_optional(obj, d->t->n_extend, &extend) < 0) {
        return -1;
    }
    if (extend != NULL) {
        done = PyObject_CallOneArg(extend, items);
        Py_DECREF(extend);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
        done = PyObject_CallMethodOneArg(obj, d->t->n_append, PyList_GET_ITEM(items, i));
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
    }
    return 0;
}

static int
set_pairs(sipy_decoder *d, PyObject *obj, PyObject *pairs)
{
    if (!PyList_CheckExact(pairs)) {
        sipy__damaged(d);
        return -1;
    }
    for (Py_ssize_t i = 0; i + 1 < PyList_GET_SIZE(pairs); i += 2) {
        PyObject *key = Py_NewRef(PyList_GET_ITEM(pairs, i));
        PyObject *value = Py_NewRef(PyList_GET_ITEM(pairs, i + 1));
        int failed = PyObject_SetItem(obj, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

/* The dict part of a state goes straight to the instance's __dict__, with its names
 * interned as attribute names are; the slots part is set as attributes. */
static int
set_dict_state(sipy_decoder *d, PyObject *obj, PyObject *state)
{
    PyObject *dict = PyObject_GetAttr(obj, d->t->n___dict__);
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    int failed = dict == NULL ? -1 : 0;
    while (!failed && PyDict_Next(state, &pos, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        if (PyUnicode_CheckExact(key)) {
            PyUnicode_InternInPlace(&key);
        }
        failed = PyObject_SetItem(dict, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    Py_XDECREF(dict);
    return failed;
}

static int
set_slot_state(PyObject *obj, PyObject *state, setattrofunc set)
{
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    int failed = 0;
    while (!failed && PyDict_Next(state, &pos, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        failed = set(obj, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return failed;
}

static int
set_parts(sipy_decoder *d, PyObject *obj, PyObject *state, setattrofunc set)
{
    PyObject *slots = NULL;
    if (PyTuple_CheckExact(state) && PyTuple_GET_SIZE(state) == 2) {
        slots = PyTuple_GET_ITEM(state, 1);
        state = PyTuple_GET_ITEM(state, 0);
    }
    if ((state != Py_None && !PyDict_Check(state)) ||
        (slots != NULL && slots != Py_None && !PyDict_Check(slots))) {
        PyErr_SetString(PyExc_TypeError, "the state of an object must be a dict");
        return -1;
    }
    if (state != Py_None && PyDict_GET_SIZE(state) > 0 &&
        set_dict_state(d, obj, state) < 0) {
        return -1;
    }
    return slots != NULL && slots != Py_None ? set_slot_state(obj, slots, set) : 0;
}

static int
set_state(sipy_decoder *d, PyObject *obj, PyObject *state)
{
    PyObject *method;
    if (sipy_compat_get_optional(obj, d->t->n___setstate__, &method) < 0) {
        return -1;
    }
    if (method == NULL) {
        return set_parts(d, obj, state, PyObject_SetAttr);
    }
    PyObject *done = PyObject_CallOneArg(method, state);
    Py_DECREF(method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
sipy__set_plain_state(sipy_decoder *d, PyObject *obj, PyObject *state)
{
    return set_parts(d, obj, state, PyObject_GenericSetAttr) ? -1 : 0;
}

/* By the setter that came with it: object.__setattr__ (of three arguments) stands for what
 * `object` would do, past all that the class of obj does. */
static int
set_by(sipy_decoder *d, PyObject *obj, PyObject *state, PyObject *by)
{
    if (Py_IS_TYPE(by, &PyWrapperDescr_Type) && PyDescr_TYPE(by) == &PyBaseObject_Type) {
        return sipy__set_plain_state(d, obj, state);
    }
    PyObject *args[2] = {obj, state};
    PyObject *done = PyObject_Vectorcall(by, args, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The part that comes after those that are done. */
static unsigned
next_part(unsigned parts)
{
    return parts & REDUCE_ITEMS   ? REDUCE_ITEMS
           : parts & REDUCE_PAIRS ? REDUCE_PAIRS
           : parts & REDUCE_STATE ? REDUCE_STATE
           : parts & REDUCE_ERROR ? REDUCE_ERROR
                                  : 0;
}

/* The arguments, consumed: makes the object. -> as sipy__dec_reduce_part */
static int
take_arguments(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    f->i = 2;
    if (f->tag == TAG_REDUCE_AGAIN) {
        f->obj = v;
        return 1;
    }
    f->obj = make_object(d, f->parts, f->key, v);
    Py_DECREF(v);
    Py_CLEAR(f->key);
    if (f->obj == NULL) {
        return -1;
    }
    if (f->memo) {
        f->memo = false;
        if (sipy__dec_memo(d, f->obj) < 0) {
            return -1;
        }
    }
    return next_part(f->parts) == 0;
}

/* One value of a TAG_REDUCE; consumes v. -> 1 the object is whole | 0 | -1 */
int
sipy__dec_reduce_part(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    int failed = 0;
    unsigned part;
    if (f->i == 0) {
        f->key = v;
        f->i = 1;
        return 0;
    }
    if (f->i == 1) {
        return take_arguments(d, f, v);
    }
    part = next_part(f->parts);
    if (f->key != NULL) {
        /* The state waited for its setter. */
        failed = set_by(d, f->obj, f->key, v);
        Py_CLEAR(f->key);
        f->parts &= (uint8_t)~REDUCE_STATE;
    }
    else if (part == REDUCE_ITEMS) {
        failed = append_items(d, f->obj, v);
        f->parts &= (uint8_t)~REDUCE_ITEMS;
    }
    else if (part == REDUCE_PAIRS) {
        failed = set_pairs(d, f->obj, v);
        f->parts &= (uint8_t)~REDUCE_PAIRS;
    }
    else if (part == REDUCE_STATE && (f->parts & REDUCE_SETTER)) {
        f->key = v;
        return 0;
    }
    else if (part == REDUCE_STATE) {
        failed = set_state(d, f->obj, v);
        f->parts &= (uint8_t)~REDUCE_STATE;
    }
    else {
        failed = sipy__dec_error_part(d, f, v);
    }
    Py_DECREF(v);
    return failed ? -1 : next_part(f->parts) == 0;
}
