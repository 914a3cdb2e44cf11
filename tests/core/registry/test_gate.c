/* test_gate.c — tests of gate. */
#include "tests/core/support.h"

#include "core/registry/gate.h"

static void
test_entries_come_and_go(void **state)
{
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_enter(&g), SI_OK);
    assert_int_equal(si_gate_enter(&g), SI_OK);
    assert_false(si_gate_is_running(&g));
    assert_false(si_gate_is_closed(&g));
    si_gate_leave(&g);
    si_gate_leave(&g);
    assert_int_equal(si_load_relaxed(&g.word), 0);
}

static void
test_only_one_is_exclusive(void **state)
{
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_enter_exclusive(&g), SI_OK);
    assert_true(si_gate_is_running(&g));
    assert_int_equal(si_gate_enter_exclusive(&g), SI_BUSY);
    assert_int_equal(si_gate_enter(&g), SI_OK);
    si_gate_leave_exclusive(&g);
    assert_false(si_gate_is_running(&g));
    assert_int_equal(si_gate_enter_exclusive(&g), SI_OK);
    si_gate_leave_exclusive(&g);
    si_gate_leave(&g);
    assert_int_equal(si_load_relaxed(&g.word), 0);
}

static void
test_closing_refuses_everybody(void **state)
{
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_close(&g, true), SI_OK);
    assert_true(si_gate_is_closed(&g));
    assert_int_equal(si_gate_enter(&g), SI_CLOSED);
    assert_int_equal(si_gate_enter_exclusive(&g), SI_CLOSED);
    assert_int_equal(si_gate_close(&g, false), SI_CLOSED);
    assert_int_equal(si_gate_drain(&g, SI_FOREVER), SI_OK);
    si_gate_end(&g);
    assert_int_equal(si_gate_enter(&g), SI_CLOSED);
    assert_int_equal(si_gate_close(&g, false), SI_CLOSED);
    assert_int_equal(si_gate_wait_end(&g, SI_FOREVER), SI_OK);
}

static void
test_close_can_refuse_a_running_one(void **state)
{
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_enter_exclusive(&g), SI_OK);
    assert_int_equal(si_gate_close(&g, true), SI_BUSY);
    assert_false(si_gate_is_closed(&g));
    assert_int_equal(si_gate_close(&g, false), SI_OK);
    assert_int_equal(si_gate_drain(&g, si_deadline_after(MS)), SI_TIMEOUT);
    si_gate_leave_exclusive(&g);
    assert_int_equal(si_gate_drain(&g, si_deadline_after(0)), SI_OK);
}

static void
test_reopening_lets_in_again(void **state)
{
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_enter(&g), SI_OK);
    assert_int_equal(si_gate_close(&g, false), SI_OK);
    assert_int_equal(si_gate_wait_end(&g, si_deadline_after(MS)), SI_TIMEOUT);
    si_gate_reopen(&g);
    assert_false(si_gate_is_closed(&g));
    assert_int_equal(si_gate_wait_end(&g, SI_FOREVER), SI_OK);
    assert_int_equal(si_gate_enter_exclusive(&g), SI_OK);
    si_gate_leave_exclusive(&g);
    si_gate_leave(&g);
}

static void
test_forced_end_is_for_good(void **state)
{
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_enter(&g), SI_OK);
    assert_int_equal(si_gate_enter_exclusive(&g), SI_OK);
    assert_int_equal(si_gate_close(&g, false), SI_OK);
    si_gate_force_end(&g);
    assert_int_equal(si_gate_enter(&g), SI_CLOSED);
    assert_int_equal(si_gate_wait_end(&g, SI_FOREVER), SI_OK);
    /* Those inside may still leave, and the closing thread may still end or reopen. */
    si_gate_leave_exclusive(&g);
    assert_int_equal(si_gate_drain(&g, si_deadline_after(0)), SI_TIMEOUT);
    si_gate_leave(&g);
    assert_int_equal(si_gate_drain(&g, SI_FOREVER), SI_OK);
    si_gate_reopen(&g);
    assert_true(si_gate_is_closed(&g));
    assert_int_equal(si_gate_enter(&g), SI_CLOSED);
}

#define VISITORS 4
#define CLOSERS 2

typedef struct house {
    team t;
    si_gate *gate;
    si_atomic_u32 inside;
    si_atomic_u32 running;
    si_atomic_u32 ended;
    si_atomic_u32 endings;
} house;

static void *
visit(void *arg)
{
    house *h = arg;
    team_wait_for_all(&h->t);
    for (;;) {
        if (si_gate_enter(h->gate) != SI_OK) {
            if (si_load_seq_cst(&h->ended) != 0) {
                return NULL;
            }
            sched_yield();
            continue;
        }
        si_add_seq_cst(&h->inside, 1);
        check(si_load_seq_cst(&h->ended) == 0);
        si_sub_seq_cst(&h->inside, 1);
        si_gate_leave(h->gate);
    }
}

static void *
run(void *arg)
{
    house *h = arg;
    team_wait_for_all(&h->t);
    for (;;) {
        si_status status = si_gate_enter_exclusive(h->gate);
        if (status == SI_CLOSED && si_load_seq_cst(&h->ended) != 0) {
            return NULL;
        }
        if (status == SI_OK) {
            check(si_add_seq_cst(&h->running, 1) == 0);
            check(si_load_seq_cst(&h->ended) == 0);
            check(si_gate_is_running(h->gate));
            si_sub_seq_cst(&h->running, 1);
            si_gate_leave_exclusive(h->gate);
        }
        else {
            sched_yield();
        }
    }
}

/* Closes, gives up a few times first, and then ends it for good. */
static void *
close_it(void *arg)
{
    house *h = arg;
    int to_give_up = 50;
    team_wait_for_all(&h->t);
    for (;;) {
        si_status status = si_gate_close(h->gate, to_give_up % 2);
        if (status == SI_BUSY) {
            continue;
        }
        if (status == SI_CLOSED) {
            check(si_gate_wait_end(h->gate, SI_FOREVER) == SI_OK);
            if (si_load_seq_cst(&h->ended) != 0) {
                return NULL;
            }
            continue;
        }
        si_status drained =
            si_gate_drain(h->gate, to_give_up > 0 ? si_deadline_after(2000) : SI_FOREVER);
        if (drained == SI_OK) {
            check(si_load_seq_cst(&h->inside) == 0);
            check(si_load_seq_cst(&h->running) == 0);
        }
        if (to_give_up-- > 0) {
            si_gate_reopen(h->gate);
            continue;
        }
        check(drained == SI_OK);
        si_store_seq_cst(&h->ended, 1);
        si_add_seq_cst(&h->endings, 1);
        si_gate_end(h->gate);
        return NULL;
    }
}

static void
test_nobody_is_inside_after_draining(void **state)
{
    for (int round = 0; round < 20; round++) {
        si_gate gate = SI_GATE_INIT;
        house h = {.gate = &gate};
        team_init(&h.t, VISITORS + 2 + CLOSERS);
        for (int i = 0; i < VISITORS; i++) {
            team_add(&h.t, visit, &h);
        }
        team_add(&h.t, run, &h);
        team_add(&h.t, run, &h);
        for (int i = 0; i < CLOSERS; i++) {
            team_add(&h.t, close_it, &h);
        }
        team_join(&h.t);
        assert_int_equal(si_load_relaxed(&h.endings), 1);
        assert_int_equal(si_load_relaxed(&h.inside), 0);
        assert_int_equal(si_load_relaxed(&h.running), 0);
    }
}

static void *
leave_it(void *arg)
{
    si_gate_leave(arg);
    return NULL;
}

static void
test_gate_may_be_freed_once_drained(void **state)
{
    for (int round = 0; round < 500; round++) {
        si_gate *g = si_calloc(sizeof(*g));
        assert_non_null(g);
        assert_int_equal(si_gate_enter(g), SI_OK);
        assert_int_equal(si_gate_close(g, true), SI_OK);
        team t;
        team_init(&t, 1);
        team_add(&t, leave_it, g);
        assert_int_equal(si_gate_drain(g, SI_FOREVER), SI_OK);
        si_gate_end(g);
        si_free(g);
        team_join(&t);
    }
}

static void *
take_turns(void *arg)
{
    house *h = arg;
    team_wait_for_all(&h->t);
    for (int turns = 0; turns < 2000;) {
        if (si_gate_enter_exclusive(h->gate) == SI_OK) {
            check(si_add_seq_cst(&h->running, 1) == 0);
            check(si_sub_seq_cst(&h->running, 1) == 1);
            si_gate_leave_exclusive(h->gate);
            turns++;
        }
        else {
            check(si_gate_wait_exclusive(h->gate, SI_FOREVER) == SI_OK);
        }
    }
    return NULL;
}

/* A wake-up that is lost would leave one of them asleep for ever. */
static void *
interrupt_it(void *arg)
{
    if (si_waiter_interrupt_published(arg)) {
        si_waiter_kick(arg);
    }
    return NULL;
}

static void
test_a_waiter_ends_draining(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++) {
        si_gate g = SI_GATE_INIT;
        si_waiter w;
        pthread_t thread;
        assert_int_equal(si_gate_enter(&g), SI_OK);
        assert_int_equal(si_gate_close(&g, false), SI_OK);
        si_gate_arm(&g, &w);
        assert_int_equal(pthread_create(&thread, NULL, interrupt_it, &w), 0);
        assert_int_equal(si_gate_drain_with(&g, &w, SI_FOREVER), SI_INTERRUPTED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        si_gate_arm(&g, &w);
        assert_int_equal(si_gate_drain_with(&g, &w, si_deadline_after(1)), SI_TIMEOUT);
        si_gate_leave(&g);
        assert_int_equal(si_gate_drain_with(&g, &w, SI_FOREVER), SI_OK);
        si_gate_end(&g);
        assert_true(si_gate_is_closed(&g));
    }
}

static void
test_waiting_for_the_exclusive_entry(void **state)
{
    (void)state;
    si_gate g = SI_GATE_INIT;
    assert_int_equal(si_gate_wait_exclusive(&g, SI_FOREVER), SI_OK);
    assert_int_equal(si_gate_enter_exclusive(&g), SI_OK);
    assert_int_equal(si_gate_wait_exclusive(&g, si_deadline_after(MS)), SI_TIMEOUT);
    si_gate_leave_exclusive(&g);
    house h = {.gate = &g};
    team_init(&h.t, VISITORS);
    for (int i = 0; i < VISITORS; i++) {
        team_add(&h.t, take_turns, &h);
    }
    team_join(&h.t);
    assert_int_equal(si_gate_close(&g, true), SI_OK);
    assert_int_equal(si_gate_wait_exclusive(&g, SI_FOREVER), SI_CLOSED);
    si_gate_end(&g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_come_and_go),
        cmocka_unit_test(test_only_one_is_exclusive),
        cmocka_unit_test(test_closing_refuses_everybody),
        cmocka_unit_test(test_close_can_refuse_a_running_one),
        cmocka_unit_test(test_reopening_lets_in_again),
        cmocka_unit_test(test_forced_end_is_for_good),
        cmocka_unit_test(test_nobody_is_inside_after_draining),
        cmocka_unit_test(test_gate_may_be_freed_once_drained),
        cmocka_unit_test(test_a_waiter_ends_draining),
        cmocka_unit_test(test_waiting_for_the_exclusive_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
