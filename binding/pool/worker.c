/* worker.c — the thread of a worker; see pool.h.
 *
 * A worker makes its interpreter attached to the owner, for that is where sys.path comes
 * from, through a thread state that it deletes right after. It then holds the exclusive
 * entry of its own interpreter until it ends, so nobody can drive or close that one, and
 * stays attached except while it has nothing to do. While it waits it can be woken through
 * interp->blocked, by errands for its interpreter and by the exit of the process.
 */
#include "binding/pool/pool.h"
#include "binding/pool/spares.h"

#include <stdio.h>

#include "binding/attach.h"
#include "binding/errand.h"
#include "binding/interrupt.h"
#include "binding/lifecycle.h"
#include "binding/loader/loader.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"
#include "core/platform/thread.h"

static _Thread_local sipy_worker *here;

sipy_worker *
sipy_worker_here(void)
{
    return here;
}

bool
sipy_worker_enter(sipy_worker *worker)
{
    sipy_interp *interp = worker->interp;
    si_status status;
    while ((status = si_gate_enter_exclusive(&interp->gate)) == SI_BUSY) {
        if (si_gate_wait_exclusive(&interp->gate, SI_FOREVER) == SI_CLOSED) {
            return false;
        }
    }
    if (status != SI_OK) {
        return false;
    }
    worker->slot = sipy_slot_get(interp);
    if (worker->slot == NULL) {
        si_gate_leave_exclusive(&interp->gate);
        return false;
    }
    (void)sipy_slot_enter(worker->slot);
    return true;
}

/* --- opening ------------------------------------------------------------------------- */

/* Makes the interpreter, attached to the owner inside an entry. -> NULL: failure filled */
static sipy_interp *
make_interp(sipy_pool *pool, sipy_failure *failure)
{
    PyThreadState *ts = sipy_brief_enter(pool->owner);
    if (ts == NULL) {
        return NULL;
    }
    sipy_home *home = pool->owner->home;
    sipy_interp *interp = NULL;
    if (home != NULL && home->state != NULL) {
        interp = sipy_spare_take(home->state);
        if (interp == NULL) {
            interp = sipy_interp_create(home->state, true);
        }
        if (interp == NULL) {
            sipy_failure_capture(failure, home);
        }
    }
    sipy_brief_leave(ts);
    return interp;
}

/* Attached to its own interpreter, inside a run. -> 0 | -1 with an exception */
static int
import_all(sipy_home *home, const sipy_image *names)
{
    PyObject *list = sipy_decode(home->transfer, names);
    Py_ssize_t count = list == NULL ? 0 : PyList_GET_SIZE(list);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *module = PyImport_Import(PyList_GET_ITEM(list, i));
        if (module == NULL) {
            Py_CLEAR(list);
            break;
        }
        Py_DECREF(module);
    }
    Py_XDECREF(list);
    return list == NULL ? -1 : 0;
}

/* Whether a shutdown that cancels lets no worker start any more: there is no task left. */
static bool
has_no_starts(const sipy_pool *pool)
{
    return si_load_seq_cst(&pool->no_starts) != 0;
}

/* -> NULL | what has failed, with failure filled */
static const char *
prepare(sipy_worker *worker, sipy_failure *failure)
{
    sipy_pool *pool = worker->pool;
    sipy_interp *interp = worker->interp;
    sipy_home *home = interp->home;
    const char *failed = NULL;
    sipy_interrupt_open(interp);
    si_store_release(&worker->run, si_load_relaxed(&interp->run));
    si_store_seq_cst(&worker->starting, 1);
    if (has_no_starts(pool) || si_gate_is_closed(&interp->gate)) {
        failed = "was stopped before it had started";
    }
    else if (pool->preload.len != 0 && import_all(home, &pool->preload) < 0) {
        failed = "could not import a module of preload";
    }
    if (failed == NULL && pool->initializer.len != 0) {
        sipy_stage stage = SIPY_DECODING;
        PyObject *done = sipy_run_call(home->transfer, &pool->initializer, &stage);
        failed = done == NULL ? "failed in its initializer" : NULL;
        Py_XDECREF(done);
    }
    if (PyErr_Occurred() && si_gate_is_closed(&interp->gate)) {
        failed = "was stopped while it started";
    }
    if (PyErr_Occurred()) {
        sipy_failure_capture(failure, home);
    }
    sipy_home_flush(home); /* inside the run, too: code of anybody */
    si_store_seq_cst(&worker->starting, 0);
    sipy_interrupt_shut(interp);
    sipy_compat_reset_thread(worker->slot->ts);
    return failed;
}

static void
break_pool(sipy_worker *worker, sipy_failure *failure, const char *what)
{
    char text[200];
    (void)snprintf(text, sizeof(text), "worker %u of %.80s %s", worker->number,
                   worker->pool->name, what);
    sipy_pool_break(worker->pool, failure, text);
    sipy_failure_fini(failure);
}

/* -> true with the thread attached to its interpreter | false: detached, pool broken or
 * without tasks */
static bool
open_worker(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    sipy_failure failure = {0};
    sipy_interp *interp = NULL;
    if (has_no_starts(pool)) {
        return false;
    }
    if (si_gate_enter(&pool->owner->gate) == SI_OK) {
        if (!sipy_process_exiting() && !sipy_compat_runtime_finalizing()) {
            interp = make_interp(pool, &failure);
        }
        si_gate_leave(&pool->owner->gate);
    }
    if (interp == NULL) {
        if (sipy_pool_go_without(pool)) {
            sipy_failure_fini(&failure);
        }
        else {
            break_pool(worker, &failure, "could not get an interpreter");
        }
        return false;
    }
    si_mutex_lock(&pool->mu);
    worker->interp = interp;
    si_mutex_unlock(&pool->mu);
    if (!sipy_worker_enter(worker)) { /* the exit ends it, say */
        break_pool(worker, &failure, "lost its interpreter");
        if (si_gate_close(&interp->gate, true) == SI_OK) {
            sipy_interp_end_detached(interp);
        }
        return false;
    }
    (void)sipy_compat_set_running(interp->native);
    PyErr_Clear(); /* 3.12's own module drives it: what is marked is marked */
    const char *failed = prepare(worker, &failure);
    if (failed != NULL && has_no_starts(pool)) {
        worker->retired = true; /* what is put back for another try is not for this one */
        sipy_failure_fini(&failure);
    }
    else if (failed != NULL) {
        break_pool(worker, &failure, failed);
    }
    return true;
}

/* --- working ------------------------------------------------------------------------- */

/* Publishes w, so that errands and the exit wake this thread. Attached or not.
 * -> false: there is something to do at home, or the interpreter is to end */
static bool
publish(sipy_interp *interp, si_waiter *w)
{
    si_mutex_lock(&interp->mu);
    bool idle = si_load_relaxed(&interp->errands_due) == 0;
    if (idle) {
        interp->blocked = w;
    }
    si_mutex_unlock(&interp->mu);
    if (idle && si_gate_is_closed(&interp->gate)) {
        sipy_interrupt_retract(interp, w);
        return false;
    }
    return idle;
}

/* Waits for work, detached. -> whether the worker has been idle for too long */
static bool
wait_for_work(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    sipy_interp *interp = worker->interp;
    si_status status = SI_OK;
    si_waiter waiter;
    si_waiter_arm(&waiter);
    /* With private copies it is parked instead: the memory of those would stay, and the
     * next worker's come on top. */
    bool stays = pool->idle_ns == 0 ||
                 (interp->loader != NULL && sipy_loader_has_copies(interp->loader));
    int64_t deadline_ns = stays ? SI_FOREVER : si_deadline_after(pool->idle_ns);
    Py_BEGIN_ALLOW_THREADS
    if (publish(interp, &waiter)) {
        status = si_task_queue_wait_get(&pool->queue, &waiter, deadline_ns);
        sipy_interrupt_retract(interp, &waiter);
    }
    Py_END_ALLOW_THREADS
    return status == SI_TIMEOUT && si_task_queue_count(&pool->queue) == 0;
}

/* Whether the tasks that it may run, from one that it has just taken on, are likely to be
 * over before another worker would be ready, and that may as well start now: where workers
 * do little but start and end, and keep all processors busy by it, it would only
 * disturb. */
static bool
ends_soon(const sipy_worker *worker)
{
    const sipy_pool *pool = worker->pool;
    if (!pool->spare_cpu && si_load_relaxed(&pool->brief) != 0) {
        return false;
    }
    uint64_t tasks = si_load_relaxed(&worker->tasks);
    uint64_t busy_ns = si_load_relaxed(&worker->busy_ns);
    return worker->left == 1 ||
           (tasks != 0 && busy_ns / tasks <= (uint64_t)worker->opening_ns / worker->left);
}

/* The oldest task in the queue, or NULL. */
static sipy_job *
take_job(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    if (pool->max_tasks == 0) {
        return (sipy_job *)si_task_queue_try_get(&pool->queue);
    }
    si_task *task = si_task_queue_try_get_placed(&pool->queue, &worker->placed);
    if (task != NULL && ends_soon(worker)) {
        sipy_pool_expect_end(pool, worker);
    }
    return (sipy_job *)task;
}

/* The next job, or NULL when the worker shall end. While it waits it counts as idle. */
static sipy_job *
next_job(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    sipy_interp *interp = worker->interp;
    bool tired = false;
    while (si_load_acquire(&worker->listed) != 0 && !si_gate_is_closed(&interp->gate)) {
        sipy_errands_run(interp);
        sipy_slots_reap(interp);
        (void)si_sub_seq_cst(&pool->idle, 1);
        sipy_job *job = take_job(worker);
        if (job != NULL) {
            (void)sipy_pool_grow(pool); /* there is this one */
            return job;
        }
        (void)si_add_seq_cst(&pool->idle, 1);
        if (tired || si_task_queue_is_over(&pool->queue)) {
            break;
        }
        tired = wait_for_work(worker);
    }
    return NULL;
}

static void
work(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    sipy_job *job;
    worker->left = pool->max_tasks == 0 ? UINT64_MAX : pool->max_tasks;
    while (worker->left != 0 && !worker->retired && (job = next_job(worker)) != NULL) {
        worker->left--;
        sipy_attempt tried;
        sipy_job_run(worker, job, &tried);
        sipy_job_conclude(pool, job, &tried);
        si_task_drop(&job->task);
    }
    /* That of a worker that was given up was given back. */
    if (worker->placed && si_load_acquire(&worker->listed) != 0) {
        si_task_queue_leave(&pool->queue);
    }
}

/* --- ending -------------------------------------------------------------------------- */

/* Attached; detached afterwards. The interpreter ends, unless the exit of the process
 * has already decided to end it. */
static void
close_interp(sipy_worker *worker)
{
    sipy_interp *interp = worker->interp;
    sipy_compat_unset_running(interp->native);
    sipy_slot_leave(NULL);
    bool mine = si_gate_close(&interp->gate, false) == SI_OK;
    si_gate_leave_exclusive(&interp->gate);
    if (mine) {
        sipy_interp_end_detached(interp);
    }
}

/* The life of a worker that makes its own interpreter. */
static void
work_at_home(sipy_worker *worker)
{
    sipy_pool *pool = worker->pool;
    int64_t begun_ns = si_now_ns();
    bool open = open_worker(worker);
    worker->opening_ns = si_now_ns() - begun_ns;
    if (open) {
        work(worker);
    }
    bool brief = si_load_relaxed(&worker->busy_ns) <= (uint64_t)worker->opening_ns;
    si_store_relaxed(&pool->brief, worker->left == 0 && brief);
    (void)si_sub_seq_cst(&pool->idle, 1);
    if (!sipy_process_exiting()) {
        (void)sipy_pool_grow(pool); /* if it fails: again once this one is gone */
    }
    if (open) {
        close_interp(worker); /* a pool is not gone before its interpreters are */
    }
    if (worker->interp != NULL) {
        (void)si_sub_acq_rel(&worker->interp->handles, 1);
    }
}

static void
worker_main(void *arg)
{
    sipy_worker *worker = arg;
    sipy_pool *pool = worker->pool;
    here = worker;
    if (pool->bound == NULL) {
        work_at_home(worker);
    }
    else {
        sipy_bound_work(worker);
    }
    sipy_interp *interp = worker->interp;
    sipy_pool_unlist(pool, worker);
    sipy_interp_drop(interp);
    sipy_pool_drop(pool);
    si_free(worker);
}

si_status
sipy_worker_start(sipy_worker *worker)
{
    return si_thread_start(worker_main, worker, worker->pool->name);
}
