/* call.h — Call, an awaitable call of a pool: how it stands, and who is told of its end.
 *
 * Model      A subclass of asyncio.Future, for whoever asks, of which nothing is used: the
 *            state of a Call is that of its job, so nothing runs when that ends. The event
 *            loop is told of the end only if somebody has a callback there, which is what
 *            an await of an unfinished Call comes to. An await of one that has ended
 *            returns at once.
 * Ownership  A Call is tracked by the garbage collector only once it has something to look
 *            at: a callback, a container as its result, an attribute. Before that it refers
 *            to its loop weakly only, so that it cannot be part of a cycle.
 * Threads    Touched attached to the owner of the pool, in the loop's thread as any
 *            asyncio.Future is, except for its end.
 */
#ifndef SIPY_POOL_CALL_H
#define SIPY_POOL_CALL_H

#include "binding/pool/promise.h"

typedef struct sipy_call {
    sipy_promise promise;
    si_outbox *box;           /* of its loop: a reference, which does not keep its reader */
    PyObject *loop;           /* a weak reference */
    PyObject *callbacks;      /* list of (function, context), or NULL */
    PyObject *cancel_message; /* or NULL */
    char blocking;            /* what asyncio.Task wants to know: somebody awaits it now */
    bool cancelled;           /* by cancel(); else the job says */
    bool subscribed;          /* the box is told of the end */
    bool told;                /* and has said so */
    bool retrieved;           /* somebody has seen what it came to, or that is not wanted */
    bool abandoned;           /* it had no owner any more before it ended */
} sipy_call;

/* What op, a Call, has behind the asyncio.Future. */
static inline sipy_call *
sipy_call_of(PyObject *op)
{
    return (sipy_call *)PyObject_GetTypeData(op, Py_TYPE(op));
}

/* Its loop (new reference), or NULL with an exception: that is gone. */
PyObject *
sipy_call_loop(const sipy_call *self);

/* From now on the garbage collector looks at op. */
void
sipy_call_track(PyObject *op);

/* Whether it has ended, or was cancelled; whether it was. */
bool
sipy_call_is_done(const sipy_call *self);
bool
sipy_call_is_cancelled(const sipy_call *self);

/* Decodes what a Call that has ended, not cancelled, came to. -> 0 | -1 as
 * sipy_promise_decode */
int
sipy_call_decode(PyObject *op);

/* For who asks what it came to; missing says what is not there yet.
 * -> 0 result or exception is in place | -1 with an exception: not done, cancelled, ... */
int
sipy_call_settle(PyObject *op, const char *missing);

/* The result (new reference), or NULL with what the task has raised, or as above. */
PyObject *
sipy_call_result(PyObject *op);

/* A new asyncio.CancelledError with the message of cancel(), or NULL. */
PyObject *
sipy_call_cancelled_error(const sipy_call *self);

/* Keeps the callback for the end, or hands it to the loop if that has come. -> 0 | -1 */
int
sipy_call_add_callback(PyObject *op, PyObject *function, PyObject *context);

/* Hands all callbacks to the loop. What one cannot be handed over for does not keep the
 * others. -> 0 | -1 with an exception that is no Exception */
int
sipy_call_schedule(PyObject *op);

/* Whether the box will tell of the end; has it do so if it can. Until it has told,
 * callbacks are kept. */
bool
sipy_call_will_be_told(PyObject *op);

#endif /* SIPY_POOL_CALL_H */
