/* ctrl_c.h — Ctrl-C while the process' main thread runs another interpreter.
 *
 * CPython tells only the main interpreter of signals, so a KeyboardInterrupt would wait
 * until the other interpreter is done. While SIGINT has Python's default handler, ours
 * stands before it and also raises KeyboardInterrupt in the code that runs.
 */
#ifndef SIPY_CTRL_C_H
#define SIPY_CTRL_C_H

#include "binding/state.h"
#include "core/wait/waiter.h"

/* Puts our handler before Python's if that is the default one for SIGINT, now and whenever
 * signal.signal() makes it so; does nothing outside the main interpreter. Attached.
 * -> 0 | -1 with an exception */
int
sipy_ctrl_c_install(void);

/* What a visit remembers of the one around it, and of Ctrl-C. */
typedef struct sipy_ctrl_c {
    bool main_thread;     /* of the process; else nothing here applies */
    bool owed;            /* it came, but the user's code did not get it */
    PyThreadState *outer; /* what ran on the main thread before */
    uint32_t seen;        /* count of Ctrl-C at the start */
    uint32_t returned;    /* and when the user's code was over */
} sipy_ctrl_c;

/* What Ctrl-C did to a visit; bits. */
typedef enum sipy_ctrl_c_fate {
    SIPY_CTRL_C_NONE = 0,   /* it did not come */
    SIPY_CTRL_C_RAISED = 1, /* it was raised in the user's code */
    SIPY_CTRL_C_OWED = 2,   /* it came while only code of ours ran: it has to be raised */
} sipy_ctrl_c_fate;

/* Ctrl-C interrupts w from now on, if this is the main thread; NULL: nothing any more. To
 * be called before the thread looks for the last time whether it has to wait. */
void
sipy_ctrl_c_wait_for(si_waiter *w);

/* The calling thread begins to run ts, of another interpreter. Attached through it. */
void
sipy_ctrl_c_enter(sipy_ctrl_c *scope, PyThreadState *ts);

/* How often the handler has had KeyboardInterrupt raised so. Only the main thread's. */
extern si_atomic_u32 sipy_ctrl_c_raised;

/* The rest of sipy_ctrl_c_returned, once Ctrl-C has come. */
void
sipy_ctrl_c_sort(sipy_ctrl_c *scope, PyThreadState *ts);

/* The user's code has returned or raised; without it, all that runs is ours. What is
 * pending shall not be raised in the code of ours that follows. Attached through ts. */
static inline void
sipy_ctrl_c_returned(sipy_ctrl_c *scope, PyThreadState *ts)
{
    if (scope->main_thread &&
        SI_UNLIKELY(si_load_relaxed(&sipy_ctrl_c_raised) != scope->seen)) {
        sipy_ctrl_c_sort(scope, ts);
    }
}

/* It is done. Attached as before */
sipy_ctrl_c_fate
sipy_ctrl_c_leave(const sipy_ctrl_c *scope);

/* Back in the caller's interpreter after a visit during which Ctrl-C came: if it is owed,
 * or ended the visit, raises KeyboardInterrupt with the exception that is set as its
 * cause; else the code there has dealt with it. Either way the main interpreter does not
 * hear of it again. Attached. */
void
sipy_ctrl_c_conclude(const sipy_state *state, sipy_ctrl_c_fate fate);

#endif /* SIPY_CTRL_C_H */
