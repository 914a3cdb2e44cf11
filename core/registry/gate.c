/* gate.c — the gate's word.
 *
 * Layout     bits 0..26 entries, bit 27 NUDGED, bit 28 WANTED, bit 29 EXCLUSIVE, bit 30
 *            CLOSING, bit 31 CLOSED. WANTED: somebody sleeps until EXCLUSIVE is clear.
 *            NUDGED: the closing thread, which takes it away, shall look at its waiter.
 * Invariant  EXCLUSIVE is set exactly while one of the counted entries is exclusive.
 *            The count grows only while neither CLOSING nor CLOSED is set.
 * Sleeping   All kinds of sleeper sleep on the word itself. Whoever makes a change
 *            that one of them waits for (the last entry of a closing gate leaves, the
 *            exclusive one leaves and is wanted, the gate ends or opens again) wakes
 *            them all; who still wants the exclusive entry then sets WANTED again. A
 *            leaver touches the gate for the last time in its subtraction, so the
 *            closing thread may free the gate as soon as it is drained.
 */
#include "core/registry/gate.h"

#include <assert.h>
#include <limits.h>

#include "core/platform/futex.h"

#define NUDGED (UINT32_C(1) << 27)
#define WANTED (UINT32_C(1) << 28)
#define EXCLUSIVE (UINT32_C(1) << 29)
#define CLOSING (UINT32_C(1) << 30)
#define CLOSED (UINT32_C(1) << 31)
#define ENTRIES (NUDGED - 1)

static void
leave(si_gate *g, uint32_t entry)
{
    uint32_t before = si_sub_acq_rel(&g->word, entry);
    assert((before & ENTRIES) != 0);
    uint32_t after = before - entry;
    bool drained = (after & ENTRIES) == 0 && (after & (CLOSING | CLOSED)) != 0;
    if (SI_UNLIKELY(drained || (entry != 1 && (before & WANTED) != 0))) {
        si_futex_wake(&g->word, INT_MAX);
    }
}

si_status
si_gate_enter(si_gate *g)
{
    uint32_t word = si_load_relaxed(&g->word);
    do {
        if (word & (CLOSING | CLOSED)) {
            return SI_CLOSED;
        }
        assert((word & ENTRIES) != ENTRIES);
    } while (!si_cas_acq_rel(&g->word, &word, word + 1));
    return SI_OK;
}

void
si_gate_leave(si_gate *g)
{
    leave(g, 1);
}

si_status
si_gate_enter_exclusive(si_gate *g)
{
    uint32_t word = si_load_relaxed(&g->word);
    do {
        if (word & (CLOSING | CLOSED)) {
            return SI_CLOSED;
        }
        if (word & EXCLUSIVE) {
            return SI_BUSY;
        }
        assert((word & ENTRIES) != ENTRIES);
    } while (!si_cas_acq_rel(&g->word, &word, ((word & ~WANTED) | EXCLUSIVE) + 1));
    return SI_OK;
}

si_status
si_gate_wait_exclusive(si_gate *g, int64_t deadline_ns)
{
    si_status slept = SI_OK;
    uint32_t word = si_load_acquire(&g->word);
    for (;;) {
        if (word & (CLOSING | CLOSED)) {
            return SI_CLOSED;
        }
        if ((word & EXCLUSIVE) == 0) {
            return SI_OK;
        }
        if (slept != SI_OK) {
            return slept;
        }
        if ((word & WANTED) == 0 && !si_cas_acq_rel(&g->word, &word, word | WANTED)) {
            continue;
        }
        slept = si_futex_wait(&g->word, word | WANTED, deadline_ns);
        word = si_load_acquire(&g->word);
    }
}

void
si_gate_leave_exclusive(si_gate *g)
{
    assert(si_load_relaxed(&g->word) & EXCLUSIVE);
    leave(g, EXCLUSIVE + 1);
}

bool
si_gate_is_running(const si_gate *g)
{
    return (si_load_acquire(&g->word) & EXCLUSIVE) != 0;
}

bool
si_gate_is_closed(const si_gate *g)
{
    return (si_load_acquire(&g->word) & (CLOSING | CLOSED)) != 0;
}

si_status
si_gate_close(si_gate *g, bool refuse_running)
{
    uint32_t word = si_load_relaxed(&g->word);
    do {
        if (word & (CLOSING | CLOSED)) {
            return SI_CLOSED;
        }
        if (refuse_running && (word & EXCLUSIVE)) {
            return SI_BUSY;
        }
    } while (!si_cas_acq_rel(&g->word, &word, word | CLOSING));
    return SI_OK;
}

/* Sleeps until no bit of mask is set in the word. */
static si_status
wait_until_clear(si_gate *g, uint32_t mask, int64_t deadline_ns)
{
    si_status slept = SI_OK;
    for (;;) {
        uint32_t word = si_load_acquire(&g->word);
        if ((word & mask) == 0) {
            return SI_OK;
        }
        if (slept != SI_OK) {
            return slept;
        }
        slept = si_futex_wait(&g->word, word, deadline_ns);
    }
}

si_status
si_gate_drain(si_gate *g, int64_t deadline_ns)
{
    return wait_until_clear(g, ENTRIES, deadline_ns);
}

void
si_gate_arm(si_gate *g, si_waiter *w)
{
    si_waiter_arm(w);
    w->elsewhere = &g->word;
    w->mark = NUDGED;
}

si_status
si_gate_drain_with(si_gate *g, si_waiter *w, int64_t deadline_ns)
{
    si_status slept = SI_OK;
    for (;;) {
        uint32_t word = si_load_acquire(&g->word);
        while ((word & NUDGED) != 0 && !si_cas_acq_rel(&g->word, &word, word & ~NUDGED)) {
        }
        word &= ~NUDGED;
        if ((word & ENTRIES) == 0) {
            return SI_OK;
        }
        if (si_waiter_is_woken(w)) {
            return SI_INTERRUPTED;
        }
        if (slept != SI_OK) {
            return slept;
        }
        slept = si_futex_wait(&g->word, word, deadline_ns);
    }
}

/* CLOSING is taken away, flags are set, and whoever waits for that is woken. */
static void
settle(si_gate *g, uint32_t flags)
{
    uint32_t word = si_load_relaxed(&g->word);
    while (!si_cas_acq_rel(&g->word, &word, (word & ~CLOSING) | flags)) {
    }
    si_futex_wake(&g->word, INT_MAX);
}

void
si_gate_reopen(si_gate *g)
{
    settle(g, 0);
}

void
si_gate_end(si_gate *g)
{
    settle(g, CLOSED);
}

void
si_gate_force_end(si_gate *g)
{
    settle(g, CLOSED);
}

si_status
si_gate_wait_end(si_gate *g, int64_t deadline_ns)
{
    return wait_until_clear(g, CLOSING, deadline_ns);
}
