/* keeper.c — the thread that watches over timeouts; see pool.h.
 *
 * One per pool, started with the first job that has a timeout. It needs no interpreter.
 * When a job's time is over it interrupts that run; if the same run goes on STUCK_NS
 * later, the worker is stuck in C, or code there refuses to stop: then the job is ended,
 * the worker is taken off the pool and another one takes its place. The stuck thread ends
 * by itself once its call returns.
 */
#include "binding/pool/pool.h"

#include "binding/interrupt.h"
#include "core/platform/clock.h"
#include "core/platform/thread.h"

#define STUCK_NS 1000000000 /* how long an interrupted job may take to stop */

/* The run of a worker that is due, found under the pool's lock: the job may have ended by
 * now, or be tried again. */
typedef struct due_run {
    sipy_job *job;       /* a reference */
    sipy_interp *interp; /* a reference */
    uint64_t run;        /* of interp */
    bool again;          /* it was interrupted before */
} due_run;

/* Finds a worker that is due, and marks its try as late. Its job has a reference: the
 * worker's own, which cannot go while `current` says so, for the worker clears that under
 * mu if due_ns is set. */
static bool
find_due(sipy_pool *pool, int64_t now_ns, int64_t *next_ns, due_run *found)
{
    *next_ns = SI_FOREVER;
    *found = (due_run){NULL, NULL, 0, false};
    si_mutex_lock(&pool->mu);
    for (sipy_worker *w = pool->workers; w != NULL; w = w->next) {
        int64_t due_ns = si_load_acquire(&w->due_ns);
        sipy_job *job = (sipy_job *)(uintptr_t)si_load_acquire(&w->current);
        if (due_ns == 0 || job == NULL) {
            continue;
        }
        if (due_ns <= now_ns && found->job == NULL) {
            bool again = si_load_acquire(&job->late) != 0;
            si_task_hold(&job->task);
            si_entry_hold(&w->interp->entry);
            *found = (due_run){job, w->interp, si_load_acquire(&w->run), again};
            si_store_release(&job->late, 1);
            si_store_release(&w->due_ns, due_ns = now_ns + STUCK_NS);
        }
        if (due_ns < *next_ns) {
            *next_ns = due_ns;
        }
    }
    si_mutex_unlock(&pool->mu);
    return found->job != NULL;
}

static void
look(sipy_pool *pool, int64_t *next_ns)
{
    due_run due;
    while (find_due(pool, si_now_ns(), next_ns, &due)) {
        if (due.again) {
            (void)sipy_pool_give_up(pool, due.job, due.interp, due.run);
            sipy_interp_drop(due.interp);
        }
        else {
            (void)sipy_pool_interrupt_run(due.interp, due.run, PyExc_TimeoutError);
        }
        si_task_drop(&due.job->task);
    }
}

static void
keeper_main(void *arg)
{
    sipy_pool *pool = arg;
    si_waiter waiter;
    while (!si_task_ended(&pool->gone)) {
        int64_t next_ns;
        si_waiter_arm(&waiter);
        si_mutex_lock(&pool->mu);
        pool->keeper = &waiter;
        si_store_seq_cst(&pool->keeper_next_ns, SI_FOREVER);
        si_mutex_unlock(&pool->mu);
        look(pool, &next_ns);
        si_mutex_lock(&pool->mu);
        if (next_ns < si_load_relaxed(&pool->keeper_next_ns)) {
            si_store_seq_cst(&pool->keeper_next_ns, next_ns);
        }
        si_mutex_unlock(&pool->mu);
        if (!si_task_ended(&pool->gone)) {
            si_status status = si_waiter_park(&waiter, next_ns);
            (void)status; /* whatever ended the sleep: it looks again */
        }
        si_mutex_lock(&pool->mu);
        pool->keeper = NULL;
        si_mutex_unlock(&pool->mu);
    }
    sipy_pool_drop(pool);
}

si_status
sipy_keeper_start(sipy_pool *pool)
{
    si_status status = SI_OK;
    si_mutex_lock(&pool->mu);
    if (!pool->keeper_runs) {
        /* Inside, so that nobody counts on a thread that does not come to be. */
        sipy_pool_hold(pool);
        status = si_thread_start(keeper_main, pool, "timeouts");
        pool->keeper_runs = status == SI_OK;
    }
    si_mutex_unlock(&pool->mu);
    if (status != SI_OK) {
        sipy_pool_drop(pool);
    }
    return status;
}

void
sipy_keeper_expect(sipy_pool *pool, int64_t due_ns)
{
    if (SI_LIKELY(due_ns >= si_load_seq_cst(&pool->keeper_next_ns))) {
        return; /* it looks in time */
    }
    bool kick = false;
    si_mutex_lock(&pool->mu);
    si_store_seq_cst(&pool->keeper_next_ns, due_ns);
    si_waiter *keeper = pool->keeper;
    kick = keeper != NULL && si_waiter_signal(keeper);
    si_mutex_unlock(&pool->mu);
    if (kick) {
        si_waiter_kick(keeper);
    }
}
