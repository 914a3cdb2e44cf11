/* lifecycle.h — making interpreters and ending them. */
#ifndef SIPY_LIFECYCLE_H
#define SIPY_LIFECYCLE_H

#include "binding/home.h"
#include "binding/state.h"
#include "binding/threads.h"

/* Makes an isolated interpreter with its own GIL, ready for use: the creator's
 * sys.path, the prologue, and if private_copies the loader (binding/loader/). Attached to
 * the creator's, also afterwards.
 * -> record with one reference and one handle for the caller | NULL, InterpreterError */
sipy_interp *
sipy_interp_create(sipy_state *state, bool private_copies);

/* Ends an interpreter whose gate the caller has closed (si_gate_close) and drained. On
 * success the gate is CLOSED. On failure it is open again. Attached to another
 * interpreter, which is also so afterwards; waits for its threads, runs Python there.
 * Code that runs there when the time is over is interrupted, as by Ctrl-C. state may be
 * NULL. -> 0 | -1 with InterpreterError (without state: RuntimeError), TimeoutError or the
 * exception of a signal handler set */
int
sipy_interp_end(const sipy_state *state, sipy_interp *interp, const sipy_patience *limits);

/* Waits until an interpreter, whose gate this thread has closed, is left by all, and ends
 * it; if threads are in the way it is open again. For a thread that is attached to no
 * interpreter. Sets no exception. */
void
sipy_interp_end_detached(sipy_interp *interp);

/* As sipy_interp_end when the process exits. Sets no exception. -> whether it has ended; if
 * not, its gate stays closed, and nobody is to end it any more */
bool
sipy_interp_end_within(sipy_interp *interp, const sipy_patience *limits);

/* What close() does about code that runs. */
typedef struct sipy_closing {
    bool wait;           /* until deadline_ns; else that is an InterpreterError */
    bool interrupt;      /* raises KeyboardInterrupt in it; with wait */
    int64_t deadline_ns; /* then TimeoutError, and the interpreter is open again; if its end
                          * has begun, what runs there is interrupted */
} sipy_closing;

/* Interpreter.close(). -> 0 | -1 with InterpreterError, InterpreterNotFoundError,
 * TimeoutError or the exception of a signal handler */
int
sipy_interp_close(sipy_state *state, sipy_interp *interp, const sipy_closing *how);

/* One more, one fewer Interpreter object or in-flight reference for interp. The last one
 * ends it if it is idle and ours and the caller is attached to another interpreter; else
 * the exit does. Any thread; never fails; keeps the exception that is set. */
void
sipy_handle_hold(sipy_interp *interp);
void
sipy_handle_drop(sipy_interp *interp);

/* The record of the current interpreter, made on first use together with its home.
 * -> reference | NULL with an exception */
sipy_interp *
sipy_interp_adopt_current(void);

/* Frame every creation, so that the exit of the process waits for it.
 * -> false: the process is exiting, nothing is to be created (and nothing to be framed) */
bool
sipy_creation_begins(void);
void
sipy_creation_is_over(void);

/* In a child of fork: what other threads were creating is not waited for. */
void
sipy_creations_fork_done(void);

/* Has the atexit module of the interpreter that is attached call def with self, before all
 * that was registered earlier. -> 0 | -1 with an exception */
int
sipy_at_exit(PyMethodDef *def, PyObject *self);

/* Sees to it that all interpreters are closed when the process exits: registers an
 * atexit function in the main interpreter. Attached. -> 0 | -1 with an exception */
int
sipy_exit_hook_register(void);

#endif /* SIPY_LIFECYCLE_H */
