/* exit.c — closing what is left when the process exits.
 *
 * An atexit function of the main interpreter: threading has joined its threads by then,
 * so call_in_thread is over. What still runs is interrupted and waited for, for
 * EXIT_GRACE_NS in all, threads of the interpreters' own from OWN_THREADS_NS on;
 * everything idle is ended, quietly, and what that runs is interrupted after the same time;
 * what is stuck is left running until the process is gone, unless it is this thread.
 * From the start of it no interpreter can be created.
 */
#include "binding/attach.h"
#include "binding/ending.h"
#include "binding/interrupt.h"
#include "binding/lifecycle.h"
#include "binding/listing.h"
#include "binding/pool/spares.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"
#include "core/platform/thread.h"

#define EXIT_GRACE_NS 5000000000  /* for everything that still runs, together */
#define OWN_THREADS_NS 2000000000 /* of these, until own threads are asked to leave */
#define LATE_NS 1000000000        /* more, for endings that are interrupted then */
#define STOP_NS 100000000         /* and more, for code that is left behind to stop */

static si_atomic_u32 exiting;         /* 1 from the exit hook on */
static si_atomic_u32 hook_registered; /* 1 once main has the hook, or soon will */
static si_atomic_u32 creations;       /* going on; a futex for the exit */
static _Thread_local uint32_t mine;   /* of which this thread does, one in another */
static si_atomic_u32 unstopped;       /* interpreters whose code is to stop; likewise */

bool
sipy_process_exiting(void)
{
    return si_load_acquire(&exiting) != 0;
}

bool
sipy_creation_begins(void)
{
    /* Either the exit sees this one and waits for it, or this sees the exit. */
    (void)si_add_seq_cst(&creations, 1);
    mine++;
    if (si_load_seq_cst(&exiting) == 0) {
        return true;
    }
    sipy_creation_is_over();
    return false;
}

void
sipy_creation_is_over(void)
{
    mine--;
    if (si_sub_seq_cst(&creations, 1) == 1 && sipy_process_exiting()) {
        si_futex_wake(&creations, 1);
    }
}

void
sipy_creations_fork_done(void)
{
    si_store_seq_cst(&creations, mine); /* the other threads do not exist here */
}

/* Waits until nobody creates an interpreter any more, detached. */
static void
await_creations(int64_t deadline_ns)
{
    Py_BEGIN_ALLOW_THREADS
    uint32_t going_on = si_load_seq_cst(&creations);
    while (going_on != 0 && si_now_ns() < deadline_ns) {
        si_status status = si_futex_wait(&creations, going_on, deadline_ns);
        (void)status; /* whatever woke us: look again */
        going_on = si_load_seq_cst(&creations);
    }
    Py_END_ALLOW_THREADS
}

/* Waits, detached, until the thread that is ending interp has done so. -> whether it has */
static bool
await_end(sipy_interp *interp, int64_t deadline_ns)
{
    si_status status;
    Py_BEGIN_ALLOW_THREADS
    do {
        status = si_gate_wait_end(&interp->gate, deadline_ns);
    } while (status == SI_INTERRUPTED);
    Py_END_ALLOW_THREADS
    return status == SI_OK && si_gate_is_closed(&interp->gate);
}

/* Interrupts what runs in interp, whose gate we have closed. -> whether all have left */
static bool
drain_gate(sipy_interp *interp, int64_t deadline_ns)
{
    sipy_interrupt_close(interp, PyExc_SystemExit);
    sipy_interrupt_nudge(interp); /* a worker of a pool leaves once it sees the gate */
    si_status status;
    Py_BEGIN_ALLOW_THREADS
    do {
        status = si_gate_drain(&interp->gate, deadline_ns);
    } while (status == SI_INTERRUPTED); /* signals wait for the end of the exit */
    Py_END_ALLOW_THREADS
    return status == SI_OK; /* else it is stuck in C, and stays closed to everybody */
}

/* Runs in an interpreter that is left behind, at a bytecode boundary. */
static int
stop_here(void *Py_UNUSED(arg))
{
    if (si_sub_seq_cst(&unstopped, 1) == 1) {
        si_futex_wake(&unstopped, 1);
    }
    si_thread_stop(); /* with its GIL, so that no other thread of it goes on */
}

void
sipy_exit_stop_code(sipy_interp *interp)
{
    (void)si_add_seq_cst(&unstopped, 1);
    if (sipy_compat_add_pending(interp->native, stop_here, NULL) < 0) {
        (void)si_sub_seq_cst(&unstopped, 1); /* too many: it comes to no bytecode */
    }
}

/* What is in C, or waits for a lock there, stops when it comes back. */
static void
await_stops(void)
{
    Py_BEGIN_ALLOW_THREADS
    int64_t deadline_ns = si_deadline_after(STOP_NS);
    uint32_t count;
    while ((count = si_load_seq_cst(&unstopped)) != 0 && si_now_ns() < deadline_ns) {
        si_status status = si_futex_wait(&unstopped, count, deadline_ns);
        (void)status; /* whatever woke us: look again */
    }
    Py_END_ALLOW_THREADS
}

/* -> whether interp is ended, or was already */
static bool
end_at_exit(sipy_interp *interp, const sipy_patience *limits)
{
    if (si_gate_close(&interp->gate, false) != SI_OK) {
        return si_gate_is_closed(&interp->gate) &&
               await_end(interp, limits->give_up_ns + LATE_NS);
    }
    bool ended =
        drain_gate(interp, limits->give_up_ns) && sipy_interp_end_within(interp, limits);
    if (!ended) {
        sipy_exit_stop_code(interp); /* its gate is ours, so nobody else ends it */
    }
    return ended;
}

/* What other threads have begun to end may have no record any more, but is still on
 * CPython's list. -> whether nothing is */
static bool
await_endings(int64_t deadline_ns)
{
    bool over;
    Py_BEGIN_ALLOW_THREADS
    over = sipy_endings_await(deadline_ns);
    Py_END_ALLOW_THREADS
    return over;
}

/* Destructors of the main interpreter's own objects run as they do without us. A thread
 * that is left there (a daemon) may be sending something: then they run late. */
static void
retire_here(const sipy_interp *here)
{
    PyThreadState *first = PyInterpreterState_ThreadHead(here->native);
    if (here->home != NULL && first == PyThreadState_Get() &&
        PyThreadState_Next(first) == NULL) {
        sipy_home_retire(here->home);
    }
}

/* From here on nobody deletes an interpreter. */
static void
abandon_endings(void)
{
    Py_BEGIN_ALLOW_THREADS
    sipy_endings_abandon();
    Py_END_ALLOW_THREADS
}

static PyObject *
close_all(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    si_store_seq_cst(&exiting, 1);
    const sipy_patience limits = {.ask_ns = si_deadline_after(OWN_THREADS_NS),
                                  .give_up_ns = si_deadline_after(EXIT_GRACE_NS),
                                  .heeds = false};
    sipy_endings_hurry(limits.ask_ns, limits.give_up_ns);
    sipy_spares_stop();
    await_creations(limits.give_up_ns);
    sipy_interp *here = sipy_interp_current();
    bool all = true;
    si_entry *e = NULL;
    /* Without a record of our own our module is gone already: CPython ends them. */
    while (here != NULL && (e = si_registry_next(&sipy_interps, e)) != NULL) {
        sipy_interp *interp = (sipy_interp *)e;
        all &= interp->origin != SIPY_OURS || end_at_exit(interp, &limits);
    }
    all &= await_endings(limits.give_up_ns + LATE_NS);
    sipy_compat_keep_parsers();
    if (here != NULL) {
        retire_here(here);
    }
    sipy_interp_drop(here);
    if (!all) {
        /* A thread is stuck in C inside one, or cannot be joined. CPython aborts (3.12,
         * 3.13) or warns and waits when it meets such an interpreter: it shall not. */
        abandon_endings();
        await_stops();
        (void)sipy_compat_forget_other_interpreters();
    }
    Py_RETURN_NONE;
}

static PyMethodDef close_all_def = {
    "close_all_interpreters", close_all, METH_NOARGS,
    "Close every interpreter that is left, as the process exits."};

int
sipy_at_exit(PyMethodDef *def, PyObject *self)
{
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *hook = atexit == NULL ? NULL : PyCFunction_New(def, self);
    PyObject *done =
        hook == NULL ? NULL : PyObject_CallMethod(atexit, "register", "O", hook);
    Py_XDECREF(done);
    Py_XDECREF(hook);
    Py_XDECREF(atexit);
    return done == NULL ? -1 : 0;
}

static int
register_later(void *Py_UNUSED(arg))
{
    if (sipy_at_exit(&close_all_def, NULL) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    return 0;
}

int
sipy_exit_hook_register(void)
{
    uint32_t expected = 0;
    if (!si_cas_acq_rel(&hook_registered, &expected, 1)) {
        return 0;
    }
    int result = PyInterpreterState_Get() == PyInterpreterState_Main()
                     ? sipy_at_exit(&close_all_def, NULL)
                     : Py_AddPendingCall(register_later, NULL);
    if (result < 0) {
        si_store_release(&hook_registered, 0);
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_RuntimeError,
                            "the main interpreter has too many pending calls");
        }
    }
    return result;
}
