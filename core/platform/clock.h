/* clock.h — monotonic time, the processor, and which thread this is. */
#ifndef SI_PLATFORM_CLOCK_H
#define SI_PLATFORM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define SI_FOREVER INT64_MAX /* a deadline that never comes */

/* Nanoseconds on the monotonic clock; starts at no particular point. Any thread. */
int64_t
si_now_ns(void);

/* si_now_ns() + timeout_ns, SI_FOREVER instead of overflow; timeout_ns >= 0. */
int64_t
si_deadline_after(int64_t timeout_ns);

/* CPUs that this process may run on, at least 1; read once. Any thread. */
int
si_cpu_count(void);

/* Whether the calling thread is the process' first one. A system call on Linux;
 * async-signal-safe. */
bool
si_is_main_thread(void);

/* Tells the CPU that this is a spin loop. */
static inline void
si_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif /* SI_PLATFORM_CLOCK_H */
