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

/* Sends the signal to that thread itself. Async-signal-safe. -> false: this system has no
 * way to */
bool
si_signal_main_thread(int signum);

/* A counter that is cheaper to read than the clock and runs about as evenly; what one
 * step of it is, is for the caller to find out. Any thread. */
static inline uint64_t
si_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)si_now_ns();
#endif
}

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
