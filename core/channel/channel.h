/* channel.h — a FIFO of items between any threads of any interpreters.
 *
 * Model      Many producers, many consumers, bounded or not. An item is raw memory
 *            that begins with a si_item; a channel looks at nothing behind that.
 * Ownership  The channel owns the items inside it and releases them with their own
 *            function, never under its lock. Its si_entry counts its references.
 * Owners     An item remembers the interpreter that put it. When that interpreter ends,
 *            si_channel_owner_gone turns its items into placeholders or removes them,
 *            as each item's policy says.
 * Waiting    try_put and try_get never block. wait blocks until a try may succeed: it
 *            spins up to SI_SPIN_NS when there is more than one CPU, then parks. A
 *            wake-up that its waiter cannot use (timeout, signal) is passed on.
 * Watching   Who cannot block, an event loop, leaves a watch: it is fired once, when a try
 *            on its side may succeed, and takes no wake-up away from those who wait.
 * Locking    One mutex per channel, a leaf.
 */
#ifndef SI_CHANNEL_CHANNEL_H
#define SI_CHANNEL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"
#include "core/platform/mutex.h"
#include "core/registry/registry.h"
#include "core/wait/list.h"
#include "core/wait/spin.h"

/* What becomes of an item when the interpreter that put it ends. */
typedef enum si_unbound {
    SI_UNBOUND_REMOVE = 1,      /* it disappears */
    SI_UNBOUND_ERROR = 2,       /* it stays; getting it is an error */
    SI_UNBOUND_PLACEHOLDER = 3, /* it stays as a placeholder */
    SI_UNBOUND_KEEP = 4,        /* it stays as it is */
} si_unbound;

typedef struct si_item {
    struct si_item *next;                  /* guarded by the channel while inside it */
    int64_t owner;                         /* id of the interpreter that put it */
    uint8_t policy;                        /* a si_unbound */
    bool unbound;                          /* its owner is gone: only the policy is left */
    void (*release)(struct si_item *item); /* frees it; any thread, attached or not */
} si_item;

typedef enum si_side {
    SI_SIDE_GET = 0, /* waits for an item */
    SI_SIDE_PUT = 1, /* waits for room */
} si_side;

typedef struct si_watch {
    struct si_watch *next;               /* guarded by the channel while inside it */
    void (*fire)(struct si_watch *self); /* takes it back; any thread, attached or not,
                                            no lock held; must neither block nor use the
                                            channel */
} si_watch;

typedef struct si_channel {
    si_entry entry;  /* id and references; add it to a registry after si_channel_new */
    int64_t maxsize; /* <= 0: unbounded; never changes */
    int32_t tag;     /* the binding's; never changes after creation */
    si_mutex mu;
    si_item *head SI_GUARDED_BY(mu);
    si_item *tail SI_GUARDED_BY(mu);
    si_atomic_i64 count; /* items inside; written under mu, read anywhere */
    si_wait_list waiting[2] SI_GUARDED_BY(mu); /* by si_side */
    si_watch *watches[2] SI_GUARDED_BY(mu);    /* by si_side; in no order */
    si_spin_memory spins[2];                   /* by si_side */
} si_channel;

/* A new, empty channel with one reference, in no registry. -> SI_OK | SI_NOMEM */
SI_NODISCARD si_status
si_channel_new(int64_t maxsize, int32_t tag, si_channel **out);

/* Releases what is inside and frees the channel. For si_registry_add's destroy, or for
 * a channel that was never registered. Nobody may wait on it. */
void
si_channel_destroy(si_entry *entry);

/* Appends item and wakes one consumer. Owns item only on SI_OK. Never blocks, any
 * thread. -> SI_OK | SI_FULL */
SI_NODISCARD si_status
si_channel_try_put(si_channel *ch, si_item *item);

/* Takes the oldest item, which the caller then owns, and wakes one producer.
 * Never blocks, any thread. -> SI_OK | SI_EMPTY */
SI_NODISCARD si_status
si_channel_try_get(si_channel *ch, si_item **out);

/* Puts an item that try_get took back in front, even if the channel has become full in
 * the meantime; wakes one consumer. Takes ownership. Never fails. */
void
si_channel_unget(si_channel *ch, si_item *item);

/* Blocks until a try on that side may succeed. The caller has armed w (before others
 * could interrupt it); it is off all lists when this returns. Must not be attached to
 * an interpreter; the caller holds a reference to ch. After SI_OK the caller tries that
 * side, or it calls si_channel_pass_on: it may have been the only one to be woken.
 * -> SI_OK (try again) | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_channel_wait(si_channel *ch, si_side side, si_waiter *w, int64_t deadline_ns);

/* The two halves of si_channel_wait, for a caller that must look at something (signals)
 * between them: a spin of at most SI_SPIN_NS (none on one CPU), where SI_TIMEOUT means
 * that it is over, and the sleep. Contracts as si_channel_wait. */
SI_NODISCARD si_status
si_channel_spin(si_channel *ch, si_side side, const si_waiter *w, int64_t deadline_ns);
SI_NODISCARD si_status
si_channel_park(si_channel *ch, si_side side, si_waiter *w, int64_t deadline_ns);

/* Wakes one waiter of that side if a try may succeed: for a caller whose wait ended
 * with SI_OK but who does not try. Never blocks. Any thread. */
void
si_channel_pass_on(si_channel *ch, si_side side);

/* Keeps watch and fires it as soon as a try on that side may succeed, or when the channel
 * is destroyed. Never blocks. Any thread. -> whether it was kept; if not, a try may succeed
 * now, and watch is still the caller's */
SI_NODISCARD bool
si_channel_watch(si_channel *ch, si_side side, si_watch *watch);

/* In the child of a fork: forgets the waiters, whose threads do not exist here, and the
 * watches of the parent's event loops. */
void
si_channel_after_fork(si_channel *ch);

/* Items inside right now. Any thread. */
int64_t
si_channel_count(const si_channel *ch);

/* Whether there is no room right now. Any thread. */
bool
si_channel_is_full(const si_channel *ch);

/* Applies the policy of every item that interpreter owner has put. Any thread. */
void
si_channel_owner_gone(si_channel *ch, int64_t owner);

#endif /* SI_CHANNEL_CHANNEL_H */
