/* queue.c — see queue.h.
 *
 * No task is left behind: a putter that skips the wake-up because a worker spins relies on
 * that worker looking at the queue under mu before it sleeps (wait_get), and on it
 * passing the wake-up on when it takes one of several (get).
 * Places: as long as all are taken nobody needs to be woken, for who has one gets the next
 * task or gives the place back, and that wakes (leave).
 */
#include "core/task/queue.h"

#include <stddef.h>

#include "core/platform/clock.h"

/* --- sleepers ------------------------------------------------------------------------ */

/* Takes the worker that fell asleep last (its caches are warm) or the putter that waits
 * longest. -> the waiter if it needs a kick once the lock is free */
static si_waiter *
wake_worker(si_task_queue *q) SI_REQUIRES(q->mu)
{
    si_waiter *w = q->workers.tail;
    if (w == NULL) {
        return NULL;
    }
    si_wait_list_remove(&q->workers, w);
    si_store_release(&q->sleeping, si_load_relaxed(&q->sleeping) - 1);
    return si_waiter_signal(w) ? w : NULL;
}

static si_waiter *
wake_putter(si_task_queue *q) SI_REQUIRES(q->mu)
{
    si_waiter *w = q->putters.head;
    if (w == NULL) {
        return NULL;
    }
    si_wait_list_remove(&q->putters, w);
    return si_waiter_signal(w) ? w : NULL;
}

static void
kick(si_waiter *w)
{
    if (w != NULL) {
        si_waiter_kick(w);
    }
}

static bool
has_place(const si_task_queue *q)
{
    return q->most == 0 || si_load_acquire(&q->taken) < q->most;
}

static bool
may_get(const si_task_queue *q)
{
    return si_load_acquire(&q->count) != 0 ? has_place(q)
                                           : si_load_acquire(&q->closed) != 0;
}

/* A worker to kick if one more is of use, and none that spins will see to it. */
static si_waiter *
wake_if_of_use(si_task_queue *q) SI_REQUIRES(q->mu)
{
    bool more = si_load_relaxed(&q->count) > si_load_relaxed(&q->spinning);
    return more && has_place(q) ? wake_worker(q) : NULL;
}

/* Wakes all workers if there is nothing to get for good. For who has closed the queue, or
 * taken what was in it: the later one of the two finds it over. */
static void
wake_all_if_over(si_task_queue *q)
{
    bool any = si_task_queue_is_over(q);
    while (any) {
        si_mutex_lock(&q->mu);
        any = q->workers.head != NULL;
        si_waiter *w = wake_worker(q);
        si_mutex_unlock(&q->mu);
        kick(w);
    }
}

/* --- putting ------------------------------------------------------------------------- */

static bool
is_full(const si_task_queue *q)
{
    return q->limit != 0 && si_load_relaxed(&q->count) >= q->limit;
}

/* -> a worker to kick, or NULL */
static si_waiter *
insert(si_task_queue *q, si_task *task) SI_REQUIRES(q->mu)
{
    task->next = NULL;
    task->prev = q->tail;
    task->queued = true;
    if (q->tail != NULL) {
        q->tail->next = task;
    }
    else {
        q->head = task;
    }
    q->tail = task;
    si_store_release(&q->count, si_load_relaxed(&q->count) + 1);
    return wake_if_of_use(q);
}

static si_status
put(si_task_queue *q, si_task *task, bool over)
{
    si_task_hold(task);
    si_mutex_lock(&q->mu);
    bool closed = si_load_relaxed(&q->closed) != 0;
    if (SI_UNLIKELY(closed || (is_full(q) && !over))) {
        si_mutex_unlock(&q->mu);
        si_task_drop(task);
        return closed ? SI_CLOSED : SI_FULL;
    }
    si_waiter *woken = insert(q, task);
    si_mutex_unlock(&q->mu);
    kick(woken);
    return SI_OK;
}

si_status
si_task_queue_put(si_task_queue *q, si_task *task)
{
    return put(q, task, false);
}

si_status
si_task_queue_put_over(si_task_queue *q, si_task *task)
{
    return put(q, task, true);
}

void
si_task_queue_put_back(si_task_queue *q, si_task *task)
{
    si_task_hold(task);
    si_mutex_lock(&q->mu);
    (void)si_and_seq_cst(&task->word, ~(SI_TASK_RUNNING | SI_TASK_CLAIMED));
    si_waiter *woken = insert(q, task);
    si_mutex_unlock(&q->mu);
    kick(woken);
}

si_status
si_task_queue_wait_put(si_task_queue *q, si_waiter *w, int64_t deadline_ns)
{
    si_mutex_lock(&q->mu);
    bool ready = si_load_relaxed(&q->closed) != 0 || !is_full(q);
    if (!ready) {
        si_wait_list_append(&q->putters, w);
    }
    si_mutex_unlock(&q->mu);
    if (ready) {
        return SI_OK;
    }
    si_status status = si_waiter_park(w, deadline_ns);
    si_waiter *next = NULL;
    si_mutex_lock(&q->mu);
    if (si_wait_list_contains(&q->putters, w)) {
        si_wait_list_remove(&q->putters, w);
    }
    else if (status != SI_OK && !is_full(q)) {
        next = wake_putter(q); /* the wake-up that this one cannot use */
    }
    si_mutex_unlock(&q->mu);
    kick(next);
    return status;
}

/* --- getting ------------------------------------------------------------------------- */

static void
unlink_task(si_task_queue *q, si_task *task) SI_REQUIRES(q->mu)
{
    if (task->prev != NULL) {
        task->prev->next = task->next;
    }
    else {
        q->head = task->next;
    }
    if (task->next != NULL) {
        task->next->prev = task->prev;
    }
    else {
        q->tail = task->prev;
    }
    task->queued = false;
    si_store_release(&q->count, si_load_relaxed(&q->count) - 1);
}

static si_task *
get(si_task_queue *q, uint32_t bits)
{
    if (si_load_acquire(&q->count) == 0) {
        return NULL;
    }
    si_waiter *worker = NULL;
    si_waiter *putter = NULL;
    si_mutex_lock(&q->mu);
    si_task *task = q->head;
    if (task != NULL) {
        unlink_task(q, task);
        (void)si_or_seq_cst(&task->word, bits);
        worker = wake_if_of_use(q);
        putter = wake_putter(q);
    }
    si_mutex_unlock(&q->mu);
    kick(worker);
    kick(putter);
    wake_all_if_over(q);
    return task;
}

si_task *
si_task_queue_try_get(si_task_queue *q)
{
    return get(q, SI_TASK_RUNNING);
}

si_task *
si_task_queue_remove_any(si_task_queue *q)
{
    return get(q, 0);
}

/* Takes a place, unless the caller has one. -> whether it has one now */
static bool
take_place(si_task_queue *q, bool placed)
{
    if (!placed) {
        si_mutex_lock(&q->mu);
        placed = has_place(q);
        if (placed) {
            si_store_release(&q->taken, si_load_relaxed(&q->taken) + 1);
        }
        si_mutex_unlock(&q->mu);
    }
    return placed;
}

si_task *
si_task_queue_try_get_placed(si_task_queue *q, bool *placed)
{
    if ((!*placed && si_load_acquire(&q->count) == 0) || !take_place(q, *placed)) {
        return NULL;
    }
    si_task *task = get(q, SI_TASK_RUNNING);
    *placed = task != NULL;
    if (task == NULL) {
        si_task_queue_leave(q);
    }
    return task;
}

void
si_task_queue_leave(si_task_queue *q)
{
    si_mutex_lock(&q->mu);
    si_store_release(&q->taken, si_load_relaxed(&q->taken) - 1);
    si_waiter *w = wake_if_of_use(q);
    si_mutex_unlock(&q->mu);
    kick(w);
}

/* One worker at a time spins. -> whether a get may succeed or w was woken */
static bool
spin(si_task_queue *q, const si_waiter *w, int64_t deadline_ns)
{
    uint32_t nobody = 0;
    if (si_cpu_count() == 1 || !si_cas_seq_cst(&q->spinning, &nobody, 1)) {
        return may_get(q);
    }
    int64_t end = si_spin_end(&q->spins, deadline_ns);
    bool found = false;
    do {
        for (int i = 0; i < SI_SPINS_PER_CLOCK && !found; i++) {
            found = may_get(q) || si_load_acquire(&w->word) != SI_WAITER_ARMED;
            si_cpu_relax();
        }
    } while (!found && si_now_ns() < end);
    si_store_seq_cst(&q->spinning, 0);
    si_spin_learn(&q->spins, found);
    return found;
}

si_status
si_task_queue_wait_get(si_task_queue *q, si_waiter *w, int64_t deadline_ns)
{
    if (spin(q, w, deadline_ns)) {
        return SI_OK;
    }
    si_mutex_lock(&q->mu);
    bool ready = may_get(q);
    if (!ready) {
        si_wait_list_append(&q->workers, w);
        si_store_release(&q->sleeping, si_load_relaxed(&q->sleeping) + 1);
    }
    si_mutex_unlock(&q->mu);
    if (ready) {
        return SI_OK;
    }
    si_status status = si_waiter_park(w, deadline_ns);
    si_waiter *next = NULL;
    si_mutex_lock(&q->mu);
    if (si_wait_list_contains(&q->workers, w)) {
        si_wait_list_remove(&q->workers, w);
        si_store_release(&q->sleeping, si_load_relaxed(&q->sleeping) - 1);
    }
    else if (status != SI_OK && si_load_relaxed(&q->count) > 0) {
        next = wake_worker(q); /* the wake-up that this one cannot use */
    }
    si_mutex_unlock(&q->mu);
    kick(next);
    return status;
}

/* --- the end ------------------------------------------------------------------------- */

/* Takes task off the queue, as long as it is there; claimed: and if nobody else has it.
 * -> whether it did; the queue's reference is the caller's then */
static bool
take_out(si_task_queue *q, si_task *task, bool claimed)
{
    si_waiter *putter = NULL;
    si_mutex_lock(&q->mu);
    bool inside = task->queued && (!claimed || si_task_claim(task));
    if (inside) {
        unlink_task(q, task);
        putter = wake_putter(q);
    }
    si_mutex_unlock(&q->mu);
    kick(putter);
    wake_all_if_over(q);
    return inside;
}

bool
si_task_queue_cancel(si_task_queue *q, si_task *task)
{
    bool inside = take_out(q, task, true);
    if (inside) {
        si_task_finish(task, SI_TASK_CANCELLED);
        si_task_drop(task);
    }
    return inside;
}

bool
si_task_queue_retract(si_task_queue *q, si_task *task)
{
    bool inside = take_out(q, task, false);
    if (inside) {
        si_task_drop(task);
    }
    return inside;
}

void
si_task_queue_close(si_task_queue *q)
{
    bool any;
    si_mutex_lock(&q->mu);
    si_store_release(&q->closed, 1);
    si_mutex_unlock(&q->mu);
    do {
        si_mutex_lock(&q->mu);
        any = q->putters.head != NULL;
        si_waiter *w = wake_putter(q);
        si_mutex_unlock(&q->mu);
        kick(w);
    } while (any);
    wake_all_if_over(q);
}
