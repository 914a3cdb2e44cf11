/* pool.c — see pool.h.
 *
 * Growing    A worker is started when more jobs wait than workers are idle. Who puts a job
 *            looks at `idle` after the put; who takes one looks at the queue after it has
 *            taken itself off `idle`: one of the two sees that a worker is missing.
 *            A job whose put cannot get the first worker is taken back: no job waits in a
 *            pool without workers.
 * Ending     `gone` ends once: when the queue is closed and the last listed worker leaves,
 *            or at closing if there is none. What is then still in the queue is ended.
 * Lock order pools_mu and pool->mu are leaves.
 */
#include "binding/pool/pool.h"

#include <stdio.h>
#include <string.h>

#include "binding/interrupt.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"

static si_mutex pools_mu = SI_MUTEX_INIT;
static sipy_pool *pools SI_GUARDED_BY(pools_mu);

/* --- fork ---------------------------------------------------------------------------- */

void
sipy_pools_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&pools_mu);
}

void
sipy_pools_fork_done(bool child) SI_NO_THREAD_SAFETY
{
    if (child) {
        /* The pools of the parent are not touched any more: their locks may be taken by
         * threads that do not exist here. */
        pools = NULL;
    }
    si_mutex_unlock(&pools_mu);
}

bool
sipy_pool_usable(const sipy_pool *pool)
{
    return pool->generation == sipy_forks();
}

/* --- life ---------------------------------------------------------------------------- */

static void
keep_gone(si_task *task)
{
    (void)task; /* it is a part of the pool */
}

sipy_pool *
sipy_pool_new(const char *name, sipy_interp *owner)
{
    sipy_pool *pool = si_calloc(sizeof(*pool));
    size_t size = strlen(name) + 1;
    char *copy = pool == NULL ? NULL : si_alloc(size);
    if (copy == NULL) {
        si_free(pool);
        return NULL;
    }
    memcpy(copy, name, size);
    pool->name = copy;
    si_entry_hold(&owner->entry);
    pool->owner = owner;
    pool->generation = sipy_forks();
    pool->opened_ns = si_now_ns();
    si_store_relaxed(&pool->refs, 1);
    si_store_relaxed(&pool->keeper_next_ns, SI_FOREVER);
    sipy_image_init(&pool->preload);
    sipy_image_init(&pool->initializer);
    si_task_init(&pool->gone, keep_gone);
    si_mutex_lock(&pools_mu);
    pool->next = pools;
    if (pools != NULL) {
        pools->prev = pool;
    }
    pools = pool;
    si_mutex_unlock(&pools_mu);
    return pool;
}

void
sipy_pool_hold(sipy_pool *pool)
{
    (void)si_add_relaxed(&pool->refs, 1);
}

/* The reference that sipy_pools_of takes meets the last drop: it may not revive. */
static bool
hold_unless_dead(sipy_pool *pool)
{
    uint32_t refs = si_load_relaxed(&pool->refs);
    while (refs != 0) {
        if (si_cas_acq_rel(&pool->refs, &refs, refs + 1)) {
            return true;
        }
    }
    return false;
}

void
sipy_pool_drop(sipy_pool *pool)
{
    if (si_sub_acq_rel(&pool->refs, 1) != 1 || !sipy_pool_usable(pool)) {
        return;
    }
    si_mutex_lock(&pools_mu);
    if (pool->prev != NULL) {
        pool->prev->next = pool->next;
    }
    else {
        pools = pool->next;
    }
    if (pool->next != NULL) {
        pool->next->prev = pool->prev;
    }
    si_mutex_unlock(&pools_mu);
    sipy_image_fini(&pool->preload);
    sipy_image_fini(&pool->initializer);
    sipy_failure_fini(&pool->broken_failure);
    sipy_interp_drop(pool->owner);
    if (pool->bound != NULL && si_load_relaxed(&pool->handle) != 0) {
        (void)si_sub_acq_rel(&pool->bound->handles, 1); /* its worker never started */
    }
    sipy_interp_drop(pool->bound);
    si_free(pool->name);
    si_free(pool);
}

bool
sipy_pools_of(const sipy_interp *owner, sipy_pool ***out, size_t *count)
{
    size_t room = 0;
    *out = NULL;
    *count = 0;
    for (;;) {
        size_t wanted = 0;
        si_mutex_lock(&pools_mu);
        for (sipy_pool *p = pools; p != NULL; p = p->next) {
            wanted += p->owner == owner;
        }
        for (sipy_pool *p = pools; p != NULL && wanted <= room; p = p->next) {
            if (p->owner == owner && hold_unless_dead(p)) {
                (*out)[(*count)++] = p;
            }
        }
        si_mutex_unlock(&pools_mu);
        if (wanted <= room) {
            return true;
        }
        room = wanted + 8;
        si_free(*out);
        *out = si_calloc(room * sizeof(sipy_pool *));
        if (*out == NULL) {
            return false;
        }
    }
}

/* --- workers ------------------------------------------------------------------------- */

static bool
wants_worker(sipy_pool *pool)
{
    uint32_t leaving = (uint32_t)si_load_seq_cst(&pool->leaving);
    uint32_t alive = (uint32_t)si_load_acquire(&pool->alive);
    return alive < si_load_relaxed(&pool->max_workers) + leaving &&
           alive < si_load_relaxed(&pool->max_alive) &&
           si_task_queue_count(&pool->queue) > si_load_seq_cst(&pool->idle);
}

static void
add_alive(sipy_pool *pool, int change) SI_REQUIRES(pool->mu)
{
    si_store_seq_cst(&pool->alive, si_load_relaxed(&pool->alive) + (uint32_t)change);
}

/* Lists worker, counted as idle. -> false: it is not wanted any more */
static bool
list_worker(sipy_pool *pool, sipy_worker *worker)
{
    worker->pool = pool;
    si_mutex_lock(&pool->mu);
    bool wanted = wants_worker(pool);
    if (wanted) {
        worker->number = pool->numbers++;
        si_store_release(&worker->listed, 1);
        worker->next = pool->workers;
        pool->workers = worker;
        add_alive(pool, 1);
        bool leaving = pool->spare_cpu && si_load_relaxed(&pool->brief) != 0;
        si_store_relaxed(&worker->leaving, leaving);
        (void)si_add_seq_cst(&pool->leaving, leaving);
        (void)si_add_seq_cst(&pool->idle, 1);
    }
    si_mutex_unlock(&pool->mu);
    return wanted;
}

static void
add_past(sipy_pool *pool, const sipy_worker *worker) SI_REQUIRES(pool->mu)
{
    sipy_histogram_merge(&pool->past_run_times, &worker->run_times);
    sipy_histogram_merge(&pool->past_wait_times, &worker->wait_times);
    pool->past_tasks += si_load_relaxed(&worker->tasks);
    pool->past_busy_ns += si_load_relaxed(&worker->busy_ns);
    pool->past_cpu_ns += si_load_relaxed(&worker->cpu_ns);
}

void
sipy_pool_expect_end(sipy_pool *pool, sipy_worker *worker)
{
    si_mutex_lock(&pool->mu);
    if (si_load_relaxed(&worker->listed) != 0 && si_load_relaxed(&worker->leaving) == 0) {
        si_store_relaxed(&worker->leaving, 1);
        (void)si_add_seq_cst(&pool->leaving, 1);
    }
    si_mutex_unlock(&pool->mu);
}

/* -> whether it was listed */
static bool
unlist(sipy_pool *pool, sipy_worker *worker) SI_REQUIRES(pool->mu)
{
    if (si_load_relaxed(&worker->listed) == 0) {
        return false;
    }
    sipy_worker **link = &pool->workers;
    while (*link != worker) {
        link = &(*link)->next;
    }
    *link = worker->next;
    si_store_release(&worker->listed, 0);
    (void)si_sub_seq_cst(&pool->leaving, si_load_relaxed(&worker->leaving));
    add_past(pool, worker);
    add_alive(pool, -1);
    return true;
}

bool
sipy_pool_go_without(sipy_pool *pool)
{
    si_mutex_lock(&pool->mu);
    uint32_t others = (uint32_t)si_load_relaxed(&pool->alive) - 1;
    if (others != 0) {
        si_store_relaxed(&pool->max_alive, others);
    }
    if (others != 0 && others < si_load_relaxed(&pool->max_workers)) {
        si_store_relaxed(&pool->max_workers, others);
    }
    si_mutex_unlock(&pool->mu);
    return others != 0;
}

si_status
sipy_pool_grow(sipy_pool *pool)
{
    if (SI_LIKELY(!wants_worker(pool))) {
        return SI_OK;
    }
    si_status status = SI_NOMEM;
    sipy_worker *worker = si_calloc(sizeof(*worker));
    if (worker != NULL && !list_worker(pool, worker)) {
        si_free(worker);
        return SI_OK;
    }
    if (worker != NULL) {
        sipy_pool_hold(pool);
        status = sipy_worker_start(worker);
        if (status == SI_OK) {
            return SI_OK;
        }
        (void)si_sub_seq_cst(&pool->idle, 1);
        si_mutex_lock(&pool->mu);
        (void)unlist(pool, worker);
        si_mutex_unlock(&pool->mu);
        sipy_pool_drop(pool);
        si_free(worker);
    }
    return si_load_seq_cst(&pool->alive) != 0 ? SI_OK : status;
}

static void
end_all(sipy_pool *pool, sipy_outcome outcome)
{
    si_task *task;
    while ((task = si_task_queue_remove_any(&pool->queue)) != NULL) {
        sipy_job_end_unrun((sipy_job *)task, outcome);
    }
}

/* Whoever finds the pool closed and without workers ends it. */
static void
settle(sipy_pool *pool)
{
    if (!si_task_queue_is_closed(&pool->queue) || si_load_seq_cst(&pool->alive) != 0 ||
        si_task_queue_count(&pool->queue) != 0 || !si_task_claim(&pool->gone)) {
        return;
    }
    /* The keeper is woken after the end, or it would look and sleep again; whoever waits
     * for the end may drop the pool meanwhile. */
    sipy_pool_hold(pool);
    si_task_finish(&pool->gone, SI_TASK_DONE);
    si_mutex_lock(&pool->mu);
    si_waiter *keeper = pool->keeper;
    bool kick = keeper != NULL && si_waiter_interrupt(keeper);
    si_mutex_unlock(&pool->mu);
    if (kick) {
        si_waiter_kick(keeper);
    }
    sipy_pool_drop(pool);
}

/* A worker fewer: another one may be wanted, or it was the last. */
static void
after_unlisting(sipy_pool *pool)
{
    if (!sipy_process_exiting()) {
        if (sipy_pool_grow(pool) != SI_OK) { /* a job had counted on it */
            sipy_pool_break(pool, NULL, "no thread could be started");
        }
    }
    else if (si_load_seq_cst(&pool->alive) == 0) {
        sipy_pool_break(pool, NULL, "the process is exiting");
    }
    settle(pool);
}

void
sipy_pool_unlist(sipy_pool *pool, sipy_worker *worker)
{
    si_mutex_lock(&pool->mu);
    bool was_listed = unlist(pool, worker);
    si_mutex_unlock(&pool->mu);
    if (was_listed) {
        after_unlisting(pool);
    }
}

bool
sipy_pool_give_up(sipy_pool *pool, sipy_job *job, const sipy_interp *interp, uint64_t run)
{
    /* A worker stops running a job with a timeout under mu, so it cannot go meanwhile. */
    si_mutex_lock(&pool->mu);
    sipy_worker *worker = pool->workers;
    while (worker != NULL &&
           (si_load_acquire(&worker->current) != (uint64_t)(uintptr_t)job ||
            worker->interp != interp || si_load_acquire(&worker->run) != run)) {
        worker = worker->next;
    }
    bool mine = worker != NULL && si_task_claim(&job->task);
    if (mine) {
        pool->replaced++;
        add_alive(pool, 1); /* for a pool is not gone before its jobs have ended */
        (void)unlist(pool, worker);
    }
    si_mutex_unlock(&pool->mu);
    if (mine && pool->max_tasks != 0) {
        si_task_queue_leave(&pool->queue); /* the place of the worker, which runs a job */
    }
    if (mine) {
        job->outcome = SIPY_TIMED_OUT;
        si_task_finish(&job->task, SI_TASK_DONE);
        si_mutex_lock(&pool->mu);
        add_alive(pool, -1);
        si_mutex_unlock(&pool->mu);
        after_unlisting(pool);
    }
    return mine;
}

void
sipy_pool_close(sipy_pool *pool)
{
    si_task_queue_close(&pool->queue);
    settle(pool);
}

bool
sipy_pool_retract(sipy_pool *pool, sipy_job *job)
{
    bool inside = si_task_queue_retract(&pool->queue, &job->task);
    after_unlisting(pool); /* of what could not start, which others may have counted on */
    return inside;
}

void
sipy_pool_break(sipy_pool *pool, sipy_failure *failure, const char *text)
{
    si_mutex_lock(&pool->mu);
    bool first = si_load_relaxed(&pool->broken) == 0;
    if (first) {
        if (failure != NULL) {
            pool->broken_failure = *failure;
            *failure = (sipy_failure){0};
        }
        (void)snprintf(pool->broken_text, sizeof(pool->broken_text), "%s", text);
        si_store_release(&pool->broken, 1);
    }
    si_mutex_unlock(&pool->mu);
    si_task_queue_close(&pool->queue);
    end_all(pool, SIPY_BROKEN);
    settle(pool);
}

/* --- interrupting -------------------------------------------------------------------- */

bool
sipy_pool_interrupt_run(sipy_interp *interp, uint64_t run, PyObject *exc)
{
    bool asked = false;
    if (si_gate_enter(&interp->gate) == SI_OK) {
        si_status status = sipy_interrupt_request_run(interp, run, exc);
        asked = status == SI_OK || status == SI_FULL; /* full: a request is under way */
        si_gate_leave(&interp->gate);
    }
    sipy_interp_drop(interp);
    return asked;
}

/* The interpreter (reference) and the run in which a worker runs job now, or NULL. */
static sipy_interp *
find_run(sipy_pool *pool, sipy_job *job, uint64_t *run)
{
    sipy_interp *found = NULL;
    uint64_t wanted = (uint64_t)(uintptr_t)job;
    si_mutex_lock(&pool->mu);
    for (sipy_worker *w = pool->workers; w != NULL && found == NULL; w = w->next) {
        if (si_load_acquire(&w->current) != wanted) {
            continue;
        }
        *run = si_load_acquire(&w->run);
        if (si_load_seq_cst(&w->current) == wanted) {
            found = w->interp;
            si_entry_hold(&found->entry);
        }
    }
    si_mutex_unlock(&pool->mu);
    return found;
}

/* The interpreter (reference) and the run of the listed worker with the highest number
 * below *below that is to be stopped, or NULL. */
static sipy_interp *
next_to_stop(sipy_pool *pool, bool jobs, uint64_t *below, uint64_t *run)
{
    sipy_interp *found = NULL;
    si_mutex_lock(&pool->mu);
    /* The list begins with the highest number. */
    for (sipy_worker *w = pool->workers; w != NULL && found == NULL; w = w->next) {
        bool runs = si_load_seq_cst(&w->starting) != 0 ||
                    (jobs && si_load_seq_cst(&w->current) != 0);
        if (w->number < *below && runs) {
            *below = w->number;
            *run = si_load_acquire(&w->run);
            found = w->interp;
            si_entry_hold(&found->entry);
        }
    }
    si_mutex_unlock(&pool->mu);
    return found;
}

void
sipy_pool_stop(sipy_pool *pool, bool jobs, PyObject *exc)
{
    /* Either this finds the run, or the worker, which shows it first, finds the mark; so
     * it is with a task that is put back for another try. */
    si_store_seq_cst(&pool->no_starts, 1);
    if (jobs) {
        si_store_seq_cst(&pool->no_runs, 1);
    }
    end_all(pool, SIPY_NO_OUTCOME);
    uint64_t below = UINT64_MAX;
    uint64_t run = 0;
    sipy_interp *interp;
    while ((interp = next_to_stop(pool, jobs, &below, &run)) != NULL) {
        (void)sipy_pool_interrupt_run(interp, run, exc); /* or it is over already */
    }
}

void
sipy_pools_stop(const sipy_interp *owner, PyObject *exc)
{
    sipy_pool **list;
    size_t count;
    (void)sipy_pools_of(owner, &list, &count); /* none without memory */
    for (size_t i = 0; i < count; i++) {
        sipy_pool_close(list[i]);
        sipy_pool_stop(list[i], true, exc);
        sipy_pool_drop(list[i]);
    }
    si_free(list);
}

int
sipy_pools_await(const sipy_interp *owner, int64_t deadline_ns)
{
    sipy_interp *here = sipy_interp_current();
    sipy_pool **list;
    size_t count;
    if (!sipy_pools_of(owner, &list, &count)) {
        PyErr_NoMemory();
    }
    int result = PyErr_Occurred() ? -1 : 1;
    for (size_t i = 0; i < count; i++) {
        if (result > 0 && here != NULL) {
            result = sipy_wait_for_task(&list[i]->gone, here, deadline_ns);
        }
        sipy_pool_drop(list[i]);
    }
    si_free(list);
    sipy_interp_drop(here);
    return result;
}

bool
sipy_pool_interrupt(sipy_pool *pool, sipy_job *job)
{
    uint64_t run = 0;
    sipy_interp *interp = find_run(pool, job, &run);
    return interp != NULL && sipy_pool_interrupt_run(interp, run, PyExc_KeyboardInterrupt);
}
