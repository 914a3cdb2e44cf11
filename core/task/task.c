/* task.c — see task.h.
 *
 * The end and whoever wants to hear of it meet in one read-modify-write of the word: the
 * ending thread sees WAITED and POSTED, or the other one sees that the task has ended.
 */
#include "core/task/task.h"

#include <stddef.h>

#include "core/platform/clock.h"
#include "core/task/outbox.h"
#include "core/wait/spin.h"

void
si_task_init(si_task *task, void (*destroy)(si_task *task))
{
    si_store_relaxed(&task->refs, 1);
    task->destroy = destroy;
}

void
si_task_hold(si_task *task)
{
    (void)si_add_relaxed(&task->refs, 1);
}

void
si_task_drop(si_task *task)
{
    if (si_sub_acq_rel(&task->refs, 1) == 1) {
        if (task->outbox != NULL) {
            si_outbox_drop(task->outbox);
        }
        task->destroy(task);
    }
}

bool
si_task_claim(si_task *task)
{
    return (si_or_seq_cst(&task->word, SI_TASK_CLAIMED) & SI_TASK_CLAIMED) == 0;
}

/* Takes one waiter off the list. *kick is set if its thread sleeps. */
static si_waiter *
take_waiter(si_task *task, bool *kick)
{
    si_mutex_lock(&task->mu);
    si_waiter *w = task->waiting;
    if (w != NULL) {
        task->waiting = w->next;
        if (w->next != NULL) {
            w->next->prev = NULL;
        }
        w->next = NULL;
        *kick = si_waiter_signal(w);
    }
    si_mutex_unlock(&task->mu);
    return w;
}

void
si_task_finish(si_task *task, uint32_t bits)
{
    uint32_t before = si_or_seq_cst(&task->word, bits);
    if (SI_UNLIKELY(before & SI_TASK_WAITED)) {
        bool kick = false;
        si_waiter *w;
        while ((w = take_waiter(task, &kick)) != NULL) {
            if (kick) {
                si_waiter_kick(w);
            }
        }
    }
    if (SI_UNLIKELY(before & SI_TASK_POSTED)) {
        si_outbox_post(task->outbox, task);
    }
}

bool
si_task_spin(const si_task *task, const si_waiter *w, int64_t deadline_ns)
{
    if (si_task_ended(task)) {
        return true;
    }
    if (si_cpu_count() == 1) {
        return false; /* Whoever could end it needs this CPU. */
    }
    int64_t end = si_deadline_after(SI_SPIN_NS);
    if (end > deadline_ns) {
        end = deadline_ns;
    }
    do {
        for (int i = 0; i < SI_SPINS_PER_CLOCK; i++) {
            if (si_task_ended(task)) {
                return true;
            }
            if (si_load_acquire(&w->word) == SI_WAITER_INTERRUPTED) {
                return false;
            }
            si_cpu_relax();
        }
    } while (si_now_ns() < end);
    return false;
}

static void
add_waiter(si_task *task, si_waiter *w)
{
    si_mutex_lock(&task->mu);
    w->next = task->waiting;
    w->prev = NULL;
    if (w->next != NULL) {
        w->next->prev = w;
    }
    task->waiting = w;
    si_mutex_unlock(&task->mu);
}

/* Takes w off the list, if the ending thread has not done so. */
static void
remove_waiter(si_task *task, si_waiter *w)
{
    si_mutex_lock(&task->mu);
    if (w->prev != NULL) {
        w->prev->next = w->next;
    }
    else if (task->waiting == w) {
        task->waiting = w->next;
    }
    if (w->next != NULL) {
        w->next->prev = w->prev;
    }
    si_mutex_unlock(&task->mu);
}

si_status
si_task_wait(si_task *task, si_waiter *w, int64_t deadline_ns)
{
    si_status status = SI_OK;
    add_waiter(task, w);
    if ((si_or_seq_cst(&task->word, SI_TASK_WAITED) & SI_TASK_ENDED) == 0) {
        status = si_waiter_park(w, deadline_ns);
    }
    remove_waiter(task, w);
    return status;
}

bool
si_task_subscribe(si_task *task, si_outbox *box)
{
    si_outbox_hold(box);
    task->outbox = box;
    uint32_t word = si_load_acquire(&task->word);
    do {
        if (word & SI_TASK_ENDED) {
            task->outbox = NULL;
            si_outbox_drop(box);
            return false;
        }
    } while (!si_cas_seq_cst(&task->word, &word, word | SI_TASK_POSTED));
    return true;
}
