/* encode.c — the loop that writes an image, without recursion.
 *
 * What it is   One pass over the objects. Scalars are written where they are met; a
 *              container pushes a frame that remembers how far it is.
 * Ownership    As long as no Python code can have run, nothing changes and everything
 *              is borrowed. sipy__enc_hold, called before the first such moment, takes
 *              references to all that frames and memo point to; from then on both own.
 * Memo         Only objects with more than one reference can be met twice, so only
 *              those are looked up. Objects that exist before their parts (list, dict)
 *              are numbered before them; those made from their parts (tuple) after
 *              them, and if a part led back to the same object, the outer one becomes
 *              an "again". While such an object is being written, what is below it may
 *              be met twice although it has one reference only (`late`).
 */
#include "binding/transfer/encoder.h"
#include "binding/transfer/scalars.h"
#include "core/base/alloc.h"

/* ---- frames ---- */

enc_frame *
sipy__enc_push(sipy_encoder *e, enc_kind kind, PyObject *obj, bool steal)
{
    if (SI_UNLIKELY(e->depth == e->frame_cap)) {
        size_t cap = e->frame_cap * 2;
        enc_frame *old = e->frames == e->first_frames ? NULL : e->frames;
        enc_frame *frames = si_realloc(old, cap * sizeof(enc_frame));
        if (frames == NULL) {
            if (steal) {
                Py_DECREF(obj);
            }
            PyErr_NoMemory();
            return NULL;
        }
        if (old == NULL) {
            memcpy(frames, e->first_frames, sizeof(e->first_frames));
        }
        e->frames = frames;
        e->frame_cap = cap;
    }
    enc_frame *f = &e->frames[e->depth++];
    f->kind = (uint8_t)kind;
    f->label = LABEL_NONE;
    f->memo = false;
    f->obj = obj;
    f->subject = NULL;
    f->aside = NULL;
    f->i = 0;
    f->due = -1;
    f->owned = steal;
    if (e->holding && !steal) {
        Py_INCREF(obj);
        f->owned = true;
    }
    return f;
}

void
sipy__enc_pop(sipy_encoder *e)
{
    enc_frame *f = &e->frames[--e->depth];
    PyObject *aside = f->aside;
    if (SI_UNLIKELY(e->indexed > e->depth)) {
        sipy__enc_unindex(e, f);
    }
    if (f->owned) {
        Py_DECREF(f->obj);
    }
    Py_XDECREF(aside);
}

void
sipy__enc_hold(sipy_encoder *e)
{
    e->pure = false;
    if (e->holding) {
        return;
    }
    e->holding = true;
    for (size_t i = 0; i < e->depth; i++) {
        if (!e->frames[i].owned) {
            Py_INCREF(e->frames[i].obj);
            e->frames[i].owned = true;
        }
    }
    for (uint32_t i = 0; i < e->memo_count; i++) {
        Py_XINCREF(e->numbered[i]);
    }
}

int
sipy__enc_begin_late(sipy_encoder *e, PyObject *obj, bool *memo)
{
    /* What waits for its number may be written twice, and all that is below it. */
    int known;
    if (e->late > 0) {
        *memo = true;
        known = sipy__enc_ref_if_known(e, obj);
    }
    else {
        known = sipy__enc_memo_late(e, obj, memo);
    }
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    sipy__enc_hold(e);
    return 1;
}

/* ---- the frames, each going on until it meets a container or its end ----
 * -> 1 *next is to be opened, 0 the frame is complete, -1 */

static int
go_list(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    PyObject *list = f->obj;
    while (f->i < f->size) {
        if (SI_UNLIKELY(PyList_GET_SIZE(list) != f->size)) {
            return sipy__enc_changed("list");
        }
        PyObject *item = PyList_GET_ITEM(list, f->i);
        f->i++;
        int written = write_scalar(e, item);
        if (written <= 0) {
            *next = item;
            return written == 0 ? 1 : -1;
        }
    }
    return 0;
}

int
sipy__enc_number_late(sipy_encoder *e, enc_frame *f)
{
    uint32_t number;
    f->memo = false;
    e->late--;
    int known = sipy__enc_number(e, f->subject, &number);
    if (known <= 0) {
        return known;
    }
    if (enc_room(e, 16) < 0) {
        return -1;
    }
    uint8_t *tag = e->image->data + f->at;
    *tag = (uint8_t)((*tag & ~TAG_MEMO) + 1);
    enc_varint(e, number);
    return 1;
}

static int
go_parts(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    for (;;) {
        if (f->i == f->due) {
            if (f->label == LABEL_REDUCE) {
                e->reducing--;
            }
            f->due = -1;
            if (f->memo) {
                int known = sipy__enc_number_late(e, f);
                if (known != 0) {
                    return known < 0 ? -1 : 0;
                }
            }
        }
        if (f->i >= f->size) {
            return 0;
        }
        PyObject *item = PyTuple_GET_ITEM(f->obj, f->i);
        f->i++;
        int written = write_scalar(e, item);
        if (written <= 0) {
            *next = item;
            return written == 0 ? 1 : -1;
        }
    }
}

static int
go_dict(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    PyObject *key, *value;
    if (f->aside != NULL) {
        /* The key was a container; now its value. It lives until its own turn ends. */
        value = f->aside;
        f->aside = NULL;
        int written = write_scalar(e, value);
        if (written != 0) {
            Py_DECREF(value);
            if (written < 0) {
                return -1;
            }
        }
        else {
            if (sipy__enc_push(e, ENC_KEEP, value, true) == NULL) {
                return -1;
            }
            *next = value;
            return 1;
        }
    }
    while (f->i < f->size) {
        if (PyDict_GET_SIZE(f->obj) != f->size ||
            !PyDict_Next(f->obj, &f->pos, &key, &value)) {
            return sipy__enc_changed("dict");
        }
        f->i++;
        int written = write_scalar(e, key);
        if (written <= 0) {
            f->aside = Py_NewRef(value);
            *next = key;
            return written == 0 ? 1 : -1;
        }
        written = write_scalar(e, value);
        if (written <= 0) {
            *next = value;
            return written == 0 ? 1 : -1;
        }
    }
    return 0;
}

/* The dict at f does not go on as its shape does: the rest follows as pairs. */
static int
break_shape(sipy_encoder *e, enc_frame *f, Py_ssize_t pos)
{
    e->shapes[f->shape_number].credit--;
    f->kind = ENC_DICT;
    f->pos = pos;
    return enc_tag(e, TAG_BREAK, (uint64_t)(f->size - f->i));
}

/* The values of a dict that is laid out as its shape foretells, without a look-up.
 * -> as the frames; 2: not laid out so from f->i on */
static inline int
go_table(sipy_encoder *e, enc_frame *f, const enc_shape *shape, PyObject **next)
{
    PyObject **keys = shape->keys;
    while (f->i < f->size) {
        const PyDictObject *dict = (const PyDictObject *)f->obj;
        if (SI_UNLIKELY(dict->ma_used != f->size || dict->ma_values != NULL)) {
            return 2;
        }
        PyObject *const *at = dict_values(f->obj, shape->first) + 2 * f->i;
        PyObject *value = at[0];
        if (SI_UNLIKELY(at[-1] != keys[f->i] || value == NULL)) {
            return 2;
        }
        f->i++;
        int written = write_scalar(e, value);
        if (written <= 0) {
            *next = value;
            return written == 0 ? 1 : -1;
        }
    }
    return 0;
}

static int
go_shape(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    const enc_shape *shape = &e->shapes[f->shape_number];
    PyObject **keys = shape->keys;
    PyObject *key, *value;
    if (SI_LIKELY(shape->first >= 0 && f->pos == 0)) {
        int step = go_table(e, f, shape, next);
        if (SI_LIKELY(step != 2)) {
            return step;
        }
        /* From here on by the book: past what was written. */
        for (Py_ssize_t i = 0; i < f->i; i++) {
            if (!PyDict_Next(f->obj, &f->pos, &key, &value)) {
                return sipy__enc_changed("dict");
            }
        }
    }
    while (f->i < f->size) {
        Py_ssize_t pos = f->pos;
        if (SI_UNLIKELY(PyDict_GET_SIZE(f->obj) != f->size ||
                        !PyDict_Next(f->obj, &f->pos, &key, &value))) {
            return sipy__enc_changed("dict");
        }
        if (SI_UNLIKELY(key != keys[f->i])) {
            return break_shape(e, f, pos) < 0 ? -1 : go_dict(e, f, next);
        }
        f->i++;
        int written = write_scalar(e, value);
        if (written <= 0) {
            *next = value;
            return written == 0 ? 1 : -1;
        }
    }
    return 0;
}

static int
go_slots(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    while (f->i < f->size) {
        PyObject *name = e->shapes[f->shape_number].keys[f->i];
        PyObject *value = PyObject_GenericGetAttr(f->obj, name);
        f->i++;
        if (SI_UNLIKELY(value == NULL)) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
                return -1;
            }
            PyErr_Clear();
            if (enc_bare(e, TAG_UNSET) < 0) {
                return -1;
            }
            continue;
        }
        int written = write_scalar(e, value);
        if (written == 0) {
            /* The instance holds it too, but its slot may be set meanwhile. */
            if (sipy__enc_push(e, ENC_KEEP, value, true) == NULL) {
                return -1;
            }
            *next = value;
            return 1;
        }
        Py_DECREF(value);
        if (written < 0) {
            return -1;
        }
    }
    return 0;
}

static int
go_set(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    PyObject *item;
    while ((item = Py_TYPE(f->aside)->tp_iternext(f->aside)) != NULL) {
        f->i++;
        int written = write_scalar(e, item);
        if (written == 0) {
            if (sipy__enc_push(e, ENC_KEEP, item, true) == NULL) {
                return -1;
            }
            *next = item;
            return 1;
        }
        Py_DECREF(item);
        if (written < 0) {
            return -1;
        }
    }
    if (PyErr_Occurred() || f->i != f->size) {
        return PyErr_Occurred() ? -1 : sipy__enc_changed("set");
    }
    return f->memo && sipy__enc_number_late(e, f) < 0 ? -1 : 0;
}

static inline int
go(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    switch (f->kind) {
        case ENC_LIST:
            return go_list(e, f, next);
        case ENC_PARTS:
            return go_parts(e, f, next);
        case ENC_DICT:
            return go_dict(e, f, next);
        case ENC_SHAPE:
            return go_shape(e, f, next);
        case ENC_SLOTS:
            return go_slots(e, f, next);
        case ENC_SET:
            return go_set(e, f, next);
        case ENC_ERROR:
            return sipy__enc_go_error(e, f, next);
        case ENC_ITEMS:
            return sipy__enc_go_items(e, f, next);
        case ENC_TRY:
            return sipy__enc_go_try(e, f);
        default:
            return 0;
    }
}

int
sipy__encode_value(sipy_encoder *e, PyObject *obj)
{
    size_t base = e->depth;
    int written = write_scalar(e, obj);
    if (written != 0) {
        return written < 0 ? -1 : 0;
    }
    PyObject *next = obj;
    for (;;) {
        if (SI_UNLIKELY(sipy__enc_open(e, next, Py_TYPE(next)) < 0) &&
            sipy__enc_recover(e, base) < 0) {
            return -1;
        }
        for (;;) {
            if (e->depth == base) {
                return 0;
            }
            int step = go(e, &e->frames[e->depth - 1], &next);
            if (SI_UNLIKELY(step < 0)) {
                if (sipy__enc_recover(e, base) < 0) {
                    return -1;
                }
                continue;
            }
            if (step > 0) {
                break;
            }
            sipy__enc_pop(e);
        }
    }
}

int
sipy_encode(sipy_transfer *t, PyObject *obj, unsigned flags, sipy_image *image)
{
    sipy_encoder *e = sipy__encoder_begin(t, image, flags);
    if (e == NULL) {
        return -1;
    }
    if (SI_UNLIKELY(sipy__encode_value(e, obj) < 0)) {
        sipy__blame(e);
        sipy__encoder_end(e, false);
        return -1;
    }
    sipy__encoder_end(e, true);
    return 0;
}
