/* atomic.h — atomics with the memory order in the name. The only way to write one.
 *
 * Loads and stores: relaxed, acquire/release, or seq_cst where a store-load
 * protocol needs a total order. No stand-alone fences: ThreadSanitizer cannot see
 * them. They are real on every Python version and with every GIL: a GIL guards
 * nothing that two interpreters share.
 */
#ifndef SI_BASE_ATOMIC_H
#define SI_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint32_t si_atomic_u32;
typedef _Atomic uint64_t si_atomic_u64;
typedef _Atomic int64_t si_atomic_i64;
typedef _Atomic(void *) si_atomic_ptr;

#define si_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define si_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define si_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define si_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define si_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define si_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define si_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define si_add_seq_cst(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define si_sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define si_sub_seq_cst(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst)
#define si_or_seq_cst(p, v) atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define si_and_seq_cst(p, v) atomic_fetch_and_explicit((p), (v), memory_order_seq_cst)
#define si_swap_acquire(p, v) atomic_exchange_explicit((p), (v), memory_order_acquire)
#define si_swap_release(p, v) atomic_exchange_explicit((p), (v), memory_order_release)
#define si_swap_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
/* On failure *expected holds the value seen (acquire). */
#define si_cas_acquire(p, expected, desired)                            \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_acquire, memory_order_acquire)
#define si_cas_acq_rel(p, expected, desired)                            \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_acq_rel, memory_order_acquire)
#define si_cas_seq_cst(p, expected, desired)                            \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_seq_cst, memory_order_seq_cst)

#endif /* SI_BASE_ATOMIC_H */
