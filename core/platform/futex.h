/* futex.h — sleep until a 32-bit word changes.
 *
 * Linux futexes; elsewhere a table of condition variables with the same contract, save
 * that a signal handler does not end a wait there and must not call si_futex_wake.
 */
#ifndef SI_PLATFORM_FUTEX_H
#define SI_PLATFORM_FUTEX_H

#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"

/* Sleeps while *word == expected, until a wake-up, the deadline (si_now_ns time;
 * SI_FOREVER: none) or a signal handler ran in this thread. May wake for no reason:
 * look at the word again. Blocks; must not be attached to an interpreter.
 * -> SI_OK (woken, or the word differs) | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_futex_wait(si_atomic_u32 *word, uint32_t expected, int64_t deadline_ns);

/* Wakes up to count threads that sleep on word. Reads no memory at word, so it may
 * be called after the word's owner has freed it. Never blocks, async-signal-safe. */
void
si_futex_wake(si_atomic_u32 *word, int count);

#endif /* SI_PLATFORM_FUTEX_H */
