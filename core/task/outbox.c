/* outbox.c — see outbox.h.
 *
 * Invariant  The descriptor has something to read exactly while the box is not empty;
 *            it is written and read under mu, so the two cannot differ.
 */
#include "core/task/outbox.h"

#include "core/base/alloc.h"

si_status
si_outbox_new(bool with_fd, si_outbox **out)
{
    si_outbox *box = si_calloc(sizeof(*box));
    if (box == NULL) {
        return SI_NOMEM;
    }
    si_store_relaxed(&box->refs, 1);
    box->wakeup = (si_wakeup)SI_WAKEUP_NONE;
    si_status status = with_fd ? si_wakeup_open(&box->wakeup) : SI_OK;
    if (status != SI_OK) {
        si_free(box);
        return status;
    }
    *out = box;
    return SI_OK;
}

void
si_outbox_hold(si_outbox *box)
{
    (void)si_add_relaxed(&box->refs, 1);
}

void
si_outbox_drop(si_outbox *box)
{
    if (si_sub_acq_rel(&box->refs, 1) != 1) {
        return;
    }
    /* Each task inside holds a reference to the box, so it is empty by now. */
    si_wakeup_close(&box->wakeup);
    si_free(box);
}

void
si_outbox_lose(si_outbox *box, void (*lost)(si_task *task, int64_t arg), int64_t arg)
{
    si_mutex_lock(&box->mu);
    box->lost = lost;
    box->lost_arg = arg;
    si_wakeup_close(&box->wakeup);
    si_mutex_unlock(&box->mu);
}

void
si_outbox_post(si_outbox *box, si_task *task)
{
    bool kick = false;
    si_mutex_lock(&box->mu);
    if (SI_UNLIKELY(box->lost != NULL)) {
        void (*lost)(si_task *task, int64_t arg) = box->lost;
        int64_t arg = box->lost_arg;
        si_mutex_unlock(&box->mu);
        lost(task, arg);
        return;
    }
    si_task_hold(task);
    task->next_done = NULL;
    si_waiter *reader = NULL;
    if (box->tail != NULL) {
        box->tail->next_done = task;
    }
    else {
        box->head = task;
        reader = box->reader;
        box->reader = NULL;
        kick = reader != NULL && si_waiter_signal(reader);
        si_wakeup_raise(&box->wakeup);
    }
    box->tail = task;
    box->count++;
    si_mutex_unlock(&box->mu);
    if (kick) {
        si_waiter_kick(reader);
    }
}

si_task *
si_outbox_take(si_outbox *box)
{
    si_mutex_lock(&box->mu);
    si_task *task = box->head;
    if (task != NULL) {
        box->head = task->next_done;
        box->count--;
        if (box->head == NULL) {
            box->tail = NULL;
            si_wakeup_lower(&box->wakeup);
        }
    }
    si_mutex_unlock(&box->mu);
    return task;
}

size_t
si_outbox_count(si_outbox *box)
{
    si_mutex_lock(&box->mu);
    size_t count = box->count;
    si_mutex_unlock(&box->mu);
    return count;
}

si_status
si_outbox_wait(si_outbox *box, si_waiter *w, int64_t deadline_ns)
{
    si_mutex_lock(&box->mu);
    bool something = box->head != NULL;
    bool stopped = box->stopped;
    if (!something && !stopped) {
        box->reader = w;
    }
    si_mutex_unlock(&box->mu);
    if (something || stopped) {
        return something ? SI_OK : SI_CLOSED;
    }
    si_status status = si_waiter_park(w, deadline_ns);
    si_mutex_lock(&box->mu);
    if (box->reader == w) {
        box->reader = NULL;
    }
    stopped = box->stopped && box->head == NULL;
    si_mutex_unlock(&box->mu);
    return stopped ? SI_CLOSED : status;
}

void
si_outbox_stop(si_outbox *box)
{
    bool kick = false;
    si_mutex_lock(&box->mu);
    box->stopped = true;
    si_waiter *reader = box->reader;
    box->reader = NULL;
    kick = reader != NULL && si_waiter_signal(reader);
    si_mutex_unlock(&box->mu);
    if (kick) {
        si_waiter_kick(reader);
    }
}
