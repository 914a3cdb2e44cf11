/* fork.c — see fork.h.
 *
 * Only the thread that forks exists in the child, so the other interpreters, whose
 * threads are gone, are useless there: their records are closed and CPython's runtime is
 * told to forget them. Queues and what they hold stay.
 *
 * Lock order: the lock of the endings; registry of interpreters, its records; registry of
 * queues, its channels; the listing's lock; the prologue's; what loaders share; the list of
 * arenas; the lock of the pools; that of the spares. Two are held only here and where an
 * ending is interrupted, which takes some of the first three: everywhere else they are
 * leaves, so this cannot meet another order.
 */
#include "binding/fork.h"

#include <pthread.h>

#include "binding/arenas.h"
#include "binding/attach.h"
#include "binding/ending.h"
#include "binding/lifecycle.h"
#include "binding/listing.h"
#include "binding/loader/loader.h"
#include "binding/pool/pool.h"
#include "binding/pool/spares.h"
#include "binding/prologue.h"
#include "binding/queues.h"
#include "binding/turn.h"

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;      /* what pthread_atfork returned; written once, by fork_once */
static si_atomic_u32 forks; /* that this process comes from */

uint32_t
sipy_forks(void)
{
    return si_load_relaxed(&forks);
}

static void
lock_record(si_entry *entry) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&((sipy_interp *)entry)->mu);
}

static void
unlock_record(si_entry *entry) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&((sipy_interp *)entry)->mu);
}

static void
lock_channel(si_entry *entry) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&((si_channel *)entry)->mu);
}

static void
unlock_channel(si_entry *entry) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&((si_channel *)entry)->mu);
}

static void
before_fork(void)
{
    sipy_endings_fork_prepare();
    si_registry_fork_prepare(&sipy_interps, lock_record);
    si_registry_fork_prepare(&sipy_queues, lock_channel);
    sipy_listing_fork_prepare();
    sipy_prologue_fork_prepare();
    sipy_loader_fork_prepare();
    sipy_arenas_fork_prepare();
    sipy_pools_fork_prepare();
    sipy_spares_fork_prepare();
}

static void
unlock_all(bool child)
{
    sipy_spares_fork_done(child);
    sipy_pools_fork_done(child);
    sipy_arenas_fork_done();
    sipy_loader_fork_done();
    sipy_prologue_fork_done();
    sipy_listing_fork_done(child);
    si_registry_fork_done(&sipy_queues, unlock_channel);
    si_registry_fork_done(&sipy_interps, unlock_record);
    sipy_endings_fork_done(child);
}

static void
in_parent(void)
{
    unlock_all(false);
}

static void
close_record(sipy_interp *interp)
{
    if (interp->origin == SIPY_OURS) {
        if (interp->loader != NULL) {
            sipy_loader_forked(interp->loader);
        }
        si_gate_force_end(&interp->gate);
        sipy_slots_forget(interp);
        si_registry_remove(&sipy_interps, &interp->entry);
    }
    else {
        si_mutex_lock(&interp->mu);
        interp->blocked = NULL;
        si_mutex_unlock(&interp->mu);
    }
}

static void
in_child(void)
{
    (void)si_add_relaxed(&forks, 1);
    unlock_all(true);
    sipy_turn_fork_done();
    sipy_creations_fork_done();
    /* Nothing here asks for memory: there may be none, and nobody to tell. */
    si_entry *e = NULL;
    while ((e = si_registry_next(&sipy_queues, e)) != NULL) {
        si_channel_after_fork((si_channel *)e);
    }
    PyThreadState *ts = sipy_compat_current();
    if (ts == NULL || PyThreadState_GetInterpreter(ts) != PyInterpreterState_Main()) {
        return; /* forked by C code, which will call exec */
    }
    while ((e = si_registry_next(&sipy_interps, e)) != NULL) {
        close_record((sipy_interp *)e);
    }
    (void)sipy_compat_forget_other_interpreters();
}

static void
register_handlers(void)
{
    fork_error = pthread_atfork(before_fork, in_parent, in_child);
}

int
sipy_fork_handlers_register(void)
{
    (void)pthread_once(&fork_once, register_handlers);
    if (fork_error != 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}
