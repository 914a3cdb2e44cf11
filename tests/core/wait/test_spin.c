/* test_spin.c — tests of spin. */
#include "tests/core/support.h"

#include "core/platform/clock.h"
#include "core/wait/spin.h"

static void
test_halved_by_each_miss_down_to_the_least(void **state)
{
    si_spin_memory memory = {0};
    int64_t least = SI_SPIN_NS >> SI_SPIN_HALVINGS;
    for (int misses = 0; misses < SI_SPIN_RETRIAL; misses++) {
        int64_t want = misses < SI_SPIN_HALVINGS ? SI_SPIN_NS >> misses : least;
        int64_t before = si_now_ns();
        int64_t end = si_spin_end(&memory, SI_FOREVER);
        assert_true(end >= before + want && end <= si_now_ns() + want);
        si_spin_learn(&memory, false);
    }
}

static void
test_tries_the_full_time_again(void **state)
{
    si_spin_memory memory = {0};
    for (int misses = 0; misses < SI_SPIN_RETRIAL; misses++) {
        si_spin_learn(&memory, false);
    }
    int64_t before = si_now_ns();
    assert_true(si_spin_end(&memory, SI_FOREVER) >= before + SI_SPIN_NS);
}

static void
test_a_hit_gives_the_full_time_back(void **state)
{
    si_spin_memory memory = {0};
    si_spin_learn(&memory, false);
    si_spin_learn(&memory, false);
    si_spin_learn(&memory, true);
    int64_t before = si_now_ns();
    assert_true(si_spin_end(&memory, SI_FOREVER) >= before + SI_SPIN_NS);
}

static void
test_never_past_the_deadline(void **state)
{
    si_spin_memory memory = {0};
    int64_t now = si_now_ns();
    assert_int_equal(si_spin_end(&memory, now), now);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halved_by_each_miss_down_to_the_least),
        cmocka_unit_test(test_tries_the_full_time_again),
        cmocka_unit_test(test_a_hit_gives_the_full_time_back),
        cmocka_unit_test(test_never_past_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
