/* threads.h — the threads that code in an interpreter has started there. */
#ifndef SIPY_THREADS_H
#define SIPY_THREADS_H

#include "binding/home.h"

/* For how long they are waited for; the times are those of si_now_ns. */
typedef struct sipy_patience {
    int64_t ask_ns;     /* from then on they are asked to leave, and pools are stopped */
    int64_t give_up_ns; /* and from then on not waited for any more */
    bool heeds;         /* who waits is attached, and an exception there ends the wait */
} sipy_patience;

typedef enum sipy_leaving {
    SIPY_LEFT,     /* none is left */
    SIPY_STAYED,   /* some are, or work of pools that interp owns; the time is over */
    SIPY_DISTURBED /* an exception is set in the interpreter of who waits */
} sipy_leaving;

/* How many of interp's own threads its threading module does not know, so that its end
 * would not join them. *here is set if the calling thread is one of its own. Attached to
 * interp. */
int
sipy_threads_unknown(sipy_interp *interp, bool *here);

/* Ends interp's threading module as CPython does, but within limits and those of the
 * process' exit: executors are told to stop, threads are waited for; those that are left
 * are interrupted, as is the work of pools that interp owns. Attached to interp, which is
 * idle, through slot; waits attached to caller (NULL: to nothing) or, if it does not heed,
 * detached. After anything but SIPY_LEFT interp may go on. */
sipy_leaving
sipy_threads_leave(sipy_interp *interp, sipy_slot *slot, PyThreadState *caller,
                   const sipy_patience *limits);

/* Joins what atexit functions have started, which CPython 3.13 does not, but aborts over.
 * Attached, as the last of them; waits as long as it takes. */
void
sipy_threads_join_late(void);

/* Has whoever waits in sipy_threads_leave look again. Any thread. */
void
sipy_threads_nudge(sipy_interp *interp);

#endif /* SIPY_THREADS_H */
