/* outbox.h — ended tasks on their way to the one who wants to hear of them.
 *
 * Model      Many threads post, one reads. The reader is woken once per batch: a post to
 *            a box that is not empty wakes nobody. It sleeps in si_outbox_wait, or in an
 *            event loop on the file descriptor, which is readable while the box holds
 *            something.
 * Ownership  The box holds one reference to each task inside it.
 * Locking    mu, a leaf. The descriptor is written to and closed under it, so a poster
 *            never writes to a number that means something else by now.
 */
#ifndef SI_TASK_OUTBOX_H
#define SI_TASK_OUTBOX_H

#include "core/platform/wakeup.h"
#include "core/task/task.h"

struct si_outbox {
    si_mutex mu;
    si_atomic_u32 refs;
    si_task *head SI_GUARDED_BY(mu);
    si_task *tail SI_GUARDED_BY(mu);
    size_t count SI_GUARDED_BY(mu);
    si_waiter *reader SI_GUARDED_BY(mu); /* sleeps, or NULL */
    bool stopped SI_GUARDED_BY(mu);
    void (*lost)(si_task *task, int64_t arg) SI_GUARDED_BY(mu); /* NULL: it has a reader */
    int64_t lost_arg SI_GUARDED_BY(mu);
    si_wakeup wakeup; /* its descriptors go when it has lost its reader */
};

/* A new empty box with one reference; with_fd: with a descriptor to poll.
 * -> SI_OK | SI_NOMEM | SI_SYSTEM */
SI_NODISCARD si_status
si_outbox_new(bool with_fd, si_outbox **out);

void
si_outbox_hold(si_outbox *box);
/* The last drop releases what is inside. */
void
si_outbox_drop(si_outbox *box);

/* Says that nobody will read any more, and closes the descriptor: what is posted from now
 * on goes to lost(task, arg) in the thread that posts it, which may take the note and keeps
 * its reference. The caller has emptied the box, or does so after this. The reader only. */
void
si_outbox_lose(si_outbox *box, void (*lost)(si_task *task, int64_t arg), int64_t arg);

/* Appends an ended task, taking a reference of its own. Any thread; holds no lock of the
 * caller's; never blocks, except as lost does. */
void
si_outbox_post(si_outbox *box, si_task *task);

/* Takes the oldest task, which the caller then owns; NULL if there is none. When it takes
 * the last one the descriptor stops being readable. The reader only. */
si_task *
si_outbox_take(si_outbox *box);

/* Tasks inside. Any thread. */
size_t
si_outbox_count(si_outbox *box);

/* Sleeps until there is something or the box is stopped. The caller has armed w and is
 * not attached. The reader only.
 * -> SI_OK | SI_TIMEOUT | SI_INTERRUPTED | SI_CLOSED (stopped, empty) */
SI_NODISCARD si_status
si_outbox_wait(si_outbox *box, si_waiter *w, int64_t deadline_ns);

/* Lets si_outbox_wait return SI_CLOSED once the box is empty. Any thread. */
void
si_outbox_stop(si_outbox *box);

#endif /* SI_TASK_OUTBOX_H */
