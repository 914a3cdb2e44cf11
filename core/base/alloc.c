/* alloc.c — see alloc.h. */
#include "core/base/alloc.h"

#include <stdlib.h>

#include "core/base/annotate.h"
#include "core/base/atomic.h"

#ifdef SI_FAULT_INJECTION

static si_atomic_i64 allocations_left; /* until the planned failure; <= 0: none */
static si_atomic_u32 failed;

void
si_alloc_fail_nth(int64_t n)
{
    si_store_seq_cst(&failed, 0);
    si_store_seq_cst(&allocations_left, n);
}

int
si_alloc_failed(void)
{
    return si_load_seq_cst(&failed) != 0;
}

static bool
must_fail(void)
{
    int64_t left = si_load_relaxed(&allocations_left);
    do {
        if (left <= 0) {
            return false;
        }
    } while (!si_cas_seq_cst(&allocations_left, &left, left - 1));
    if (left > 1) {
        return false;
    }
    si_store_seq_cst(&failed, 1);
    return true;
}

#else

static inline bool
must_fail(void)
{
    return false;
}

#endif

void *
si_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size != 0 ? size : 1);
}

void *
si_calloc(size_t size)
{
    return must_fail() ? NULL : calloc(1, size != 0 ? size : 1);
}

void *
si_realloc(void *p, size_t size)
{
    return must_fail() ? NULL : realloc(p, size != 0 ? size : 1);
}

void
si_free(void *p)
{
    free(p);
}
