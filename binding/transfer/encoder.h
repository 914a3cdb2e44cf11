/* encoder.h — one encoding: its state, and what each kind of object adds to it. */
#ifndef SIPY_TRANSFER_ENCODER_H
#define SIPY_TRANSFER_ENCODER_H

#include "binding/transfer/internal.h"

typedef enum enc_kind {
    ENC_LIST,  /* obj: the list */
    ENC_PARTS, /* obj: a tuple whose items are written; subject is what they describe */
    ENC_DICT,  /* obj: the dict, as pairs */
    ENC_SHAPE, /* obj: the dict, values of a shape */
    ENC_SLOTS, /* obj: the instance, values of a shape */
    ENC_SET,   /* obj: the set; aside: its iterator */
    ENC_KEEP,  /* obj is only kept alive until here */
    ENC_ERROR, /* as ENC_PARTS, of an exception */
    ENC_ITEMS, /* obj: a tuple, of which each item may be replaced by a stand-in */
    ENC_TRY,   /* obj may be replaced by a stand-in; see stand_ins.c */
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
    ptrdiff_t first; /* offset of the first value in a dict's table, or -1 */
    uint32_t number;
    int32_t credit; /* falls with every dict that broke off; negative: define anew */
} enc_shape;

typedef struct enc_frame {
    uint8_t kind;
    uint8_t label;
    bool owned;        /* obj is a reference of ours */
    bool memo;         /* subject gets its number once `due` parts are written */
    uint32_t numbered; /* ENC_TRY: how many objects had a number before */
    PyObject *obj;
    PyObject *subject;
    PyObject *aside; /* owned: iterator or value whose turn comes next */
    Py_ssize_t i;
    Py_ssize_t size; /* ENC_TRY: what it adds to `inside` */
    Py_ssize_t pos;  /* PyDict_Next; ENC_TRY: where the value begins */
    Py_ssize_t due;
    size_t at; /* where its tag is, counted from the start of the buffer */
    uint32_t shape_number;
    uint32_t before; /* see sipy_encoder.open; 1 + the place of a frame, or 0 */
    uint8_t parts;   /* of a TAG_REDUCE */
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
#define ENC_OPEN_TABLE 256

struct sipy_encoder {
    uint8_t *p;   /* where the next byte goes */
    uint8_t *end; /* end of the buffer */
    sipy_transfer *t;
    sipy_image *image;
    unsigned flags;
    bool pure;    /* nothing so far needs Python code to decode */
    bool holding; /* Python code may have run: everything pointed to is owned */
    /* The description that it writes; NULL: it is none. */
    struct building *building;
    /* Number of the outermost encoding that it is part of. */
    uint64_t scope;
    uint32_t round;
    uint32_t memo_count;
    uint32_t late;     /* open frames whose subject is not numbered yet */
    uint32_t reducing; /* nested reductions whose arguments are being written */
    uint32_t trying;   /* frames of kind ENC_TRY */
    uint32_t inside;   /* exceptions among those, but causes and contexts */
    size_t told;       /* characters in what is told of exceptions */
    uint32_t settled;  /* see sipy__enc_settle */
    bool quiet;        /* exceptions get no note of their traceback */
    size_t memo_mask;
    uint32_t memo_limit; /* it grows when it has that many */
    enc_slot *memo;
    PyObject **numbered; /* owned if holding; NULL: taken back */
    uint32_t numbered_cap;
    size_t depth;
    size_t frame_cap;
    enc_frame *frames;
    /* An index of the subjects of the first `indexed` frames, made when it is asked for:
     * 1 + the place of the last frame whose subject has that hash. */
    uint32_t open[ENC_OPEN_TABLE];
    size_t indexed;
    uint32_t shape_count;
    uint32_t shape_cap;
    enc_shape *shapes;
    uint32_t shape_table[ENC_SHAPE_TABLE]; /* number + 1; valid by shape_count */
    bool calling;      /* the value being written is what a call will call */
    bool in_function;  /* what is written belongs to a function: modules may cross */
    PyObject *guarded; /* has one reference more while it is looked at */
    PyObject *culprit; /* owned: what failed, for the error's message */
    PyObject *root;    /* how the outermost object is called then; owned */
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
 * run. */
void
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

/* All but the first `keep`. */
void
sipy__enc_drop_shapes(sipy_encoder *e, uint32_t keep);

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

/* obj by the tuple that its __reduce__ gave (borrowed); more: with REDUCE_ERROR, four
 * more values. memo: obj gets its number after the arguments. */
int
sipy__enc_reduced(sipy_encoder *e, PyObject *obj, PyObject *reduced, unsigned parts,
                  PyObject *const *more, bool memo);

/* A tag, a byte, and then the items of tuple (stolen); after `due` of them obj
 * exists. */
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

/* -> 1 module.name is obj | 0 it is not, or not to be found | -1 */
int
sipy__is_found(PyObject *module, PyObject *name, PyObject *obj);

/* obj as that name of a module, unchecked. */
int
sipy__enc_reference(sipy_encoder *e, PyObject *obj, PyObject *module, PyObject *name);

/* An attribute of a module that is imported for it. -> new reference | NULL */
PyObject *
sipy__from_module(const char *module, const char *name);

/* dict[name], borrowed. NULL: it has none, or with an exception. */
PyObject *
sipy__dict_item(PyObject *dict, const char *name);

/* A bound method. */
int
sipy__enc_method(sipy_encoder *e, PyObject *obj);

/* A method that the module of its object's class has as a function (random.choice).
 * -> 1 written | 0 obj is none, nothing was written | -1 */
int
sipy__enc_kept_method(sipy_encoder *e, PyObject *obj);

/* A str that is part of something else. */
int
sipy__enc_text(sipy_encoder *e, PyObject *str);
int
sipy__enc_code(sipy_encoder *e, PyObject *code);
int
sipy__enc_function(sipy_encoder *e, PyObject *func);
int
sipy__enc_local_class(sipy_encoder *e, PyTypeObject *type);
/* A member of an enum whose description is being written. -> 1 written | 0 it is none
 * | -1 */
int
sipy__enc_own_member(sipy_encoder *e, PyObject *obj);
/* A type variable, NewType or type alias by value; memo: see sipy__enc_memo_late.
 * -> 1 written | 0 it is none of these | -1 */
int
sipy__enc_type_param(sipy_encoder *e, PyObject *obj, bool memo);
/* What lru_cache made of something. -> as above */
int
sipy__enc_cached(sipy_encoder *e, PyObject *obj, bool memo);
/* A singledispatchmethod of a class that crosses by value. -> as above */
int
sipy__enc_dispatch_method(sipy_encoder *e, PyObject *obj);
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

/* The frames of errors.c and stand_ins.c. -> 1 *next is to be opened, 0 the frame on top
 * is complete, -1 */
int
sipy__enc_go_error(sipy_encoder *e, enc_frame *f, PyObject **next);
int
sipy__enc_go_items(sipy_encoder *e, enc_frame *f, PyObject **next);
int
sipy__enc_go_try(sipy_encoder *e, enc_frame *f);

/* The parts that f's subject is made from are written: it takes its number now, unless
 * one of them led back to it. -> 1 it has one already, and the rest is not wanted */
int
sipy__enc_number_late(sipy_encoder *e, enc_frame *f);

/* Takes back all numbers but the first `keep`. Runs destructors. */
void
sipy__enc_forget_numbers(sipy_encoder *e, uint32_t keep);

/* Whether obj is being written, and does not exist yet where its parts are built. */
bool
sipy__enc_is_open(sipy_encoder *e, PyObject *obj);

/* Takes frame f, the last in the index of open subjects, out of it. */
void
sipy__enc_unindex(sipy_encoder *e, const enc_frame *f);

/* Takes back the numbers from e->settled on of what is written anew as easily as referred
 * to, such as str, classes and type variables: no value that may be given up may be the
 * only one that has it. Runs destructors. */
void
sipy__enc_settle(sipy_encoder *e);

/* obj comes next, and may be replaced by a stand-in from here on; link: it is a cause or
 * context. -> 0 | -1 */
int
sipy__enc_try(sipy_encoder *e, PyObject *obj, bool link);

/* The current exception made what is written fail: writes a stand-in for the smallest part
 * that may be replaced, above frame base. -> 0 go on with the frame on top | -1 there is no
 * such part, or the exception must pass */
int
sipy__enc_recover(sipy_encoder *e, size_t base);

/* An exception's text has those of its arguments in it. So what is told of exceptions that
 * are arguments of each other ends when that many are, or below a text of that length. */
#define TELL_INSIDE 16
#define TELL_LONG ((size_t)16 << 10)

/* What is told of an exception that a stand-in may replace; see sipy_hooks. It is left out
 * or cut where it could be told again and again. Leaves no exception but MemoryError.
 * -> new reference | NULL */
PyObject *
sipy__tell(sipy_encoder *e, PyObject *exc);

/* The traceback of exc without head and last newline, as the traceback module writes it;
 * empty if it has none or it cannot be written. -> new reference | NULL with MemoryError */
PyObject *
sipy__traceback_lines(PyObject *exc);

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

/* A reference to a numbered value if obj has a number (1), or 0, or -1. */
int
sipy__enc_ref_if_known(sipy_encoder *e, PyObject *obj);

/* sipy__enc_memo for objects that may be met twice. */
int
sipy__enc_memo_shared(sipy_encoder *e, PyObject *obj, unsigned *flag);

/* Whether nothing else refers to obj, not even weakly: Python code may follow such a
 * reference later and put obj in what it is asked for. */
static inline bool
enc_is_lone(const sipy_encoder *e, PyObject *obj)
{
    Py_ssize_t weak = Py_TYPE(obj)->tp_weaklistoffset;
    return Py_REFCNT(obj) - (obj == e->guarded) == 1 &&
           (weak == 0 || *(PyObject **)((char *)obj + weak) == NULL);
}

/* A reference to a numbered value if obj has a number (1), or 0 with *flag set to what
 * its tag must carry (its number is taken now), or -1. For objects that exist before
 * their parts do. */
static inline int
sipy__enc_memo(sipy_encoder *e, PyObject *obj, unsigned *flag)
{
    *flag = 0;
    if (e->late == 0 && enc_is_lone(e, obj)) {
        return 0;
    }
    return sipy__enc_memo_shared(e, obj, flag);
}

#define ENC_MANY \
    16384            /* numbered objects, from which on short text is numbered sparingly */
#define ENC_SHORT 64 /* characters or bytes */
#define ENC_RARE 3   /* references to a text that can hardly be met often */

/* The same for a str or bytes of that size, which may arrive as two equal ones: in a large
 * value, numbering short ones that few refer to takes more memory than it can spare. */
static inline int
enc_memo_text(sipy_encoder *e, PyObject *obj, Py_ssize_t size, unsigned *flag)
{
    if (SI_UNLIKELY(e->memo_count >= ENC_MANY) && size <= ENC_SHORT &&
        Py_REFCNT(obj) <= ENC_RARE) {
        return sipy__enc_ref_if_known(e, obj);
    }
    return sipy__enc_memo_shared(e, obj, flag);
}

/* The same for objects whose parts come first: they are numbered by a frame's `due`. */
int
sipy__enc_memo_late(sipy_encoder *e, PyObject *obj, bool *memo);

/* The same for one that is about to run Python code; then everything is held.
 * -> 1 go on | 0 it is known and written | -1 */
int
sipy__enc_begin_late(sipy_encoder *e, PyObject *obj, bool *memo);

/* What is known about type, looked at anew once per encoding. -> info | NULL */
sipy_class_info *
sipy__class_info(sipy_encoder *e, PyTypeObject *type);

#endif /* SIPY_TRANSFER_ENCODER_H */
