/* test_futex.c — tests of futex. */
#include "tests/core/support.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "core/platform/futex.h"

static void
test_other_value_returns_at_once(void **state)
{
    si_atomic_u32 word = 1;
    assert_int_equal(si_futex_wait(&word, 2, SI_FOREVER), SI_OK);
}

static void
test_deadline_passes(void **state)
{
    si_atomic_u32 word = 1;
    int64_t deadline = si_deadline_after(10 * MS);
    si_status status;
    do {
        status = si_futex_wait(&word, 1, deadline);
    } while (status == SI_OK);
    assert_int_equal(status, SI_TIMEOUT);
    assert_true(si_now_ns() >= deadline);
}

static void
test_past_deadline_times_out(void **state)
{
    si_atomic_u32 word = 1;
    assert_int_equal(si_futex_wait(&word, 1, si_now_ns() - MS), SI_TIMEOUT);
    assert_int_equal(si_futex_wait(&word, 1, -1), SI_TIMEOUT);
    assert_int_equal(si_futex_wait(&word, 1, INT64_MIN), SI_TIMEOUT);
}

static void
test_wake_without_sleepers_keeps_errno(void **state)
{
    si_atomic_u32 *word = si_calloc(sizeof(*word));
    assert_non_null(word);
    si_free(word);
    errno = 77;
    si_futex_wake(word, 1);
    si_futex_wake(NULL, 1);
    assert_int_equal(errno, 77);
}

static void *
sleep_while_zero(void *arg)
{
    si_atomic_u32 *word = arg;
    while (si_load_acquire(word) == 0) {
        check(si_futex_wait(word, 0, SI_FOREVER) == SI_OK);
    }
    return NULL;
}

static void
test_wake_reaches_all(void **state)
{
    for (int round = 0; round < 200; round++) {
        si_atomic_u32 word = 0;
        team t;
        team_init(&t, 4);
        for (int i = 0; i < 4; i++) {
            team_add(&t, sleep_while_zero, &word);
        }
        si_store_release(&word, 1);
        si_futex_wake(&word, INT_MAX);
        team_join(&t);
    }
}

typedef struct ping_pong {
    si_atomic_u32 turn;
} ping_pong;

#define TURNS 4000

static void *
take_odd_turns(void *arg)
{
    ping_pong *p = arg;
    for (uint32_t i = 1; i < TURNS; i += 2) {
        while (si_load_acquire(&p->turn) != i) {
            si_status woken = si_futex_wait(&p->turn, i - 1, SI_FOREVER);
            check(woken == SI_OK);
        }
        si_store_release(&p->turn, i + 1);
        si_futex_wake(&p->turn, 1);
    }
    return NULL;
}

static void
test_no_wake_up_is_lost(void **state)
{
    ping_pong p = {0};
    team t;
    team_init(&t, 1);
    team_add(&t, take_odd_turns, &p);
    for (uint32_t i = 0; i < TURNS; i += 2) {
        while (si_load_acquire(&p.turn) != i) {
            assert_int_equal(si_futex_wait(&p.turn, i - 1, SI_FOREVER), SI_OK);
        }
        si_store_release(&p.turn, i + 1);
        si_futex_wake(&p.turn, 1);
    }
    team_join(&t);
    assert_int_equal(si_load_acquire(&p.turn), TURNS);
}

#ifndef SI_FUTEX_PORTABLE

static void
ignore_signal(int number)
{
    (void)number;
}

typedef struct interrupted_sleep {
    si_atomic_u32 word;
    si_atomic_u32 done;
    si_status status;
} interrupted_sleep;

static void *
sleep_until_signal(void *arg)
{
    interrupted_sleep *s = arg;
    do {
        s->status = si_futex_wait(&s->word, 0, SI_FOREVER);
    } while (s->status == SI_OK);
    si_store_release(&s->done, 1);
    return NULL;
}

static void
test_signal_ends_the_wait(void **state)
{
    /* SA_RESTART, because handlers installed by others may have it. */
    struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
    struct sigaction before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    interrupted_sleep s = {.status = SI_OK};
    team t;
    team_init(&t, 1);
    team_add(&t, sleep_until_signal, &s);
    /* A signal that comes before the thread sleeps does nothing, so send again. */
    while (si_load_acquire(&s.done) == 0) {
        pthread_kill(t.threads[0], SIGUSR1);
        sched_yield();
    }
    team_join(&t);
    assert_int_equal(s.status, SI_INTERRUPTED);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_value_returns_at_once),
        cmocka_unit_test(test_deadline_passes),
        cmocka_unit_test(test_past_deadline_times_out),
        cmocka_unit_test(test_wake_without_sleepers_keeps_errno),
        cmocka_unit_test(test_wake_reaches_all),
        cmocka_unit_test(test_no_wake_up_is_lost),
#ifndef SI_FUTEX_PORTABLE
        cmocka_unit_test(test_signal_ends_the_wait),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
