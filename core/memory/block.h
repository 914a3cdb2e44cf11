/* block.h — reference-counted raw memory that any thread may drop.
 *
 * Model      A run of bytes that several interpreters read, or write, in place. It
 *            belongs to no interpreter; the last drop gives it back, in whichever
 *            thread.
 * Kinds      si_block_new: header and bytes in one allocation. si_block_wrap: bytes
 *            that somebody else owns, who is told by a release function.
 * Sharing    The counter is atomic. The bytes are not guarded: who shares them agrees
 *            on who writes when.
 */
#ifndef SI_MEMORY_BLOCK_H
#define SI_MEMORY_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"

typedef struct si_block si_block;

struct si_block {
    si_atomic_u64 refs;
    void *data;                                      /* never changes */
    size_t size;                                     /* never changes */
    void (*release)(si_block *block, void *context); /* NULL: nothing but free */
    void *context;
};

/* A block of size bytes, not initialised, aligned to 64, with one reference. Never
 * blocks, any thread. -> block | NULL (no memory) */
si_block *
si_block_new(size_t size);

/* A block over data, which stays valid until release(block, context) has been called by
 * the last drop, in that thread. On failure the caller keeps data; release is not
 * called. -> block with one reference | NULL (no memory) */
si_block *
si_block_wrap(void *data, size_t size, void (*release)(si_block *block, void *context),
              void *context);

/* One more reference. Any thread that has one. */
void
si_block_hold(si_block *block);

/* Gives a reference back; NULL is allowed. Any thread. The last one calls release. */
void
si_block_drop(si_block *block);

/* Blocks alive in the process, for tests and statistics. Any thread. */
int64_t
si_block_count(void);

#endif /* SI_MEMORY_BLOCK_H */
