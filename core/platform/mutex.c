/* mutex.c — the contended half of the lock.
 *
 * Invariant  While somebody sleeps on the word, the word is 2 or about to be woken: a
 *            sleeper writes 2 before it sleeps and takes the lock as 2, because it
 *            cannot know whether others sleep too. At worst one wake-up is for nobody.
 */
#include "core/platform/mutex.h"

#include "core/platform/clock.h"
#include "core/platform/futex.h"

#define SPINS 64 /* about the length of the longest critical section */

static bool
spin_for(si_mutex *mu)
{
    for (int i = 0; i < SPINS; i++) {
        si_cpu_relax();
        uint32_t word = si_load_relaxed(&mu->word);
        if (word == SI__MUTEX_FREE && si_cas_acquire(&mu->word, &word, SI__MUTEX_LOCKED)) {
            return true;
        }
        if (word == SI__MUTEX_CONTENDED) {
            return false; /* Others sleep already: it takes longer. */
        }
    }
    return false;
}

void
si__mutex_lock_slow(si_mutex *mu)
{
    if (si_cpu_count() > 1 && spin_for(mu)) {
        return;
    }
    while (si_swap_acquire(&mu->word, SI__MUTEX_CONTENDED) != SI__MUTEX_FREE) {
        /* Whatever ends the sleep, the next swap tells whether the lock is free. */
        si_status woken = si_futex_wait(&mu->word, SI__MUTEX_CONTENDED, SI_FOREVER);
        (void)woken;
    }
}

void
si__mutex_wake(si_mutex *mu)
{
    si_futex_wake(&mu->word, 1);
}
