/* test_status.c — tests of status. */
#include "tests/core/support.h"

#include <string.h>

static void
test_names_are_distinct(void **state)
{
    for (int a = SI_OK; a <= SI_SYSTEM; a++) {
        const char *name = si_status_name((si_status)a);
        assert_non_null(name);
        assert_string_not_equal(name, "unknown status");
        for (int b = SI_OK; b < a; b++) {
            assert_string_not_equal(name, si_status_name((si_status)b));
        }
    }
}

static void
test_unknown_status_has_a_name(void **state)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): that is the test. */
    assert_string_equal(si_status_name((si_status)1000), "unknown status");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_distinct),
        cmocka_unit_test(test_unknown_status_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
