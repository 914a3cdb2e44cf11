/* test_mutex.c — tests of mutex. */
#include "tests/core/support.h"

#include "core/platform/mutex.h"

static void
test_zeroed_memory_is_unlocked(void **state)
{
    si_mutex *mu = si_calloc(sizeof(*mu));
    assert_non_null(mu);
    for (int i = 0; i < 3; i++) {
        si_mutex_lock(mu);
        assert_int_not_equal(si_load_relaxed(&mu->word), 0);
        si_mutex_unlock(mu);
        assert_int_equal(si_load_relaxed(&mu->word), 0);
    }
    si_free(mu);
}

#define ROUNDS 20000

typedef struct counting {
    team t;
    si_mutex mu;
    uint64_t count; /* plain: the mutex is all that guards it */
    int hold;       /* yields while holding, so that others have to sleep */
} counting;

static void *
count_up(void *arg)
{
    counting *c = arg;
    team_wait_for_all(&c->t);
    for (int i = 0; i < ROUNDS; i++) {
        si_mutex_lock(&c->mu);
        c->count++;
        if (c->hold != 0 && i % c->hold == 0) {
            sched_yield();
        }
        si_mutex_unlock(&c->mu);
    }
    return NULL;
}

static void
count_with(unsigned threads, int hold)
{
    counting c = {.mu = SI_MUTEX_INIT, .hold = hold};
    team_init(&c.t, threads);
    for (unsigned i = 0; i < threads; i++) {
        team_add(&c.t, count_up, &c);
    }
    team_join(&c.t);
    assert_true(c.count == (uint64_t)threads * ROUNDS);
    assert_int_equal(si_load_relaxed(&c.mu.word), 0);
}

static void
test_two_threads_exclude_each_other(void **state)
{
    count_with(2, 0);
}

static void
test_many_threads_exclude_each_other(void **state)
{
    count_with(8, 0);
}

static void
test_sleepers_are_woken(void **state)
{
    count_with(8, 16);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_memory_is_unlocked),
        cmocka_unit_test(test_two_threads_exclude_each_other),
        cmocka_unit_test(test_many_threads_exclude_each_other),
        cmocka_unit_test(test_sleepers_are_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
