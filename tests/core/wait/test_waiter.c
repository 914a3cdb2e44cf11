/* test_waiter.c — tests of waiter. */
#include "tests/core/support.h"

#include <signal.h>

#include "core/platform/mutex.h"
#include "core/wait/waiter.h"

static void
test_signal_before_park_is_kept(void **state)
{
    si_waiter w;
    si_waiter_arm(&w);
    assert_false(si_waiter_signalled(&w));
    assert_false(si_waiter_signal(&w));
    assert_true(si_waiter_signalled(&w));
    assert_int_equal(si_waiter_park(&w, SI_FOREVER), SI_OK);
}

static void
test_interrupt_before_park_is_kept(void **state)
{
    si_waiter w;
    si_waiter_arm(&w);
    assert_false(si_waiter_interrupt(&w));
    assert_false(si_waiter_signalled(&w));
    assert_int_equal(si_waiter_park(&w, SI_FOREVER), SI_INTERRUPTED);
}

static void
test_the_first_waker_decides(void **state)
{
    si_waiter w;
    si_waiter_arm(&w);
    assert_false(si_waiter_interrupt(&w));
    assert_false(si_waiter_signal(&w));
    assert_int_equal(si_waiter_park(&w, SI_FOREVER), SI_INTERRUPTED);
    si_waiter_arm(&w);
    assert_false(si_waiter_signal(&w));
    assert_false(si_waiter_interrupt(&w));
    assert_int_equal(si_waiter_park(&w, SI_FOREVER), SI_OK);
}

static void
test_timeout_leaves_it_armed(void **state)
{
    si_waiter w;
    si_waiter_arm(&w);
    int64_t deadline = si_deadline_after(5 * MS);
    assert_int_equal(si_waiter_park(&w, deadline), SI_TIMEOUT);
    assert_true(si_now_ns() >= deadline);
    assert_int_equal(si_load_relaxed(&w.word), SI_WAITER_ARMED);
    /* Nobody sleeps, so a late signal needs no kick. */
    assert_false(si_waiter_signal(&w));
    assert_true(si_waiter_signalled(&w));
}

static void
test_stray_kick_is_harmless(void **state)
{
    si_waiter w;
    si_waiter_arm(&w);
    si_waiter_kick(&w);
    assert_int_equal(si_waiter_park(&w, si_deadline_after(MS)), SI_TIMEOUT);
}

/* A mailbox with one place for a waiter: the smallest use of the protocol. */
typedef struct mailbox {
    si_mutex mu;
    si_waiter *waiting;
    uint32_t letters;
    uint32_t rounds;
} mailbox;

static void
deliver(mailbox *box)
{
    si_waiter *kick = NULL;
    si_mutex_lock(&box->mu);
    box->letters++;
    if (box->waiting != NULL) {
        kick = si_waiter_signal(box->waiting) ? box->waiting : NULL;
        box->waiting = NULL;
    }
    si_mutex_unlock(&box->mu);
    if (kick != NULL) {
        si_waiter_kick(kick);
    }
}

/* The waiter is on this stack frame, which is gone when the kick may still come. */
static void
collect(mailbox *box, int64_t timeout_ns)
{
    for (;;) {
        si_waiter w;
        si_waiter_arm(&w);
        si_mutex_lock(&box->mu);
        if (box->letters > 0) {
            box->letters--;
            si_mutex_unlock(&box->mu);
            return;
        }
        box->waiting = &w;
        si_mutex_unlock(&box->mu);
        si_status status = si_waiter_park(&w, si_deadline_after(timeout_ns));
        if (status != SI_OK) {
            check(status == SI_TIMEOUT);
            si_mutex_lock(&box->mu);
            if (box->waiting == &w) {
                box->waiting = NULL;
            }
            si_mutex_unlock(&box->mu);
        }
    }
}

static void *
collect_all(void *arg)
{
    mailbox *box = arg;
    for (uint32_t i = 0; i < box->rounds; i++) {
        collect(box, i % 2 ? SI_FOREVER : 1000);
    }
    return NULL;
}

static void
test_no_signal_is_lost(void **state)
{
    mailbox box = {.rounds = 20000};
    team t;
    team_init(&t, 1);
    team_add(&t, collect_all, &box);
    for (uint32_t i = 0; i < box.rounds; i++) {
        deliver(&box);
        if (i % 8 == 0) {
            sched_yield();
        }
    }
    team_join(&t);
    assert_int_equal(box.letters, 0);
}

/* Signal, interrupt and timeout race for one waiter, round after round. */
typedef struct race {
    pthread_barrier_t start;
    pthread_barrier_t end;
    si_waiter w;
    uint32_t rounds;
} race;

static void *
signal_rounds(void *arg)
{
    race *r = arg;
    for (uint32_t i = 0; i < r->rounds; i++) {
        pthread_barrier_wait(&r->start);
        if (si_waiter_signal(&r->w)) {
            si_waiter_kick(&r->w);
        }
        pthread_barrier_wait(&r->end);
    }
    return NULL;
}

static void *
interrupt_rounds(void *arg)
{
    race *r = arg;
    for (uint32_t i = 0; i < r->rounds; i++) {
        pthread_barrier_wait(&r->start);
        if (si_waiter_interrupt(&r->w)) {
            si_waiter_kick(&r->w);
        }
        pthread_barrier_wait(&r->end);
    }
    return NULL;
}

static void
test_signal_interrupt_and_timeout_race(void **state)
{
    race r = {.rounds = 3000};
    pthread_barrier_init(&r.start, NULL, 3);
    pthread_barrier_init(&r.end, NULL, 3);
    team t;
    team_init(&t, 2);
    team_add(&t, signal_rounds, &r);
    team_add(&t, interrupt_rounds, &r);
    bool consistent = true;
    for (uint32_t i = 0; i < r.rounds; i++) {
        si_waiter_arm(&r.w);
        pthread_barrier_wait(&r.start);
        int64_t deadline = i % 2 ? SI_FOREVER : si_deadline_after((int64_t)(i % 64) * 100);
        si_status status = si_waiter_park(&r.w, deadline);
        pthread_barrier_wait(&r.end);
        uint32_t word = si_load_relaxed(&r.w.word);
        if (status == SI_OK) {
            consistent &= word == SI_WAITER_SIGNALLED;
        }
        else if (status == SI_INTERRUPTED) {
            consistent &= word == SI_WAITER_INTERRUPTED;
        }
        else {
            consistent &= status == SI_TIMEOUT && deadline != SI_FOREVER;
        }
    }
    team_join(&t);
    assert_true(consistent);
    pthread_barrier_destroy(&r.start);
    pthread_barrier_destroy(&r.end);
}

static si_waiter handled_waiter;

static void
interrupt_from_handler(int number)
{
    if (si_waiter_interrupt(&handled_waiter)) {
        si_waiter_kick(&handled_waiter);
    }
}

static void
test_handler_interrupts_its_own_thread(void **state)
{
    struct sigaction action = {.sa_handler = interrupt_from_handler};
    struct sigaction before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    si_waiter_arm(&handled_waiter);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(si_waiter_park(&handled_waiter, SI_FOREVER), SI_INTERRUPTED);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signal_before_park_is_kept),
        cmocka_unit_test(test_interrupt_before_park_is_kept),
        cmocka_unit_test(test_the_first_waker_decides),
        cmocka_unit_test(test_timeout_leaves_it_armed),
        cmocka_unit_test(test_stray_kick_is_harmless),
        cmocka_unit_test(test_no_signal_is_lost),
        cmocka_unit_test(test_signal_interrupt_and_timeout_race),
        cmocka_unit_test(test_handler_interrupts_its_own_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
