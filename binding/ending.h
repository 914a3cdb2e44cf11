/* ending.h — bounding the code that runs while an interpreter ends.
 *
 * Model      CPython runs the atexit functions and destructors of an interpreter inside
 *            Py_EndInterpreter. From sipy_ending_open until that is nearly done the thread
 *            that is in it counts as a run of the interpreter: Ctrl-C on the main thread
 *            is raised there, and from a time on the code is interrupted, again and again,
 *            by a thread that sleeps until then. CPython prints what such a function or
 *            destructor raises and goes on with the next one.
 * Ownership  An ending is on the stack of the thread that ends the interpreter, and listed
 *            until sipy_ending_shut.
 * Elsewhere  Such code may run something in another interpreter: that is interrupted, too.
 * Locking    A mutex of its own, under which an interrupt is asked for: that takes the
 *            registry's mutex, interp->mu and CPython's of pending calls, and runs no
 *            Python.
 */
#ifndef SIPY_ENDING_H
#define SIPY_ENDING_H

#include "binding/ctrl_c.h"
#include "binding/interp.h"
#include "binding/threads.h"

typedef struct sipy_ending {
    sipy_interp *interp;
    PyThreadState *ts;
    unsigned long thread; /* ident of the one that is in it */
    PyObject *exc;        /* static exception class to raise */
    uint32_t depth;       /* of what runs in it (binding/interrupt.h) */
    int64_t ask_ns;       /* when own threads of what ends inside are asked to leave */
    int64_t due_ns;       /* when the next time */
    struct sipy_ending *next;
    struct sipy_ending *prev;
    sipy_ctrl_c scope;
    sipy_ctrl_c_fate fate;
    bool shut;
} sipy_ending;

/* From now on the code that runs in interp, whose gate is closed and drained, can be
 * interrupted; from limits->give_up_ns on, but not at once, KeyboardInterrupt is raised in
 * it, at the exit of the process SystemExit. If this thread is in other endings (what ends
 * there may end interp), their times count, too. Attached through ts.
 * -> SI_OK | SI_NOMEM, SI_SYSTEM: no thread, so nothing comes then | SI_CLOSED: it
 * must not be ended any more; nothing is open */
si_status
sipy_ending_open(sipy_ending *ending, sipy_interp *interp, PyThreadState *ts,
                 const sipy_patience *limits);

/* No longer: before the thread state goes. Does nothing if there is no ending, or the
 * second time. Attached as before. Does not return once the endings are abandoned. */
void
sipy_ending_shut(sipy_interp *interp);

/* Has it shut once CPython has run the last code there: after its own callbacks it still
 * lets go of codecs, hooks and cycles, and clears the builtins as the last thing but the
 * thread state. Attached as before, from such a callback. */
void
sipy_ending_shut_at_last(sipy_interp *interp);

/* The interpreter is gone, or the ending has been shut only: the exit need not wait for
 * it. Waits for nothing, a GIL included. */
void
sipy_ending_gone(sipy_ending *ending);

/* Has Ctrl-C that came meanwhile raised in the caller too. Back in its interpreter, or
 * attached to none. */
void
sipy_ending_conclude(const sipy_ending *ending);

/* The process exits: own threads of interpreters that end are asked to leave from ask_ns
 * on, and not waited for from give_up_ns on; what runs in endings is then interrupted. */
void
sipy_endings_hurry(int64_t ask_ns, int64_t give_up_ns);

/* The exit of the process has waited long enough and takes the interpreters that are left
 * out of CPython's list, so none may be deleted any more: a thread that is in an ending
 * does not come out of it, and no ending begins. Detached; waits for those that are about
 * to be deleted. */
void
sipy_endings_abandon(void);

/* Interrupts once what runs in the endings of thread that lie inside of its run at depth,
 * that of outer, as long as this goes on; outer NULL: it cannot end meanwhile. Any thread;
 * never blocks. */
void
sipy_endings_interrupt(const sipy_interp *outer, uint64_t outer_run, unsigned long thread,
                       uint32_t depth, PyObject *exc);

/* When own threads of what this thread ends are asked to leave: the time of the exit, or
 * that of an ending that this thread is in; SI_FOREVER: there is none. */
int64_t
sipy_endings_ask_ns(void);

/* The time that sipy_endings_hurry was given, or SI_FOREVER. Any thread. */
int64_t
sipy_endings_give_up_ns(void);

/* For fork handlers. */
void
sipy_endings_fork_prepare(void);
void
sipy_endings_fork_done(bool child);

#endif /* SIPY_ENDING_H */
