/* alloc.h — the allocator of core: malloc, with failures on demand in tests.
 *
 * Memory from here belongs to no interpreter: any thread may free it, attached or
 * not. With SI_FAULT_INJECTION (C tests only) the n-th allocation from now fails,
 * so that a test can fail allocation 1, 2, 3 ... until an operation succeeds.
 */
#ifndef SI_BASE_ALLOC_H
#define SI_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* size bytes, or NULL when there is no memory. size 0 gives a unique pointer.
 * Never blocks. Any thread. */
void *
si_alloc(size_t size);

/* As si_alloc, filled with zeros. */
void *
si_calloc(size_t size);

/* Resizes p (NULL: as si_alloc). On failure returns NULL and p stays valid. */
void *
si_realloc(void *p, size_t size);

/* Frees p; NULL is allowed. */
void
si_free(void *p);

#ifdef SI_FAULT_INJECTION
/* The n-th allocation from now fails, once (n >= 1); 0 switches it off. */
void
si_alloc_fail_nth(int64_t n);

/* Whether the planned failure has happened since si_alloc_fail_nth. */
int
si_alloc_failed(void);
#endif

#endif /* SI_BASE_ALLOC_H */
