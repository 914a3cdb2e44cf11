/* block.c — see block.h. */
#include "core/memory/block.h"

#include "core/base/alloc.h"
#include "core/platform/pages.h"

/* Room between the header and the bytes, so that the bytes are aligned to a cache line
 * wherever the allocator has put the header. */
#define BLOCK_ALIGN ((size_t)64)

static si_atomic_i64 alive; /* a statistic; guards nothing */

static si_block *
init(si_block *block, void *data, size_t size)
{
    si_store_relaxed(&block->refs, 1);
    block->data = data;
    block->size = size;
    block->release = NULL;
    block->context = NULL;
    si_add_relaxed(&alive, 1);
    return block;
}

si_block *
si_block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(si_block) - BLOCK_ALIGN) {
        return NULL;
    }
    si_block *block = si_alloc(sizeof(si_block) + BLOCK_ALIGN + size);
    if (block == NULL) {
        return NULL;
    }
    uintptr_t after = (uintptr_t)(block + 1);
    after = (after + BLOCK_ALIGN - 1) & ~(uintptr_t)(BLOCK_ALIGN - 1);
    si_pages_expect((void *)after, size);
    return init(block, (void *)after, size);
}

si_block *
si_block_wrap(void *data, size_t size, void (*release)(si_block *block, void *context),
              void *context)
{
    si_block *block = si_alloc(sizeof(si_block));
    if (block == NULL) {
        return NULL;
    }
    init(block, data, size);
    block->release = release;
    block->context = context;
    return block;
}

void
si_block_hold(si_block *block)
{
    /* Relaxed: the new holder got the pointer from somebody who already held it. */
    si_add_relaxed(&block->refs, 1);
}

void
si_block_drop(si_block *block)
{
    if (block == NULL || si_sub_acq_rel(&block->refs, 1) != 1) {
        return;
    }
    if (block->release != NULL) {
        block->release(block, block->context);
    }
    si_free(block);
    si_add_relaxed(&alive, -1);
}

int64_t
si_block_count(void)
{
    return si_load_relaxed(&alive);
}
