/* bound.c — the thread behind Interpreter.submit; see pool.h.
 *
 * A pool of one worker that has no interpreter of its own. For each job it takes the
 * exclusive entry of the interpreter that it serves, waiting for whoever has it, and gives
 * it back afterwards, so that exec(), call() and close() find the interpreter as it is
 * between two calls. It holds a handle: an interpreter whose last object goes ends when
 * what was submitted is done.
 */
#include <stdio.h>

#include "binding/attach.h"
#include "binding/errand.h"
#include "binding/lifecycle.h"
#include "binding/pool/pool.h"
#include "core/platform/clock.h"

sipy_pool *
sipy_bound_new(sipy_interp *owner, sipy_interp *interp)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "Interpreter-%lld", (long long)interp->entry.id);
    sipy_pool *pool = sipy_pool_new(name, owner);
    if (pool != NULL) {
        si_store_relaxed(&pool->max_workers, 1);
        si_store_relaxed(&pool->max_alive, 1);
        si_entry_hold(&interp->entry);
        pool->bound = interp;
        sipy_handle_hold(interp);
        si_store_relaxed(&pool->handle, 1);
    }
    return pool;
}

/* The next job, or NULL when nothing is to come. Not attached. */
static sipy_job *
next_job(sipy_pool *pool)
{
    for (;;) {
        (void)si_sub_seq_cst(&pool->idle, 1);
        si_task *task = si_task_queue_try_get(&pool->queue);
        if (task != NULL) {
            return (sipy_job *)task;
        }
        (void)si_add_seq_cst(&pool->idle, 1);
        if (si_task_queue_is_closed(&pool->queue)) {
            return NULL;
        }
        si_waiter waiter;
        si_waiter_arm(&waiter);
        si_status status = si_task_queue_wait_get(&pool->queue, &waiter, SI_FOREVER);
        (void)status; /* whatever ended the sleep: it looks again */
    }
}

static void
run(sipy_worker *worker, sipy_job *job)
{
    sipy_interp *interp = worker->interp;
    bool marked = sipy_compat_set_running(interp->native) == 0;
    PyErr_Clear(); /* 3.12's own module drives it: what is marked is marked */
    sipy_slots_reap(interp);
    sipy_errands_run(interp);
    sipy_home_apply_hooks(interp->home);
    sipy_attempt tried;
    sipy_job_run(worker, job, &tried);
    sipy_errands_run(interp);
    if (marked) {
        sipy_compat_unset_running(interp->native);
    }
    sipy_slot_leave(NULL);
    si_gate_leave_exclusive(&interp->gate);
    /* Last: whoever hears of the end finds the interpreter idle. */
    sipy_job_conclude(worker->pool, job, &tried);
}

/* The last handle ends the interpreter, if nobody uses it. */
static void
drop_handle(sipy_interp *interp)
{
    if (si_sub_acq_rel(&interp->handles, 1) != 1 || interp->origin != SIPY_OURS ||
        si_gate_close(&interp->gate, true) != SI_OK) {
        return;
    }
    sipy_interp_end_detached(interp);
}

void
sipy_bound_work(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    sipy_interp *interp = pool->bound;
    sipy_job *job;
    si_mutex_lock(&pool->mu);
    si_entry_hold(&interp->entry);
    worker->interp = interp;
    si_mutex_unlock(&pool->mu);
    while ((job = next_job(pool)) != NULL) {
        if (sipy_worker_enter(worker)) {
            run(worker, job);
            si_task_drop(&job->task);
            continue;
        }
        (void)si_add_seq_cst(&pool->idle, 1);
        sipy_pool_break(pool, NULL, "the interpreter was closed");
        sipy_job_end_unrun(job, SIPY_BROKEN);
    }
    (void)si_sub_seq_cst(&pool->idle, 1);
    if (si_swap_acq_rel(&pool->handle, 0) == 1) {
        drop_handle(interp);
    }
}
