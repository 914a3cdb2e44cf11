/* threads.h — the threads that code in an interpreter has started there. */
#ifndef SIPY_THREADS_H
#define SIPY_THREADS_H

#include "binding/home.h"

/* For how long they are waited for: both are times of si_now_ns. */
typedef struct sipy_patience {
    int64_t ask_ns;     /* from then on they are asked to leave */
    int64_t give_up_ns; /* and from then on not waited for any more */
} sipy_patience;

/* How many of interp's own threads its threading module does not know, so that its end
 * would not join them. *here is set if the calling thread is one of its own. Attached to
 * interp. */
int
sipy_threads_unknown(sipy_interp *interp, bool *here);

/* Ends interp's threading module as CPython does, but within limits: executors are told to
 * stop, threads are joined; those that are left are interrupted and joined again. Attached
 * to interp, which is idle; detaches while it waits. -> whether none is left */
bool
sipy_threads_leave(sipy_interp *interp, const sipy_patience *limits);

#endif /* SIPY_THREADS_H */
