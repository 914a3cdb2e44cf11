/* clock.c — see clock.h. */
#include "core/platform/clock.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#else
#include <pthread.h>
#endif
#include <time.h>
#include <unistd.h>

#include "core/base/atomic.h"

#define NS_PER_S 1000000000

int64_t
si_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t
si_deadline_after(int64_t timeout_ns)
{
    int64_t now = si_now_ns();
    return timeout_ns > SI_FOREVER - now ? SI_FOREVER : now + timeout_ns;
}

static int
count_cpus(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return CPU_COUNT(&set);
    }
    /* More CPUs than a cpu_set_t has bits: what is online is near enough. */
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > 1 << 20 ? 1 << 20 : (int)online;
}

int
si_cpu_count(void)
{
    static si_atomic_u32 known;
    uint32_t count = si_load_relaxed(&known);
    if (count == 0) {
        /* Two threads may both look; they find the same. */
        count = (uint32_t)count_cpus();
        si_store_relaxed(&known, count);
    }
    return (int)count;
}

bool
si_is_main_thread(void)
{
#if defined(__linux__)
    return syscall(SYS_gettid) == getpid();
#else
    return pthread_main_np() != 0;
#endif
}

bool
si_signal_main_thread(int signum)
{
#if defined(__linux__)
    pid_t process = getpid(); /* the id of its first thread, too */
    return syscall(SYS_tgkill, process, process, signum) == 0;
#else
    (void)signum;
    return false;
#endif
}
