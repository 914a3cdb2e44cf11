/* atomic.h — stands in for core/base/atomic.h in the model: plain memory, and a stop
 * before each operation at which the explorer chooses who goes on. All orders are
 * seq_cst.
 */
#ifndef SI_BASE_ATOMIC_H
#define SI_BASE_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/core/model/explorer.h"

typedef uint32_t si_atomic_u32;
typedef uint64_t si_atomic_u64;
typedef int64_t si_atomic_i64;

#define MODEL_LOAD(p) (model_step((p), MODEL_READ), *(p))
#define MODEL_STORE(p, v) (model_step((p), MODEL_WRITE), (void)(*(p) = (v)))
#define MODEL_UPDATE(p, expression)            \
    __extension__({                            \
        model_step((p), MODEL_WRITE);          \
        __typeof__(*(p)) model_old = *(p);     \
        *(p) = (__typeof__(*(p)))(expression); \
        model_old;                             \
    })
#define MODEL_CAS(p, expected, desired)        \
    __extension__({                            \
        model_step((p), MODEL_WRITE);          \
        bool model_same = *(p) == *(expected); \
        if (model_same) {                      \
            *(p) = (desired);                  \
        }                                      \
        else {                                 \
            *(expected) = *(p);                \
        }                                      \
        model_same;                            \
    })

#define si_load_relaxed MODEL_LOAD
#define si_load_acquire MODEL_LOAD
#define si_load_seq_cst MODEL_LOAD
#define si_store_relaxed MODEL_STORE
#define si_store_release MODEL_STORE
#define si_store_seq_cst MODEL_STORE
#define si_add_relaxed(p, v) MODEL_UPDATE((p), model_old + (v))
#define si_add_seq_cst(p, v) MODEL_UPDATE((p), model_old + (v))
#define si_sub_acq_rel(p, v) MODEL_UPDATE((p), model_old - (v))
#define si_sub_seq_cst(p, v) MODEL_UPDATE((p), model_old - (v))
#define si_swap_acquire(p, v) MODEL_UPDATE((p), (v))
#define si_swap_release(p, v) MODEL_UPDATE((p), (v))
#define si_cas_acquire MODEL_CAS
#define si_cas_acq_rel MODEL_CAS
#define si_cas_seq_cst MODEL_CAS

#endif /* SI_BASE_ATOMIC_H */
