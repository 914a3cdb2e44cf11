/* decode.c — the loop that builds objects from an image, without recursion.
 *
 * What it is   Each value is read by its tag; a container pushes a frame, and a
 * finished
 *              value is delivered to the frame on top.
 * Trust        Every read is checked against the end, every count against what is left,
 *              every number against what exists. A tuple under construction is on no
 *              list of the garbage collector and can be referred to by nothing. A list
 *              or dict that can be referred to may be changed by Python code between
 *              two of its values, so its memory is looked at anew for each.
 * Pure images  hold built-in types alone: no Python code runs, so the garbage collector
 *              may rest while a large one is built. A tag that could run code is
 *              damage.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/scalars.h"
#include "core/base/alloc.h"

/* Images from this size on are decoded with the garbage collector at rest. */
#define REST_MIN ((size_t)2048)

PyObject *
sipy__damaged(sipy_decoder *d)
{
    d->damaged = !d->replaced;
    PyErr_SetString(PyExc_ValueError, "damaged or truncated image");
    return NULL;
}

/* ---- life of a decoder ---- */

static sipy_decoder *
decoder_new(void)
{
    sipy_decoder *d = si_calloc(sizeof(sipy_decoder));
    if (d == NULL) {
        return NULL;
    }
    d->frames = d->first_frames;
    d->frame_cap = DEC_FRAMES;
    d->memo = d->first_memo;
    d->memo_cap = DEC_MEMO;
    return d;
}

void
sipy__decoder_free(sipy_decoder *d)
{
    if (d != NULL) {
        if (d->frames != d->first_frames) {
            si_free(d->frames);
        }
        if (d->memo != d->first_memo) {
            si_free(d->memo);
        }
        si_free(d->shapes);
        si_free(d);
    }
}

sipy_decoder *
sipy__decoder_begin(sipy_transfer *t, const uint8_t *data, size_t len,
                    const sipy_hold *holds, size_t hold_count)
{
    sipy_decoder *d = t->spare_decoder;
    t->spare_decoder = NULL;
    if (d == NULL) {
        d = decoder_new();
        if (d == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    d->t = t;
    d->p = data;
    d->end = data + len;
    d->holds = holds;
    d->hold_count = hold_count;
    d->whole = NULL;
    d->memo_count = 0;
    d->shape_count = 0;
    d->depth = 0;
    d->args = NULL;
    d->damaged = d->replaced = false;
    if (len < 3 || data[0] != FORMAT_MAGIC) {
        sipy__damaged(d);
        sipy__decoder_end(d);
        return NULL;
    }
    d->pure = (data[1] & FORMAT_PURE) != 0;
    d->p += 2;
    return d;
}

void
sipy__dec_abandon(sipy_decoder *d)
{
    dec_frame *f = &d->frames[--d->depth];
    if (f->kind == DEC_ARGS) {
        while (f->i > 0) {
            Py_CLEAR(d->args[--f->i]);
        }
        return;
    }
    PyObject *obj = f->obj, *key = f->key;
    Py_XDECREF(obj);
    Py_XDECREF(key);
}

void
sipy__dec_drop_shapes(sipy_decoder *d, uint32_t keep)
{
    while (d->shape_count > keep) {
        dec_shape *shape = &d->shapes[--d->shape_count];
        for (Py_ssize_t k = 0; k < shape->size; k++) {
            Py_DECREF(shape->keys[k]);
        }
        Py_XDECREF(shape->pattern);
        Py_XDECREF((PyObject *)shape->type);
        si_free(shape->keys);
    }
}

void
sipy__decoder_end(sipy_decoder *d)
{
    sipy_transfer *t = d->t;
    if (d->depth > 0 || d->memo_count > 0 || d->shape_count > 0) {
        PyObject *exc = PyErr_GetRaisedException();
        while (d->depth > 0) {
            sipy__dec_abandon(d);
        }
        for (uint32_t i = 0; i < d->memo_count; i++) {
            Py_DECREF(d->memo[i]);
        }
        sipy__dec_drop_shapes(d, 0);
        PyErr_SetRaisedException(exc);
    }
    if (t->spare_decoder == NULL && !t->cleared) {
        if (d->memo != d->first_memo) {
            si_free(d->memo);
            d->memo = d->first_memo;
            d->memo_cap = DEC_MEMO;
        }
        if (d->frames != d->first_frames) {
            si_free(d->frames);
            d->frames = d->first_frames;
            d->frame_cap = DEC_FRAMES;
        }
        t->spare_decoder = d;
    }
    else {
        sipy__decoder_free(d);
    }
}

dec_frame *
sipy__dec_push(sipy_decoder *d, dec_kind kind)
{
    if (SI_UNLIKELY(d->depth == d->frame_cap)) {
        size_t cap = d->frame_cap * 2;
        dec_frame *old = d->frames == d->first_frames ? NULL : d->frames;
        dec_frame *frames = si_realloc(old, cap * sizeof(dec_frame));
        if (frames == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        if (old == NULL) {
            memcpy(frames, d->first_frames, sizeof(d->first_frames));
        }
        d->frames = frames;
        d->frame_cap = cap;
    }
    dec_frame *f = &d->frames[d->depth++];
    f->kind = (uint8_t)kind;
    f->memo = false;
    f->obj = NULL;
    f->key = NULL;
    f->slots = NULL;
    f->i = 0;
    f->size = 0;
    return f;
}

int
sipy__dec_memo(sipy_decoder *d, PyObject *obj)
{
    if (SI_UNLIKELY(d->memo_count == d->memo_cap)) {
        if (d->memo_cap > UINT32_MAX / 2) {
            PyErr_NoMemory();
            return -1;
        }
        uint32_t cap = d->memo_cap * 4;
        PyObject **old = d->memo == d->first_memo ? NULL : d->memo;
        PyObject **memo = si_realloc(old, cap * sizeof(PyObject *));
        if (memo == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        if (old == NULL) {
            memcpy(memo, d->first_memo, sizeof(d->first_memo));
        }
        d->memo = memo;
        d->memo_cap = cap;
    }
    d->memo[d->memo_count++] = Py_NewRef(obj);
    return 0;
}

/* ---- delivering: v is consumed. -> 1 the frame has all, 0 it wants more, -1 ---- */

static int
into_list(dec_frame *f, PyObject *v)
{
    PyListObject *list = (PyListObject *)f->obj;
    if (SI_LIKELY(Py_SIZE(list) == f->i && list->allocated > f->i)) {
        list->ob_item[f->i] = v;
        Py_SET_SIZE(list, f->i + 1);
    }
    else {
        /* Python code has changed the list meanwhile. */
        int failed = PyList_Append(f->obj, v);
        Py_DECREF(v);
        if (failed) {
            return -1;
        }
    }
    return ++f->i == f->size;
}

static int
into_dict(dec_frame *f, PyObject *v)
{
    if (f->key == NULL) {
        f->key = v;
        return 0;
    }
    PyObject *key = f->key;
    f->key = NULL;
    /* Hashing may run code that makes the frames move. */
    bool last = ++f->i == f->size;
    int failed = PyDict_SetItem(f->obj, key, v);
    Py_DECREF(key);
    Py_DECREF(v);
    return failed ? -1 : last;
}

static int
into_set(dec_frame *f, PyObject *v)
{
    bool last = ++f->i == f->size;
    int failed = PySet_Add(f->obj, v);
    Py_DECREF(v);
    return failed ? -1 : last;
}

static inline int
deliver(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    switch (f->kind) {
        case DEC_LIST:
            return into_list(f, v);
        case DEC_TUPLE:
            f->slots[f->i++] = v;
            return f->i == f->size;
        case DEC_SHAPE:
            return sipy__dec_into_shape(d, f, v);
        case DEC_DICT:
            return into_dict(f, v);
        case DEC_OBJECT:
            return sipy__dec_into_object(d, f, v);
        case DEC_SET:
            return into_set(f, v);
        case DEC_REDUCE:
            return sipy__dec_reduce_part(d, f, v);
        case DEC_ARGS:
            d->args[f->i++] = v;
            return f->i == f->size;
        case DEC_TRY:
            return sipy__dec_into_try(d, f, v);
        default:
            Py_DECREF(v);
            sipy__damaged(d);
            return -1;
    }
}

/* ---- the loop ---- */

static PyObject *
read_ref(sipy_decoder *d)
{
    uint64_t number;
    if (dec_varint(d, &number) < 0 || number >= d->memo_count) {
        return sipy__damaged(d);
    }
    return Py_NewRef(d->memo[number]);
}

static PyObject *
read_ascii(sipy_decoder *d)
{
    Py_ssize_t size;
    if (dec_size(d, 1, &size) < 0) {
        return sipy__damaged(d);
    }
    PyObject *str = make_ascii(d->p, size);
    d->p += size;
    return str == NULL && !PyErr_Occurred() ? sipy__damaged(d) : str;
}

static PyObject *
read_name(sipy_decoder *d)
{
    Py_ssize_t size;
    if (dec_size(d, 1, &size) < 0 || size == 0 || size > 127) {
        return sipy__damaged(d);
    }
    PyObject *str = sipy__name(d, d->p, (size_t)size, true);
    d->p += size;
    return str;
}

/* The values that occur most, but for containers. NULL without an exception: tag is not
 * among them, or damaged. */
static inline PyObject *
read_common(sipy_decoder *d, unsigned tag)
{
    switch (tag) {
        case TAG_INT8:
            return dec_has(d, 1) ? PyLong_FromLong((int8_t)*d->p++) : NULL;
        case TAG_INT32: {
            int32_t value;
            if (!dec_has(d, 4)) {
                return NULL;
            }
            memcpy(&value, d->p, 4);
            d->p += 4;
            return PyLong_FromLong(value);
        }
        case TAG_FLOAT: {
            double value;
            if (!dec_has(d, 8)) {
                return NULL;
            }
            memcpy(&value, d->p, 8);
            d->p += 8;
            return PyFloat_FromDouble(value);
        }
        case TAG_ASCII:
            return read_ascii(d);
        case TAG_NAME:
            return read_name(d);
        case TAG_REF:
            return read_ref(d);
        case TAG_FLOATS:
            return sipy__dec_floats(d);
        case TAG_NONE:
            return Py_NewRef(Py_None);
        case TAG_TRUE:
            return Py_NewRef(Py_True);
        case TAG_FALSE:
            return Py_NewRef(Py_False);
        default:
            return NULL;
    }
}

/* The next value, or the beginning of one. -> 1 *v is a whole value | 0 a frame was
 * pushed or changed | -1 */
static inline int
read_value(sipy_decoder *d, PyObject **v)
{
    if (SI_UNLIKELY(d->p == d->end)) {
        sipy__damaged(d);
        return -1;
    }
    unsigned byte = *d->p++;
    unsigned tag = byte & ~TAG_MEMO;
    bool memo = (byte & TAG_MEMO) != 0;
    *v = read_common(d, tag);
    if (*v == NULL) {
        if (PyErr_Occurred()) {
            return -1;
        }
        int is = sipy__dec_container(d, tag, memo, v);
        if (is < 0) {
            return -1;
        }
        if (is > 0) {
            if (*v != NULL) {
                return 1;
            }
            dec_frame *f = &d->frames[d->depth - 1];
            int whole = sipy__dec_run(d, f);
            if (whole <= 0) {
                return whole;
            }
            return sipy__dec_finish(d, f, v) < 0 ? -1 : 1;
        }
        *v = sipy__dec_other(d, tag);
        if (*v == NULL) {
            return -1;
        }
    }
    if (memo && sipy__dec_memo(d, *v) < 0) {
        Py_CLEAR(*v);
        return -1;
    }
    return 1;
}

static PyObject *
run(sipy_decoder *d, size_t base)
{
    PyObject *v;
    for (;;) {
        int whole = read_value(d, &v);
        while (whole != 0) {
            if (SI_UNLIKELY(whole < 0)) {
                whole = sipy__dec_recover(d, base, &v);
                if (whole < 0) {
                    return NULL;
                }
            }
            if (d->depth == base) {
                return v;
            }
            whole = deliver(d, &d->frames[d->depth - 1], v);
            if (whole > 0) {
                if (d->frames[d->depth - 1].kind == DEC_ARGS) {
                    return Py_NewRef(Py_None);
                }
                if (sipy__dec_finish(d, &d->frames[d->depth - 1], &v) < 0) {
                    whole = -1;
                }
            }
        }
    }
}

PyObject *
sipy__decode_value(sipy_decoder *d)
{
    /* A large pure image makes only objects that live on, so looking for garbage among
     * them is time lost; it is looked for afterwards as usual. */
    bool rest = d->pure && (size_t)(d->end - d->p) >= REST_MIN && PyGC_IsEnabled();
    if (rest) {
        PyGC_Disable();
    }
    PyObject *v = run(d, d->depth);
    if (rest) {
        PyGC_Enable();
    }
    return v;
}

int
sipy__decode_values(sipy_decoder *d, PyObject **out, Py_ssize_t size)
{
    if (size == 0) {
        return 0;
    }
    dec_frame *f = sipy__dec_push(d, DEC_ARGS);
    if (f == NULL) {
        return -1;
    }
    d->args = out;
    f->size = size;
    PyObject *done = run(d, d->depth - 1);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    d->depth--;
    return 0;
}

static PyObject *
decode(sipy_transfer *t, const uint8_t *data, size_t len, const sipy_hold *holds,
       size_t hold_count)
{
    sipy_decoder *d = sipy__decoder_begin(t, data, len, holds, hold_count);
    if (d == NULL) {
        return NULL;
    }
    PyObject *obj = sipy__decode_value(d);
    if (obj != NULL && d->p != d->end) {
        Py_CLEAR(obj);
        sipy__damaged(d);
    }
    sipy__decoder_end(d);
    return obj;
}

PyObject *
sipy_decode(sipy_transfer *t, const sipy_image *image)
{
    return decode(t, image->data + image->prefix, image->len - image->prefix, image->holds,
                  image->hold_count);
}

PyObject *
sipy_decode_packet(sipy_transfer *t, const sipy_packet *packet)
{
    return decode(t, (const uint8_t *)packet + packet->offset, packet->len, packet->holds,
                  packet->hold_count);
}
