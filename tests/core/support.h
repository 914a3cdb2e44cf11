/* support.h — what the tests of core share: cmocka, threads, a barrier.
 *
 * cmocka's assertions jump out of the test and only work in its own thread. Other
 * threads use check(), which says where it failed and aborts the test program.
 */
#ifndef SI_TESTS_CORE_SUPPORT_H
#define SI_TESTS_CORE_SUPPORT_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/annotate.h"
#include "core/base/atomic.h"
#include "core/base/status.h"
#include "core/platform/clock.h"

#define MS INT64_C(1000000) /* nanoseconds */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define check(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

typedef struct team {
    pthread_t threads[16];
    size_t count;
    pthread_barrier_t start;
} team;

/* Room for `count` threads that all begin at once. */
static inline void
team_init(team *t, unsigned count)
{
    t->count = 0;
    check(count <= COUNT_OF(t->threads));
    check(pthread_barrier_init(&t->start, NULL, count) == 0);
}

static inline void
team_add(team *t, void *(*run)(void *), void *arg)
{
    check(pthread_create(&t->threads[t->count], NULL, run, arg) == 0);
    t->count++;
}

/* Called by each thread of the team first. */
static inline void
team_wait_for_all(team *t)
{
    pthread_barrier_wait(&t->start);
}

static inline void
team_join(team *t)
{
    for (size_t i = 0; i < t->count; i++) {
        check(pthread_join(t->threads[i], NULL) == 0);
    }
    pthread_barrier_destroy(&t->start);
}

/* Gives the CPU to others until *word has that value. */
static inline void
yield_until(si_atomic_u32 *word, uint32_t value)
{
    while (si_load_acquire(word) != value) {
        sched_yield();
    }
}

#endif /* SI_TESTS_CORE_SUPPORT_H */
