/* listing.h — all interpreters of the process, also those that others have made. */
#ifndef SIPY_LISTING_H
#define SIPY_LISTING_H

#include <stdbool.h>

#include "binding/interp.h"

/* The ids of all interpreters that are ready, in the order of their creation: an array
 * that the caller frees with si_free. Attached. -> 0 | -1 with MemoryError set */
int
sipy_list_ids(int64_t **out, size_t *count);

/* Frame every call of Py_EndInterpreter, so that no list is walked meanwhile. They never
 * block for long. */
void
sipy_ending_begins(void);
void
sipy_ending_is_over(void);

/* Waits, detached, until no interpreter is being ended, or the deadline has passed.
 * -> whether none is */
bool
sipy_endings_await(int64_t deadline_ns);

/* For fork handlers: nobody walks or ends while the process is copied; the child starts
 * anew. */
void
sipy_listing_fork_prepare(void);
void
sipy_listing_fork_done(bool child);

#endif /* SIPY_LISTING_H */
