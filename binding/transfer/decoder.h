/* decoder.h — one decoding: its state, and what each kind of object reads. */
#ifndef SIPY_TRANSFER_DECODER_H
#define SIPY_TRANSFER_DECODER_H

#include "binding/transfer/internal.h"

typedef enum dec_kind {
    DEC_ROOT,
    DEC_LIST,
    DEC_TUPLE,
    DEC_DICT,
    DEC_SHAPE,  /* values of a shape into a dict */
    DEC_OBJECT, /* values of a shape into an instance */
    DEC_SET,
    DEC_PARTS, /* a few values, then an object is made from them */
    DEC_REDUCE,
    DEC_ARGS, /* the values of a call, into the array of the decoder */
    DEC_TRY,  /* what is told, then a value that a stand-in may replace */
} dec_kind;

typedef struct dec_shape {
    PyTypeObject *type; /* owned; NULL: a dict */
    PyObject **keys;    /* owned */
    Py_ssize_t size;
    PyObject *pattern; /* dict with these keys and None for values; NULL until needed */
    ptrdiff_t first;   /* offset of its first value in the key table, or -1 */
    uint32_t uses;
    bool shadowed; /* a property of type has the name of one of the keys */
} dec_shape;

typedef struct dec_frame {
    uint8_t kind;
    uint8_t tag;
    uint8_t parts; /* DEC_REDUCE: what follows */
    bool memo;
    bool tracked;  /* DEC_TUPLE: off the garbage collector's list until complete */
    PyObject *obj; /* owned */
    PyObject *key; /* owned: DEC_DICT key, DEC_REDUCE callable, DEC_TRY what is told */
    PyObject **slots;
    Py_ssize_t i;
    Py_ssize_t size;
    uint32_t shape; /* DEC_TRY: how many there were before */
    union {
        void *table;        /* key table that slots points into */
        const uint8_t *end; /* DEC_TRY: where the value ends */
    };
} dec_frame;

#define DEC_FRAMES 24
#define DEC_MEMO 64

struct sipy_decoder {
    const uint8_t *p;
    const uint8_t *end;
    sipy_transfer *t;
    const sipy_hold *holds;
    size_t hold_count;
    si_block *whole; /* borrowed: of a description, the one that it is a part of, or it
                      * itself; NULL: it is none */
    bool pure;
    bool damaged;    /* by nothing that a stand-in could have caused */
    bool replaced;   /* there are stand-ins for what could not be built */
    PyObject **memo; /* owned references */
    uint32_t memo_count;
    uint32_t memo_cap;
    size_t depth;
    size_t frame_cap;
    dec_frame *frames;
    uint32_t shape_count;
    uint32_t shape_cap;
    dec_shape *shapes;
    PyObject **args; /* DEC_ARGS */
    dec_frame first_frames[DEC_FRAMES];
    PyObject *first_memo[DEC_MEMO];
};

sipy_decoder *
sipy__decoder_begin(sipy_transfer *t, const uint8_t *data, size_t len,
                    const sipy_hold *holds, size_t hold_count);
void
sipy__decoder_end(sipy_decoder *d);
void
sipy__decoder_free(sipy_decoder *d);

/* The next value. -> new reference | NULL with an exception */
PyObject *
sipy__decode_value(sipy_decoder *d);

/* The next `size` values into out; on failure none of them is left there. */
int
sipy__decode_values(sipy_decoder *d, PyObject **out, Py_ssize_t size);

/* ValueError: the image is damaged. Returns NULL. */
PyObject *
sipy__damaged(sipy_decoder *d);

PyObject *
sipy__dec_text(sipy_decoder *d);
PyObject *
sipy__dec_scalar(sipy_decoder *d, unsigned tag);

/* Any value that is a whole without a frame. */
PyObject *
sipy__dec_other(sipy_decoder *d, unsigned tag);
PyObject *
sipy__dec_class(sipy_decoder *d);
PyObject *
sipy__dec_global(sipy_decoder *d);
PyObject *
sipy__dec_static(sipy_decoder *d);
PyObject *
sipy__dec_memoryview(sipy_decoder *d);
PyObject *
sipy__dec_pickle_buffer(sipy_decoder *d);
PyObject *
sipy__dec_array(sipy_decoder *d);
PyObject *
sipy__dec_held(sipy_decoder *d, unsigned tag);
PyObject *
sipy__dec_code(sipy_decoder *d);
/* What has an id and was described once: as it is known here, or else made from the
 * description. -> new reference | NULL with an exception */
PyObject *
sipy__dec_described(sipy_decoder *d, unsigned tag);
PyObject *
sipy__dec_module(sipy_decoder *d);
int
sipy__dec_reduce(sipy_decoder *d, unsigned tag, bool memo);
int
sipy__dec_reduce_part(sipy_decoder *d, dec_frame *f, PyObject *v);
/* __cause__, __context__, __suppress_context__ and notes, in this order; v is borrowed.
 * -> 0 | -1 */
int
sipy__dec_error_part(sipy_decoder *d, dec_frame *f, PyObject *v);

/* A TAG_TRY; pushes its frame. -> 0 | -1 */
int
sipy__dec_try(sipy_decoder *d);

/* The next value of it, consumed. -> 1 it has all, 0 it wants more, -1 */
int
sipy__dec_into_try(sipy_decoder *d, dec_frame *f, PyObject *v);

/* A TAG_STAND_IN. */
PyObject *
sipy__dec_stand_in(sipy_decoder *d);

/* What comes in the place of v, which should be an exception and is something else that one
 * was reduced to. -> new reference | NULL */
PyObject *
sipy__dec_no_exception(sipy_decoder *d, PyObject *v);

/* The current exception made a value fail: a stand-in for the smallest part above frame
 * base that may be replaced. -> 1 with *out, the reader behind that part | -1 there is
 * none, or the exception must pass */
int
sipy__dec_recover(sipy_decoder *d, size_t base, PyObject **out);

/* Drops the frame on top, which will not be finished. */
void
sipy__dec_abandon(sipy_decoder *d);

/* All but the first `keep`. */
void
sipy__dec_drop_shapes(sipy_decoder *d, uint32_t keep);

/* The block behind that hold, borrowed. -> NULL with an exception */
si_block *
sipy__dec_block(sipy_decoder *d, size_t number);

/* A short ASCII str, from the cache if it was seen before. size >= 1. */
PyObject *
sipy__name(sipy_decoder *d, const uint8_t *data, size_t size, bool interned);

/* A container: pushes its frame (*out NULL) or has the whole of it.
 * -> 1 | 0 tag is none | -1 */
int
sipy__dec_container(sipy_decoder *d, unsigned tag, bool memo, PyObject **out);

/* A list of floats alone. */
PyObject *
sipy__dec_floats(sipy_decoder *d);

/* The frame on top has all its values: takes it off. -> 0 with *out | -1 */
int
sipy__dec_finish(sipy_decoder *d, dec_frame *f, PyObject **out);

/* As many scalars as follow each other. -> 1 f has all, 0 it wants more, -1 */
int
sipy__dec_run(sipy_decoder *d, dec_frame *f);

/* A dict or instance by its shape; *out is it if it has no values. -> 0 | -1 */
int
sipy__dec_open_shape(sipy_decoder *d, bool object, bool define, bool memo, PyObject **out);

/* The next value of it, consumed. -> 1 it has all, 0 it wants more, -1 */
int
sipy__dec_into_shape(sipy_decoder *d, dec_frame *f, PyObject *v);
int
sipy__dec_into_object(sipy_decoder *d, dec_frame *f, PyObject *v);

/* The rest of it comes as pairs. -> 0 | -1 */
int
sipy__dec_break(sipy_decoder *d);
dec_frame *
sipy__dec_push(sipy_decoder *d, dec_kind kind);
int
sipy__dec_memo(sipy_decoder *d, PyObject *obj);

static inline bool
dec_has(const sipy_decoder *d, size_t size)
{
    return (size_t)(d->end - d->p) >= size;
}

/* -> 0 | -1 (no exception set) */
static inline int
dec_varint(sipy_decoder *d, uint64_t *out)
{
    const uint8_t *p = d->p;
    if (SI_LIKELY(p < d->end && *p < 0x80)) {
        *out = *p;
        d->p = p + 1;
        return 0;
    }
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && p < d->end; shift += 7) {
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            d->p = p;
            return 0;
        }
    }
    return -1;
}

/* A count of things of which each takes at least `unit` bytes of the rest. */
static inline int
dec_size(sipy_decoder *d, size_t unit, Py_ssize_t *out)
{
    uint64_t value;
    if (dec_varint(d, &value) < 0 || value > (uint64_t)(d->end - d->p) / unit) {
        return -1;
    }
    *out = (Py_ssize_t)value;
    return 0;
}

/* Sets the state of obj as `object` does, past what its class says. -> 0 | -1 */
int
sipy__set_plain_state(sipy_decoder *d, PyObject *obj, PyObject *state);

#endif /* SIPY_TRANSFER_DECODER_H */
