/* wakeup.h — a file descriptor that is readable or not, for event loops.
 *
 * An eventfd on Linux, a pipe elsewhere. Whoever uses it sees to it that raise and lower
 * alternate, under a lock of its own: it holds one message at most.
 */
#ifndef SI_PLATFORM_WAKEUP_H
#define SI_PLATFORM_WAKEUP_H

#include "core/base/status.h"

typedef struct si_wakeup {
    int read_fd; /* to poll; -1: there is no descriptor, and nothing below does anything */
    int write_fd;
} si_wakeup;

#define SI_WAKEUP_NONE {-1, -1}

/* Opens it, not readable; closed on exec, never blocks. -> SI_OK | SI_SYSTEM (errno) */
SI_NODISCARD si_status
si_wakeup_open(si_wakeup *wakeup);

/* Closes it; after that it is SI_WAKEUP_NONE. */
void
si_wakeup_close(si_wakeup *wakeup);

/* Makes it readable. Any thread, never blocks. */
void
si_wakeup_raise(const si_wakeup *wakeup);

/* Makes it unreadable again. */
void
si_wakeup_lower(const si_wakeup *wakeup);

#endif /* SI_PLATFORM_WAKEUP_H */
