/* gate.h — who may be inside an interpreter, and when it may end.
 *
 * Model      One atomic word: the number of entries and three flags. An exclusive entry
 *            (exec, call, prepare_main) is also counted; there is at most one. Plain
 *            entries are brief visits that only keep the interpreter from ending.
 * States     OPEN -> CLOSING (no new entry) -> CLOSED; CLOSING -> OPEN if closing is
 *            given up. Only the thread whose si_gate_close returned SI_OK moves it on.
 * Protocol   An entry announces itself and reads the flags in one compare-and-swap, so
 *            closing sees either the entry or none: there is no store-load window.
 */
#ifndef SI_REGISTRY_GATE_H
#define SI_REGISTRY_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"
#include "core/wait/waiter.h"

typedef struct si_gate {
    si_atomic_u32 word; /* entries and flags; also the futex to sleep on */
} si_gate;

#define SI_GATE_INIT {0}

/* A plain entry. Never blocks, any thread. -> SI_OK | SI_CLOSED (closing or closed) */
SI_NODISCARD si_status
si_gate_enter(si_gate *g);

/* Ends a plain entry. */
void
si_gate_leave(si_gate *g);

/* The exclusive entry. Never blocks. -> SI_OK | SI_BUSY (another has it) | SI_CLOSED */
SI_NODISCARD si_status
si_gate_enter_exclusive(si_gate *g);

/* Waits until nobody has the exclusive entry; another one may take it first. Any thread
 * that is not attached and has no entry.
 * -> SI_OK | SI_CLOSED | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_gate_wait_exclusive(si_gate *g, int64_t deadline_ns);

/* Ends the exclusive entry. */
void
si_gate_leave_exclusive(si_gate *g);

/* Whether somebody has the exclusive entry right now (acquire). */
bool
si_gate_is_running(const si_gate *g);

/* Whether the gate is CLOSING or CLOSED (acquire). */
bool
si_gate_is_closed(const si_gate *g);

/* Starts closing: from SI_OK on nobody new enters, and the caller must go on with
 * si_gate_end or si_gate_reopen. With refuse_running an exclusive entry makes it fail.
 * Never blocks. -> SI_OK | SI_BUSY (runs, and refuse_running) | SI_CLOSED (another
 * thread closes or has closed it) */
SI_NODISCARD si_status
si_gate_close(si_gate *g, bool refuse_running);

/* Waits until every entry has left. Only the closing thread, which has no entry itself
 * and is not attached to an interpreter. After SI_OK and si_gate_end those that left no
 * longer touch g. -> SI_OK | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_gate_drain(si_gate *g, int64_t deadline_ns);

/* Arms w for si_gate_drain_with, before it is published. */
void
si_gate_arm(si_gate *g, si_waiter *w);

/* As si_gate_drain; si_waiter_interrupt_published of w ends the wait, too. g must not be
 * freed as long as w is published. */
SI_NODISCARD si_status
si_gate_drain_with(si_gate *g, si_waiter *w, int64_t deadline_ns);

/* CLOSING -> OPEN, unless si_gate_force_end came first. Only the closing thread. */
void
si_gate_reopen(si_gate *g);

/* CLOSING -> CLOSED, for good; wakes si_gate_wait_end. Only the closing thread. */
void
si_gate_end(si_gate *g);

/* From any state to CLOSED, for an interpreter that somebody else has ended: entries
 * that are still counted stay counted and may leave. Any thread. */
void
si_gate_force_end(si_gate *g);

/* Waits until the gate is CLOSED or OPEN again (and may sleep through an OPEN that is
 * closed at once). Any thread that is not attached and has no entry.
 * -> SI_OK | SI_TIMEOUT | SI_INTERRUPTED */
SI_NODISCARD si_status
si_gate_wait_end(si_gate *g, int64_t deadline_ns);

#endif /* SI_REGISTRY_GATE_H */
