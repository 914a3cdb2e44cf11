/* futex.c — Linux futexes, or one table of condition variables.
 *
 * SI_FUTEX_PORTABLE chooses the table on Linux too, so that tests can run it.
 */
#include "core/platform/futex.h"

#include <errno.h>
#include <time.h>

#include "core/platform/clock.h"

#define NS_PER_S 1000000000

static struct timespec
to_timespec(int64_t ns)
{
    if (ns < 0) {
        ns = 0; /* Long past; the kernel refuses negative times. */
    }
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S),
                             .tv_nsec = (long)(ns % NS_PER_S)};
}

#if defined(__linux__) && !defined(SI_FUTEX_PORTABLE)

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

si_status
si_futex_wait(si_atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
    /* Always with a deadline, for SI_FOREVER one in 292 years: without any, the kernel
     * goes on sleeping after a handler that was installed with SA_RESTART. */
    struct timespec deadline = to_timespec(deadline_ns);
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                      &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    if (rc == 0 || errno == EAGAIN) {
        return SI_OK;
    }
    return errno == ETIMEDOUT ? SI_TIMEOUT : SI_INTERRUPTED;
}

void
si_futex_wake(si_atomic_u32 *word, int count)
{
    /* A signal handler may call this, so errno must not change. The kernel returns an
     * error if the memory is gone meanwhile, which is the wanted nothing. */
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, count, NULL, NULL,
            FUTEX_BITSET_MATCH_ANY);
    errno = saved;
}

#else

#include <pthread.h>

/* A sleeper compares the word under its bucket's lock and a waker takes that lock after
 * it changed the word, so no wake-up falls between comparing and sleeping. */
#define BUCKET_COUNT 64

typedef struct bucket {
    pthread_mutex_t mu;
    pthread_cond_t woken;
} bucket;

static bucket buckets[BUCKET_COUNT];
static pthread_once_t buckets_once = PTHREAD_ONCE_INIT;

static void
init_conditions(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
#if !defined(__APPLE__)
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        pthread_cond_init(&buckets[i].woken, &attr);
    }
    pthread_condattr_destroy(&attr);
}

static void
lock_buckets(void)
{
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        pthread_mutex_lock(&buckets[i].mu);
    }
}

static void
unlock_buckets(void)
{
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        pthread_mutex_unlock(&buckets[i].mu);
    }
}

static void
reset_buckets(void)
{
    /* The condition variables count sleepers that do not exist in the child. */
    init_conditions();
    unlock_buckets();
}

static void
init_buckets(void)
{
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        pthread_mutex_init(&buckets[i].mu, NULL);
    }
    init_conditions();
    pthread_atfork(lock_buckets, unlock_buckets, reset_buckets);
}

static bucket *
bucket_of(const si_atomic_u32 *word)
{
    pthread_once(&buckets_once, init_buckets);
    uintptr_t hash = (uintptr_t)word;
    hash ^= hash >> 16;
    return &buckets[(hash * 0x9E3779B1u >> 8) % BUCKET_COUNT];
}

static int
sleep_in(bucket *b, int64_t deadline_ns)
{
    if (deadline_ns == SI_FOREVER) {
        return pthread_cond_wait(&b->woken, &b->mu);
    }
#if defined(__APPLE__)
    struct timespec left = to_timespec(deadline_ns - si_now_ns());
    return pthread_cond_timedwait_relative_np(&b->woken, &b->mu, &left);
#else
    struct timespec deadline = to_timespec(deadline_ns);
    return pthread_cond_timedwait(&b->woken, &b->mu, &deadline);
#endif
}

si_status
si_futex_wait(si_atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
    bucket *b = bucket_of(word);
    int rc = 0;
    pthread_mutex_lock(&b->mu);
    if (si_load_seq_cst(word) == expected) {
        rc = sleep_in(b, deadline_ns);
    }
    pthread_mutex_unlock(&b->mu);
    return rc == ETIMEDOUT ? SI_TIMEOUT : SI_OK;
}

void
si_futex_wake(si_atomic_u32 *word, int count)
{
    /* All: sleepers on other words share the bucket, and one could be the wrong one. */
    (void)count;
    bucket *b = bucket_of(word);
    pthread_mutex_lock(&b->mu);
    pthread_cond_broadcast(&b->woken);
    pthread_mutex_unlock(&b->mu);
}

#endif
