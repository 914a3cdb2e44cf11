/* run.h — one exclusive visit to another interpreter: exec, call, prepare_main.
 *
 *     sipy_run run;
 *     if (sipy_run_begin(&run, state, interp, "exec code for") < 0) return NULL;
 *     sipy_run_attach(&run);      // now in the other interpreter
 *     ...                         // code of the user's
 *     sipy_run_returned(&run);    // from here on code of ours
 *     ...
 *     sipy_run_detach(&run);      // back home
 *     sipy_run_end(&run);
 *     return sipy_run_conclude(&run, state, result);
 *
 * attach and detach may be repeated between begin and end. Nothing of the caller's
 * interpreter may be touched between them but memory that the caller keeps still.
 */
#ifndef SIPY_RUN_H
#define SIPY_RUN_H

#include "binding/attach.h"
#include "binding/ctrl_c.h"
#include "binding/home.h"
#include "binding/state.h"

typedef struct sipy_run {
    sipy_interp *interp;
    sipy_slot *slot;
    sipy_interp *outer;    /* the caller's interpreter if we made it, or NULL; it stays */
    PyThreadState *caller; /* set while attached to interp */
    bool marked;           /* CPython's own "running" mark is ours */
    sipy_ctrl_c_fate ctrl_c;
    sipy_ctrl_c scope;
} sipy_run;

/* Takes the exclusive entry of interp, an interpreter that we made. what completes
 * "cannot ... unrecognized interpreter 3".
 * -> 0, or -1 with InterpreterError ("interpreter already running", not ours, or no
 * memory), InterpreterNotFoundError or, from flushing sys.stdout, KeyboardInterrupt set */
int
sipy_run_begin(sipy_run *run, const sipy_state *state, sipy_interp *interp,
               const char *what);

/* Detaches from the caller's interpreter and attaches to run's. Waits for its GIL. */
void
sipy_run_attach(sipy_run *run);

/* The user's code is over: Ctrl-C that comes now is not for it. Attached to run's. */
static inline void
sipy_run_returned(sipy_run *run)
{
    sipy_ctrl_c_returned(&run->scope, run->slot->ts);
}

/* The way back: flushes the standard streams there and resets the thread state. No
 * exception may be set there. */
void
sipy_run_detach(sipy_run *run);

/* Gives the exclusive entry back. Attached to the caller's interpreter. */
void
sipy_run_end(sipy_run *run);

/* The last step, with the exception of the visit set or not: what Ctrl-C during it, or an
 * interrupt of the caller's own run, makes of its outcome. Takes over result, which may be
 * NULL. -> result | NULL with exception */
PyObject *
sipy_run_conclude(const sipy_run *run, const sipy_state *state, PyObject *result);

/* Sets the exception for an interpreter that is not there any more. Returns -1. */
int
sipy_raise_not_found(const sipy_state *state, int64_t id);

/* Whether interp is one that may be driven. -> 0, or -1 with InterpreterError set */
int
sipy_check_ours(const sipy_state *state, const sipy_interp *interp, const char *what);

#endif /* SIPY_RUN_H */
