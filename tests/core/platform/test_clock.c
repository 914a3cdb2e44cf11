/* test_clock.c — tests of clock. */
#include "tests/core/support.h"

static void
test_clock_never_goes_back(void **state)
{
    int64_t last = si_now_ns();
    for (int i = 0; i < 10000; i++) {
        int64_t now = si_now_ns();
        assert_true(now >= last);
        last = now;
    }
}

static void
test_deadline_lies_ahead(void **state)
{
    int64_t before = si_now_ns();
    int64_t deadline = si_deadline_after(5 * MS);
    int64_t after = si_now_ns();
    assert_true(deadline >= before + 5 * MS);
    assert_true(deadline <= after + 5 * MS);
}

static void
test_deadline_saturates(void **state)
{
    assert_true(si_deadline_after(SI_FOREVER) == SI_FOREVER);
    assert_true(si_deadline_after(SI_FOREVER - 1) == SI_FOREVER);
}

static void
test_cpu_count_is_positive_and_stable(void **state)
{
    int count = si_cpu_count();
    assert_true(count >= 1);
    assert_int_equal(si_cpu_count(), count);
    si_cpu_relax();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_never_goes_back),
        cmocka_unit_test(test_deadline_lies_ahead),
        cmocka_unit_test(test_deadline_saturates),
        cmocka_unit_test(test_cpu_count_is_positive_and_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
