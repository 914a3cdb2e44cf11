/* registry.c — a chained hash table whose entries count their own references.
 *
 * Invariant  An entry is in the table exactly while its registry field says so; both
 *            change under the registry's lock. An entry whose references have reached
 *            zero stays visible for an instant, until its last holder takes it out:
 *            nobody can get a reference to it then, so find and list pass it by.
 * Lock order The registry's lock is a leaf. Memory is allocated and freed outside it.
 */
#include "core/registry/registry.h"

#include <assert.h>

#include "core/base/alloc.h"

#define FIRST_BUCKETS 16

/* Ids are handed out one after the other, so their low bits spread well. */
static si_entry **
chain_of(si_entry **buckets, size_t bucket_count, int64_t id)
{
    return &buckets[(uint64_t)id & (bucket_count - 1)];
}

/* A reference for somebody who holds none: only while others remain. */
static bool
try_hold(si_entry *e)
{
    uint32_t refs = si_load_relaxed(&e->refs);
    do {
        if (refs == 0) {
            return false;
        }
    } while (!si_cas_acq_rel(&e->refs, &refs, refs + 1));
    return true;
}

static bool
exists(si_registry *r, int64_t id) SI_REQUIRES(r->mu);

static bool
exists(si_registry *r, int64_t id)
{
    si_entry *e = *chain_of(r->buckets, r->bucket_count, id);
    while (e != NULL && (e->id != id || si_load_relaxed(&e->refs) == 0)) {
        e = e->chain;
    }
    return e != NULL;
}

/* Moves all entries over to new_buckets and returns the old array. */
static si_entry **
rehash(si_registry *r, si_entry **new_buckets, size_t new_count) SI_REQUIRES(r->mu);

static si_entry **
rehash(si_registry *r, si_entry **new_buckets, size_t new_count)
{
    si_entry **old = r->buckets;
    for (size_t i = 0; i < r->bucket_count; i++) {
        while (old[i] != NULL) {
            si_entry *e = old[i];
            old[i] = e->chain;
            si_entry **chain = chain_of(new_buckets, new_count, e->id);
            e->chain = *chain;
            *chain = e;
        }
    }
    r->buckets = new_buckets;
    r->bucket_count = new_count;
    return old;
}

/* Doubles the table if it is full. After SI_OK there is at least one bucket; entries
 * that others add meanwhile may make the chains a little longer. */
static si_status
make_room(si_registry *r)
{
    si_mutex_lock(&r->mu);
    size_t wanted = 0;
    if (r->count >= r->bucket_count) {
        wanted = r->bucket_count == 0 ? FIRST_BUCKETS : 2 * r->bucket_count;
    }
    si_mutex_unlock(&r->mu);
    if (wanted == 0) {
        return SI_OK;
    }
    si_entry **buckets = si_calloc(wanted * sizeof(si_entry *));
    if (buckets == NULL) {
        return SI_NOMEM;
    }
    si_mutex_lock(&r->mu);
    if (r->bucket_count < wanted) {
        buckets = rehash(r, buckets, wanted);
    }
    si_mutex_unlock(&r->mu);
    si_free(buckets);
    return SI_OK;
}

/* Most ids are the highest yet; only those of interpreters that are not ours may not be. */
static void
list_in_order(si_registry *r, si_entry *e) SI_REQUIRES(r->mu)
{
    si_entry *before = r->highest;
    while (before != NULL && before->id > e->id) {
        before = before->before;
    }
    e->before = before;
    e->after = before == NULL ? r->lowest : before->after;
    *(before == NULL ? &r->lowest : &before->after) = e;
    *(e->after == NULL ? &r->highest : &e->after->before) = e;
}

static void
unlist(si_registry *r, si_entry *e) SI_REQUIRES(r->mu)
{
    *(e->before == NULL ? &r->lowest : &e->before->after) = e->after;
    *(e->after == NULL ? &r->highest : &e->after->before) = e->before;
    e->before = NULL;
    e->after = NULL;
}

si_status
si_registry_add(si_registry *r, si_entry *e, void (*destroy)(si_entry *e))
{
    si_status status = make_room(r);
    if (status != SI_OK) {
        return status;
    }
    si_mutex_lock(&r->mu);
    if (e->id < 0) {
        e->id = ++r->next_id;
    }
    else if (exists(r, e->id)) {
        si_mutex_unlock(&r->mu);
        return SI_EXISTS;
    }
    else if (e->id > r->next_id) {
        r->next_id = e->id;
    }
    si_store_relaxed(&e->refs, 1);
    e->destroy = destroy;
    e->registry = r;
    si_entry **chain = chain_of(r->buckets, r->bucket_count, e->id);
    e->chain = *chain;
    *chain = e;
    list_in_order(r, e);
    r->count++;
    si_mutex_unlock(&r->mu);
    return SI_OK;
}

si_entry *
si_registry_find(si_registry *r, int64_t id)
{
    si_entry *e = NULL;
    si_mutex_lock(&r->mu);
    if (r->bucket_count != 0) {
        e = *chain_of(r->buckets, r->bucket_count, id);
        while (e != NULL && (e->id != id || !try_hold(e))) {
            e = e->chain;
        }
    }
    si_mutex_unlock(&r->mu);
    return e;
}

void
si_registry_remove(si_registry *r, si_entry *e)
{
    si_mutex_lock(&r->mu);
    if (e->registry == r) {
        si_entry **link = chain_of(r->buckets, r->bucket_count, e->id);
        while (*link != e) {
            link = &(*link)->chain;
        }
        *link = e->chain;
        e->chain = NULL;
        unlist(r, e);
        e->registry = NULL;
        r->count--;
    }
    si_mutex_unlock(&r->mu);
}

/* Holds every live entry and returns how many; entries has room for r->count. */
static size_t
hold_all(si_registry *r, si_entry **entries) SI_REQUIRES(r->mu);

static size_t
hold_all(si_registry *r, si_entry **entries)
{
    size_t held = 0;
    for (si_entry *e = r->lowest; e != NULL; e = e->after) {
        if (try_hold(e)) {
            entries[held++] = e;
        }
    }
    return held;
}

si_status
si_registry_list(si_registry *r, si_entry ***out, size_t *count)
{
    si_entry **entries = NULL;
    size_t room = 0;
    si_mutex_lock(&r->mu);
    while (r->count > room) {
        room = r->count;
        si_mutex_unlock(&r->mu);
        si_free(entries);
        entries = si_alloc(room * sizeof(si_entry *));
        if (entries == NULL) {
            return SI_NOMEM;
        }
        si_mutex_lock(&r->mu);
    }
    size_t held = entries == NULL ? 0 : hold_all(r, entries);
    si_mutex_unlock(&r->mu);
    if (held == 0) {
        si_free(entries);
        entries = NULL;
    }
    *out = entries;
    *count = held;
    return SI_OK;
}

si_entry *
si_registry_next(si_registry *r, si_entry *e)
{
    si_mutex_lock(&r->mu);
    si_entry *next = e != NULL && e->registry == r ? e->after : r->lowest;
    while (next != NULL && ((e != NULL && next->id <= e->id) || !try_hold(next))) {
        next = next->after; /* from the start, if e was removed meanwhile */
    }
    si_mutex_unlock(&r->mu);
    if (e != NULL) {
        si_entry_drop(e);
    }
    return next;
}

void
si_registry_fini(si_registry *r)
{
    si_mutex_lock(&r->mu);
    assert(r->count == 0);
    si_entry **buckets = r->buckets;
    r->buckets = NULL;
    r->bucket_count = 0;
    si_mutex_unlock(&r->mu);
    si_free(buckets);
}

static void
for_each(si_registry *r, void (*visit)(si_entry *e)) SI_REQUIRES(r->mu);

static void
for_each(si_registry *r, void (*visit)(si_entry *e))
{
    for (si_entry *e = r->lowest; e != NULL; e = e->after) {
        visit(e);
    }
}

/* The two halves run in different handlers, which the analysis cannot follow. */
void
si_registry_fork_prepare(si_registry *r, void (*lock)(si_entry *e)) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&r->mu);
    for_each(r, lock);
}

void
si_registry_fork_done(si_registry *r, void (*unlock)(si_entry *e)) SI_NO_THREAD_SAFETY
{
    for_each(r, unlock);
    si_mutex_unlock(&r->mu);
}

void
si_entry_hold(si_entry *e)
{
    uint32_t before = si_add_relaxed(&e->refs, 1);
    assert(before != 0);
    (void)before;
}

void
si_entry_drop(si_entry *e)
{
    uint32_t before = si_sub_acq_rel(&e->refs, 1);
    assert(before != 0);
    if (before != 1) {
        return;
    }
    /* Nobody else has a reference, so nobody else changes the field any more. */
    if (e->registry != NULL) {
        si_registry_remove(e->registry, e);
    }
    e->destroy(e);
}
