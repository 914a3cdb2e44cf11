/* registry.h — objects of the whole process by number: interpreters, queues.
 *
 * Model      A table from id to entry. The table itself holds no reference: an entry is
 *            in it from add until its last reference is dropped or it is removed.
 * Ownership  References are counted in the entry. The last drop takes the entry out of
 *            the table and calls its destroy function, with no lock held.
 *            All entries are also on one list, in ascending order of id.
 * Locking    One mutex per registry, a leaf: nothing is called with it held.
 */
#ifndef SI_REGISTRY_REGISTRY_H
#define SI_REGISTRY_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/atomic.h"
#include "core/base/status.h"
#include "core/platform/mutex.h"

#define SI_REGISTRY_INIT {.mu = SI_MUTEX_INIT}

typedef struct si_registry si_registry;

/* Embed this first in the object that is registered. */
typedef struct si_entry {
    int64_t id;
    si_atomic_u32 refs;
    si_registry *registry;               /* NULL while in no table */
    struct si_entry *chain;              /* hash chain; guarded by the registry */
    struct si_entry *before;             /* the next lower id; guarded as well */
    struct si_entry *after;              /* the next higher id; guarded as well */
    void (*destroy)(struct si_entry *e); /* runs after the last drop, in that thread */
} si_entry;

struct si_registry {
    si_mutex mu;
    si_entry **buckets SI_GUARDED_BY(mu); /* power-of-two many */
    size_t bucket_count SI_GUARDED_BY(mu);
    size_t count SI_GUARDED_BY(mu);
    si_entry *lowest SI_GUARDED_BY(mu);
    si_entry *highest SI_GUARDED_BY(mu);
    int64_t next_id SI_GUARDED_BY(mu);
};

/* Adds e under e->id, with the caller's reference (refs = 1) set. With id < 0 the
 * registry chooses the next number, from 1 on, never used twice. The caller owns the
 * reference on success and keeps the entry on failure. Never blocks for long.
 * -> SI_OK | SI_NOMEM | SI_EXISTS */
SI_NODISCARD si_status
si_registry_add(si_registry *r, si_entry *e, void (*destroy)(si_entry *e));

/* A new reference to the entry with that id, or NULL. Any thread. */
si_entry *
si_registry_find(si_registry *r, int64_t id);

/* Takes e out of the table, so that it is no longer found; references stay good.
 * Idempotent. Any thread that holds a reference. */
void
si_registry_remove(si_registry *r, si_entry *e);

/* New references to all entries, in ascending order of id: an array that the caller
 * frees with si_free after dropping each. *count 0 gives *out NULL.
 * -> SI_OK | SI_NOMEM */
SI_NODISCARD si_status
si_registry_list(si_registry *r, si_entry ***out, size_t *count);

/* A step of a walk in ascending order of id, which needs no memory: a new reference to the
 * entry after e, or to the first one for NULL; NULL at the end. Takes over the caller's
 * reference to e. What is added or removed meanwhile may be met or not. Any thread. */
si_entry *
si_registry_next(si_registry *r, si_entry *e);

/* Frees the table of a registry that is empty and that nobody uses any more. */
void
si_registry_fini(si_registry *r);

/* For fork handlers. prepare takes the table's lock and calls lock for each entry, so
 * that no other thread is in the middle of a change when the process is copied; done
 * undoes that, in parent and child. Blocks briefly. */
void
si_registry_fork_prepare(si_registry *r, void (*lock)(si_entry *e));
void
si_registry_fork_done(si_registry *r, void (*unlock)(si_entry *e));

/* One more reference to an entry that the caller holds one of. */
void
si_entry_hold(si_entry *e);

/* Gives a reference back; the last one destroys the entry. Any thread. */
void
si_entry_drop(si_entry *e);

#endif /* SI_REGISTRY_REGISTRY_H */
