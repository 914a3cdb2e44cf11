/* pages.h — what the operating system should know about large memory. */
#ifndef SI_PLATFORM_PAGES_H
#define SI_PLATFORM_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Says that the size bytes at data will be filled soon and are worth large pages: fewer
 * page faults on the way. Only a hint. Never fails, never blocks, any thread. */
void
si_pages_expect(void *data, size_t size);

/* Gives the memory behind size bytes at data back to the system: it reads as zeros from
 * then on, where the system can do that, and is unchanged elsewhere. Both are multiples of
 * the page size; size may be 0. Never fails, any thread. */
void
si_pages_forget(void *data, size_t size);

/* Whether the system would give the process size more bytes just now. Others may take them
 * right after. True where that cannot be asked. Never blocks, any thread. */
bool
si_pages_available(size_t size);

#endif /* SI_PLATFORM_PAGES_H */
