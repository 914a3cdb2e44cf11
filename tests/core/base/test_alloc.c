/* test_alloc.c — tests of alloc. */
#include "tests/core/support.h"

#include <string.h>

static void
test_memory_is_usable(void **state)
{
    unsigned char *p = si_alloc(100);
    assert_non_null(p);
    memset(p, 7, 100);
    p = si_realloc(p, 10000);
    assert_non_null(p);
    assert_int_equal(p[99], 7);
    si_free(p);
}

static void
test_calloc_is_zeroed(void **state)
{
    unsigned char zeros[512] = {0};
    unsigned char *p = si_calloc(sizeof(zeros));
    assert_non_null(p);
    assert_memory_equal(p, zeros, sizeof(zeros));
    si_free(p);
}

static void
test_size_zero_is_unique(void **state)
{
    void *a = si_alloc(0);
    void *b = si_calloc(0);
    void *c = si_realloc(NULL, 0);
    assert_true(a != NULL && b != NULL && c != NULL);
    assert_true(a != b && b != c && a != c);
    c = si_realloc(c, 0);
    assert_non_null(c);
    si_free(a);
    si_free(b);
    si_free(c);
    si_free(NULL);
}

static void
test_nth_allocation_fails_once(void **state)
{
    si_alloc_fail_nth(3);
    void *a = si_alloc(1);
    void *b = si_calloc(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_false(si_alloc_failed());
    assert_null(si_realloc(a, 2));
    assert_true(si_alloc_failed());
    void *c = si_alloc(1);
    assert_non_null(c);
    si_alloc_fail_nth(0);
    assert_false(si_alloc_failed());
    /* a survived the realloc that failed. */
    si_free(a);
    si_free(b);
    si_free(c);
}

static void
test_switching_off_cancels(void **state)
{
    si_alloc_fail_nth(1);
    si_alloc_fail_nth(0);
    void *p = si_alloc(1);
    assert_non_null(p);
    assert_false(si_alloc_failed());
    si_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_usable),
        cmocka_unit_test(test_calloc_is_zeroed),
        cmocka_unit_test(test_size_zero_is_unique),
        cmocka_unit_test(test_nth_allocation_fails_once),
        cmocka_unit_test(test_switching_off_cancels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
