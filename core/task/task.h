/* task.h — one piece of work: its state, who waits for it, who is told of its end.
 *
 * Model      A task goes PENDING -> RUNNING -> DONE, PENDING -> CANCELLED, or back from
 *            RUNNING to PENDING when it is tried again. The queue that holds it (queue.h)
 *            decides between RUNNING and CANCELLED under its lock. Ending has two steps:
 *            claim, which one thread wins, then, with the outcome written, finish.
 * Ownership  Reference-counted. What stands behind the si_task is the user's.
 * Waiting    Any number of threads may wait for the end. At most one outbox is told.
 * Locking    mu guards the list of waiters; a leaf. Everything else is in one word.
 */
#ifndef SI_TASK_TASK_H
#define SI_TASK_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"
#include "core/platform/mutex.h"
#include "core/wait/waiter.h"

#define SI_TASK_RUNNING UINT32_C(1)   /* a worker has it */
#define SI_TASK_CLAIMED UINT32_C(2)   /* one thread is writing its outcome */
#define SI_TASK_DONE UINT32_C(4)      /* ended; the outcome can be read */
#define SI_TASK_CANCELLED UINT32_C(8) /* ended without an outcome */
#define SI_TASK_ENDED (SI_TASK_DONE | SI_TASK_CANCELLED)
#define SI_TASK_WAITED UINT32_C(16) /* the list of waiters may not be empty */
#define SI_TASK_POSTED UINT32_C(32) /* an outbox is to be told */

typedef struct si_outbox si_outbox;

typedef struct si_task {
    si_atomic_u32 word; /* the bits above */
    si_atomic_u32 refs;
    struct si_task *next; /* in a queue; guarded by it */
    struct si_task *prev;
    bool queued; /* guarded by the queue */
    si_mutex mu;
    si_waiter *waiting SI_GUARDED_BY(mu);
    si_outbox *outbox;                     /* a reference; set once, before POSTED */
    struct si_task *next_done;             /* in an outbox; guarded by it */
    void *note;                            /* for that outbox's reader, who takes it */
    void (*destroy)(struct si_task *task); /* runs after the last drop, in that thread */
} si_task;

/* Readies zeroed memory: PENDING, one reference. */
void
si_task_init(si_task *task, void (*destroy)(si_task *task));

void
si_task_hold(si_task *task);
void
si_task_drop(si_task *task);

/* The right to end the task; one caller gets true, once. Any thread. */
SI_NODISCARD bool
si_task_claim(si_task *task);

/* Ends a claimed task: bits is SI_TASK_DONE or SI_TASK_CANCELLED. Wakes who waits, tells
 * the outbox. The caller keeps its reference. Any thread; never blocks for long. */
void
si_task_finish(si_task *task, uint32_t bits);

/* Whether it has ended; if so, its outcome can be read. Any thread. */
static inline bool
si_task_ended(const si_task *task)
{
    return (si_load_acquire(&task->word) & SI_TASK_ENDED) != 0;
}

/* Waits for the end without sleeping, SI_SPIN_NS at most and not where there is one CPU.
 * w was armed: an interrupt of it ends the spinning. -> whether it has ended */
bool
si_task_spin(const si_task *task, const si_waiter *w, int64_t deadline_ns);

/* Sleeps until the end. The caller has armed w; it is off the list when this returns.
 * Must not be attached to an interpreter. -> SI_OK | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_task_wait(si_task *task, si_waiter *w, int64_t deadline_ns);

/* Has box told of the end; takes a reference to it. At most once per task. -> false if
 * the task has ended already: nothing is changed, nobody is told */
SI_NODISCARD bool
si_task_subscribe(si_task *task, si_outbox *box);

#endif /* SI_TASK_TASK_H */
