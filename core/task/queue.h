/* queue.h — the tasks that wait for a worker, first come, first served.
 *
 * Model      Many threads put, many workers get. A worker that finds nothing spins for
 *            SI_SPIN_NS, one of them at a time, then sleeps. A put wakes a sleeper unless
 *            a spinning worker will see the task; a worker that leaves tasks behind wakes
 *            the next one, so that no task waits while a worker sleeps.
 * Places     If most is set, no more than so many workers have a place, and only they get
 *            tasks: further ones, made ready in advance, wait for a place as for a task.
 * Ownership  The queue holds one reference to each task inside it.
 * Locking    mu, a leaf.
 */
#ifndef SI_TASK_QUEUE_H
#define SI_TASK_QUEUE_H

#include "core/task/task.h"
#include "core/wait/list.h"
#include "core/wait/spin.h"

typedef struct si_task_queue {
    si_mutex mu;
    si_task *head SI_GUARDED_BY(mu);
    si_task *tail SI_GUARDED_BY(mu);
    si_atomic_u64 count;    /* tasks inside; written under mu, read anywhere */
    uint64_t limit;         /* 0: unbounded; never changes */
    uint32_t most;          /* places; 0: each worker has one; never changes */
    si_atomic_u32 taken;    /* places that workers have; written under mu */
    si_atomic_u32 closed;   /* no more puts; written under mu */
    si_atomic_u32 spinning; /* 1 while a worker spins */
    si_spin_memory spins;   /* of the workers */
    si_atomic_u32 sleeping; /* workers on the list; written under mu */
    si_wait_list workers SI_GUARDED_BY(mu);
    si_wait_list putters SI_GUARDED_BY(mu);
} si_task_queue;

/* Appends task, taking a reference of its own. Never blocks, any thread.
 * -> SI_OK | SI_FULL | SI_CLOSED */
SI_NODISCARD si_status
si_task_queue_put(si_task_queue *q, si_task *task);

/* As si_task_queue_put, for who cannot wait for room: a full queue takes it too.
 * -> SI_OK | SI_CLOSED */
SI_NODISCARD si_status
si_task_queue_put_over(si_task_queue *q, si_task *task);

/* Puts a task that a worker took back at the end, PENDING again, even into a queue that
 * is full or closed. Takes a reference. */
void
si_task_queue_put_back(si_task_queue *q, si_task *task);

/* Waits until a put may succeed. Not attached; the caller has armed w.
 * -> SI_OK (try again) | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_task_queue_wait_put(si_task_queue *q, si_waiter *w, int64_t deadline_ns);

/* Takes the oldest task, marks it RUNNING and gives its reference to the caller; NULL if
 * there is none. Never blocks. */
si_task *
si_task_queue_try_get(si_task_queue *q);

/* As si_task_queue_try_get for a queue with places: placed says whether the caller has one,
 * and then whether it has one now. NULL also if all are taken; without a task none is. */
si_task *
si_task_queue_try_get_placed(si_task_queue *q, bool *placed);

/* Gives a place back. Any thread, never blocks. */
void
si_task_queue_leave(si_task_queue *q);

/* Waits until there may be a task to get, or the queue is closed and empty, or w is woken.
 * Not attached, without a place; the caller has armed w.
 * -> SI_OK (try) | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_task_queue_wait_get(si_task_queue *q, si_waiter *w, int64_t deadline_ns);

/* Takes task out before a worker has it, marks it CANCELLED and tells everybody.
 * -> whether it was inside; otherwise it runs or has ended */
bool
si_task_queue_cancel(si_task_queue *q, si_task *task);

/* Takes task out before a worker has it, PENDING as it was when it was put, and drops the
 * queue's reference: the caller has one. -> whether it was inside */
SI_NODISCARD bool
si_task_queue_retract(si_task_queue *q, si_task *task);

/* The oldest task with its reference, without marking it; NULL: none. For a queue that
 * nobody will work on any more: the caller ends it. */
si_task *
si_task_queue_remove_any(si_task_queue *q);

/* Refuses puts and wakes everybody. Idempotent. Any thread. */
void
si_task_queue_close(si_task_queue *q);

static inline bool
si_task_queue_is_closed(const si_task_queue *q)
{
    return si_load_acquire(&q->closed) != 0;
}

/* Whether there is nothing to get, for good: save what is put back. */
static inline bool
si_task_queue_is_over(const si_task_queue *q)
{
    return si_load_acquire(&q->closed) != 0 && si_load_acquire(&q->count) == 0;
}

static inline uint64_t
si_task_queue_count(const si_task_queue *q)
{
    return si_load_acquire(&q->count);
}

#endif /* SI_TASK_QUEUE_H */
