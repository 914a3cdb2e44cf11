/* interrupt.c — see interrupt.h.
 *
 * Lock order: interp->mu is a leaf. Nothing is woken and no Python runs under it.
 */
#include "binding/interrupt.h"

void
sipy_interrupt_open(sipy_interp *interp)
{
    interp->run_thread = PyThread_get_thread_ident();
    /* Only the run's thread changes the number, so load and store may be apart. */
    si_store_release(&interp->run, si_load_relaxed(&interp->run) + 1);
}

void
sipy_interrupt_shut(sipy_interp *interp)
{
    si_store_release(&interp->run, si_load_relaxed(&interp->run) + 1);
    interp->run_thread = 0;
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
    }
    si_store_relaxed(&interp->interrupt_run, 0);
    si_mutex_unlock(&interp->mu);
    return exc;
}

/* Runs in the other interpreter at a bytecode boundary, in any of its threads. */
static int
deliver_later(void *arg)
{
    sipy_interp *interp = arg;
    PyObject *exc = take(interp);
    if (exc != NULL) {
        (void)PyThreadState_SetAsyncExc(interp->run_thread, exc);
    }
    sipy_interp_drop(interp);
    return 0;
}

si_status
sipy_interrupt_request(sipy_interp *interp, PyObject *exc)
{
    return sipy_interrupt_request_run(interp, si_load_acquire(&interp->run), exc);
}

si_status
sipy_interrupt_request_run(sipy_interp *interp, uint64_t run, PyObject *exc)
{
    bool kick = false;
    si_waiter *blocked = NULL;
    si_mutex_lock(&interp->mu);
    bool runs = run % 2 == 1 && run == si_load_acquire(&interp->run);
    if (runs) {
        interp->interrupt_exc = exc;
        si_store_release(&interp->interrupt_run, run);
        blocked = interp->blocked;
        kick = blocked != NULL && si_waiter_interrupt(blocked);
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

void
sipy_interrupt_nudge(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    si_waiter *blocked = interp->blocked;
    bool kick = blocked != NULL && si_waiter_interrupt(blocked);
    si_mutex_unlock(&interp->mu);
    if (kick) {
        si_waiter_kick(blocked);
    }
}

bool
sipy_interrupt_publish(sipy_interp *interp, si_waiter *w)
{
    bool due = false;
    if (interp->run_thread != PyThread_get_thread_ident()) {
        return true; /* a thread of its own: not what an interrupt means */
    }
    if (PyThreadState_Get()->async_exc != NULL) {
        return false; /* delivered, but this thread has not come to raise it */
    }
    si_mutex_lock(&interp->mu);
    due = si_load_relaxed(&interp->interrupt_run) == si_load_relaxed(&interp->run);
    if (!due) {
        interp->blocked = w;
    }
    si_mutex_unlock(&interp->mu);
    return !due;
}

void
sipy_interrupt_retract(sipy_interp *interp, si_waiter *w)
{
    si_mutex_lock(&interp->mu);
    if (interp->blocked == w) {
        interp->blocked = NULL;
    }
    si_mutex_unlock(&interp->mu);
}

int
sipy_interrupt_deliver(sipy_interp *interp)
{
    if (interp->run_thread != PyThread_get_thread_ident()) {
        return 0;
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
