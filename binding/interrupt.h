/* interrupt.h — raising an exception in the code that another interpreter runs.
 *
 * Model      Each run of an interpreter has a number (odd while it runs). A request names
 *            the run that it means, so a late one never hits the next. One that is expected
 *            has its number already, and looks as it begins. It is delivered by a
 *            pending call, at a bytecode boundary there, or by the blocking call of ours
 *            in which the run's thread sleeps; whoever comes first takes it.
 * Depth      A run may call into another interpreter, so runs of one thread lie inside one
 *            another: the outermost has depth 1. The code that runs while an interpreter
 *            ends (ending.h) counts as one.
 */
#ifndef SIPY_INTERRUPT_H
#define SIPY_INTERRUPT_H

#include "binding/interp.h"

/* A run will begin, whose thread has the gate for itself, so that it can be interrupted
 * already; or does not begin. By that thread. */
void
sipy_interrupt_expect(sipy_interp *interp);
void
sipy_interrupt_unexpect(sipy_interp *interp);

/* A run begins or ends. Attached to interp, by the run's thread. */
void
sipy_interrupt_open(sipy_interp *interp);
void
sipy_interrupt_shut(sipy_interp *interp);

/* The depth of the innermost run of this thread; 0: it is in none. */
uint32_t
sipy_interrupt_depth(void);

/* A run has begun that outer, an interpreter of ours, calls through caller: what is due
 * there becomes due in it. As sipy_interrupt_open, and after it. */
void
sipy_interrupt_pass_on(const sipy_interp *outer, PyThreadState *caller);

/* Asks for exc, a static exception class, to be raised in the current run of interp, also
 * if that is only about to begin, and in all that it runs in other interpreters. Any thread
 * inside a gate entry; never blocks.
 * -> SI_OK | SI_EMPTY (nothing runs) | SI_FULL (too many pending calls there) */
SI_NODISCARD si_status
sipy_interrupt_request(sipy_interp *interp, PyObject *exc);

/* As sipy_interrupt_request, if run (a value of interp->run) still goes on. */
SI_NODISCARD si_status
sipy_interrupt_request_run(sipy_interp *interp, uint64_t run, PyObject *exc);

/* Whether that run, seen odd before, goes on; of interp NULL, the caller sees to it. */
bool
sipy_interrupt_goes_on(const sipy_interp *interp, uint64_t run);

/* Asks for exc in the runs of thread that are deeper than depth, but for those inside an
 * ending, as long as the run of outer at that depth goes on. outer NULL: what is at that
 * depth cannot end meanwhile. Any thread; never blocks. */
void
sipy_interrupt_inner(const sipy_interp *outer, uint64_t outer_run, unsigned long thread,
                     uint32_t depth, PyObject *exc);

/* Asks for exc in the run that goes on and in one that is about to begin inside the gate;
 * NULL: no longer in the latter. The closing thread only. */
void
sipy_interrupt_close(sipy_interp *interp, PyObject *exc);

/* Wakes the thread that has published a waiter, so that it looks around. Any thread. */
void
sipy_interrupt_nudge(sipy_interp *interp);

/* Publishes w as what the current thread will wait on, so that an interrupt wakes it.
 * Attached to interp. False if an interrupt is due already: do not wait. */
SI_NODISCARD bool
sipy_interrupt_publish(sipy_interp *interp, si_waiter *w);

/* Takes w back after the wait. Any state of attachment. */
void
sipy_interrupt_retract(sipy_interp *interp, si_waiter *w);

/* Waits, detached, until all entries of interp, whose gate the caller has closed, have
 * left, or for an interrupt of what here, the interpreter that is attached, runs; here
 * NULL: that ends no wait. -> as si_gate_drain */
SI_NODISCARD si_status
sipy_interrupt_drain(sipy_interp *here, sipy_interp *interp, int64_t deadline_ns);

/* Raises the interrupt that is due for the current run, if there is one and this is
 * the run's thread; in a thread of the interpreter's own, SystemExit once these are
 * stopped. Attached to interp. -> 0 nothing due | -1 with the exception set */
int
sipy_interrupt_deliver(sipy_interp *interp);

/* Raises SystemExit in every thread that code in interp, which we made, has started, and in
 * what it runs elsewhere: at once where it waits in a call of ours, now or later, else at
 * its next bytecode; the latter not in that with the ident spared (0: none is). Attached to
 * interp. */
void
sipy_interrupt_own_threads(sipy_interp *interp, unsigned long spared);

/* Their waits are not ended any more. Any thread. */
void
sipy_interrupt_own_resume(sipy_interp *interp);

#endif /* SIPY_INTERRUPT_H */
