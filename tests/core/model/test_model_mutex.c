/* test_model_mutex.c — the lock excludes, and wakes all who sleep, in every order. */
#include "core/platform/mutex.h"
#include "tests/core/model/explorer.h"
#include "tests/core/support.h"

static si_mutex mu;
static si_atomic_u32 inside; /* its operations are steps: here others may come in */
static int visits;

static void
setup(void)
{
    mu = (si_mutex)SI_MUTEX_INIT;
    inside = 0;
    visits = 0;
}

static void
visit(void)
{
    si_mutex_lock(&mu);
    model_expect(si_swap_acquire(&inside, 1) == 0, "one holder at a time");
    visits++;
    si_store_release(&inside, 0);
    si_mutex_unlock(&mu);
}

static void
visit_twice(void)
{
    visit();
    visit();
}

static void
finished(void)
{
    model_expect(mu.word == 0, "unlocked at the end");
}

static void
finished_four(void)
{
    finished();
    model_expect(visits == 4, "everybody had it");
}

static void
finished_three(void)
{
    finished();
    model_expect(visits == 3, "everybody had it");
}

static void
test_two_threads_twice(void **state)
{
    model_scenario s = {setup, {visit_twice, visit_twice}, finished_four};
    assert_true(model_explore("mutex, two threads twice", &s) > 1);
}

static void
test_three_threads(void **state)
{
    model_scenario s = {setup, {visit, visit, visit}, finished_three};
    assert_true(model_explore("mutex, three threads", &s) > 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_threads_twice),
        cmocka_unit_test(test_three_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
