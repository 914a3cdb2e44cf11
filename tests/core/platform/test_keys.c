/* test_keys.c — tests of keys. */
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/platform/keys.h"
#include "tests/core/support.h"

#define MANY 3000 /* more than a process has keys of pthread */

static uint32_t many[MANY];
/* Atomic: TSan takes a thread for ended before its last destructors have run. */
static si_atomic_u32 destroyed;
static uint32_t again; /* a key whose destructor sets a value again */

static void
count(void *value)
{
    (void)si_add_relaxed(&destroyed, (uint32_t)*(int *)value);
}

static void
count_and_set(void *value)
{
    (void)si_add_relaxed(&destroyed, 1);
    check(si_key_set(again, value) == SI_OK);
}

static uint32_t
make(void (*destructor)(void *))
{
    uint32_t key;
    check(si_key_create(&key, destructor) == SI_OK);
    return key;
}

static void
in_a_thread(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, run, arg) == 0);
    check(pthread_join(thread, NULL) == 0);
}

static void *
use_many(void *numbers)
{
    int *each = numbers;
    for (int i = 0; i < MANY; i++) {
        check(si_key_get(many[i]) == NULL);
        check(si_key_set(many[i], &each[i]) == SI_OK);
    }
    for (int i = 0; i < MANY; i++) {
        check(si_key_get(many[i]) == &each[i]);
    }
    for (int i = 0; i < MANY; i += 3) {
        check(si_key_set(many[i], NULL) == SI_OK);
        check(si_key_get(many[i]) == NULL);
    }
    return NULL;
}

static void
test_more_keys_than_pthread_has(void **state)
{
    (void)state;
    static int numbers[MANY];
    int expected = 0;
    for (int i = 0; i < MANY; i++) {
        many[i] = make(i % 2 == 0 ? count : NULL);
        numbers[i] = i;
        assert_true(si_key_is_ours(many[i]));
        assert_true(i == 0 || many[i] != many[i - 1]);
        expected += i % 2 == 0 && i % 3 != 0 && i > 100 ? i : 0;
    }
    for (int i = 0; i <= 100; i++) {
        si_key_delete(many[i]);
    }
    si_store_relaxed(&destroyed, 0);
    in_a_thread(use_many, numbers);
    assert_int_equal(si_load_relaxed(&destroyed), expected);
    assert_null(si_key_get(many[500]));
}

static void *
set_again(void *value)
{
    check(si_key_set(again, value) == SI_OK);
    return NULL;
}

static void
test_a_destructor_that_sets_its_value_again(void **state)
{
    (void)state;
    again = make(count_and_set);
    si_store_relaxed(&destroyed, 0);
    in_a_thread(set_again, &destroyed);
    assert_int_equal(si_load_relaxed(&destroyed), 4); /* rounds, as with pthread's */
}

static uint32_t plain;
static si_atomic_u32 seen;

static void
look(void *value)
{
    si_store_relaxed(&seen, si_key_get(plain) == value);
}

static void *
set_both(void *key)
{
    check(si_key_set(plain, &seen) == SI_OK);
    check(pthread_setspecific(*(pthread_key_t *)key, &seen) == 0);
    return NULL;
}

static void
test_values_without_destructors_are_there_for_those_of_others(void **state)
{
    (void)state;
    pthread_key_t key;
    plain = make(NULL);
    assert_int_equal(pthread_key_create(&key, look), 0);
    assert_false(si_key_is_ours(key));
    in_a_thread(set_both, &key);
    assert_true(si_load_relaxed(&seen) == 1);
    assert_int_equal(pthread_key_delete(key), 0);
}

static void
test_no_memory(void **state)
{
    (void)state;
    uint32_t key = make(NULL);
    int value;
    int failures = 0;
    si_status status = SI_NOMEM;
    for (int i = 1; status != SI_OK; i++) {
        si_alloc_fail_nth(i);
        status = si_key_set(key, &value);
        failures += status == SI_NOMEM;
        assert_true(si_key_get(key) == (status == SI_OK ? &value : NULL));
    }
    si_alloc_fail_nth(0);
    assert_int_equal(failures, 1);
    failures = 0;
    for (int i = 0; i < 10000 && failures == 0; i++) {
        si_alloc_fail_nth(1);
        failures += si_key_create(&key, NULL) == SI_NOMEM;
    }
    si_alloc_fail_nth(0);
    assert_int_equal(failures, 1);
    assert_int_equal(si_key_create(&key, NULL), SI_OK);
    assert_int_equal(si_key_set(key, NULL), SI_OK);
}

static void
test_a_forked_child_has_its_values(void **state)
{
    (void)state;
    uint32_t key = make(NULL);
    assert_int_equal(si_key_set(key, &seen), SI_OK);
    si_keys_fork_prepare();
    pid_t child = fork();
    si_keys_fork_done();
    if (child == 0) {
        uint32_t other = make(NULL);
        _exit(si_key_get(key) == &seen && other > key ? 7 : 1);
    }
    int status;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_more_keys_than_pthread_has),
        cmocka_unit_test(test_a_destructor_that_sets_its_value_again),
        cmocka_unit_test(test_values_without_destructors_are_there_for_those_of_others),
        cmocka_unit_test(test_a_forked_child_has_its_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
