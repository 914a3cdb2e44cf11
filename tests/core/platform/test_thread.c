/* test_thread.c — threads that nobody joins, and descriptors to poll. */
#include "core/platform/thread.h"

#include <limits.h>
#include <poll.h>
#include <string.h>

#include "core/platform/futex.h"
#include "core/platform/wakeup.h"
#include "tests/core/support.h"

static si_atomic_u32 ran;

static void
run(void *arg)
{
    check(arg == &ran);
#if defined(__linux__)
    char name[32] = "";
    check(pthread_getname_np(pthread_self(), name, sizeof(name)) == 0);
    check(strcmp(name, "a name that is ") == 0);
#endif
    si_store_release(&ran, 1);
    si_futex_wake(&ran, INT_MAX);
}

static void
test_a_thread_runs_under_its_name(void **state)
{
    (void)state;
    si_status status = si_thread_start(run, &ran, "a name that is much too long");
    assert_int_equal(status, SI_OK);
    while (si_load_acquire(&ran) == 0) {
        status = si_futex_wait(&ran, 0, si_deadline_after(60000 * MS));
        assert_int_not_equal(status, SI_TIMEOUT);
    }
}

static void *
look_at_stack(void *other)
{
    void *low;
    void *again;
    size_t size;
    check(si_thread_stack(&low, &size));
    check((uintptr_t)__builtin_frame_address(0) - (uintptr_t)low < size);
    check((uintptr_t)other - (uintptr_t)low >= size);
    check(si_thread_stack(&again, &size) && again == low);
    return NULL;
}

static void
test_each_thread_knows_its_own_stack(void **state)
{
    (void)state;
    void *mine = __builtin_frame_address(0);
    void *low;
    size_t size;
#if !defined(__GLIBC__)
    assert_false(si_thread_stack(&low, &size));
    skip();
#endif
    assert_true(si_thread_stack(&low, &size));
    assert_true((uintptr_t)mine - (uintptr_t)low < size);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look_at_stack, mine), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
stop_here(void *unused)
{
    (void)unused;
    si_thread_stop();
}

static void *
use_key(void *key)
{
    check(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
    return NULL;
}

static void
test_a_thread_that_stops_in_a_destructor_is_joined(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    print_message("TSan's pthread_join waits for more than the end of the thread\n");
    skip();
#endif
    pthread_t thread;
    pthread_key_t key;
    assert_int_equal(pthread_key_create(&key, stop_here), 0);
    assert_int_equal(pthread_create(&thread, NULL, use_key, &key), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_key_delete(key), 0);
}

/* As many keys as need more memory than a thread has for them from the start. */
static pthread_key_t keys[80];

static void *
set_keys_and_stop(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        check(pthread_setspecific(keys[i], keys) == 0);
    }
    si_thread_stop();
}

static void *
look_at_keys(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        check(pthread_getspecific(keys[i]) == NULL);
    }
    return NULL;
}

static void
test_a_stopped_thread_leaves_its_keys_to_no_other(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    print_message("TSan's pthread_join waits for more than the end of the thread\n");
    skip();
#endif
    pthread_t thread;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_int_equal(pthread_key_create(&keys[i], NULL), 0);
    }
    assert_int_equal(pthread_create(&thread, NULL, set_keys_and_stop, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* glibc gives it the stack of the last one that ended, with what lies there. */
    assert_int_equal(pthread_create(&thread, NULL, look_at_keys, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_int_equal(pthread_key_delete(keys[i]), 0);
    }
}

static void
test_processor_time_grows_with_work(void **state)
{
    (void)state;
    int64_t before = si_thread_cpu_ns();
    uint64_t ticks = si_ticks();
    while (si_thread_cpu_ns() == before) {
    }
    assert_true(si_thread_cpu_ns() > before);
    assert_true(si_ticks() > ticks);
}

static bool
is_readable(const si_wakeup *wakeup)
{
    struct pollfd polled = {.fd = wakeup->read_fd, .events = POLLIN};
    check(poll(&polled, 1, 0) >= 0);
    return (polled.revents & POLLIN) != 0;
}

static void
test_a_wakeup_is_readable_while_raised(void **state)
{
    (void)state;
    si_wakeup wakeup = SI_WAKEUP_NONE;
    si_wakeup_raise(&wakeup); /* does nothing */
    si_wakeup_lower(&wakeup);
    assert_int_equal(si_wakeup_open(&wakeup), SI_OK);
    for (int i = 0; i < 3; i++) {
        assert_false(is_readable(&wakeup));
        si_wakeup_raise(&wakeup);
        assert_true(is_readable(&wakeup));
        si_wakeup_lower(&wakeup);
    }
    assert_false(is_readable(&wakeup));
    si_wakeup_close(&wakeup);
    assert_int_equal(wakeup.read_fd, -1);
    si_wakeup_close(&wakeup);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_runs_under_its_name),
        cmocka_unit_test(test_each_thread_knows_its_own_stack),
        cmocka_unit_test(test_a_thread_that_stops_in_a_destructor_is_joined),
        cmocka_unit_test(test_a_stopped_thread_leaves_its_keys_to_no_other),
        cmocka_unit_test(test_processor_time_grows_with_work),
        cmocka_unit_test(test_a_wakeup_is_readable_while_raised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
