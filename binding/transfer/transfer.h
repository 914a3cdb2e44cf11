/* transfer.h — how values, functions and calls cross between interpreters.
 *
 * Model      The sender writes a compact image of a value into raw memory, attached to
 *            its own interpreter; the receiver builds its own objects from it, attached
 *            to its own. Nothing in an image is an object of anybody, except for pins.
 * Images     A growable buffer and a list of holds: references to raw memory (blocks,
 *            channels) that the image keeps while it is in flight. One image can be
 *            decoded any number of times, also after a decode that failed.
 * Pins       With SIPY_SYNC the sender promises to stay blocked, and its interpreter to
 *            stay alive, until the receiver is done. Then large bytes and str are read
 *            in place, and the image keeps references to them: such an image is reset
 *            by its sender, attached.
 * Exceptions bring the traceback of their sender as a note. What one of them has as its
 *            cause or context, and whatever is below that, is replaced by a stand-in if
 *            it cannot cross.
 * Errors     What cannot cross raises NotShareableError that says which object, where
 *            in its container, and why (__cause__). A damaged image raises ValueError
 *            or the error of what it asks for; it never crashes.
 */
#ifndef SIPY_TRANSFER_TRANSFER_H
#define SIPY_TRANSFER_TRANSFER_H

#include "binding/compat/compat.h"

typedef struct sipy_transfer sipy_transfer;
typedef struct sipy_crosser sipy_crosser;
typedef struct sipy_hooks sipy_hooks;

typedef enum sipy_flags {
    SIPY_ASYNC = 0,      /* the image may outlive the call, and its sender */
    SIPY_SYNC = 1u << 0, /* the sender stays blocked until the receiver is done */
    SIPY_STAY = 1u << 1, /* the sender goes on, but its interpreter stays: what cannot
                          * change is read in place */
    /* An exception that nobody sent on purpose: whatever of it cannot cross is replaced
     * by a stand-in, except for itself. If it has no __cause__, its traceback is shown in
     * another way and it gets no note of it. */
    SIPY_FAILED = 1u << 2,
} sipy_flags;

/* What an image keeps alive: drop(ptr) ends it. Any thread, attached or not, except for
 * pins. */
typedef struct sipy_hold {
    void *ptr;
    void (*drop)(void *ptr);
} sipy_hold;

typedef struct sipy_image {
    uint8_t *data; /* prefix bytes that nobody wrote, then the image */
    size_t len;    /* bytes used, prefix included */
    size_t cap;
    size_t prefix;
    sipy_hold *holds;
    uint32_t hold_count;
    uint32_t hold_cap;
} sipy_image;

/* An image that sipy_encode_packet has put behind a header, in the same memory. */
typedef struct sipy_packet {
    size_t len;       /* bytes of the image */
    size_t offset;    /* where they begin, counted from this struct */
    sipy_hold *holds; /* inside the same memory */
    size_t hold_count;
} sipy_packet;

/* How one of our own types crosses. pack describes obj in two numbers and adds to the
 * image what keeps them valid in flight (sipy_image_hold); unpack makes the object from
 * them any number of times. Both run attached. -> 0 | -1, object | NULL, with
 * exception */
struct sipy_crosser {
    uint8_t tag; /* 1..255, unique among crossers */
    int (*pack)(void *owner, PyObject *obj, uint64_t out[2], sipy_image *image);
    PyObject *(*unpack)(void *owner, const uint64_t in[2]);
};

/* What the engine asks of the rest of the binding, per interpreter. Attached to it. */
struct sipy_hooks {
    /* The class NotShareableError, borrowed; NULL with an exception. */
    PyObject *(*not_shareable)(void *owner);
    /* What stands for a part of an exception that could not cross, for the given reason
     * (str): told is None or, of an exception, a tuple of str: name, qualified name and
     * module of its class, message, traceback, then its notes. -> new reference | NULL
     * with an exception. NULL as hook: a NotShareableError does. */
    PyObject *(*stand_in)(void *owner, PyObject *told, PyObject *reason);
    /* How type crosses, or NULL (no exception) if it is not one of ours. */
    const sipy_crosser *(*find_crosser)(void *owner, PyTypeObject *type);
    /* The crosser with that tag, or NULL (no exception). */
    const sipy_crosser *(*crosser_by_tag)(void *owner, uint8_t tag);
    /* Any thread, attached to some other interpreter or to none: has fn(arg) called
     * once, attached to interpreter interp_id, now or soon, even if it is idle.
     * false: that interpreter is gone, and fn will not be called. */
    bool (*run_at_home)(int64_t interp_id, void (*fn)(void *arg), void *arg);
    void *owner;
    int64_t interp_id;
};

/* Makes the engine of the current interpreter. Imports nothing; costs a few
 * microseconds. -> engine | NULL with an exception */
sipy_transfer *
sipy_transfer_new(const sipy_hooks *hooks);

/* Drops the functions, classes and values that the engine remembers, so that they end when
 * the interpreter's own references do; what crosses afterwards is shipped anew. Attached to
 * its interpreter, while no image is written or read there; runs destructors. */
void
sipy_transfer_forget(sipy_transfer *t);

/* Drops all objects of the engine. Attached to its interpreter, before that ends; what
 * others still use of its memory stays alive. Idempotent. */
void
sipy_transfer_clear(sipy_transfer *t);

/* Frees the cleared engine. */
void
sipy_transfer_free(sipy_transfer *t);

/* For the tp_traverse of whoever owns t. */
int
sipy_transfer_traverse(sipy_transfer *t, visitproc visit, void *arg);

/* ---- images ---- */

void
sipy_image_init(sipy_image *image);

/* Empties the image and drops its holds; keeps a buffer of ordinary size for reuse.
 * An image with pins: attached to its sender. */
void
sipy_image_reset(sipy_image *image);

/* As reset, and frees the buffer. Safe on zeroed memory and after itself. */
void
sipy_image_fini(sipy_image *image);

/* Takes over one reference to ptr on success; on failure (MemoryError) the caller
 * keeps it. -> 0 | -1 with an exception */
int
sipy_image_hold(sipy_image *image, void *ptr, void (*drop)(void *ptr));

/* ---- values ---- */

/* Writes obj to the (empty) image. Attached; may run Python code of obj's class. On
 * failure the image is reset. -> 0 | -1 with NotShareableError, or MemoryError,
 * KeyboardInterrupt and the like unchanged */
int
sipy_encode(sipy_transfer *t, PyObject *obj, unsigned flags, sipy_image *image);

/* A new object from the image, which is unchanged. Attached to the receiver; may run
 * Python code. -> new reference | NULL with an exception */
PyObject *
sipy_decode(sipy_transfer *t, const sipy_image *image);

/* Encodes obj behind header_size zeroed bytes, all in one allocation of si_alloc, with
 * a sipy_packet after the header; header_size is a multiple of 16. Small values cost
 * one small allocation. -> memory | NULL with an exception as sipy_encode */
void *
sipy_encode_packet(sipy_transfer *t, PyObject *obj, unsigned flags, size_t header_size);

/* As sipy_decode. */
PyObject *
sipy_decode_packet(sipy_transfer *t, const sipy_packet *packet);

/* Drops the holds; the caller then frees the memory with si_free. Any thread,
 * attached or not. */
void
sipy_packet_fini(sipy_packet *packet);

static inline sipy_packet *
sipy_packet_behind(void *header, size_t header_size)
{
    return (sipy_packet *)((char *)header + header_size);
}

/* An object that stands for obj, which has a buffer, and crosses in place: the receiver
 * gets a NumPy array or a memoryview over the same memory. Attached to t's interpreter.
 * -> new reference | NULL with TypeError, BufferError or the like */
PyObject *
sipy_share(sipy_transfer *t, PyObject *obj);

/* code as bytes, for CPython's marshal. -> new reference | NULL with MemoryError, or with
 * ValueError if it has constants that no compiler makes */
PyObject *
sipy_marshal_code(PyObject *code);

/* ---- calls ---- */

/* Writes a call; arguments as for vectorcall (kwnames NULL or a tuple of str; nargs
 * counts the positional ones). Errors and flags as sipy_encode. */
int
sipy_encode_call(sipy_transfer *t, PyObject *func, PyObject *const *args, size_t nargs,
                 PyObject *kwnames, unsigned flags, sipy_image *image);

typedef enum sipy_stage {
    SIPY_DECODING, /* the call was not made: function or arguments could not be built */
    SIPY_CALLING,  /* the function was called; a NULL result is its own exception */
} sipy_stage;

/* Builds function and arguments and calls. *stage says how far it came.
 * -> new reference | NULL with an exception */
PyObject *
sipy_run_call(sipy_transfer *t, const sipy_image *image, sipy_stage *stage);

/* As sipy_encode_call, packed behind a header for a queue of tasks. */
void *
sipy_encode_call_packet(sipy_transfer *t, PyObject *func, PyObject *const *args,
                        size_t nargs, PyObject *kwnames, unsigned flags,
                        size_t header_size);

PyObject *
sipy_run_call_packet(sipy_transfer *t, const sipy_packet *packet, sipy_stage *stage);

#endif /* SIPY_TRANSFER_TRANSFER_H */
