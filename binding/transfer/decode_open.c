/* decode_open.c — containers: opened where they are met, finished when they are
 * full. */
#include "binding/transfer/decoder.h"

/* ---- opening containers: *out is the object if it is complete already ---- */

static int
open_tuple(sipy_decoder *d, unsigned tag, bool memo, PyObject **out)
{
    Py_ssize_t size;
    if (dec_size(d, 1, &size) < 0) {
        sipy__damaged(d);
        return -1;
    }
    if (size == 0) {
        *out = PyTuple_New(0);
        return *out == NULL ? -1 : 0;
    }
    PyObject *tuple = PyTuple_New(size);
    if (tuple == NULL) {
        return -1;
    }
    dec_frame *f = sipy__dec_push(d, DEC_TUPLE);
    if (f == NULL) {
        Py_DECREF(tuple);
        return -1;
    }
    if (!d->pure) {
        PyObject_GC_UnTrack(tuple);
    }
    f->obj = tuple;
    f->slots = ((PyTupleObject *)tuple)->ob_item;
    f->size = size;
    f->tag = (uint8_t)tag;
    f->memo = memo;
    return 0;
}

static int
open_list(sipy_decoder *d, bool memo, PyObject **out)
{
    Py_ssize_t size;
    if (dec_size(d, 1, &size) < 0) {
        sipy__damaged(d);
        return -1;
    }
    PyObject *list = PyList_New(size);
    if (list == NULL || (memo && sipy__dec_memo(d, list) < 0)) {
        Py_XDECREF(list);
        return -1;
    }
    if (size == 0) {
        *out = list;
        return 0;
    }
    Py_SET_SIZE(list, 0);
    dec_frame *f = sipy__dec_push(d, DEC_LIST);
    if (f == NULL) {
        Py_DECREF(list);
        return -1;
    }
    f->obj = list;
    f->size = size;
    return 0;
}

PyObject *
sipy__dec_floats(sipy_decoder *d)
{
    Py_ssize_t size;
    if (dec_size(d, 8, &size) < 0) {
        return sipy__damaged(d);
    }
    PyObject *list = PyList_New(size);
    if (list == NULL) {
        return NULL;
    }
    PyObject **items = ((PyListObject *)list)->ob_item;
    for (Py_ssize_t i = 0; i < size; i++) {
        double value;
        memcpy(&value, d->p, 8);
        d->p += 8;
        items[i] = PyFloat_FromDouble(value);
        if (items[i] == NULL) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static int
open_dict(sipy_decoder *d, bool memo, PyObject **out)
{
    Py_ssize_t size;
    if (dec_size(d, 2, &size) < 0) {
        sipy__damaged(d);
        return -1;
    }
    PyObject *dict = size > 5 ? _PyDict_NewPresized(size) : PyDict_New();
    if (dict == NULL || (memo && sipy__dec_memo(d, dict) < 0)) {
        Py_XDECREF(dict);
        return -1;
    }
    if (size == 0) {
        *out = dict;
        return 0;
    }
    dec_frame *f = sipy__dec_push(d, DEC_DICT);
    if (f == NULL) {
        Py_DECREF(dict);
        return -1;
    }
    f->obj = dict;
    f->size = size;
    return 0;
}

static int
open_set(sipy_decoder *d, unsigned tag, bool memo, PyObject **out)
{
    Py_ssize_t size;
    if (dec_size(d, 1, &size) < 0) {
        sipy__damaged(d);
        return -1;
    }
    PyObject *set = tag == TAG_SET ? PySet_New(NULL) : PyFrozenSet_New(NULL);
    if (set == NULL || (tag == TAG_SET && memo && sipy__dec_memo(d, set) < 0)) {
        Py_XDECREF(set);
        return -1;
    }
    dec_frame *f = sipy__dec_push(d, DEC_SET);
    if (f == NULL) {
        Py_DECREF(set);
        return -1;
    }
    f->obj = set;
    f->tag = (uint8_t)tag;
    f->size = size;
    f->memo = memo && tag != TAG_SET;
    return size > 0 ? 0 : sipy__dec_finish(d, f, out);
}

/* Three values, of which slice or range is made. */
static int
open_parts(sipy_decoder *d, unsigned tag, bool memo, Py_ssize_t size)
{
    PyObject *parts = PyTuple_New(size);
    if (parts == NULL) {
        return -1;
    }
    dec_frame *f = sipy__dec_push(d, DEC_TUPLE);
    if (f == NULL) {
        Py_DECREF(parts);
        return -1;
    }
    PyObject_GC_UnTrack(parts);
    f->obj = parts;
    f->slots = ((PyTupleObject *)parts)->ob_item;
    f->size = size;
    f->tag = (uint8_t)tag;
    f->memo = memo;
    return 0;
}

static int
open_namedtuple(sipy_decoder *d, unsigned tag, bool memo)
{
    Py_ssize_t size;
    PyObject *type = sipy__dec_class(d);
    if (type == NULL) {
        return -1;
    }
    if (!PyType_Check(type) ||
        !PyType_FastSubclass((PyTypeObject *)type, Py_TPFLAGS_TUPLE_SUBCLASS) ||
        dec_size(d, 1, &size) < 0) {
        sipy__damaged(d);
    }
    else if (open_parts(d, tag, memo, size) == 0) {
        d->frames[d->depth - 1].key = type;
        return 0;
    }
    Py_DECREF(type);
    return -1;
}

/* ---- finishing ---- */

/* What the parts of a finished DEC_TUPLE make; consumes the tuple. */
static PyObject *
make_from_parts(sipy_decoder *d, unsigned tag, PyObject *type, PyObject *parts)
{
    PyObject *obj;
    switch (tag) {
        case TAG_TUPLE:
        case TAG_TUPLE_AGAIN:
            return parts;
        case TAG_SLICE:
        case TAG_SLICE_AGAIN:
            obj = PySlice_New(PyTuple_GET_ITEM(parts, 0), PyTuple_GET_ITEM(parts, 1),
                              PyTuple_GET_ITEM(parts, 2));
            break;
        case TAG_RANGE:
            obj = PyObject_Call((PyObject *)&PyRange_Type, parts, NULL);
            break;
        default: {
            PyObject *args = PyTuple_Pack(1, parts);
            obj =
                args == NULL ? NULL : PyTuple_Type.tp_new((PyTypeObject *)type, args, NULL);
            Py_XDECREF(args);
            break;
        }
    }
    Py_DECREF(parts);
    return obj;
}

static bool
is_again(unsigned tag)
{
    return tag == TAG_TUPLE_AGAIN || tag == TAG_FROZENSET_AGAIN || tag == TAG_SLICE_AGAIN ||
           tag == TAG_NAMEDTUPLE_AGAIN || tag == TAG_REDUCE_AGAIN;
}

/* The value that a finished object, which one of its own parts refers to, really is. */
static PyObject *
earlier(sipy_decoder *d, PyObject *obj)
{
    uint64_t number;
    Py_DECREF(obj);
    if (dec_varint(d, &number) < 0 || number >= d->memo_count) {
        return sipy__damaged(d);
    }
    return Py_NewRef(d->memo[number]);
}

/* The frame on top has all its values: takes it off. -> 0 with *out | -1 */
int
sipy__dec_finish(sipy_decoder *d, dec_frame *f, PyObject **out)
{
    PyObject *obj = f->obj, *key = f->key;
    unsigned tag = f->tag;
    bool memo = f->memo, pure = d->pure;
    uint8_t kind = f->kind;
    d->depth--;
    if (kind == DEC_TUPLE) {
        if (!pure || tag == TAG_SLICE || tag == TAG_RANGE) {
            PyObject_GC_Track(obj);
        }
        obj = make_from_parts(d, tag, key, obj);
        Py_XDECREF(key);
    }
    else if (kind == DEC_SHAPE && !PyObject_GC_IsTracked(obj)) {
        PyObject_GC_Track(obj);
    }
    if (obj == NULL) {
        return -1;
    }
    if (memo) {
        if (sipy__dec_memo(d, obj) < 0) {
            Py_DECREF(obj);
            return -1;
        }
    }
    else if (SI_UNLIKELY((kind == DEC_TUPLE || kind == DEC_SET || kind == DEC_REDUCE) &&
                         is_again(tag))) {
        obj = earlier(d, obj);
    }
    *out = obj;
    return obj == NULL ? -1 : 0;
}

/* Containers: pushes a frame (*out NULL) or has the whole value. -> 1 it was one of
 * these, 0 not, -1 */
int
sipy__dec_container(sipy_decoder *d, unsigned tag, bool memo, PyObject **out)
{
    int failed;
    switch (tag) {
        case TAG_DICT_SHAPE:
        case TAG_DICT_DEFINE:
            failed = sipy__dec_open_shape(d, false, tag == TAG_DICT_DEFINE, memo, out);
            break;
        case TAG_LIST:
            failed = open_list(d, memo, out);
            break;
        case TAG_TUPLE:
        case TAG_TUPLE_AGAIN:
            failed = open_tuple(d, tag, memo, out);
            break;
        case TAG_DICT:
            failed = open_dict(d, memo, out);
            break;
        case TAG_OBJECT_SHAPE:
        case TAG_OBJECT_DEFINE:
            failed = sipy__dec_open_shape(d, true, tag == TAG_OBJECT_DEFINE, memo, out);
            break;
        case TAG_SET:
        case TAG_FROZENSET:
        case TAG_FROZENSET_AGAIN:
            failed = open_set(d, tag, memo, out);
            break;
        case TAG_SLICE:
        case TAG_SLICE_AGAIN:
        case TAG_RANGE:
            failed = open_parts(d, tag, memo, 3);
            break;
        case TAG_NAMEDTUPLE:
        case TAG_NAMEDTUPLE_AGAIN:
            failed = d->pure ? (sipy__damaged(d), -1) : open_namedtuple(d, tag, memo);
            break;
        case TAG_REDUCE:
        case TAG_REDUCE_AGAIN:
            failed = d->pure ? (sipy__damaged(d), -1) : sipy__dec_reduce(d, tag, memo);
            break;
        case TAG_TRY:
            failed = d->pure || memo ? (sipy__damaged(d), -1) : sipy__dec_try(d);
            break;
        case TAG_BREAK:
            failed = memo ? (sipy__damaged(d), -1) : sipy__dec_break(d);
            break;
        default:
            return 0;
    }
    return failed ? -1 : 1;
}
