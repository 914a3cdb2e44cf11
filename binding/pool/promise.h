/* promise.h — what a submitted job will come to, as the object that stands for it sees it.
 *
 * Ownership  Part of a TaskFuture or a Call. Holds a reference to the pool and to the job,
 *            and to the outcome once somebody has asked for it.
 * Threads    Attached to the owner of the pool. How the job stands may change at any time;
 *            the outcome is decoded once.
 */
#ifndef SIPY_POOL_PROMISE_H
#define SIPY_POOL_PROMISE_H

#include "binding/pool/pool.h"

typedef struct sipy_promise {
    sipy_state *state;
    sipy_pool *pool;
    sipy_job *job;       /* NULL: it failed before it became a task */
    PyObject *result;    /* once it was asked for */
    PyObject *exception; /* likewise; also why the result cannot be rebuilt */
} sipy_promise;

/* The promise of job, whose reference it takes over; NULL job: it has failed with the
 * exception that is set, which it takes. */
sipy_promise
sipy_promise_of(sipy_state *state, sipy_pool *pool, sipy_job *job);

/* Gives everything back. Zeroed memory is allowed. */
void
sipy_promise_fini(sipy_promise *promise);

/* The objects in it, for the garbage collector. -> what visit returns */
int
sipy_promise_traverse(sipy_promise *promise, visitproc visit, void *arg);
void
sipy_promise_clear(sipy_promise *promise);

/* Whether it has ended; whether that was without an outcome. */
bool
sipy_promise_ended(const sipy_promise *promise);
bool
sipy_promise_cancelled(const sipy_promise *promise);

/* Whether it has ended, not cancelled, with an exception, as far as that is known without
 * decoding: a result that was found not to be rebuilt here counts as one. */
bool
sipy_promise_failed(const sipy_promise *promise);

/* For who is about to wait: a job of a pool that this process has not made does not end
 * here. -> 0 | -1 with BrokenInterpreterPool set */
int
sipy_promise_can_end(const sipy_promise *promise);

/* Decodes what an ended job came to, unless that was done; not for a cancelled one. May run
 * Python code. -> 0 with result or exception in place | -1 with an exception that is no
 * Exception: a Ctrl-C is for who asks */
int
sipy_promise_decode(sipy_promise *promise);

/* Has box told of the end, with a new reference to note, which its reader takes over.
 * -> false: it has ended already, nobody is told */
bool
sipy_promise_subscribe(const sipy_promise *promise, si_outbox *box, PyObject *note);

#endif /* SIPY_POOL_PROMISE_H */
