/* encode_open.c — where the writing of a container begins.
 *
 * Dicts and instances are written by shape: the keys once, then for each of them only
 * the values. One whose keys turn out to differ breaks off, and goes on as pairs.
 */
#include "binding/transfer/encoder.h"
#include "binding/transfer/scalars.h"
#include "core/base/alloc.h"

void
sipy__enc_drop_shapes(sipy_encoder *e, uint32_t keep)
{
    while (e->shape_count > keep) {
        enc_shape *shape = &e->shapes[--e->shape_count];
        for (Py_ssize_t k = 0; k < shape->size; k++) {
            Py_DECREF(shape->keys[k]);
        }
        Py_XDECREF((PyObject *)shape->type);
        si_free(shape->keys);
    }
}

/* ---- shapes: dicts and instances with equal keys ---- */

static inline uint32_t
shape_slot(const void *first, Py_ssize_t size)
{
    uint64_t key = (uint64_t)(uintptr_t)first + (uint64_t)size * 64;
    return (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 58);
}

/* The shape that a dict or instance probably has, or NULL. */
static inline enc_shape *
shape_guess(sipy_encoder *e, PyTypeObject *type, const void *first, Py_ssize_t size)
{
    uint32_t number = e->shape_table[shape_slot(first, size)];
    if (number >= e->shape_count) {
        return NULL;
    }
    enc_shape *shape = &e->shapes[number];
    if (shape->type != type || shape->size != size || shape->credit < 0 ||
        (size > 0 && type == NULL && shape->keys[0] != first)) {
        return NULL;
    }
    return shape;
}

/* A new shape; its keys are filled in by the caller. Takes no reference to type. */
static enc_shape *
shape_new(sipy_encoder *e, const void *first, Py_ssize_t size)
{
    if (e->shape_count == e->shape_cap) {
        uint32_t cap = e->shape_cap * 2 + 4;
        enc_shape *shapes = si_realloc(e->shapes, cap * sizeof(enc_shape));
        if (shapes == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        e->shapes = shapes;
        e->shape_cap = cap;
    }
    enc_shape *shape = &e->shapes[e->shape_count];
    shape->keys = si_alloc((size_t)size * sizeof(PyObject *));
    if (shape->keys == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    shape->type = NULL;
    shape->size = 0;
    shape->number = e->shape_count;
    shape->credit = 2;
    shape->first = -1;
    e->shape_table[shape_slot(first, size)] = e->shape_count;
    e->shape_count++;
    return shape;
}

static int
shape_add_key(sipy_encoder *e, enc_shape *shape, PyObject *key)
{
    shape->keys[shape->size++] = Py_NewRef(key);
    return write_str(e, key) < 0 ? -1 : 0;
}

int
sipy__enc_changed(const char *what)
{
    PyErr_Format(PyExc_RuntimeError, "%s changed while it was being sent", what);
    return -1;
}

/* Whether the keys of dict can be a new shape: few, and all exact str. */
static bool
can_define(sipy_encoder *e, PyObject *dict)
{
    Py_ssize_t pos = 0;
    PyObject *key, *value;
    if (PyDict_GET_SIZE(dict) > SHAPE_KEYS_MAX || e->shape_count >= SHAPES_MAX) {
        return false;
    }
    while (PyDict_Next(dict, &pos, &key, &value)) {
        if (!PyUnicode_CheckExact(key)) {
            return false;
        }
    }
    return true;
}

/* Writes the keys of a dict as a new shape. -> 0 | -1 */
static int
shape_define(sipy_encoder *e, PyObject *dict, PyTypeObject *type, unsigned tag)
{
    Py_ssize_t size = PyDict_GET_SIZE(dict), pos = 0;
    PyObject *key, *value;
    const void *first = type;
    if (first == NULL) {
        PyDict_Next(dict, &pos, &key, &value);
        first = key;
    }
    if (enc_bare(e, tag) < 0 || (type != NULL && sipy__enc_class(e, type) < 0) ||
        enc_room(e, 16) < 0) {
        return -1;
    }
    enc_varint(e, (uint64_t)size);
    enc_shape *shape = shape_new(e, first, size);
    if (shape == NULL) {
        return -1;
    }
    shape->type = (PyTypeObject *)Py_XNewRef((PyObject *)type);
    pos = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        /* Writing the class may have run Python code. */
        if (!PyDict_Next(dict, &pos, &key, &value) || !PyUnicode_CheckExact(key)) {
            return sipy__enc_changed("dict");
        }
        if (shape_add_key(e, shape, key) < 0) {
            return -1;
        }
    }
    shape->first = sipy__dict_first(dict, shape->keys, size);
    return 0;
}

static int
open_dict(sipy_encoder *e, PyObject *dict)
{
    unsigned flag;
    int known = sipy__enc_memo(e, dict, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    Py_ssize_t size = PyDict_GET_SIZE(dict), pos = 0;
    PyObject *key = NULL, *value;
    if (size == 0) {
        return enc_tag(e, TAG_DICT | flag, 0);
    }
    PyDict_Next(dict, &pos, &key, &value);
    enc_frame *f;
    if (key != NULL && PyUnicode_CheckExact(key)) {
        enc_shape *shape = shape_guess(e, NULL, key, size);
        if (shape != NULL) {
            if (enc_tag(e, TAG_DICT_SHAPE | flag, shape->number) < 0) {
                return -1;
            }
        }
        else if (can_define(e, dict)) {
            if (shape_define(e, dict, NULL, TAG_DICT_DEFINE | flag) < 0) {
                return -1;
            }
            shape = &e->shapes[e->shape_count - 1];
        }
        if (shape != NULL) {
            f = sipy__enc_push(e, ENC_SHAPE, dict, false);
            if (f == NULL) {
                return -1;
            }
            f->size = size;
            f->pos = 0;
            f->shape_number = shape->number;
            return 0;
        }
    }
    if (enc_tag(e, TAG_DICT | flag, (uint64_t)size) < 0 ||
        (f = sipy__enc_push(e, ENC_DICT, dict, false)) == NULL) {
        return -1;
    }
    f->size = size;
    f->pos = 0;
    return 0;
}

int
sipy__enc_shaped(sipy_encoder *e, PyObject *obj, PyTypeObject *type, PyObject *dict,
                 PyObject *slots)
{
    Py_ssize_t size = dict != NULL ? PyDict_GET_SIZE(dict)
                                   : (slots != NULL ? PyTuple_GET_SIZE(slots) : 0);
    enc_shape *shape = shape_guess(e, type, type, size);
    if (shape == NULL &&
        (dict != NULL ? !can_define(e, dict) : e->shape_count >= SHAPES_MAX)) {
        return SIPY_SHAPE_REFUSED;
    }
    unsigned flag;
    int known = sipy__enc_memo(e, obj, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    if (shape != NULL) {
        if (enc_tag(e, TAG_OBJECT_SHAPE | flag, shape->number) < 0) {
            return -1;
        }
    }
    else if (dict != NULL) {
        if (shape_define(e, dict, type, TAG_OBJECT_DEFINE | flag) < 0) {
            return -1;
        }
        shape = &e->shapes[e->shape_count - 1];
    }
    else {
        if (enc_bare(e, TAG_OBJECT_DEFINE | flag) < 0 || sipy__enc_class(e, type) < 0 ||
            enc_room(e, 16) < 0) {
            return -1;
        }
        enc_varint(e, (uint64_t)size);
        shape = shape_new(e, type, size);
        if (shape == NULL) {
            return -1;
        }
        shape->type = (PyTypeObject *)Py_NewRef((PyObject *)type);
        for (Py_ssize_t i = 0; i < size; i++) {
            if (shape_add_key(e, shape, PyTuple_GET_ITEM(slots, i)) < 0) {
                return -1;
            }
        }
    }
    if (size == 0) {
        return 0;
    }
    enc_frame *f = sipy__enc_push(e, dict != NULL ? ENC_SHAPE : ENC_SLOTS,
                                  dict != NULL ? dict : obj, false);
    if (f == NULL) {
        return -1;
    }
    f->label = LABEL_ATTR;
    f->size = size;
    f->pos = 0;
    f->shape_number = shape->number;
    return 0;
}

/* ---- containers ---- */

static int
open_list(sipy_encoder *e, PyObject *list)
{
    unsigned flag;
    int known = sipy__enc_memo(e, list, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size > 0 && PyFloat_CheckExact(PyList_GET_ITEM(list, 0))) {
        int written = write_floats(e, list, flag);
        if (written != 0) {
            return written < 0 ? -1 : 0;
        }
    }
    if (enc_tag(e, TAG_LIST | flag, (uint64_t)size) < 0) {
        return -1;
    }
    if (size == 0) {
        return 0;
    }
    enc_frame *f = sipy__enc_push(e, ENC_LIST, list, false);
    if (f == NULL) {
        return -1;
    }
    f->size = size;
    return 0;
}

static int
open_tuple(sipy_encoder *e, PyObject *tuple)
{
    Py_ssize_t size = PyTuple_GET_SIZE(tuple);
    if (size == 0) {
        return enc_tag(e, TAG_TUPLE, 0);
    }
    bool memo;
    int known = sipy__enc_memo_late(e, tuple, &memo);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    size_t at = enc_offset(e);
    if (enc_tag(e, TAG_TUPLE | (memo ? TAG_MEMO : 0), (uint64_t)size) < 0) {
        return -1;
    }
    enc_frame *f = sipy__enc_push(e, ENC_PARTS, tuple, false);
    if (f == NULL) {
        return -1;
    }
    f->label = LABEL_INDEX;
    f->size = size;
    f->memo = memo;
    e->late += memo;
    f->subject = tuple;
    f->due = size;
    f->at = at;
    return 0;
}

static int
open_set(sipy_encoder *e, PyObject *set, bool frozen)
{
    unsigned flag = 0;
    bool memo = false;
    int known = frozen ? sipy__enc_memo_late(e, set, &memo) : sipy__enc_memo(e, set, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    size_t at = enc_offset(e);
    Py_ssize_t size = PySet_GET_SIZE(set);
    unsigned tag = frozen ? TAG_FROZENSET | (memo ? TAG_MEMO : 0) : TAG_SET | flag;
    if (enc_tag(e, tag, (uint64_t)size) < 0) {
        return -1;
    }
    if (size == 0 && !memo) {
        return 0;
    }
    PyObject *iterator = PyObject_GetIter(set);
    if (iterator == NULL) {
        return -1;
    }
    enc_frame *f = sipy__enc_push(e, ENC_SET, set, false);
    if (f == NULL) {
        Py_DECREF(iterator);
        return -1;
    }
    f->aside = iterator;
    f->size = size;
    f->memo = memo;
    e->late += memo;
    f->subject = set;
    f->at = at;
    return 0;
}

/* One object of any type. A container has pushed its frame when this returns. */
int
sipy__enc_open(sipy_encoder *e, PyObject *obj, PyTypeObject *type)
{
    if (type == &PyDict_Type) {
        return open_dict(e, obj);
    }
    if (type == &PyList_Type) {
        return open_list(e, obj);
    }
    if (type == &PyTuple_Type) {
        return open_tuple(e, obj);
    }
    if (type == &PySet_Type) {
        return open_set(e, obj, false);
    }
    if (type == &PyFrozenSet_Type) {
        return open_set(e, obj, true);
    }
    return sipy__enc_other(e, obj, type);
}
