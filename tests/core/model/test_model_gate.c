/* test_model_gate.c — the gate's protocol in every order of a few threads. */
#include "core/registry/gate.h"
#include "tests/core/model/explorer.h"
#include "tests/core/support.h"

#define SOME_TIME 1 /* a deadline: the model lets it pass whenever it likes */

static si_gate gate;
static si_atomic_u32 running; /* somebody has the exclusive entry */
static si_atomic_u32 ended;   /* set before the end, which must find nobody inside */
static si_atomic_u32 closings;
static si_waiter closer;

static void
setup(void)
{
    gate = (si_gate)SI_GATE_INIT;
    running = 0;
    ended = 0;
    closings = 0;
}

static void
setup_with_entry(void)
{
    setup();
    gate.word = 1;
}

static void
visit(void)
{
    if (si_gate_enter(&gate) != SI_OK) {
        return;
    }
    model_expect(si_load_seq_cst(&ended) == 0, "nobody is inside after the end");
    si_gate_leave(&gate);
}

static void
run(void)
{
    si_status status = si_gate_enter_exclusive(&gate);
    if (status != SI_OK) {
        return;
    }
    model_expect(si_swap_acquire(&running, 1) == 0, "one exclusive entry");
    model_expect(si_load_seq_cst(&ended) == 0, "nobody runs after the end");
    si_store_seq_cst(&running, 0);
    si_gate_leave_exclusive(&gate);
}

static void
run_in_turn(void)
{
    si_status status;
    while ((status = si_gate_enter_exclusive(&gate)) == SI_BUSY) {
        status = si_gate_wait_exclusive(&gate, SI_FOREVER);
        if (status == SI_CLOSED) {
            return;
        }
        model_expect(status == SI_OK, "woken when it is free");
    }
    if (status == SI_OK) {
        model_expect(si_swap_acquire(&running, 1) == 0, "one exclusive entry");
        si_store_seq_cst(&running, 0);
        si_gate_leave_exclusive(&gate);
    }
}

static void
drain_and_end(void)
{
    model_expect(si_gate_drain(&gate, SI_FOREVER) == SI_OK, "drained");
    si_store_seq_cst(&ended, 1);
    si_gate_end(&gate);
}

static void
close_or_wait(void)
{
    si_status status = si_gate_close(&gate, false);
    if (status == SI_OK) {
        si_add_seq_cst(&closings, 1);
        drain_and_end();
        return;
    }
    model_expect(status == SI_CLOSED, "another one closes");
    model_expect(si_gate_wait_end(&gate, SI_FOREVER) == SI_OK, "waited");
    model_expect(si_load_seq_cst(&ended) == 1, "ended when the wait is over");
}

static void
close_unless_running(void)
{
    si_status status = si_gate_close(&gate, true);
    if (status == SI_OK) {
        drain_and_end();
    }
    else {
        model_expect(status == SI_BUSY, "busy is the only other outcome");
    }
}

static void
close_and_reopen(void)
{
    if (si_gate_close(&gate, false) == SI_OK) {
        si_status drained = si_gate_drain(&gate, SOME_TIME);
        model_expect(drained == SI_OK || drained == SI_TIMEOUT, "drained or not");
        si_gate_reopen(&gate);
    }
}

static void
wait_for_the_end(void)
{
    model_expect(si_gate_wait_end(&gate, SI_FOREVER) == SI_OK, "waited");
}

static void
leave_early_entry(void)
{
    si_gate_leave(&gate);
}

static void
close_and_free(void)
{
    model_expect(si_gate_close(&gate, false) == SI_OK, "nobody else closes");
    drain_and_end();
    model_free(&gate, sizeof(gate));
}

/* Somebody else may have forced the end at any time. */
static void
close_and_give_up(void)
{
    if (si_gate_close(&gate, false) == SI_OK) {
        model_expect(si_gate_drain(&gate, SI_FOREVER) == SI_OK, "drained");
        si_gate_reopen(&gate);
        return;
    }
    wait_for_the_end();
}

static void
force(void)
{
    si_gate_force_end(&gate);
}

static void
setup_with_waiter(void)
{
    setup_with_entry();
    si_gate_arm(&gate, &closer);
}

static void
drain_until_interrupted(void)
{
    model_expect(si_gate_close(&gate, false) == SI_OK, "nobody else closes");
    model_expect(si_gate_drain_with(&gate, &closer, SI_FOREVER) == SI_INTERRUPTED,
                 "the entry stays, so only the interrupt ends it");
    si_gate_reopen(&gate);
}

static void
interrupt_closer(void)
{
    if (si_waiter_interrupt_published(&closer)) {
        si_waiter_kick(&closer);
    }
}

static void
the_entry_is_left(void)
{
    model_expect((gate.word & ~(UINT32_C(1) << 27)) == 1, "open, with one entry");
}

static void
nothing_left(void)
{
    model_expect((gate.word & 0x27ffffff) == 0, "no entry is left");
}

static void
closed_for_good(void)
{
    nothing_left();
    model_expect(si_gate_enter(&gate) == SI_CLOSED, "closed for good");
}

static void
closed_once(void)
{
    closed_for_good();
    model_expect(closings == 1, "closed exactly once");
}

static void
open_again(void)
{
    nothing_left();
    model_expect(si_gate_enter(&gate) == SI_OK, "open again");
}

static void
test_entries_against_close(void **state)
{
    model_scenario s = {setup, {visit, run, close_or_wait}, closed_once};
    assert_true(model_explore("gate, entries and close", &s) > 1);
}

static void
test_two_closers(void **state)
{
    model_scenario s = {setup, {visit, close_or_wait, close_or_wait}, closed_once};
    assert_true(model_explore("gate, two closers", &s) > 1);
}

static void
test_exclusive_entries(void **state)
{
    model_scenario s = {setup, {run, run, close_unless_running}, nothing_left};
    assert_true(model_explore("gate, exclusive entries", &s) > 1);
}

static void
test_turns(void **state)
{
    model_scenario s = {setup, {run, run_in_turn, close_unless_running}, nothing_left};
    assert_true(model_explore("gate, taking turns", &s) > 1);
}

static void
test_reopening(void **state)
{
    model_scenario s = {setup, {visit, close_and_reopen, wait_for_the_end}, open_again};
    assert_true(model_explore("gate, reopening", &s) > 1);
}

static void
test_free_once_drained(void **state)
{
    model_scenario s = {
        setup_with_entry, {leave_early_entry, close_and_free}, nothing_left};
    assert_true(model_explore("gate, freed once drained", &s) > 1);
}

static void
test_interrupted_drain(void **state)
{
    model_scenario s = {setup_with_waiter,
                        {drain_until_interrupted, interrupt_closer, interrupt_closer},
                        the_entry_is_left};
    assert_true(model_explore("gate, interrupted drain", &s) > 1);
}

static void
test_forced_end(void **state)
{
    model_scenario s = {
        setup_with_entry, {leave_early_entry, force, close_and_give_up}, closed_for_good};
    assert_true(model_explore("gate, forced end", &s) > 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_against_close),
        cmocka_unit_test(test_two_closers),
        cmocka_unit_test(test_exclusive_entries),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_reopening),
        cmocka_unit_test(test_free_once_drained),
        cmocka_unit_test(test_interrupted_drain),
        cmocka_unit_test(test_forced_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
