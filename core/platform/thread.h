/* thread.h — threads of our own, that nobody joins, and the end of others. */
#ifndef SI_PLATFORM_THREAD_H
#define SI_PLATFORM_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/status.h"

/* Starts a detached thread that calls run(arg). name is what the system's tools show for
 * it, cut to what they can hold; it is not kept. Any thread; never blocks for long.
 * -> SI_OK | SI_NOMEM | SI_SYSTEM (no thread) */
SI_NODISCARD si_status
si_thread_start(void (*run)(void *arg), void *arg, const char *name);

/* The calling thread does not come back. It ends at once, holding what it holds, without
 * its destructors and with its stack as it is; who joins it returns. What it kept under
 * keys is forgotten, not freed. The first thread of the process cannot end so and sleeps
 * for good: the process would count as dead. */
_Noreturn void
si_thread_stop(void);

/* The part of the calling thread's stack that may be used: from *low on, *size bytes. Asks
 * the system once per thread, which on the first thread of a process takes long.
 * -> false: the system does not say, or the caller runs on another stack */
bool
si_thread_stack(void **low, size_t *size);

/* Processor time that the calling thread has used, in nanoseconds. */
int64_t
si_thread_cpu_ns(void);

#endif /* SI_PLATFORM_THREAD_H */
