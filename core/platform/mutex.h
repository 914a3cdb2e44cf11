/* mutex.h — a small mutual-exclusion lock on a futex.
 *
 * Zeroed memory is an unlocked mutex; there is nothing to free. Not recursive. An
 * uncontended lock/unlock is two atomic operations; a contended one spins briefly
 * when there is more than one CPU, then sleeps in the kernel.
 * Rule: held for a bounded number of C instructions only. Never run Python, wait for
 * a GIL, allocate from Python or call back while holding one.
 */
#ifndef SI_PLATFORM_MUTEX_H
#define SI_PLATFORM_MUTEX_H

#include "core/base/annotate.h"
#include "core/base/atomic.h"

typedef struct SI_CAPABILITY("mutex") si_mutex {
    si_atomic_u32 word; /* 0 unlocked, 1 locked, 2 locked and somebody sleeps */
} si_mutex;

#define SI_MUTEX_INIT {0}

/* Takes the lock. Blocks for as long as its holder runs. Any thread. */
static inline void
si_mutex_lock(si_mutex *mu) SI_ACQUIRES(*mu);

/* Gives the lock back and wakes one sleeper. Only the holder. */
static inline void
si_mutex_unlock(si_mutex *mu) SI_RELEASES(*mu);

/* --- The rest is implementation: the uncontended path, inline. --- */

#define SI__MUTEX_FREE 0
#define SI__MUTEX_LOCKED 1
#define SI__MUTEX_CONTENDED 2

void
si__mutex_lock_slow(si_mutex *mu);

void
si__mutex_wake(si_mutex *mu);

SI_NO_THREAD_SAFETY static inline void
si_mutex_lock(si_mutex *mu)
{
    uint32_t word = SI__MUTEX_FREE;
    if (SI_UNLIKELY(!si_cas_acquire(&mu->word, &word, SI__MUTEX_LOCKED))) {
        si__mutex_lock_slow(mu);
    }
}

SI_NO_THREAD_SAFETY static inline void
si_mutex_unlock(si_mutex *mu)
{
    uint32_t word = si_swap_release(&mu->word, SI__MUTEX_FREE);
    if (SI_UNLIKELY(word == SI__MUTEX_CONTENDED)) {
        si__mutex_wake(mu);
    }
}

#endif /* SI_PLATFORM_MUTEX_H */
