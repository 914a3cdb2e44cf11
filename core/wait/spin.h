/* spin.h — how long a thread looks before it sleeps.
 *
 * Spinning pays where the answer comes within microseconds and a CPU is free for whoever
 * gives it. On a busy machine the spinner burns the very CPU its partner needs. So each
 * place where threads wait remembers how often in a row spinning found nothing, halves
 * the time with each miss, and tries the full time again once in a while, since the
 * machine may have become quiet. The memory is a hint: lost updates do no harm.
 */
#ifndef SI_WAIT_SPIN_H
#define SI_WAIT_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/atomic.h"

#define SI_SPIN_NS INT64_C(20000) /* the longest spin, in nanoseconds */
#define SI_SPIN_HALVINGS 5        /* the shortest is 1/32 of it */
#define SI_SPIN_RETRIAL 64        /* every so many misses, the full time again */
#define SI_SPINS_PER_CLOCK 32     /* looks between two readings of the clock */

typedef struct si_spin_memory {
    si_atomic_u32 misses; /* in a row */
} si_spin_memory;

/* When a spin that begins now ends, deadline_ns at the latest. Any thread. */
int64_t
si_spin_end(const si_spin_memory *memory, int64_t deadline_ns);

/* Remembers whether a spin has found what it was for. Any thread. */
void
si_spin_learn(si_spin_memory *memory, bool found);

#endif /* SI_WAIT_SPIN_H */
