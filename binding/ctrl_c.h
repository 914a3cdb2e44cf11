/* ctrl_c.h — Ctrl-C while the process' main thread runs another interpreter.
 *
 * CPython tells only the main interpreter of signals, so a KeyboardInterrupt would wait
 * until the other interpreter is done. While SIGINT has Python's default handler, ours
 * stands before it and also raises KeyboardInterrupt in the code that runs.
 */
#ifndef SIPY_CTRL_C_H
#define SIPY_CTRL_C_H

#include "binding/state.h"

/* Puts our handler before Python's if that is the default one for SIGINT; does nothing
 * outside the main interpreter. Attached. -> 0 | -1 with an exception */
int
sipy_ctrl_c_install(void);

/* What a visit remembers of the one around it. */
typedef struct sipy_ctrl_c {
    bool main_thread;     /* of the process; else nothing here applies */
    PyThreadState *outer; /* what ran on the main thread before */
    uint32_t seen;        /* count of Ctrl-C at the start */
} sipy_ctrl_c;

/* The calling thread begins to run ts, of another interpreter. Attached through it. */
void
sipy_ctrl_c_enter(sipy_ctrl_c *scope, PyThreadState *ts);

/* It is done. -> whether Ctrl-C came meanwhile and was raised there. Attached as before */
bool
sipy_ctrl_c_leave(const sipy_ctrl_c *scope, PyThreadState *ts);

/* Back in the caller's interpreter after a visit in which Ctrl-C was raised: if it ended
 * the visit, raises KeyboardInterrupt with the ExecutionFailed as its cause; else the code
 * there has dealt with it. Either way the main interpreter does not hear of it again.
 * Attached. */
void
sipy_ctrl_c_conclude(const sipy_state *state);

#endif /* SIPY_CTRL_C_H */
