/* attach.h — thread states, cached per (OS thread, interpreter), and how to use them.
 *
 * A new thread state costs up to 0.2 ms; swapping to one that exists costs 0.05 us. So
 * each OS thread keeps the thread states it has used, one slot per interpreter.
 *
 * Rules      Only the OS thread that made a thread state attaches it. A slot is attached
 *            only inside an exclusive gate entry, by a visitor (errand.h), or by the thread
 *            that ends the interpreter. A thread state is deleted by a thread that is
 *            attached to the same interpreter and while it is attached nowhere.
 * Ownership  A slot is on its interpreter's list until its thread state is deleted, and
 *            in its thread's table until the thread ends or notices that it is dead. The
 *            second of the two to let go frees it. Each slot holds a record reference.
 */
#ifndef SIPY_ATTACH_H
#define SIPY_ATTACH_H

#include "binding/interp.h"

struct sipy_slot {
    PyThreadState *ts;    /* NULL once deleted; written attached to the interpreter */
    sipy_interp *interp;  /* a reference */
    sipy_slot *next;      /* in interp->slots; guarded by interp->mu */
    sipy_slot *sibling;   /* in the thread's table; only that thread */
    si_atomic_u32 halves; /* bit 0: the interpreter lets go not yet; bit 1: the thread */
    bool first;           /* the interpreter's first thread state */
};

/* This thread's slot for interp, made if need be. Attached or not; inside an entry or
 * as the closing thread. -> slot or NULL (no memory, no thread state; no exception) */
sipy_slot *
sipy_slot_get(sipy_interp *interp);

/* Registers ts, made by this thread, as its slot for interp. -> as sipy_slot_get */
sipy_slot *
sipy_slot_adopt(sipy_interp *interp, PyThreadState *ts);

/* Detaches from the current thread state and attaches to the slot's; waits for the
 * GIL there. Returns the thread state to give to sipy_slot_leave. */
PyThreadState *
sipy_slot_enter(sipy_slot *slot);

/* The way back. */
void
sipy_slot_leave(PyThreadState *caller);

/* For a thread of ours that is attached nowhere and passes by once, inside an entry: makes
 * a thread state of interp that no slot keeps and attaches it. -> NULL: no memory */
PyThreadState *
sipy_brief_enter(sipy_interp *interp);

/* The way back: deletes it and leaves the thread attached nowhere. CPython remembers the
 * last thread state of each OS thread, and it must not be one that somebody else deletes:
 * so this is the last one that such a thread attaches, or else a slot's. */
void
sipy_brief_leave(PyThreadState *ts);

/* Detaches, if the thread is attached. Returns what sipy_reattach takes. */
PyThreadState *
sipy_detach(void);
void
sipy_reattach(PyThreadState *ts);

/* Deletes the thread states of interp whose OS threads have ended. Attached to interp;
 * runs destructors. */
void
sipy_slots_reap(sipy_interp *interp);

/* Deletes all cached thread states of interp but keep's (may be NULL). Attached to interp
 * through keep or a state of its own, by the thread that ends it. */
void
sipy_slots_clear(sipy_interp *interp, sipy_slot *keep);

/* Forgets all slots of interp without deleting: CPython has deleted or will delete the
 * thread states itself. Any thread, once nobody can enter. */
void
sipy_slots_forget(sipy_interp *interp);

/* Frees this thread's slot for interp, which has ended, at once: it would pin memory until
 * the thread happens on it. */
void
sipy_slot_purge(const sipy_interp *interp);

/* The slot of interp's first thread state, or NULL. Only the closing thread. */
sipy_slot *
sipy_slot_first(sipy_interp *interp);

/* The slot of interp whose thread state is ts, or NULL. Attached to interp. */
sipy_slot *
sipy_slot_of(sipy_interp *interp, const PyThreadState *ts);

/* Thread states of interp that are in no slot: threads of its own. Those that come and go
 * with a guard are not, since CPython waits for guards. Attached to interp.
 * *here is set if one of them belongs to the calling OS thread. */
int
sipy_count_own_threads(sipy_interp *interp, bool *here);

#endif /* SIPY_ATTACH_H */
