/* internal.h — what the files of the transfer engine share. */
#ifndef SIPY_TRANSFER_INTERNAL_H
#define SIPY_TRANSFER_INTERNAL_H

#include <string.h>

#include "binding/compat/compat_transfer.h"
#include "binding/transfer/format.h"
#include "binding/transfer/transfer.h"
#include "core/base/annotate.h"
#include "core/memory/block.h"

/* From this size on, bytes travel beside the image in a block of their own. */
#define SIPY_HELD_MIN ((size_t)65536)

typedef struct sipy_encoder sipy_encoder;
typedef struct sipy_decoder sipy_decoder;
typedef struct sipy_functions sipy_functions;

/* ---- the engine of one interpreter ---- */

/* Strings that the engine needs again and again, interned per interpreter. */
#define SIPY_TRANSFER_NAMES(X) \
    X(__main__)                \
    X(__name__)                \
    X(__module__)              \
    X(__qualname__)            \
    X(__dict__)                \
    X(__reduce_ex__)           \
    X(__reduce__)              \
    X(__getstate__)            \
    X(__setstate__)            \
    X(__getnewargs__)          \
    X(__getnewargs_ex__)       \
    X(__new__)                 \
    X(__slots__)               \
    X(__class__)               \
    X(__builtins__)            \
    X(__weakref__)             \
    X(__doc__)                 \
    X(__notes__)               \
    X(__cause__)               \
    X(__context__)             \
    X(__suppress_context__)    \
    X(__self__)                \
    X(__wrapped__)             \
    X(_fields)                 \
    X(_make)                   \
    X(append)                  \
    X(extend)                  \
    X(raw)                     \
    X(dispatch_table)          \
    X(__newobj__)              \
    X(__newobj_ex__)           \
    X(modules)

/* Objects that are looked up when they are first needed. */
#define SIPY_TRANSFER_OBJECTS(X)                        \
    X(dispatch_table)     /* copyreg.dispatch_table */  \
    X(newobj)             /* copyreg.__newobj__ */      \
    X(newobj_ex)          /* copyreg.__newobj_ex__ */   \
    X(slotnames)          /* copyreg._slotnames */      \
    X(object_reduce_ex)   /* object.__reduce_ex__ */    \
    X(object_reduce)      /* object.__reduce__ */       \
    X(object_getstate)    /* object.__getstate__ */     \
    X(object_getattribute) /* object.__getattribute__ */ \
    X(exception_reduce)   /* BaseException.__reduce__ */ \
    X(exporter_type)      /* see buffers.c */           \
    X(array_type)         /* array.array */             \
    X(globals)            /* (module, name) -> object, see classes.c */

/* How instances of a class are written; see classes.c. */
typedef enum sipy_class_kind {
    SIPY_KIND_REDUCE = 0, /* by what its __reduce_ex__ says */
    SIPY_KIND_DICT,       /* plain: the class and its __dict__ */
    SIPY_KIND_SLOTS,      /* plain: the class and its slots */
    SIPY_KIND_EMPTY,      /* plain: neither */
    SIPY_KIND_NAMEDTUPLE, /* made by collections.namedtuple or typing.NamedTuple */
    SIPY_KIND_SINGLETON,  /* a mark of dataclasses: a name in that module */
    SIPY_KIND_OWN,        /* one of our own types */
    SIPY_KIND_EXCEPTION,  /* a plain exception */
} sipy_class_kind;

/* Knowledge about one class, true while the class keeps its version. The class itself
 * is not owned: versions are never used twice, so a new class at the same address is
 * not mistaken for it. */
typedef struct sipy_class_info {
    PyTypeObject *type;
    unsigned int version;
    sipy_class_kind kind;
    uint64_t checked;           /* number of the encoding that last looked at it */
    PyObject *slots;            /* tuple of attribute names, SIPY_KIND_SLOTS */
    const sipy_crosser *crosser; /* SIPY_KIND_OWN */
} sipy_class_info;

#define SIPY_NAME_CACHE 512 /* a power of two */
#define SIPY_CLASS_CACHE 256

/* A short ASCII str that was decoded as a name before. */
typedef struct sipy_name {
    PyObject *str; /* NULL: free */
    bool interned;
} sipy_name;

struct sipy_transfer {
    sipy_hooks hooks;
    bool cleared;
    uint64_t encodings; /* how many so far */
    sipy_image scratch; /* packets are written here */
    bool scratch_busy;
    sipy_encoder *spare_encoder;
    sipy_decoder *spare_decoder;
    sipy_functions *functions; /* NULL until the first function crosses */
    PyObject *empty_tuple;
    PyObject *five; /* the pickle protocol that objects are asked for */
#define SIPY_DECLARE(name) PyObject *n_##name;
    SIPY_TRANSFER_NAMES(SIPY_DECLARE)
#undef SIPY_DECLARE
#define SIPY_DECLARE(name) PyObject *o_##name;
    SIPY_TRANSFER_OBJECTS(SIPY_DECLARE)
#undef SIPY_DECLARE
    sipy_class_info classes[SIPY_CLASS_CACHE];
    sipy_name names[SIPY_NAME_CACHE];
};

/* ---- encoding ---- */

typedef enum enc_kind {
    ENC_LIST,  /* obj: the list */
    ENC_PARTS, /* obj: a tuple whose items are written; subject is what they describe */
    ENC_DICT,  /* obj: the dict, as pairs */
    ENC_SHAPE, /* obj: the dict, values of a shape */
    ENC_SLOTS, /* obj: the instance, values of a shape */
    ENC_SET,   /* obj: the set; aside: its iterator */
    ENC_KEEP,  /* obj is only kept alive until here */
} enc_kind;

/* How the place of a part reads in a message. */
typedef enum enc_label {
    LABEL_NONE = 0,
    LABEL_INDEX,  /* [i] */
    LABEL_ATTR,   /* .name */
    LABEL_CALL,   /* func, args[i], name=... */
    LABEL_REDUCE, /* what __reduce_ex__ returned */
} enc_label;

typedef struct enc_shape {
    PyTypeObject *type; /* NULL: a dict */
    PyObject **keys;    /* owned */
    Py_ssize_t size;
    uint32_t number;
    int32_t credit; /* falls with every dict that broke off; negative: define anew */
} enc_shape;

typedef struct enc_frame {
    uint8_t kind;
    uint8_t label;
    bool owned;      /* obj is a reference of ours */
    bool memo;       /* subject gets its number once `due` parts are written */
    PyObject *obj;
    PyObject *subject;
    PyObject *aside; /* owned: iterator or value whose turn comes next */
    Py_ssize_t i;
    Py_ssize_t size;
    Py_ssize_t pos; /* PyDict_Next */
    Py_ssize_t due;
    size_t at;      /* where its tag is, counted from the start of the buffer */
    uint32_t shape_number;
    uint8_t parts; /* of a TAG_REDUCE */
} enc_frame;

typedef struct enc_slot {
    PyObject *key;
    uint32_t number;
    uint32_t round; /* valid only if it equals that of the encoder */
} enc_slot;

#define SIPY_SHAPE_REFUSED 1
#define SHAPE_KEYS_MAX 64 /* keys of a shape */
#define SHAPES_MAX 4096   /* shapes of an image */

#define ENC_FRAMES 24
#define ENC_MEMO_MIN 256
#define ENC_SHAPE_TABLE 64

struct sipy_encoder {
    uint8_t *p;   /* where the next byte goes */
    uint8_t *end; /* end of the buffer */
    sipy_transfer *t;
    sipy_image *image;
    unsigned flags;
    bool pure;    /* nothing so far needs Python code to decode */
    bool holding; /* Python code may have run: everything pointed to is owned */
    uint32_t round;
    uint32_t memo_count;
    uint32_t late;     /* open frames whose subject is not numbered yet */
    uint32_t reducing; /* nested reductions whose arguments are being written */
    size_t memo_mask;
    enc_slot *memo;
    PyObject **numbered; /* owned if holding */
    uint32_t numbered_cap;
    size_t depth;
    size_t frame_cap;
    enc_frame *frames;
    uint32_t shape_count;
    uint32_t shape_cap;
    enc_shape *shapes;
    uint32_t shape_table[ENC_SHAPE_TABLE]; /* number + 1; valid by shape_count */
    bool calling;        /* the value being written is what a call will call */
    bool in_function;    /* what is written belongs to a function: modules may cross */
    PyObject *culprit;   /* owned: what failed, for the error's message */
    PyObject *root;      /* how the outermost object is called then; owned */
    enc_frame first_frames[ENC_FRAMES];
};

/* -> an encoder that writes to image (which is empty), or NULL with MemoryError */
sipy_encoder *
sipy__encoder_begin(sipy_transfer *t, sipy_image *image, unsigned flags);

void
sipy__encoder_free(sipy_encoder *e);

/* Ends it; ok: the image is complete. Keeps the current exception. */
void
sipy__encoder_end(sipy_encoder *e, bool ok);

/* Writes obj and everything below it. -> 0 | -1 with an exception */
int
sipy__encode_value(sipy_encoder *e, PyObject *obj);

/* Makes room for size more bytes. -> 0 | -1 with MemoryError */
int
sipy__enc_grow(sipy_encoder *e, size_t size);

/* From here on, whatever is pointed to is owned. Call it before any Python code can
 * run. -> 0 | -1 with MemoryError */
int
sipy__enc_hold(sipy_encoder *e);

/* Pushes a frame; obj is borrowed unless steal. Frees obj on failure if steal.
 * -> frame | NULL with MemoryError */
enc_frame *
sipy__enc_push(sipy_encoder *e, enc_kind kind, PyObject *obj, bool steal);

void
sipy__enc_pop(sipy_encoder *e);

/* Begins to write obj, which is no scalar: a container pushes a frame. -> 0 | -1 */
int
sipy__enc_open(sipy_encoder *e, PyObject *obj, PyTypeObject *type);

void
sipy__enc_drop_shapes(sipy_encoder *e);

/* RuntimeError: what was written has changed meanwhile. -> -1 */
int
sipy__enc_changed(const char *what);

/* The number of obj in the memo, giving it the next one if it has none.
 * -> 1 it had one, 0 it is new, -1 MemoryError */
int
sipy__enc_number(sipy_encoder *e, PyObject *obj, uint32_t *number);

/* Whether obj has a number already. */
bool
sipy__enc_find(sipy_encoder *e, PyObject *obj, uint32_t *number);

/* Anything that is no scalar and no plain container. -> 0 | -1 with an exception */
int
sipy__enc_other(sipy_encoder *e, PyObject *obj, PyTypeObject *type);

int
sipy__enc_instance(sipy_encoder *e, PyObject *obj, PyTypeObject *type);
int
sipy__enc_reduce(sipy_encoder *e, PyObject *obj);

/* obj by the tuple that its __reduce__ gave (borrowed); more: with REDUCE_ERROR, three
 * more values. memo: obj gets its number after the arguments. */
int
sipy__enc_reduced(sipy_encoder *e, PyObject *obj, PyObject *reduced, unsigned parts,
                  PyObject *const *more, bool memo);

/* A tag, a byte, and then the items of tuple (stolen); after `due` of them obj exists. */
int
sipy__enc_parts(sipy_encoder *e, PyObject *obj, unsigned tag, unsigned parts,
                PyObject *tuple, Py_ssize_t due, bool memo);

/* A class by reference, else by value. */
int
sipy__enc_class(sipy_encoder *e, PyTypeObject *type);

/* Anything that can be imported by its module and qualified name, or by name.
 * -> 1 written | 0 it cannot, nothing was written | -1 */
int
sipy__enc_global(sipy_encoder *e, PyObject *obj, PyObject *name);

/* obj as that name of a module, unchecked. */
int
sipy__enc_reference(sipy_encoder *e, PyObject *obj, PyObject *module, PyObject *name);

/* A str that is part of something else. */
int
sipy__enc_text(sipy_encoder *e, PyObject *str);
int
sipy__enc_function(sipy_encoder *e, PyObject *func);
int
sipy__enc_local_class(sipy_encoder *e, PyTypeObject *type);
int
sipy__enc_module(sipy_encoder *e, PyObject *module);
int
sipy__enc_bytearray(sipy_encoder *e, PyObject *obj);
int
sipy__enc_memoryview(sipy_encoder *e, PyObject *obj);
int
sipy__enc_pickle_buffer(sipy_encoder *e, PyObject *obj);
int
sipy__enc_array(sipy_encoder *e, PyObject *obj);
bool
sipy__is_array(sipy_transfer *t, PyTypeObject *type);
int
sipy__enc_exception(sipy_encoder *e, PyObject *obj);

/* Large bytes beside the image: held with SIPY_SYNC (owner is pinned), else copied.
 * Writes the number of the hold and the size. -> 0 | -1 with an exception */
int
sipy__enc_held(sipy_encoder *e, unsigned tag, PyObject *owner, const void *data,
               size_t bytes, size_t size);

/* The image holds block from now on; takes the reference, also on failure. */
int
sipy__enc_hold_block(sipy_encoder *e, si_block *block);

/* A new block with these bytes. */
si_block *
sipy__copy_to_block(const void *data, size_t bytes);

/* An instance whose values a shape describes: its dict (borrowed, without holding the
 * instance's own), or its slots, or neither. -> 0 | -1 | SIPY_SHAPE_REFUSED: not so;
 * nothing was written */
int
sipy__enc_shaped(sipy_encoder *e, PyObject *obj, PyTypeObject *type, PyObject *dict,
                 PyObject *slots);

/* Turns the current exception into NotShareableError that says where culprit sits,
 * unless it is one that must pass unchanged. */
void
sipy__blame(sipy_encoder *e);

/* Sets NotShareableError (with cause, stolen, may be NULL). */
void
sipy__not_shareable(sipy_transfer *t, PyObject *message, PyObject *cause);

static inline int
enc_room(sipy_encoder *e, size_t size)
{
    if (SI_LIKELY((size_t)(e->end - e->p) >= size)) {
        return 0;
    }
    return sipy__enc_grow(e, size);
}

/* Room for ten bytes is there. */
static inline void
enc_varint(sipy_encoder *e, uint64_t value)
{
    uint8_t *p = e->p;
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    e->p = p;
}

/* Tag and number, with the room for them. */
static inline int
enc_tag(sipy_encoder *e, unsigned tag, uint64_t value)
{
    if (enc_room(e, 16) < 0) {
        return -1;
    }
    *e->p++ = (uint8_t)tag;
    enc_varint(e, value);
    return 0;
}

static inline int
enc_bare(sipy_encoder *e, unsigned tag)
{
    if (enc_room(e, 16) < 0) {
        return -1;
    }
    *e->p++ = (uint8_t)tag;
    return 0;
}

static inline size_t
enc_offset(const sipy_encoder *e)
{
    return (size_t)(e->p - e->image->data);
}

/* A reference to a numbered value if obj has a number (1), or 0 with *flag set to what
 * its tag must carry (its number is taken now), or -1. For objects that exist before
 * their parts do. */
int
sipy__enc_memo(sipy_encoder *e, PyObject *obj, unsigned *flag);

/* The same for objects whose parts come first: they are numbered by a frame's `due`. */
int
sipy__enc_memo_late(sipy_encoder *e, PyObject *obj, bool *memo);

/* ---- decoding ---- */

typedef enum dec_kind {
    DEC_ROOT,
    DEC_LIST,
    DEC_TUPLE,
    DEC_DICT,
    DEC_SHAPE,  /* values of a shape into a dict */
    DEC_OBJECT, /* values of a shape into an instance */
    DEC_SET,
    DEC_PARTS,  /* a few values, then an object is made from them */
    DEC_REDUCE,
    DEC_ARGS,   /* the values of a call, into the array of the decoder */
} dec_kind;

typedef struct dec_shape {
    PyTypeObject *type;  /* owned; NULL: a dict */
    PyObject **keys;     /* owned */
    Py_ssize_t size;
    PyObject *pattern;   /* dict with these keys and None for values; NULL until needed */
    ptrdiff_t first;     /* offset of its first value in the key table, or -1 */
    uint32_t uses;
} dec_shape;

typedef struct dec_frame {
    uint8_t kind;
    uint8_t tag;
    uint8_t parts; /* DEC_REDUCE: what follows */
    bool memo;
    bool tracked;  /* DEC_TUPLE: off the garbage collector's list until complete */
    PyObject *obj; /* owned */
    PyObject *key; /* owned: DEC_DICT key, DEC_REDUCE callable */
    PyObject **slots;
    Py_ssize_t i;
    Py_ssize_t size;
    uint32_t shape;
    void *table; /* key table that slots points into */
} dec_frame;

#define DEC_FRAMES 24
#define DEC_MEMO 64

struct sipy_decoder {
    const uint8_t *p;
    const uint8_t *end;
    sipy_transfer *t;
    const sipy_hold *holds;
    size_t hold_count;
    bool pure;
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
sipy__dec_memoryview(sipy_decoder *d);
PyObject *
sipy__dec_pickle_buffer(sipy_decoder *d);
PyObject *
sipy__dec_array(sipy_decoder *d);
PyObject *
sipy__dec_held(sipy_decoder *d, unsigned tag);
PyObject *
sipy__dec_function(sipy_decoder *d);
PyObject *
sipy__dec_local_class(sipy_decoder *d);
PyObject *
sipy__dec_module(sipy_decoder *d);
int
sipy__dec_reduce(sipy_decoder *d, unsigned tag, bool memo);
int
sipy__dec_reduce_part(sipy_decoder *d, dec_frame *f, PyObject *v);

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
sipy__dec_open_shape(sipy_decoder *d, bool object, bool define, bool memo,
                     PyObject **out);

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

/* ---- state ---- */

/* The objects copyreg.* and object.*; imports copyreg once. -> 0 | -1 */
int
sipy__need_pickling(sipy_transfer *t);

/* What is known about type, looked at anew once per encoding. -> info | NULL */
sipy_class_info *
sipy__class_info(sipy_encoder *e, PyTypeObject *type);

/* A class written in Python, without a __new__ of its own, down to object. */
bool
sipy__is_plain_class(PyTypeObject *type);

void
sipy__functions_clear(sipy_transfer *t);
int
sipy__functions_traverse(sipy_transfer *t, visitproc visit, void *arg);

#endif /* SIPY_TRANSFER_INTERNAL_H */
