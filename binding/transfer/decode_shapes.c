/* decode_shapes.c — dicts and instances whose keys were written once.
 *
 * The second dict of a shape makes a pattern: a dict with the keys and None for every
 * value. Each further one is a copy of it, whose values are put straight into its
 * table, provided that the table proved to be laid out as expected when the pattern was
 * made.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/scalars.h"
#include "core/base/alloc.h"

/* The head of a dict's table of keys, as every supported CPython lays it out. It is
 * tried out on each pattern before it is relied on. */
#define TABLE_HEAD 32

/* ---- shapes ---- */

static PyObject *
read_short(sipy_decoder *d, bool interned)
{
    Py_ssize_t size;
    if (dec_size(d, 1, &size) < 0) {
        return sipy__damaged(d);
    }
    const uint8_t *data = d->p;
    d->p += size;
    if (size > 0 && size < 128) {
        return sipy__name(d, data, (size_t)size, interned);
    }
    PyObject *str = make_ascii(data, size);
    return str == NULL && !PyErr_Occurred() ? sipy__damaged(d) : str;
}

static PyObject *
read_text(sipy_decoder *d, unsigned tag)
{
    uint64_t number;
    PyObject *str;
    switch (tag) {
        case TAG_REF:
            if (dec_varint(d, &number) < 0 || number >= d->memo_count) {
                return sipy__damaged(d);
            }
            return Py_NewRef(d->memo[number]);
        case TAG_NAME:
        case TAG_ASCII:
            return read_short(d, tag == TAG_NAME);
        case TAG_INTERN:
            str =
                dec_has(d, 1) && *d->p != TAG_INTERN ? sipy__dec_text(d) : sipy__damaged(d);
            if (str != NULL) {
                PyUnicode_InternInPlace(&str);
            }
            return str;
        case TAG_HELD_ASCII:
        case TAG_HELD_LATIN1:
        case TAG_HELD_UCS2:
        case TAG_HELD_UCS4:
            return sipy__dec_held(d, tag);
        case TAG_CHAR:
        case TAG_LATIN1:
        case TAG_UCS2:
        case TAG_UCS4:
            return sipy__dec_scalar(d, tag);
        default:
            return sipy__damaged(d);
    }
}

/* A key or attribute name: any form of str, or a reference to one. */
PyObject *
sipy__dec_text(sipy_decoder *d)
{
    if (!dec_has(d, 1)) {
        return sipy__damaged(d);
    }
    unsigned byte = *d->p++;
    PyObject *str = read_text(d, byte & ~TAG_MEMO);
    if (str != NULL && !PyUnicode_CheckExact(str)) {
        Py_DECREF(str);
        return sipy__damaged(d);
    }
    if (str != NULL && (byte & TAG_MEMO) && sipy__dec_memo(d, str) < 0) {
        Py_CLEAR(str);
    }
    return str;
}

/* Whether an attribute of that name cannot be reached by setting it, though it is in the
 * instance's __dict__: a property, say, comes before it. */
static bool
is_shadowed(PyTypeObject *type, PyObject *name)
{
    PyObject *found = type->tp_dictoffset == 0 ? NULL : _PyType_Lookup(type, name);
    return found != NULL && Py_TYPE(found)->tp_descr_set != NULL &&
           Py_TYPE(found) != &PyMemberDescr_Type;
}

static int
room_for_shape(sipy_decoder *d)
{
    if (d->shape_count < d->shape_cap) {
        return 0;
    }
    uint32_t cap = d->shape_cap * 2 + 4;
    dec_shape *shapes = si_realloc(d->shapes, cap * sizeof(dec_shape));
    if (shapes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    d->shapes = shapes;
    d->shape_cap = cap;
    return 0;
}

static dec_shape *
define_shape(sipy_decoder *d, bool object)
{
    PyObject *type = NULL;
    Py_ssize_t size;
    if (object) {
        type = sipy__dec_class(d);
        if (type == NULL) {
            return NULL;
        }
        if (!PyType_Check(type)) {
            Py_DECREF(type);
            sipy__damaged(d);
            return NULL;
        }
    }
    PyObject **keys = NULL;
    if (dec_size(d, 1, &size) < 0 || size > SHAPE_KEYS_MAX) {
        sipy__damaged(d);
    }
    else if ((keys = si_alloc((size_t)size * sizeof(PyObject *))) == NULL) {
        PyErr_NoMemory();
    }
    Py_ssize_t read = 0;
    while (keys != NULL && read < size) {
        keys[read] = sipy__dec_text(d);
        if (keys[read] == NULL) {
            break;
        }
        read++;
    }
    if (keys == NULL || read != size || room_for_shape(d) < 0) {
        while (read > 0) {
            Py_DECREF(keys[--read]);
        }
        si_free(keys);
        Py_XDECREF(type);
        return NULL;
    }
    dec_shape *shape = &d->shapes[d->shape_count++];
    memset(shape, 0, sizeof(*shape));
    shape->type = (PyTypeObject *)type;
    shape->keys = keys;
    shape->size = size;
    for (Py_ssize_t i = 0; type != NULL && i < size; i++) {
        shape->shadowed |= is_shadowed(shape->type, keys[i]);
    }
    shape->first = -1;
    return shape;
}

ptrdiff_t
sipy__dict_first(PyObject *dict, PyObject *const *keys, Py_ssize_t size)
{
    ptrdiff_t table = 8;
    while (table * 2 / 3 < size) {
        table *= 2;
    }
    ptrdiff_t first = TABLE_HEAD + table + (ptrdiff_t)sizeof(PyObject *);
    if (((PyDictObject *)dict)->ma_values != NULL || PyDict_GET_SIZE(dict) != size) {
        return -1;
    }
    /* The table has at least as many entries, so this reads nothing beyond it. */
    PyObject *const *values = dict_values(dict, first);
    for (Py_ssize_t i = 0; i < size; i++) {
        if (values[2 * i - 1] != keys[i] ||
            values[2 * i] != PyDict_GetItemWithError(dict, keys[i])) {
            PyErr_Clear();
            return -1;
        }
    }
    return first;
}

/* Makes the dict that dicts of this shape are copied from, and finds out where a copy
 * has its values. */
static int
make_pattern(dec_shape *shape)
{
    PyObject *pattern = _PyDict_NewPresized(shape->size);
    if (pattern == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < shape->size; i++) {
        if (PyDict_SetItem(pattern, shape->keys[i], shape->keys[i]) < 0) {
            Py_DECREF(pattern);
            return -1;
        }
    }
    ptrdiff_t first = sipy__dict_first(pattern, shape->keys, shape->size);
    for (Py_ssize_t i = 0; i < shape->size; i++) {
        if (PyDict_SetItem(pattern, shape->keys[i], Py_None) < 0) {
            Py_DECREF(pattern);
            return -1;
        }
    }
    shape->pattern = pattern;
    shape->first = first;
    return 0;
}

/* An instance without running its __init__: what object.__new__ gives. */
static PyObject *
bare_instance(sipy_decoder *d, PyTypeObject *type)
{
    if (type->tp_new == NULL || !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ||
        PyType_FastSubclass(type, Py_TPFLAGS_TYPE_SUBCLASS)) {
        return sipy__damaged(d);
    }
    return PyBaseObject_Type.tp_new(type, d->t->empty_tuple, NULL);
}

/* A dict of that shape, without values or with None for each. alone: nothing else can
 * reach it; then *slots may be where its values go. */
static PyObject *
shaped_dict(dec_shape *shape, bool alone, PyObject ***slots)
{
    if (shape->uses++ == 0) {
        return shape->size > 5 ? _PyDict_NewPresized(shape->size) : PyDict_New();
    }
    if (shape->pattern == NULL && make_pattern(shape) < 0) {
        return NULL;
    }
    PyObject *dict = PyDict_Copy(shape->pattern);
    if (dict != NULL && shape->first >= 0 && alone && shape->size > 0) {
        *slots = dict_values(dict, shape->first);
        if (((PyDictObject *)dict)->ma_values != NULL || (*slots)[-1] != shape->keys[0]) {
            *slots = NULL;
        }
    }
    return dict;
}

/* Opens a dict or an instance of a shape. -> its object when it has no values, else
 * NULL with the frame pushed or an exception */
int
sipy__dec_open_shape(sipy_decoder *d, bool object, bool define, bool memo, PyObject **out)
{
    dec_shape *shape;
    *out = NULL;
    if (object && d->pure) {
        sipy__damaged(d);
        return -1;
    }
    /* Its number comes before those of the keys; it exists only after them. */
    uint32_t own = d->memo_count;
    if (memo && sipy__dec_memo(d, Py_None) < 0) {
        return -1;
    }
    if (define) {
        shape = define_shape(d, object);
        if (shape == NULL) {
            return -1;
        }
    }
    else {
        uint64_t number;
        if (dec_varint(d, &number) < 0 || number >= d->shape_count ||
            (d->shapes[number].type != NULL) != object) {
            sipy__damaged(d);
            return -1;
        }
        shape = &d->shapes[number];
    }
    uint32_t number = (uint32_t)(shape - d->shapes);
    PyObject **slots = NULL;
    PyObject *obj = object ? bare_instance(d, shape->type)
                           : shaped_dict(shape, !memo || d->pure, &slots);
    if (obj == NULL) {
        return -1;
    }
    if (memo) {
        Py_SETREF(d->memo[own], Py_NewRef(obj));
    }
    if (d->shapes[number].size == 0) {
        *out = obj;
        return 0;
    }
    dec_frame *f = sipy__dec_push(d, object ? DEC_OBJECT : DEC_SHAPE);
    if (f == NULL) {
        Py_DECREF(obj);
        return -1;
    }
    f->obj = obj;
    f->size = d->shapes[number].size;
    f->shape = number;
    f->slots = slots;
    f->table = slots == NULL ? NULL : ((PyDictObject *)obj)->ma_keys;
    return 0;
}

int
sipy__dec_into_shape(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    Py_ssize_t i = f->i++;
    if (SI_LIKELY(f->slots != NULL &&
                  (void *)((PyDictObject *)f->obj)->ma_keys == f->table)) {
        f->slots[2 * i] = v; /* None was there, which needs no release */
        return f->i == f->size;
    }
    bool last = f->i == f->size;
    int failed = PyDict_SetItem(f->obj, d->shapes[f->shape].keys[i], v);
    Py_DECREF(v);
    return failed ? -1 : last;
}

static int
set_attribute(const sipy_decoder *d, const dec_frame *f, PyObject *name, PyObject *value)
{
    PyObject *obj = f->obj;
    bool in_dict = !PyUnicode_CheckExact(name);
    if (!in_dict && (f->shape == UINT32_MAX || d->shapes[f->shape].shadowed)) {
        in_dict = is_shadowed(Py_TYPE(obj), name);
    }
    if (SI_LIKELY(!in_dict)) {
        return PyObject_GenericSetAttr(obj, name, value);
    }
    PyObject *dict = PyObject_GenericGetDict(obj, NULL);
    int failed = dict == NULL ? -1 : PyDict_SetItem(dict, name, value);
    Py_XDECREF(dict);
    return failed;
}

int
sipy__dec_into_object(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    PyObject *name = f->shape == UINT32_MAX ? f->key : NULL;
    if (f->shape == UINT32_MAX && name == NULL) {
        f->key = v;
        return 0;
    }
    if (name == NULL) {
        name = Py_NewRef(d->shapes[f->shape].keys[f->i]);
    }
    f->key = NULL;
    bool last = ++f->i == f->size;
    int failed = v == d->t->unset ? 0 : set_attribute(d, f, name, v);
    Py_DECREF(name);
    Py_DECREF(v);
    return failed ? -1 : last;
}

/* The rest of a shaped dict or instance comes as pairs. */
int
sipy__dec_break(sipy_decoder *d)
{
    dec_frame *f = d->depth > 0 ? &d->frames[d->depth - 1] : NULL;
    uint64_t rest;
    if (f == NULL || (f->kind != DEC_SHAPE && f->kind != DEC_OBJECT) ||
        f->shape == UINT32_MAX || dec_varint(d, &rest) < 0 ||
        rest != (uint64_t)(f->size - f->i) || rest == 0) {
        sipy__damaged(d);
        return -1;
    }
    if (f->kind == DEC_OBJECT) {
        f->shape = UINT32_MAX;
        return 0;
    }
    /* A copied pattern has keys that this dict lacks. */
    if (f->slots != NULL || PyDict_GET_SIZE(f->obj) != f->i) {
        dec_shape *shape = &d->shapes[f->shape];
        for (Py_ssize_t i = f->i; i < shape->size; i++) {
            if (PyDict_Contains(f->obj, shape->keys[i]) == 1 &&
                PyDict_DelItem(f->obj, shape->keys[i]) < 0) {
                return -1;
            }
        }
    }
    f->kind = DEC_DICT;
    f->slots = NULL;
    return 0;
}
