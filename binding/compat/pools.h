/* pools.h — where CPython's allocator for small objects keeps what is alive. */
#ifndef SIPY_COMPAT_POOLS_H
#define SIPY_COMPAT_POOLS_H

#include "binding/compat/compat.h"

/* Bytes of one pool; an arena is divided into pools at multiples of that. */
size_t
sipy_compat_pool_size(void);

/* Which pages of a pool hold something that is allocated: bit n stands for the n-th
 * SIPY_PAGE_SIZE bytes. All of them if the pool does not look as it should. The pool
 * belongs to an allocator that nobody uses any more. Any thread. */
#define SIPY_PAGE_SIZE 4096
uint32_t
sipy_compat_live_pages(const void *pool);

#endif /* SIPY_COMPAT_POOLS_H */
