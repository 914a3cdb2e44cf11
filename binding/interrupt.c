/* interrupt.c — see interrupt.h.
 *
 * A run that calls into another interpreter comes to no bytecode meanwhile, so what is
 * asked of it is asked of the inner run as well. Either who asks sees the inner run, or
 * that sees, as it begins, what was asked (sipy_interrupt_pass_on).
 *
 * Lock order: interp->mu is a leaf. Nothing is woken and no Python runs under it.
 */
#include "binding/interrupt.h"

#include "binding/attach.h"
#include "binding/ctrl_c.h"
#include "binding/ending.h"

static _Thread_local uint32_t depth_here; /* how many runs this thread is in */

static unsigned long
run_thread(const sipy_interp *interp)
{
    return (unsigned long)si_load_relaxed(&interp->run_thread);
}

static bool
is_run_thread(const sipy_interp *interp)
{
    return run_thread(interp) == PyThread_get_thread_ident();
}

uint32_t
sipy_interrupt_depth(void)
{
    return depth_here;
}

void
sipy_interrupt_expect(sipy_interp *interp)
{
    si_store_release(&interp->coming, 1);
}

void
sipy_interrupt_unexpect(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    si_store_relaxed(&interp->coming, 0);
    si_store_relaxed(&interp->interrupt_run, 0);
    si_mutex_unlock(&interp->mu);
}

/* The exception that is due for the run that goes on now, or NULL. */
static PyObject *
take(sipy_interp *interp)
{
    if (si_load_acquire(&interp->interrupt_run) == 0) {
        return NULL;
    }
    PyObject *exc = NULL;
    si_mutex_lock(&interp->mu);
    if (si_load_relaxed(&interp->interrupt_run) == si_load_acquire(&interp->run)) {
        exc = interp->interrupt_exc;
        (void)si_add_relaxed(&interp->interrupts, 1);
    }
    si_store_relaxed(&interp->interrupt_run, 0);
    si_mutex_unlock(&interp->mu);
    return exc;
}

void
sipy_interrupt_open(sipy_interp *interp)
{
    si_store_relaxed(&interp->run_thread, PyThread_get_thread_ident());
    si_store_relaxed(&interp->run_depth, ++depth_here);
    /* Only the run's thread changes the number, so load and store may be apart. Either
     * this run sees that the interpreter is being closed, or that it was interrupted before
     * it began, or who closes or interrupts sees the run. */
    uint64_t run = si_load_relaxed(&interp->run) + 1;
    si_store_seq_cst(&interp->run, run);
    si_store_release(&interp->coming, 0); /* after the number: see aim */
    PyObject *exc = si_load_seq_cst(&interp->close_exc);
    if (SI_UNLIKELY(exc == NULL && si_load_seq_cst(&interp->interrupt_run) == run)) {
        exc = take(interp);
    }
    if (SI_UNLIKELY(exc != NULL)) {
        (void)PyThreadState_SetAsyncExc(run_thread(interp), exc);
    }
}

void
sipy_interrupt_shut(sipy_interp *interp)
{
    si_store_release(&interp->run, si_load_relaxed(&interp->run) + 1);
    si_store_relaxed(&interp->run_thread, 0);
    depth_here--;
}

void
sipy_interrupt_pass_on(const sipy_interp *outer, PyThreadState *caller)
{
    uint64_t asked = si_load_seq_cst(&outer->interrupt_run);
    if ((asked != 0 && is_run_thread(outer) && asked == si_load_relaxed(&outer->run)) ||
        sipy_compat_has_async(caller)) {
        (void)PyThreadState_SetAsyncExc(PyThread_get_thread_ident(),
                                        PyExc_KeyboardInterrupt);
    }
}

/* Runs in the other interpreter at a bytecode boundary, in any of its threads. In that of
 * the run it raises at once, as CPython does for a signal: at the next boundary that code
 * could have left a try or with block that the present one is in, or have returned. */
static int
deliver_later(void *arg)
{
    sipy_interp *interp = arg;
    PyObject *exc = take(interp);
    bool here = exc != NULL && is_run_thread(interp);
    if (here) {
        PyErr_SetNone(exc);
    }
    else if (exc != NULL) {
        (void)PyThreadState_SetAsyncExc(run_thread(interp), exc);
    }
    sipy_interp_drop(interp);
    return here ? -1 : 0;
}

/* Asks for exc in that run, not in the inner ones. -> as sipy_interrupt_request_run;
 * anything but SI_EMPTY with the thread and the depth of the run */
static si_status
request_one(sipy_interp *interp, uint64_t run, PyObject *exc, unsigned long *thread,
            uint32_t *depth)
{
    bool kick = false;
    si_waiter *blocked = NULL;
    si_mutex_lock(&interp->mu);
    bool runs = run % 2 == 1 && run == si_load_seq_cst(&interp->run);
    if (runs) {
        *thread = run_thread(interp);
        *depth = si_load_relaxed(&interp->run_depth);
        interp->interrupt_exc = exc;
        si_store_seq_cst(&interp->interrupt_run, run);
        blocked = interp->blocked;
        kick = blocked != NULL && si_waiter_interrupt_published(blocked);
    }
    si_mutex_unlock(&interp->mu);
    if (!runs) {
        return SI_EMPTY;
    }
    if (kick) {
        si_waiter_kick(blocked);
    }
    si_entry_hold(&interp->entry);
    if (sipy_compat_add_pending(interp->native, deliver_later, interp) < 0) {
        sipy_interp_drop(interp);
        return blocked != NULL ? SI_OK : SI_FULL;
    }
    return SI_OK;
}

/* The run of thread at depth: its interpreter, with a reference and a plain entry, or NULL:
 * there is none, or its interpreter is ending. */
static sipy_interp *
find_inner(unsigned long thread, uint32_t depth, uint64_t *run)
{
    si_entry *entry = NULL;
    while ((entry = si_registry_next(&sipy_interps, entry)) != NULL) {
        sipy_interp *interp = (sipy_interp *)entry;
        *run = si_load_seq_cst(&interp->run);
        if (*run % 2 == 1 && run_thread(interp) == thread &&
            si_load_relaxed(&interp->run_depth) == depth &&
            si_gate_enter(&interp->gate) == SI_OK) {
            return interp;
        }
    }
    return NULL;
}

bool
sipy_interrupt_goes_on(const sipy_interp *interp, uint64_t run)
{
    return interp == NULL || si_load_seq_cst(&interp->run) == run;
}

void
sipy_interrupt_inner(const sipy_interp *outer, uint64_t outer_run, unsigned long thread,
                     uint32_t depth, PyObject *exc)
{
    uint64_t run;
    sipy_interp *before = NULL; /* the reference that outer is one of */
    sipy_interp *interp;
    while ((interp = find_inner(thread, depth + 1, &run)) != NULL) {
        /* If the outer run still goes on, the inner one, which was seen before, is in it
         * and not in what its thread has run since. */
        si_status asked = sipy_interrupt_goes_on(outer, outer_run)
                              ? request_one(interp, run, exc, &thread, &depth)
                              : SI_EMPTY;
        si_gate_leave(&interp->gate);
        if (before != NULL) {
            sipy_interp_drop(before);
        }
        before = interp;
        if (asked == SI_EMPTY) {
            break; /* it is over: its thread comes back to who was asked before */
        }
        outer = interp;
        outer_run = run;
    }
    if (before != NULL) {
        sipy_interp_drop(before);
    }
}

/* The run that is meant now: the one that goes on or is about to begin. What is about to is
 * asked for exc already. -> its number; an even one: there is none */
static uint64_t
aim(sipy_interp *interp, PyObject *exc, bool *coming)
{
    si_mutex_lock(&interp->mu);
    *coming = si_load_acquire(&interp->coming) != 0;
    uint64_t run = si_load_acquire(&interp->run);
    *coming = *coming && run % 2 == 0;
    if (*coming) {
        run++;
        interp->interrupt_exc = exc;
        si_store_seq_cst(&interp->interrupt_run, run);
    }
    si_mutex_unlock(&interp->mu);
    return run;
}

si_status
sipy_interrupt_request(sipy_interp *interp, PyObject *exc)
{
    bool coming;
    uint64_t run = aim(interp, exc, &coming);
    /* One that has begun meanwhile may not have seen that. */
    si_status status = sipy_interrupt_request_run(interp, run, exc);
    return status == SI_EMPTY && coming ? SI_OK : status;
}

si_status
sipy_interrupt_request_run(sipy_interp *interp, uint64_t run, PyObject *exc)
{
    unsigned long thread = 0;
    uint32_t depth = 0;
    si_status status = request_one(interp, run, exc, &thread, &depth);
    if (status != SI_EMPTY) {
        sipy_interrupt_inner(interp, run, thread, depth, exc);
        sipy_endings_interrupt(interp, run, thread, depth, exc);
    }
    return status;
}

void
sipy_interrupt_close(sipy_interp *interp, PyObject *exc)
{
    si_store_seq_cst(&interp->close_exc, exc);
    if (exc != NULL) {
        si_status asked = sipy_interrupt_request(interp, exc);
        (void)asked; /* it is idle, or has too many pending calls: then it is waited for */
    }
}

void
sipy_interrupt_nudge(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    si_waiter *blocked = interp->blocked;
    bool kick = blocked != NULL && si_waiter_interrupt_published(blocked);
    si_mutex_unlock(&interp->mu);
    if (kick) {
        si_waiter_kick(blocked);
    }
}

/* As sipy_interrupt_publish, for a thread that does not belong to a run. */
static bool
publish_own(sipy_interp *interp, si_waiter *w)
{
    if (interp->origin != SIPY_OURS) {
        return true; /* we do not end it */
    }
    si_mutex_lock(&interp->mu);
    bool stopped = interp->own_stopped;
    if (!stopped) {
        w->also = interp->own_blocked;
        interp->own_blocked = w;
    }
    si_mutex_unlock(&interp->mu);
    return !stopped;
}

static bool
publish(sipy_interp *interp, si_waiter *w)
{
    bool due = false;
    if (!is_run_thread(interp)) {
        return publish_own(interp, w);
    }
    PyThreadState *ts = PyThreadState_Get();
    si_mutex_lock(&interp->mu);
    /* Or it was delivered, but this thread has not come to raise it. */
    due = si_load_relaxed(&interp->interrupt_run) == si_load_relaxed(&interp->run) ||
          sipy_compat_has_async(ts);
    if (!due) {
        interp->blocked = w;
    }
    si_mutex_unlock(&interp->mu);
    return !due;
}

bool
sipy_interrupt_publish(sipy_interp *interp, si_waiter *w)
{
    sipy_ctrl_c_wait_for(w);
    if (publish(interp, w)) {
        return true;
    }
    sipy_ctrl_c_wait_for(NULL);
    return false;
}

void
sipy_interrupt_retract(sipy_interp *interp, si_waiter *w)
{
    sipy_ctrl_c_wait_for(NULL);
    si_mutex_lock(&interp->mu);
    if (interp->blocked == w) {
        interp->blocked = NULL;
    }
    else {
        si_waiter **link = &interp->own_blocked;
        while (*link != NULL && *link != w) {
            link = &(*link)->also;
        }
        if (*link != NULL) {
            *link = w->also;
        }
    }
    si_mutex_unlock(&interp->mu);
}

si_status
sipy_interrupt_drain(sipy_interp *here, sipy_interp *interp, int64_t deadline_ns)
{
    si_status status = SI_INTERRUPTED;
    si_waiter waiter;
    si_gate_arm(&interp->gate, &waiter);
    if (here == NULL || sipy_interrupt_publish(here, &waiter)) {
        Py_BEGIN_ALLOW_THREADS
        status = si_gate_drain_with(&interp->gate, &waiter, deadline_ns);
        if (here != NULL) {
            sipy_interrupt_retract(here, &waiter);
        }
        Py_END_ALLOW_THREADS
    }
    return status;
}

static int
deliver_to_own(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    bool stopped = interp->own_stopped;
    si_mutex_unlock(&interp->mu);
    if (!stopped) {
        return 0;
    }
    Py_XDECREF(sipy_compat_take_async(PyThreadState_Get())); /* the same, once */
    PyErr_SetNone(PyExc_SystemExit);
    return -1;
}

/* Takes one waiter off the list of own threads. -> whether there was one; *sleeper is it
 * if its thread sleeps and needs a kick */
static bool
stop_one(sipy_interp *interp, si_waiter **sleeper)
{
    *sleeper = NULL;
    si_mutex_lock(&interp->mu);
    interp->own_stopped = true;
    si_waiter *w = interp->own_blocked;
    if (w != NULL) {
        interp->own_blocked = w->also;
        *sleeper = si_waiter_interrupt_published(w) ? w : NULL;
    }
    si_mutex_unlock(&interp->mu);
    return w != NULL;
}

typedef struct search {
    sipy_interp *interp;
    unsigned long after, next; /* idents */
} search;

static bool
is_next(PyThreadState *ts, void *arg)
{
    search *s = arg;
    if (ts->thread_id > s->after && (s->next == 0 || ts->thread_id < s->next) &&
        sipy_slot_of(s->interp, ts) == NULL) {
        s->next = ts->thread_id;
    }
    return true;
}

void
sipy_interrupt_own_threads(sipy_interp *interp, unsigned long spared)
{
    si_waiter *sleeper;
    while (stop_one(interp, &sleeper)) {
        if (sleeper != NULL) {
            si_waiter_kick(sleeper);
        }
    }
    unsigned long self = PyThread_get_thread_ident();
    search s = {interp, 0, 0};
    for (;;) {
        sipy_compat_each_state(interp->native, is_next, &s);
        if (s.next == 0) {
            break;
        }
        if (s.next != self && s.next != spared) {
            (void)PyThreadState_SetAsyncExc(s.next, PyExc_SystemExit);
            sipy_interrupt_inner(NULL, 0, s.next, 0, PyExc_SystemExit);
            sipy_endings_interrupt(NULL, 0, s.next, 0, PyExc_SystemExit);
        }
        s.after = s.next;
        s.next = 0;
    }
}

void
sipy_interrupt_own_resume(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    interp->own_stopped = false;
    si_mutex_unlock(&interp->mu);
}

int
sipy_interrupt_deliver(sipy_interp *interp)
{
    if (!is_run_thread(interp)) {
        return deliver_to_own(interp);
    }
    PyObject *exc = Py_XNewRef(take(interp));
    if (exc == NULL) {
        exc = sipy_compat_take_async(PyThreadState_Get()); /* Ctrl-C, or a fast delivery */
    }
    if (exc == NULL) {
        return 0;
    }
    PyErr_SetNone(exc);
    Py_DECREF(exc);
    return -1;
}
