/* status.c — see status.h. */
#include "core/base/status.h"

const char *
si_status_name(si_status status)
{
    switch (status) {
        case SI_OK:
            return "ok";
        case SI_NOMEM:
            return "out of memory";
        case SI_FULL:
            return "full";
        case SI_EMPTY:
            return "empty";
        case SI_TIMEOUT:
            return "timeout";
        case SI_INTERRUPTED:
            return "interrupted";
        case SI_BUSY:
            return "busy";
        case SI_CLOSED:
            return "closed";
        case SI_NOT_FOUND:
            return "not found";
        case SI_EXISTS:
            return "exists already";
        case SI_INVALID:
            return "invalid";
        case SI_SYSTEM:
            return "operating system error";
    }
    return "unknown status";
}
