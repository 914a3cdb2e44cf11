/* interp.h — the process-wide record of one interpreter.
 *
 * Model      One record per interpreter that we made or that has our module loaded. It is
 *            raw memory that all interpreters see; Python objects of the interpreter
 *            itself hang on its home, which only code attached to it touches.
 * Ownership  Reference-counted by its si_entry. `native` may be used only inside a gate
 *            entry, attached to the interpreter, or for the main interpreter.
 * Locking    mu guards the fields marked so; a leaf lock, nothing is called under it.
 * Life       OPEN gate: alive. CLOSING: one thread ends it. CLOSED: native is gone.
 */
#ifndef SIPY_INTERP_H
#define SIPY_INTERP_H

#include "binding/compat/compat.h"
#include "core/channel/channel.h"
#include "core/registry/gate.h"
#include "core/registry/registry.h"
#include "core/wait/waiter.h"

typedef struct sipy_home sipy_home;
typedef struct sipy_slot sipy_slot;
typedef struct sipy_meter sipy_meter;

typedef enum sipy_origin {
    SIPY_OURS = 0,    /* made by create(): may be driven and closed */
    SIPY_FOREIGN = 1, /* main, or made by somebody else: may be looked at */
} sipy_origin;

typedef struct sipy_interp {
    si_entry entry; /* first: entry.id is the interpreter's id */
    si_gate gate;
    sipy_origin origin;
    PyInterpreterState *native;
    sipy_home *home;            /* NULL before the home is made and after it is cleared */
    struct sipy_loader *loader; /* its private copies, or NULL: none are made */
    si_atomic_u32 handles;      /* Interpreter objects and in-flight ones, everywhere */
    si_atomic_u32 spare;        /* 1: made ahead of time, nobody has seen it */
    si_atomic_u32 orphans; /* slots whose OS thread has ended, since the last reaping */
    si_mutex mu;
    sipy_slot *slots SI_GUARDED_BY(mu);       /* cached thread states of this interpreter */
    si_waiter *blocked SI_GUARDED_BY(mu);     /* the run's thread waits on it, or NULL */
    si_waiter *own_blocked SI_GUARDED_BY(mu); /* its own threads' (by `also`) */
    bool own_stopped SI_GUARDED_BY(mu);       /* its own threads shall leave */
    si_waiter *ender SI_GUARDED_BY(mu);       /* waits until they have left, or NULL */
    unsigned long teller;       /* ident of the one that stops executors; under its GIL */
    struct sipy_ending *ending; /* only the thread that ends it */
    PyObject *interrupt_exc SI_GUARDED_BY(mu);     /* static exception class to raise */
    struct sipy_errand *errands SI_GUARDED_BY(mu); /* work that must be done at home */
    bool errands_stopped SI_GUARDED_BY(mu);
    si_atomic_u32 errands_due;   /* hint: the list is not empty */
    si_atomic_u64 run;           /* counts up at each start and end of a run: odd = runs */
    si_atomic_u64 interrupt_run; /* the run to interrupt, or 0; written under mu */
    si_atomic_u32 interrupts;    /* how many have been taken to be raised */
    si_atomic_u32 coming;        /* 1: the gate is held by a run that has not begun yet */
    si_atomic_u64 run_thread;    /* ident of the run's thread, or 0; written by it */
    si_atomic_u32 run_depth;     /* of that run (binding/interrupt.h); written by it */
    si_atomic_ptr close_exc;     /* static exception class: close() raises it in each run */
    si_atomic_ptr name;          /* UTF-8, owned; set once, before create() returns */
    sipy_meter *meter;           /* what stats() tells; never NULL */
} sipy_interp;

/* All records of the process, by interpreter id. */
extern si_registry sipy_interps;

/* A new record with one reference, in no registry. -> record or NULL (no memory) */
sipy_interp *
sipy_interp_new(sipy_origin origin, PyInterpreterState *native);

/* Frees a record that was never registered, or whose registration was undone. */
void
sipy_interp_free(sipy_interp *interp);

/* Registers the record under the id of its interpreter. -> as si_registry_add */
SI_NODISCARD si_status
sipy_interp_register(sipy_interp *interp);

/* A new reference to the record with that id, or NULL. Any thread. */
sipy_interp *
sipy_interp_find(int64_t id);

/* The record of the current interpreter (new reference), or NULL. Attached. */
sipy_interp *
sipy_interp_current(void);

void
sipy_interp_drop(sipy_interp *interp);

/* Whether the process is exiting and no interpreter may be made or entered. */
bool
sipy_process_exiting(void);

/* Has the thread that executes bytecode of interp, now or next, stop there for good: what
 * the exit leaves behind shall not run while CPython takes itself apart. Only the exit,
 * while interp->native cannot go; never blocks. */
void
sipy_exit_stop_code(sipy_interp *interp);

#endif /* SIPY_INTERP_H */
