/* status.h — the one result type of core.
 *
 * Core never sets a Python error and never aborts for a run-time condition: it
 * returns one of these, and one function of the binding turns it into an exception.
 */
#ifndef SI_BASE_STATUS_H
#define SI_BASE_STATUS_H

/* On Linux, siginfo_t's fields are macros and one is called si_status. Included first
 * and once, <signal.h> cannot bring it back. */
#include <signal.h>
#undef si_status

#include "core/base/annotate.h"

typedef enum si_status {
    SI_OK = 0,      /* done */
    SI_NOMEM,       /* an allocation failed; nothing was changed */
    SI_FULL,        /* a bounded channel has no room */
    SI_EMPTY,       /* a channel has no item */
    SI_TIMEOUT,     /* the deadline passed first */
    SI_INTERRUPTED, /* a signal or si_waiter_interrupt ended the wait */
    SI_BUSY,        /* somebody else has it exclusively */
    SI_CLOSED,      /* it was closed; no later call can succeed */
    SI_NOT_FOUND,   /* no object has that id */
    SI_EXISTS,      /* an object with that id is there already */
    SI_INVALID,     /* the input is damaged or of the wrong kind */
    SI_SYSTEM,      /* the operating system refused; errno says why */
} si_status;

/* A short English name of the status, for messages. Never NULL. Any thread. */
const char *
si_status_name(si_status status);

#endif /* SI_BASE_STATUS_H */
