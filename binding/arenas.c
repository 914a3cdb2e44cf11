/* arenas.c — see arenas.h.
 *
 * CPython asks one process-wide function for arenas; ours calls it and notes the result
 * with the interpreter that is attached. Those of the main interpreter are not noted.
 *
 * Invariant  An arena is on the list from its allocation until it is freed or its
 *            interpreter is gone. mu is a leaf.
 */
#include "binding/arenas.h"

#include "binding/compat/pools.h"
#include "core/base/alloc.h"
#include "core/platform/mutex.h"
#include "core/platform/pages.h"

typedef struct arena {
    struct arena *next;
    void *start;
    size_t size;
    int64_t interp;
} arena;

static PyObjectArenaAllocator before; /* what ours calls; set once */
static si_atomic_u32 watching;
static si_mutex mu;
static arena *arenas SI_GUARDED_BY(mu);

static void
note(void *start, size_t size)
{
    PyThreadState *ts = sipy_compat_current();
    PyInterpreterState *interp = ts == NULL ? NULL : PyThreadState_GetInterpreter(ts);
    if (interp == NULL || interp == PyInterpreterState_Main()) {
        return;
    }
    arena *fresh = si_alloc(sizeof(*fresh));
    if (fresh == NULL) {
        return; /* what is left of it stays when the interpreter ends */
    }
    *fresh =
        (arena){.start = start, .size = size, .interp = PyInterpreterState_GetID(interp)};
    si_mutex_lock(&mu);
    fresh->next = arenas;
    arenas = fresh;
    si_mutex_unlock(&mu);
}

static void *
allocate(void *context, size_t size)
{
    void *start = before.alloc(context, size);
    if (start != NULL) {
        note(start, size);
    }
    return start;
}

static void
release(void *context, void *start, size_t size)
{
    si_mutex_lock(&mu);
    arena **link = &arenas;
    while (*link != NULL && (*link)->start != start) {
        link = &(*link)->next;
    }
    arena *found = *link;
    if (found != NULL) {
        *link = found->next;
    }
    si_mutex_unlock(&mu);
    si_free(found);
    before.free(context, start, size);
}

void
sipy_arenas_watch(void)
{
    uint32_t expected = 0;
    if (!si_cas_acq_rel(&watching, &expected, 1)) {
        return;
    }
    /* Other interpreters may allocate meanwhile and find one function old, one new: the
     * context is the same, and each works with the other's partner. */
    PyObject_GetArenaAllocator(&before);
    PyObjectArenaAllocator ours = {before.ctx, allocate, release};
    PyObject_SetArenaAllocator(&ours);
}

static arena *
take(int64_t interp)
{
    arena *taken = NULL;
    si_mutex_lock(&mu);
    arena **link = &arenas;
    while (*link != NULL) {
        arena *a = *link;
        if (a->interp == interp) {
            *link = a->next;
            a->next = taken;
            taken = a;
        }
        else {
            link = &a->next;
        }
    }
    si_mutex_unlock(&mu);
    return taken;
}

/* Returns the runs of free pages in the pools of one arena. */
static void
return_free_pages(const arena *a)
{
    size_t pool_size = sipy_compat_pool_size();
    uintptr_t end = (uintptr_t)a->start + a->size;
    uintptr_t pool = ((uintptr_t)a->start + pool_size - 1) & ~(uintptr_t)(pool_size - 1);
    uintptr_t run = pool; /* where the free pages began that are not returned yet */
    for (; pool + pool_size <= end; pool += pool_size) {
        uint32_t live = sipy_compat_live_pages((const void *)pool);
        for (uintptr_t page = pool; live != 0 && page < pool + pool_size;
             page += SIPY_PAGE_SIZE, live >>= 1) {
            if (live & 1) {
                si_pages_forget((void *)run, page - run);
                run = page + SIPY_PAGE_SIZE;
            }
        }
    }
    si_pages_forget((void *)run, pool - run);
}

void
sipy_arenas_interp_gone(int64_t id)
{
    arena *list = take(id);
    while (list != NULL) {
        arena *next = list->next;
        return_free_pages(list);
        si_free(list);
        list = next;
    }
}

void
sipy_arenas_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&mu);
}

void
sipy_arenas_fork_done(void) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&mu);
}
