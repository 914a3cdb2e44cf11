/* errand.c — see errand.h.
 *
 * Lock order: interp->mu is a leaf; the list is taken off under it and run without it.
 */
#include "binding/errand.h"

#include "binding/attach.h"
#include "binding/interrupt.h"
#include "core/base/alloc.h"

/* The interpreter that this thread is visiting: one at most. */
static _Thread_local const sipy_interp *visited;

typedef struct sipy_errand {
    struct sipy_errand *next;
    void (*fn)(void *arg);
    void *arg;
} sipy_errand;

static sipy_errand *
take_all(sipy_interp *interp, bool stop)
{
    si_mutex_lock(&interp->mu);
    sipy_errand *list = interp->errands;
    interp->errands = NULL;
    interp->errands_stopped |= stop;
    si_store_relaxed(&interp->errands_due, 0);
    si_mutex_unlock(&interp->mu);
    return list;
}

static void
run_list(sipy_errand *list)
{
    while (list != NULL) {
        sipy_errand *next = list->next;
        list->fn(list->arg);
        si_free(list);
        list = next;
    }
}

void
sipy_errands_run(sipy_interp *interp)
{
    if (SI_UNLIKELY(si_load_relaxed(&interp->errands_due) != 0)) {
        PyObject *saved = PyErr_GetRaisedException();
        run_list(take_all(interp, false));
        PyErr_SetRaisedException(saved);
    }
}

void
sipy_errands_stop(sipy_interp *interp)
{
    run_list(take_all(interp, true));
}

static bool
add(sipy_interp *interp, void (*fn)(void *arg), void *arg)
{
    sipy_errand *errand = si_alloc(sizeof(*errand));
    if (errand == NULL) {
        return false;
    }
    errand->fn = fn;
    errand->arg = arg;
    si_mutex_lock(&interp->mu);
    bool stopped = interp->errands_stopped;
    if (!stopped) {
        errand->next = interp->errands;
        interp->errands = errand;
        si_store_relaxed(&interp->errands_due, 1);
    }
    si_mutex_unlock(&interp->mu);
    if (stopped) {
        si_free(errand);
    }
    return !stopped;
}

bool
sipy_errand_visits(const sipy_interp *interp)
{
    return visited == interp;
}

/* Visits an idle interpreter with the entry that the caller holds. It is a plain one: a
 * visit is no run, and must not be in the way of one, nor of close(). */
static void
visit(sipy_interp *interp)
{
    sipy_slot *slot = sipy_slot_get(interp);
    if (slot == NULL) {
        return; /* no memory: the next run does it */
    }
    visited = interp;
    PyThreadState *caller = sipy_slot_enter(slot);
    sipy_errands_run(interp);
    sipy_slot_leave(caller);
    visited = NULL;
}

static int
run_pending(void *arg)
{
    sipy_interp *interp = arg;
    sipy_errands_run(interp);
    sipy_interp_drop(interp);
    return 0;
}

/* Sees to it that the errands of interp are run. */
static void
deliver(sipy_interp *interp)
{
    if (si_gate_enter(&interp->gate) != SI_OK) {
        return; /* it is ending and runs them itself */
    }
    if (interp->origin == SIPY_OURS && visited == NULL &&
        !si_gate_is_running(&interp->gate) && !sipy_compat_runtime_finalizing()) {
        visit(interp);
        si_gate_leave(&interp->gate);
        return;
    }
    si_entry_hold(&interp->entry);
    if (sipy_compat_add_pending(interp->native, run_pending, interp) < 0) {
        sipy_interp_drop(interp); /* full: whatever fills the queue, runs first */
    }
    sipy_interrupt_nudge(interp); /* a worker of a pool that has nothing to do */
    si_gate_leave(&interp->gate);
}

bool
sipy_errand_post(int64_t interp_id, void (*fn)(void *arg), void *arg)
{
    sipy_interp *interp = sipy_interp_find(interp_id);
    if (interp == NULL) {
        return false;
    }
    bool posted = add(interp, fn, arg);
    PyThreadState *ts = posted ? sipy_compat_current() : NULL;
    if (ts != NULL && PyThreadState_GetInterpreter(ts) == interp->native) {
        sipy_errands_run(interp);
    }
    else if (posted) {
        deliver(interp);
    }
    sipy_interp_drop(interp);
    return posted;
}
