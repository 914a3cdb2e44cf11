/* keys.c — see keys.h.
 *
 * Each thread has a table, a hash from number to value that only it touches. All tables
 * hang on one key of pthread. Its destructor is called again as long as it sets the table
 * again, so our rounds are those of pthread, and a table stays, for destructors of others
 * to read, until the last of them.
 */
#include "core/platform/keys.h"

#include <limits.h>
#include <pthread.h>
#include <stddef.h>

#include "core/base/alloc.h"
#include "core/platform/mutex.h"

#define FIRST (UINT32_C(1) << 20) /* far from pthread's; the sum of both fits int */
#define LAST ((uint32_t)INT_MAX)
#define SMALLEST_TABLE 8 /* a power of two, as all sizes */

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif

typedef void (*destructor)(void *);

/* The destructors of all keys, by number; NULL: none. */
static struct {
    si_mutex mu;
    uint32_t count SI_GUARDED_BY(mu);
    uint32_t room SI_GUARDED_BY(mu);
    destructor *entries SI_GUARDED_BY(mu);
} keys;

typedef struct entry {
    uint32_t key; /* 0: free */
    void *value;
} entry;

typedef struct table {
    uint32_t used; /* entries that are not free */
    uint32_t size;
    int rounds; /* that the end of the thread has made */
    entry entries[];
} table;

static pthread_key_t table_key;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;
static bool table_key_ok;
static _Thread_local table *values; /* this thread's own */

static destructor
destructor_of(uint32_t key)
{
    si_mutex_lock(&keys.mu);
    destructor result = keys.entries[key - FIRST];
    si_mutex_unlock(&keys.mu);
    return result;
}

static void
thread_ends(void *ptr)
{
    table *t = ptr;
    if (++t->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        (void)pthread_setspecific(table_key, t); /* fails only without memory: it is set */
    }
    /* A destructor may set values, and so change the table. */
    for (uint32_t i = 0; i < t->size; i++) {
        void *value = t->entries[i].value;
        destructor call = value != NULL ? destructor_of(t->entries[i].key) : NULL;
        if (call != NULL) {
            t->entries[i].value = NULL;
            call(value);
            t = values;
        }
    }
    if (t->rounds >= PTHREAD_DESTRUCTOR_ITERATIONS) {
        values = NULL;
        (void)pthread_setspecific(table_key, NULL);
        si_free(t);
    }
}

static void
make_table_key(void)
{
    table_key_ok = pthread_key_create(&table_key, thread_ends) == 0;
}

si_status
si_key_create(uint32_t *key, void (*call)(void *))
{
    si_status status = SI_OK;
    (void)pthread_once(&table_once, make_table_key);
    if (!table_key_ok) {
        return SI_SYSTEM;
    }
    si_mutex_lock(&keys.mu);
    if (keys.count == LAST - FIRST) {
        status = SI_SYSTEM;
    }
    else if (keys.count == keys.room) {
        uint32_t room = keys.room == 0 ? 64 : keys.room * 2;
        destructor *entries = si_realloc(keys.entries, room * sizeof *entries);
        if (entries == NULL) {
            status = SI_NOMEM;
        }
        else {
            keys.entries = entries;
            keys.room = room;
        }
    }
    if (status == SI_OK) {
        *key = FIRST + keys.count;
        keys.entries[keys.count++] = call;
    }
    si_mutex_unlock(&keys.mu);
    return status;
}

void
si_key_delete(uint32_t key)
{
    si_mutex_lock(&keys.mu);
    keys.entries[key - FIRST] = NULL;
    si_mutex_unlock(&keys.mu);
}

bool
si_key_is_ours(uint32_t key)
{
    return key >= FIRST;
}

/* The entry of key, or the free one where it belongs. */
static entry *
find(table *t, uint32_t key)
{
    uint32_t at = key * UINT32_C(2654435769) >> 16;
    while (t->entries[at & (t->size - 1)].key != key &&
           t->entries[at & (t->size - 1)].key != 0) {
        at++;
    }
    return &t->entries[at & (t->size - 1)];
}

/* A table of that size with the values of old, which may be NULL. */
static table *
make_table(uint32_t size, const table *old)
{
    table *t = si_calloc(sizeof *t + size * sizeof(entry));
    if (t == NULL) {
        return NULL;
    }
    t->size = size;
    t->rounds = old != NULL ? old->rounds : 0;
    for (uint32_t i = 0; old != NULL && i < old->size; i++) {
        if (old->entries[i].value != NULL) {
            *find(t, old->entries[i].key) = old->entries[i];
            t->used++;
        }
    }
    return t;
}

/* Makes sure that this thread has a table with a free entry to spare. */
static bool
make_room(void)
{
    table *old = values;
    uint32_t live = 0;
    if (old != NULL && old->used < old->size / 4 * 3) {
        return true;
    }
    for (uint32_t i = 0; old != NULL && i < old->size; i++) {
        live += old->entries[i].value != NULL;
    }
    uint32_t size = SMALLEST_TABLE;
    while (size / 2 <= live) {
        size *= 2;
    }
    table *t = make_table(size, old);
    if (t == NULL || pthread_setspecific(table_key, t) != 0) {
        si_free(t);
        return false;
    }
    values = t;
    si_free(old);
    return true;
}

void *
si_key_get(uint32_t key)
{
    return values != NULL ? find(values, key)->value : NULL;
}

si_status
si_key_set(uint32_t key, void *value)
{
    entry *e = values != NULL ? find(values, key) : NULL;
    if (e == NULL || e->key != key) {
        if (value == NULL) {
            return SI_OK;
        }
        if (!make_room()) {
            return SI_NOMEM;
        }
        e = find(values, key);
        e->key = key;
        values->used++;
    }
    e->value = value;
    return SI_OK;
}

void
si_keys_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&keys.mu);
}

void
si_keys_fork_done(void) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&keys.mu);
}
