/* wakeup.c — see wakeup.h. */
#include "core/platform/wakeup.h"

#include <stdint.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#else
#include <fcntl.h>
#endif

si_status
si_wakeup_open(si_wakeup *wakeup)
{
#if defined(__linux__)
    wakeup->read_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wakeup->write_fd = wakeup->read_fd;
    return wakeup->read_fd < 0 ? SI_SYSTEM : SI_OK;
#else
    int ends[2];
    if (pipe(ends) < 0) {
        return SI_SYSTEM;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    wakeup->read_fd = ends[0];
    wakeup->write_fd = ends[1];
    return SI_OK;
#endif
}

void
si_wakeup_close(si_wakeup *wakeup)
{
    if (wakeup->read_fd >= 0) {
        (void)close(wakeup->read_fd);
    }
    if (wakeup->write_fd >= 0 && wakeup->write_fd != wakeup->read_fd) {
        (void)close(wakeup->write_fd);
    }
    *wakeup = (si_wakeup)SI_WAKEUP_NONE;
}

void
si_wakeup_raise(const si_wakeup *wakeup)
{
    const uint64_t one = 1;
    if (wakeup->write_fd >= 0) {
        ssize_t written = write(wakeup->write_fd, &one, sizeof(one));
        (void)written; /* it holds one message at most, so there is room */
    }
}

void
si_wakeup_lower(const si_wakeup *wakeup)
{
    uint64_t count;
    if (wakeup->read_fd >= 0) {
        ssize_t got = read(wakeup->read_fd, &count, sizeof(count));
        (void)got; /* there is one message */
    }
}
