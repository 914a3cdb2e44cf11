/* mutex.h — stands in for core/platform/mutex.h where the lock itself is not on trial:
 * it is one step to take and one to give back, and who cannot have it is not scheduled.
 */
#ifndef SI_PLATFORM_MUTEX_H
#define SI_PLATFORM_MUTEX_H

#include "core/base/annotate.h"
#include "core/base/atomic.h"

typedef struct SI_CAPABILITY("mutex") si_mutex {
    si_atomic_u32 word;
} si_mutex;

#define SI_MUTEX_INIT {0}

static inline void
si_mutex_lock(si_mutex *mu)
{
    model_step(&mu->word, MODEL_LOCK);
    mu->word = 1;
}

static inline void
si_mutex_unlock(si_mutex *mu)
{
    model_step(&mu->word, MODEL_WRITE);
    model_expect(mu->word == 1, "unlocking what is locked");
    mu->word = 0;
}

#endif /* SI_PLATFORM_MUTEX_H */
