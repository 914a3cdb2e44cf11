/* waiter.h — one thread that sleeps until somebody wakes it.
 *
 * Model      A waiter belongs to one thread at a time: arm, publish it where a waker
 *            finds it (a list, under that list's lock), park, take it off again. A wake
 *            that comes between arm and park is not lost.
 * Ownership  The memory is the waiting thread's, often its stack. A waker that took the
 *            waiter off a list under the list's lock calls si_waiter_signal under that
 *            lock and si_waiter_kick after it; kick touches no memory, so the waiter
 *            may be gone by then.
 * States     ARMED -> SIGNALLED | INTERRUPTED; PARKED only between the two. The first
 *            of signal and interrupt decides and the later one changes nothing, so
 *            whoever interrupts sets a flag of its own first, and the waiting thread
 *            looks at that flag between arm and park.
 * Elsewhere  A thread that sleeps until a word of another kind changes (a gate's) can be
 *            interrupted by its waiter too: that sets the mark in the word and wakes who
 *            sleeps there. Word and waiter live as long as the waiter is published.
 */
#ifndef SI_WAIT_WAITER_H
#define SI_WAIT_WAITER_H

#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"

typedef enum si_waiter_state {
    SI_WAITER_ARMED = 0,   /* nobody has woken it since it was armed */
    SI_WAITER_PARKED,      /* as ARMED, and its thread sleeps or is about to */
    SI_WAITER_SIGNALLED,   /* what it waited for may be there */
    SI_WAITER_INTERRUPTED, /* it shall give up and look around */
} si_waiter_state;

typedef struct si_waiter {
    si_atomic_u32 word;     /* a si_waiter_state */
    struct si_waiter *next; /* for whoever lists it; guarded by that list's lock */
    struct si_waiter *prev;
    struct si_waiter *also;   /* for a second list, under a lock of its own */
    si_atomic_u32 *elsewhere; /* the word that its thread sleeps on instead, or NULL */
    uint32_t mark;            /* the bit there that tells it to look at its own word */
} si_waiter;

/* Makes w ready for one wait. Only its thread, and only while it is on no list. */
void
si_waiter_arm(si_waiter *w);

/* Blocks until w is signalled or interrupted, the deadline passes (si_now_ns time) or
 * a signal handler ran in this thread. Returns at once if it was woken before. Its
 * thread only; must not be attached to an interpreter.
 * -> SI_OK (signalled) | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_waiter_park(si_waiter *w, int64_t deadline_ns);

/* Marks w as signalled; true if its thread sleeps and needs a kick. An interrupt that
 * came first stays. Call it under the lock of the list that w was on. Never blocks. */
SI_NODISCARD bool
si_waiter_signal(si_waiter *w);

/* As si_waiter_signal, but the wait ends with SI_INTERRUPTED. Async-signal-safe. */
SI_NODISCARD bool
si_waiter_interrupt(si_waiter *w);

/* As si_waiter_interrupt, for a waiter whose thread may sleep elsewhere. That must not go
 * on meanwhile: it is the caller, or takes the waiter back under a lock that the caller
 * has. */
SI_NODISCARD bool
si_waiter_interrupt_published(si_waiter *w);

/* Wakes the thread of a waiter for which signal or interrupt returned true. Touches no
 * memory of w. Never blocks, async-signal-safe. */
void
si_waiter_kick(si_waiter *w);

/* Whether it was signalled or interrupted since it was armed (acquire). */
bool
si_waiter_is_woken(const si_waiter *w);

/* Whether it was signalled since it was armed (acquire). */
bool
si_waiter_signalled(const si_waiter *w);

#endif /* SI_WAIT_WAITER_H */
