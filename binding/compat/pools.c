/* pools.c — see pools.h.
 *
 * The layout is the same from 3.12 to 3.15; the header of each version says so when this
 * is compiled, and what a pool says of itself is checked before it is believed.
 */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wundef" /* of the internal header */
#endif

#define Py_BUILD_CORE 1

#include "binding/compat/pools.h"

#include <internal/pycore_obmalloc.h>
#include <string.h>

#define MAX_BLOCKS (POOL_SIZE / ALIGNMENT)

_Static_assert(POOL_SIZE / SIPY_PAGE_SIZE <= 32, "a bit for each page");

size_t
sipy_compat_pool_size(void)
{
    return POOL_SIZE;
}

/* Marks the blocks on the list of free ones of the pool at start with that header.
 * -> their number, or -1 if one of them cannot be */
static int
mark_free(const uint8_t *start, const struct pool_header *header, size_t carved,
          bool is_free[MAX_BLOCKS])
{
    size_t size = INDEX2SIZE(header->szidx);
    int count = 0;
    const uint8_t *block = header->freeblock;
    for (; block != NULL; count++) {
        size_t offset = (uintptr_t)block - (uintptr_t)start - POOL_OVERHEAD;
        if ((uintptr_t)block < (uintptr_t)start + POOL_OVERHEAD || offset % size != 0 ||
            offset / size >= carved || is_free[offset / size]) {
            return -1;
        }
        is_free[offset / size] = true;
        const void *next = block; /* a free block begins with the address of the next */
        memcpy(&block, next, sizeof(void *));
    }
    return count;
}

uint32_t
sipy_compat_live_pages(const void *pool)
{
    const uint32_t all = (uint32_t)((UINT64_C(1) << (POOL_SIZE / SIPY_PAGE_SIZE)) - 1);
    bool is_free[MAX_BLOCKS] = {false};
    struct pool_header header;
    memcpy(&header, pool, sizeof(header));
    if (header.ref.count == 0) {
        return 0;
    }
    if (header.szidx >= NB_SMALL_SIZE_CLASSES || header.nextoffset > POOL_SIZE ||
        header.nextoffset < POOL_OVERHEAD) {
        return all;
    }
    size_t size = INDEX2SIZE(header.szidx);
    size_t carved = (header.nextoffset - POOL_OVERHEAD) / size;
    int free_count = mark_free(pool, &header, carved, is_free);
    if (free_count < 0 || (size_t)free_count + header.ref.count != carved) {
        return all;
    }
    uint32_t live = 1; /* the header's */
    for (size_t i = 0; i < carved; i++) {
        size_t first = POOL_OVERHEAD + i * size;
        for (size_t page = first / SIPY_PAGE_SIZE;
             !is_free[i] && page <= (first + size - 1) / SIPY_PAGE_SIZE; page++) {
            live |= UINT32_C(1) << page;
        }
    }
    return live;
}
