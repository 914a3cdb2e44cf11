/* test_block.c — blocks: alignment, the last drop, no memory, many threads. */
#include "core/memory/block.h"

#include <string.h>

#include "tests/core/support.h"

typedef struct witness {
    si_atomic_u32 released;
    si_block *block;
} witness;

static void
note_release(si_block *block, void *context)
{
    witness *w = context;
    check(block == w->block);
    (void)si_add_relaxed(&w->released, 1);
}

static void
test_a_new_block_is_aligned_and_writable(void **state)
{
    for (size_t size = 0; size < 300; size += 7) {
        si_block *block = si_block_new(size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block->data % 64, 0);
        assert_int_equal(block->size, size);
        memset(block->data, 7, size);
        si_block_drop(block);
    }
    assert_int_equal(si_block_count(), 0);
}

static void
test_large_blocks(void **state)
{
    si_block *block = si_block_new((size_t)16 << 20);
    assert_non_null(block);
    memset(block->data, 1, block->size);
    si_block_drop(block);
    assert_null(si_block_new(SIZE_MAX));
    assert_null(si_block_new(SIZE_MAX - 64));
    assert_int_equal(si_block_count(), 0);
}

static void
test_the_last_drop_releases(void **state)
{
    char bytes[4] = "abc";
    witness w = {0, NULL};
    w.block = si_block_wrap(bytes, sizeof(bytes), note_release, &w);
    assert_non_null(w.block);
    assert_ptr_equal(w.block->data, bytes);
    si_block_hold(w.block);
    si_block_drop(w.block);
    assert_int_equal(si_load_relaxed(&w.released), 0);
    assert_int_equal(si_block_count(), 1);
    si_block_drop(w.block);
    assert_int_equal(si_load_relaxed(&w.released), 1);
    assert_int_equal(si_block_count(), 0);
    si_block_drop(NULL);
}

static void
test_no_memory(void **state)
{
    witness w = {0, NULL};
    si_alloc_fail_nth(1);
    assert_null(si_block_new(10));
    si_alloc_fail_nth(1);
    assert_null(si_block_wrap(&w, sizeof(w), note_release, &w));
    si_alloc_fail_nth(0);
    assert_int_equal(si_load_relaxed(&w.released), 0);
    assert_int_equal(si_block_count(), 0);
}

#define HOLDERS 4
#define ROUNDS 20000

static void *
hold_and_drop(void *arg)
{
    si_block *block = arg;
    for (int i = 0; i < ROUNDS; i++) {
        si_block_hold(block);
        check(*(char *)block->data == 'x');
        si_block_drop(block);
    }
    si_block_drop(block);
    return NULL;
}

static void
test_many_threads_drop_one_block(void **state)
{
    char byte = 'x';
    witness w = {0, NULL};
    w.block = si_block_wrap(&byte, 1, note_release, &w);
    assert_non_null(w.block);
    pthread_t threads[HOLDERS];
    for (int i = 0; i < HOLDERS; i++) {
        si_block_hold(w.block);
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, w.block), 0);
    }
    si_block_drop(w.block);
    for (int i = 0; i < HOLDERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(si_load_relaxed(&w.released), 1);
    assert_int_equal(si_block_count(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_block_is_aligned_and_writable),
        cmocka_unit_test(test_large_blocks),
        cmocka_unit_test(test_the_last_drop_releases),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_many_threads_drop_one_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
