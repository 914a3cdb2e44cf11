/* attach.c — see attach.h.
 *
 * A thread's table is a small hash of chains, touched by that thread alone. It hangs on
 * a thread-specific key, whose destructor runs when the thread ends: there is no Python
 * any more then, so it only marks the slots; the next entry of the interpreter reaps.
 */
#include "binding/attach.h"

#include <pthread.h>

#include "core/base/alloc.h"

#define SLOT_INTERP 1u /* the interpreter's half is still held */
#define SLOT_THREAD 2u /* the thread's half is still held */
#define TABLE_CHAINS 32

typedef struct thread_table {
    sipy_slot *chains[TABLE_CHAINS];
} thread_table;

static pthread_key_t table_key;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;
static bool table_key_ok;
static _Thread_local thread_table *table; /* this thread's own */

/* Gives one half back; the second one frees. Returns the halves that are left. */
static uint32_t
let_go(sipy_slot *slot, uint32_t half)
{
    uint32_t left = si_sub_acq_rel(&slot->halves, half) - half;
    if (left == 0) {
        sipy_interp_drop(slot->interp);
        si_free(slot);
    }
    return left;
}

static void
thread_ended(void *ptr)
{
    thread_table *ended = ptr;
    for (int i = 0; i < TABLE_CHAINS; i++) {
        sipy_slot *slot = ended->chains[i];
        while (slot != NULL) {
            sipy_slot *next = slot->sibling;
            (void)si_add_relaxed(&slot->interp->orphans, 1);
            (void)let_go(slot, SLOT_THREAD);
            slot = next;
        }
    }
    si_free(ended);
}

static void
make_key(void)
{
    table_key_ok = pthread_key_create(&table_key, thread_ended) == 0;
}

static thread_table *
get_table(void)
{
    if (table != NULL) {
        return table;
    }
    (void)pthread_once(&table_once, make_key);
    if (!table_key_ok) {
        return NULL;
    }
    thread_table *fresh = si_calloc(sizeof(*fresh));
    if (fresh == NULL) {
        return NULL;
    }
    if (pthread_setspecific(table_key, fresh) != 0) {
        si_free(fresh);
        return NULL;
    }
    table = fresh;
    return fresh;
}

static bool
is_dead(const sipy_slot *slot)
{
    return (si_load_acquire(&slot->halves) & SLOT_INTERP) == 0;
}

/* Finds interp's slot in its chain and frees dead slots on the way. */
static sipy_slot *
search(sipy_slot **link, const sipy_interp *interp)
{
    while (*link != NULL) {
        sipy_slot *slot = *link;
        if (is_dead(slot)) {
            *link = slot->sibling;
            (void)let_go(slot, SLOT_THREAD);
            continue;
        }
        if (slot->interp == interp) {
            return slot;
        }
        link = &slot->sibling;
    }
    return NULL;
}

static sipy_slot **
chain_of(thread_table *t, const sipy_interp *interp)
{
    return &t->chains[(uint64_t)interp->entry.id % TABLE_CHAINS];
}

sipy_slot *
sipy_slot_adopt(sipy_interp *interp, PyThreadState *ts)
{
    thread_table *t = get_table();
    sipy_slot *slot = t == NULL ? NULL : si_calloc(sizeof(*slot));
    if (slot == NULL) {
        return NULL;
    }
    si_entry_hold(&interp->entry);
    slot->interp = interp;
    slot->ts = ts;
    si_store_relaxed(&slot->halves, SLOT_INTERP | SLOT_THREAD);
    sipy_slot **chain = chain_of(t, interp);
    slot->sibling = *chain;
    *chain = slot;
    si_mutex_lock(&interp->mu);
    slot->first = interp->slots == NULL;
    slot->next = interp->slots;
    interp->slots = slot;
    si_mutex_unlock(&interp->mu);
    return slot;
}

sipy_slot *
sipy_slot_get(sipy_interp *interp)
{
    thread_table *t = table;
    if (SI_LIKELY(t != NULL)) {
        sipy_slot *slot = search(chain_of(t, interp), interp);
        if (SI_LIKELY(slot != NULL)) {
            return slot;
        }
    }
    PyThreadState *ts = PyThreadState_New(interp->native);
    if (ts == NULL) {
        return NULL;
    }
    sipy_compat_know_stack(ts);
    sipy_slot *slot = sipy_slot_adopt(interp, ts);
    if (slot == NULL) {
        /* Never attached, so nothing can hang on it: clearing runs no code. */
        PyThreadState *caller = PyThreadState_Swap(ts);
        PyThreadState_Clear(ts);
        PyThreadState_Swap(caller);
        PyThreadState_Delete(ts);
    }
    return slot;
}

PyThreadState *
sipy_slot_enter(sipy_slot *slot)
{
    return PyThreadState_Swap(slot->ts);
}

void
sipy_slot_leave(PyThreadState *caller)
{
    PyThreadState_Swap(caller);
}

PyThreadState *
sipy_brief_enter(sipy_interp *interp)
{
    PyThreadState *ts = PyThreadState_New(interp->native);
    if (ts != NULL) {
        sipy_compat_know_stack(ts);
        PyEval_RestoreThread(ts);
    }
    return ts;
}

void
sipy_brief_leave(PyThreadState *ts)
{
    PyThreadState_Clear(ts);
    PyThreadState_DeleteCurrent();
}

PyThreadState *
sipy_detach(void)
{
    return sipy_compat_current() == NULL ? NULL : PyEval_SaveThread();
}

void
sipy_reattach(PyThreadState *ts)
{
    if (ts != NULL) {
        PyEval_RestoreThread(ts);
    }
}

/* Takes one slot but keep off interp's list, or returns NULL. */
static sipy_slot *
take(sipy_interp *interp, const sipy_slot *keep, bool only_orphans)
{
    sipy_slot *found = NULL;
    si_mutex_lock(&interp->mu);
    for (sipy_slot **link = &interp->slots; *link != NULL; link = &(*link)->next) {
        sipy_slot *slot = *link;
        bool orphan = (si_load_acquire(&slot->halves) & SLOT_THREAD) == 0;
        bool first = only_orphans && slot->first && sipy_compat_keep_first_thread_state();
        bool kept = slot == keep || first;
        if (!kept && (orphan || !only_orphans)) {
            *link = slot->next;
            found = slot;
            break;
        }
    }
    si_mutex_unlock(&interp->mu);
    return found;
}

static void
delete_slots(sipy_interp *interp, const sipy_slot *keep, bool only_orphans)
{
    sipy_slot *slot;
    while ((slot = take(interp, keep, only_orphans)) != NULL) {
        PyThreadState *ts = slot->ts;
        slot->ts = NULL;
        PyThreadState_Clear(ts);
        PyThreadState_Delete(ts);
        (void)let_go(slot, SLOT_INTERP);
    }
}

void
sipy_slots_reap(sipy_interp *interp)
{
    if (SI_LIKELY(si_load_relaxed(&interp->orphans) == 0)) {
        return;
    }
    si_store_relaxed(&interp->orphans, 0);
    delete_slots(interp, NULL, true);
}

void
sipy_slots_clear(sipy_interp *interp, sipy_slot *keep)
{
    delete_slots(interp, keep, false);
}

void
sipy_slots_forget(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    sipy_slot *slot = interp->slots;
    interp->slots = NULL;
    si_mutex_unlock(&interp->mu);
    while (slot != NULL) {
        sipy_slot *next = slot->next;
        (void)let_go(slot, SLOT_INTERP);
        slot = next;
    }
}

void
sipy_slot_purge(const sipy_interp *interp)
{
    if (table != NULL) {
        (void)search(chain_of(table, interp), interp);
    }
}

sipy_slot *
sipy_slot_first(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    sipy_slot *slot = interp->slots;
    while (slot != NULL && !slot->first) {
        slot = slot->next;
    }
    si_mutex_unlock(&interp->mu);
    return slot;
}

sipy_slot *
sipy_slot_of(sipy_interp *interp, const PyThreadState *ts)
{
    si_mutex_lock(&interp->mu);
    sipy_slot *slot = interp->slots;
    while (slot != NULL && slot->ts != ts) {
        slot = slot->next;
    }
    si_mutex_unlock(&interp->mu);
    return slot;
}

typedef struct census {
    sipy_interp *interp;
    unsigned long self;
    int count;
    bool here;
} census;

static bool
count_own(PyThreadState *ts, void *arg)
{
    census *c = arg;
    if (!sipy_compat_is_guarded(ts) && sipy_slot_of(c->interp, ts) == NULL) {
        c->count++;
        c->here |= ts->thread_id == c->self;
    }
    return true;
}

int
sipy_count_own_threads(sipy_interp *interp, bool *here)
{
    /* Threads of the interpreter make and delete their states under its GIL, which we
     * hold; ours are made inside an entry, and there is none while it is closing. */
    census c = {interp, PyThread_get_thread_ident(), 0, false};
    sipy_compat_each_state(interp->native, count_own, &c);
    *here = c.here;
    return c.count;
}
