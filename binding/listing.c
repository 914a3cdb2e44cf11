/* listing.c — see listing.h.
 *
 * CPython offers no locked walk over its interpreters. Ours end only between
 * sipy_ending_begins and sipy_ending_is_over; a walk happens under list_mu while nothing
 * ends. While something does, the ids that we know are asked for one by one instead.
 * That somebody else ends an interpreter in the middle of a walk cannot be excluded, as
 * it cannot in CPython's own module.
 */
#include "binding/listing.h"

#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"
#include "core/platform/mutex.h"

static si_mutex list_mu = SI_MUTEX_INIT;
static si_atomic_u32
    ending; /* calls of Py_EndInterpreter; written under list_mu; a futex */

typedef struct id_list {
    int64_t *ids;
    size_t count;
    size_t capacity;
} id_list;

void
sipy_ending_begins(void)
{
    si_mutex_lock(&list_mu);
    (void)si_add_seq_cst(&ending, 1);
    si_mutex_unlock(&list_mu);
}

void
sipy_ending_is_over(void)
{
    si_mutex_lock(&list_mu);
    bool last = si_sub_seq_cst(&ending, 1) == 1;
    si_mutex_unlock(&list_mu);
    if (last && sipy_process_exiting()) {
        si_futex_wake(&ending, INT32_MAX);
    }
}

bool
sipy_endings_await(int64_t deadline_ns)
{
    uint32_t going_on = si_load_seq_cst(&ending);
    while (going_on != 0 && si_now_ns() < deadline_ns) {
        si_status status = si_futex_wait(&ending, going_on, deadline_ns);
        (void)status; /* whatever woke us: look again */
        going_on = si_load_seq_cst(&ending);
    }
    return going_on == 0;
}

void
sipy_listing_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&list_mu);
}

void
sipy_listing_fork_done(bool child) SI_NO_THREAD_SAFETY
{
    if (child) {
        si_store_seq_cst(&ending, 0);
    }
    si_mutex_unlock(&list_mu);
}

static bool
append(id_list *list, int64_t id)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        int64_t *ids = si_realloc(list->ids, capacity * sizeof(*ids));
        if (ids == NULL) {
            return false;
        }
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return true;
}

/* -> 1 walked | 0 something ends, not walked | -1 no memory */
static int
walk(id_list *list)
{
    int result = 1;
    si_mutex_lock(&list_mu);
    if (si_load_seq_cst(&ending) > 0) {
        result = 0;
    }
    PyInterpreterState *interp = result == 1 ? PyInterpreterState_Head() : NULL;
    for (; interp != NULL && result == 1; interp = PyInterpreterState_Next(interp)) {
        if (sipy_compat_is_ready(interp) &&
            !append(list, PyInterpreterState_GetID(interp))) {
            result = -1;
        }
    }
    si_mutex_unlock(&list_mu);
    return result;
}

/* The ids up to the highest that we know, each asked for. -> 0 | -1 */
static int
probe(id_list *list)
{
    si_entry **entries = NULL;
    size_t count = 0;
    if (si_registry_list(&sipy_interps, &entries, &count) != SI_OK) {
        return -1;
    }
    int64_t highest = count == 0 ? 0 : entries[count - 1]->id;
    for (size_t i = 0; i < count; i++) {
        si_entry_drop(entries[i]);
    }
    si_free(entries);
    for (int64_t id = 0; id <= highest; id++) {
        if (sipy_compat_exists(id) && !append(list, id)) {
            return -1;
        }
    }
    return 0;
}

static int
by_id(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int
sipy_list_ids(int64_t **out, size_t *count)
{
    id_list list = {NULL, 0, 0};
    int walked = walk(&list);
    if (walked < 0 || (walked == 0 && probe(&list) < 0)) {
        si_free(list.ids);
        PyErr_NoMemory();
        return -1;
    }
    if (list.count > 1) {
        qsort(list.ids, list.count, sizeof(*list.ids), by_id);
    }
    *out = list.ids;
    *count = list.count;
    return 0;
}
