/* outbox.c — see outbox.h.
 *
 * Invariant  The descriptor has something to read exactly while the box is not empty;
 *            it is written and read under mu, so the two cannot differ.
 */
#include "core/task/outbox.h"

#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include "core/base/alloc.h"

static si_status
open_descriptor(si_outbox *box)
{
#if defined(__linux__)
    box->read_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    box->write_fd = box->read_fd;
    return box->read_fd < 0 ? SI_SYSTEM : SI_OK;
#else
    int ends[2];
    if (pipe(ends) < 0) {
        return SI_SYSTEM;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    box->read_fd = ends[0];
    box->write_fd = ends[1];
    return SI_OK;
#endif
}

static void
raise_descriptor(si_outbox *box)
{
    const uint64_t one = 1;
    if (box->write_fd >= 0) {
        ssize_t written = write(box->write_fd, &one, sizeof(one));
        (void)written; /* it holds one message at most, so there is room */
    }
}

static void
lower_descriptor(si_outbox *box)
{
    uint64_t count;
    if (box->read_fd >= 0) {
        ssize_t got = read(box->read_fd, &count, sizeof(count));
        (void)got; /* there is one message */
    }
}

si_status
si_outbox_new(bool with_fd, si_outbox **out)
{
    si_outbox *box = si_calloc(sizeof(*box));
    if (box == NULL) {
        return SI_NOMEM;
    }
    si_store_relaxed(&box->refs, 1);
    box->read_fd = -1;
    box->write_fd = -1;
    si_status status = with_fd ? open_descriptor(box) : SI_OK;
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
    if (box->read_fd >= 0) {
        (void)close(box->read_fd);
    }
    if (box->write_fd >= 0 && box->write_fd != box->read_fd) {
        (void)close(box->write_fd);
    }
    si_free(box);
}

void
si_outbox_post(si_outbox *box, si_task *task)
{
    bool kick = false;
    si_task_hold(task);
    task->next_done = NULL;
    si_mutex_lock(&box->mu);
    si_waiter *reader = NULL;
    if (box->tail != NULL) {
        box->tail->next_done = task;
    }
    else {
        box->head = task;
        reader = box->reader;
        box->reader = NULL;
        kick = reader != NULL && si_waiter_signal(reader);
        raise_descriptor(box);
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
            lower_descriptor(box);
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
