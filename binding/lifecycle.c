/* lifecycle.c — see lifecycle.h.
 *
 * Order of ending: the gate refuses new entries and is drained (by the caller); attach;
 * wait for the interpreter's own threads (threads.h), since CPython's wait for them cannot
 * be ended; delete the cached thread states of other OS threads; Py_EndInterpreter, which
 * runs its atexit functions (ending.h); the home is cleared by the callback that CPython
 * runs near the end, since code may use us until then; the gate is CLOSED. Whoever else
 * ends an interpreter of ours (the stdlib's module can) comes by its atexit functions, the
 * last of which is ours and does the first two steps.
 *
 * Locks: none is held here while anything runs.
 */
#include "binding/lifecycle.h"

#include "binding/arenas.h"
#include "binding/attach.h"
#include "binding/ending.h"
#include "binding/errand.h"
#include "binding/failure.h"
#include "binding/frames.h"
#include "binding/interrupt.h"
#include "binding/listing.h"
#include "binding/loader/loader.h"
#include "binding/pool/spares.h"
#include "binding/prologue.h"
#include "binding/queues.h"
#include "binding/run.h"
#include "binding/sleep.h"
#include "binding/turn.h"
#include "core/platform/clock.h"
#include "core/platform/pages.h"

/* How long close() waits for threads that libraries have started to leave. */
#define LIBRARY_PATIENCE_NS (INT64_C(2) * 1000 * 1000 * 1000)

/* --- the end, as CPython tells us -------------------------------------------------- */

/* Runs attached to the dying interpreter, after its threads are gone. */
static void
interpreter_ends(void *arg)
{
    sipy_interp *interp = arg;
    if (!si_gate_is_closed(&interp->gate)) {
        /* Neither by us nor by way of atexit, which somebody has emptied. */
        si_gate_force_end(&interp->gate);
    }
    sipy_ending_shut_at_last(interp);
    sipy_compat_keep_parsers();
    PyObject *saved = PyErr_GetRaisedException();
    sipy_home_clear(interp);
    PyErr_SetRaisedException(saved);
    sipy_slots_forget(interp);
    si_registry_remove(&sipy_interps, &interp->entry);
    sipy_queues_owner_gone(interp->entry.id);
    sipy_interp_drop(interp); /* the reference of being alive */
}

/* Gives the current interpreter its home and has it told about its end, which then
 * drops one reference that this takes. -> 0 | -1 with an exception */
static int
settle(sipy_interp *interp)
{
    if (sipy_home_make(interp) < 0) {
        return -1;
    }
    si_entry_hold(&interp->entry);
    if (sipy_compat_at_end(interp->native, interpreter_ends, interp) < 0) {
        sipy_home_clear(interp);
        sipy_interp_drop(interp);
        return -1;
    }
    return 0;
}

sipy_interp *
sipy_interp_adopt_current(void)
{
    sipy_interp *interp = sipy_interp_current();
    if (interp != NULL) {
        return interp;
    }
    interp = sipy_interp_new(SIPY_FOREIGN, PyInterpreterState_Get());
    if (interp == NULL || sipy_interp_register(interp) != SI_OK) {
        sipy_interp_free(interp);
        PyErr_NoMemory();
        return NULL;
    }
    if (settle(interp) < 0) {
        sipy_interp_drop(interp);
        return NULL;
    }
    return interp;
}

/* The last atexit function of an interpreter that we made. Where somebody else ends it,
 * nobody may enter from here on, and CPython before 3.14 insists that the thread state that
 * it uses is the only one. */
static PyObject *
last_atexit(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    sipy_interp *interp = sipy_interp_current();
    if (interp == NULL) {
        Py_RETURN_NONE;
    }
    /* Called by Python code, by atexit._run_exitfuncs, it means no end. */
    bool ends = PyEval_GetFrame() == NULL;
    if (ends && si_gate_close(&interp->gate, false) == SI_OK) {
        Py_BEGIN_ALLOW_THREADS
        while (si_gate_drain(&interp->gate, SI_FOREVER) != SI_OK) {
            /* A signal: its handler runs in the main interpreter. */
        }
        Py_END_ALLOW_THREADS
        sipy_slots_clear(interp, sipy_slot_of(interp, PyThreadState_Get()));
        si_gate_end(&interp->gate);
    }
    if (ends && interp->home != NULL) {
        sipy_home_retire(interp->home);
        sipy_threads_join_late();
    }
    if (ends) {
        /* CPython does so once modules are torn down, where destructors fail: that of the
         * dummy threads of 3.13's threading does, loudly. */
        sipy_compat_drop_thread_locals(PyThreadState_Get());
    }
    sipy_interp_drop(interp);
    Py_RETURN_NONE;
}

static PyMethodDef last_atexit_def = {"last_atexit", last_atexit, METH_NOARGS, NULL};

/* --- create ------------------------------------------------------------------------ */

static const PyInterpreterConfig isolated = {
    .use_main_obmalloc = 0,
    .allow_fork = 0,
    .allow_exec = 0,
    .allow_threads = 1,
    .allow_daemon_threads = 0,
    .check_multi_interp_extensions = 1,
    .gil = PyInterpreterConfig_OWN_GIL,
};

/* What create() does inside the new interpreter. -> 0 | -1 with an exception there */
static int
furnish(sipy_interp *interp, const sipy_image *path, bool private_copies)
{
    if (sipy_compat_after_create() < 0 || settle(interp) < 0 ||
        sipy_at_exit(&last_atexit_def, NULL) < 0) {
        return -1;
    }
    PyObject *list = sipy_decode(interp->home->transfer, path);
    int result = list == NULL ? -1 : PySys_SetObject("path", list);
    Py_XDECREF(list);
    if (result < 0 || sipy_sleep_install() < 0 || sipy_frames_guard() < 0 ||
        (private_copies && sipy_loader_install(&interp->loader) < 0)) {
        return -1;
    }
    return sipy_prologue_run();
}

/* The str entries of the creator's sys.path, as an image. -> 0 | -1 */
static int
encode_path(sipy_home *home, sipy_image *out)
{
    PyObject *path = PyDict_GetItemWithError(home->sys_ns, home->name_path);
    PyObject *strings = PyList_New(0);
    if (strings != NULL && path != NULL && PyList_Check(path)) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(path); i++) {
            PyObject *entry = PyList_GET_ITEM(path, i);
            if (PyUnicode_CheckExact(entry) && PyList_Append(strings, entry) < 0) {
                Py_CLEAR(strings);
                break;
            }
        }
    }
    int result =
        strings == NULL ? -1 : sipy_encode(home->transfer, strings, SIPY_ASYNC, out);
    Py_XDECREF(strings);
    return result;
}

/* Ends an interpreter that could not be furnished, whose exclusive entry the caller has.
 * Attached to it through ts. */
static void
undo(sipy_interp *interp, PyThreadState *ts, PyThreadState *caller)
{
    si_status closed = si_gate_close(&interp->gate, false);
    assert(closed == SI_OK); /* nobody else can close what runs */
    (void)closed;
    si_gate_leave_exclusive(&interp->gate);
    Py_BEGIN_ALLOW_THREADS
    while (si_gate_drain(&interp->gate, SI_FOREVER) != SI_OK) {
        /* A signal: its handler runs once we are back in the caller's interpreter. */
    }
    Py_END_ALLOW_THREADS
    if (interp->home == NULL) {
        sipy_slots_forget(interp);
    }
    sipy_ending_begins();
    Py_EndInterpreter(ts);
    sipy_ending_is_over();
    sipy_arenas_interp_gone(interp->entry.id);
    si_gate_end(&interp->gate);
    PyThreadState_Swap(caller);
}

/* Attached to the new interpreter. -> 0 with all in place | -1 with failure filled */
static int
settle_in(sipy_interp *interp, PyThreadState *ts, const sipy_image *path,
          bool private_copies, sipy_failure *failure)
{
    if (sipy_interp_register(interp) != SI_OK || sipy_slot_adopt(interp, ts) == NULL) {
        PyErr_NoMemory();
    }
    else if (furnish(interp, path, private_copies) == 0) {
        return 0;
    }
    sipy_failure_capture(failure, interp->home);
    return -1;
}

/* CPython aborts the process if it gets no memory for a new interpreter: it then takes back
 * a thread state that it has not left (3.13+), or leaves the caller without its GIL (3.12).
 * This is several times what it needs, for others take memory at the same time. */
#define ROOM_TO_CREATE ((size_t)32 << 20)

/* The exception for CPython's refusal. An audit hook's own is set already. */
static void
explain(const sipy_state *state, const PyStatus *status)
{
    PyObject *cause = PyErr_GetRaisedException();
    const char *why = cause != NULL ? Py_TYPE(cause)->tp_name : "out of memory";
    PyErr_Format(state->InterpreterError, "interpreter creation failed: %s",
                 status->err_msg != NULL ? status->err_msg : why);
    if (cause != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetCause(error, cause); /* steals cause */
        PyErr_SetRaisedException(error);
    }
}

static sipy_interp *
create_with_path(const sipy_state *state, const sipy_image *path, bool private_copies)
{
    PyThreadState *caller = PyThreadState_Get();
    PyThreadState *ts = NULL;
    sipy_failure failure = {0};
    PyStatus status = PyStatus_Ok();
    if (sipy_compat_audit_creation() < 0) {
        explain(state, &status);
        return NULL;
    }
    sipy_arenas_watch();
    bool taken = sipy_turn_take();
    if (si_pages_available(ROOM_TO_CREATE)) {
        status = Py_NewInterpreterFromConfig(&ts, &isolated);
    }
    if (taken) {
        sipy_turn_give();
    }
    if (PyStatus_Exception(status) || ts == NULL) {
        if (sipy_compat_current() == NULL) {
            PyThreadState_Swap(caller); /* some error paths leave us detached */
        }
        explain(state, &status);
        return NULL;
    }
    sipy_interp *interp = sipy_interp_new(SIPY_OURS, PyThreadState_GetInterpreter(ts));
    if (interp == NULL) {
        sipy_ending_begins();
        Py_EndInterpreter(ts);
        sipy_ending_is_over();
        PyThreadState_Swap(caller);
        PyErr_NoMemory();
        return NULL;
    }
    si_store_relaxed(&interp->spare, sipy_spare_in_the_making());
    /* Others may find it from here on, but not enter or end it. */
    si_status entered = si_gate_enter_exclusive(&interp->gate);
    assert(entered == SI_OK);
    (void)entered;
    sipy_handle_hold(interp);
    if (settle_in(interp, ts, path, private_copies, &failure) == 0) {
        PyThreadState_Swap(caller);
        si_gate_leave_exclusive(&interp->gate);
        return interp;
    }
    undo(interp, ts, caller);
    sipy_failure_raise_as(&failure, state->InterpreterError, "interpreter creation failed");
    sipy_failure_fini(&failure);
    sipy_interp_free(interp);
    return NULL;
}

sipy_interp *
sipy_interp_create(sipy_state *state, bool private_copies)
{
    sipy_home *home = sipy_home_of(state);
    if (home == NULL) {
        return NULL;
    }
    if (!sipy_creation_begins()) {
        PyErr_SetString(state->InterpreterError,
                        "cannot create an interpreter: the process is exiting");
        return NULL;
    }
    sipy_image path;
    sipy_image_init(&path);
    sipy_interp *interp = NULL;
    if (encode_path(home, &path) == 0) {
        interp = create_with_path(state, &path, private_copies);
    }
    sipy_image_fini(&path);
    sipy_creation_is_over();
    return interp;
}

/* --- end --------------------------------------------------------------------------- */

/* How an attempt to end an interpreter has come out. */
typedef enum outcome {
    ENDED = 0,
    IN_THE_WAY, /* threads that cannot be joined: see the attempt */
    LATE,       /* threads that can be, or pools, but not in time */
    DISTURBED,  /* an exception is set in the caller's interpreter */
    NO_THREAD,  /* to see to it that the limits are kept */
    NO_MEMORY,
} outcome;

typedef struct attempt {
    const sipy_patience *limits;
    int left;          /* threads in the way; 1 if it is not known */
    Py_ssize_t guards; /* that extension modules hold: CPython waits for them for good */
    bool here;         /* the calling thread is one of them */
    char keeper[SIPY_KEEPER_SIZE];
} attempt;

static const sipy_patience patient = {SI_FOREVER, SI_FOREVER, false};

/* Attached to interp through slot. -> whether no thread is in the way of its end */
static bool
is_clear(sipy_interp *interp, attempt *a)
{
    /* The threads of libraries make thread states whenever they come in; those of the
     * interpreter are counted while none is there. */
    if (interp->loader != NULL &&
        sipy_loader_pause(interp->loader, si_deadline_after(LIBRARY_PATIENCE_NS),
                          a->keeper) != SI_OK) {
        a->left = 1;
        return false;
    }
    a->left = sipy_threads_unknown(interp, &a->here);
    if (interp->loader != NULL) {
        sipy_loader_resume(interp->loader);
    }
    a->left += a->here && a->left == 0;
    return a->left == 0;
}

/* Attached to interp through slot: ends it. After anything but ENDED it still exists, and
 * the thread is attached as before; after ENDED to nothing. */
static outcome
end_attached(sipy_interp *interp, sipy_slot *slot, PyThreadState *caller, attempt *a,
             sipy_ending *ending)
{
    if (!is_clear(interp, a)) {
        return IN_THE_WAY;
    }
    bool limited =
        a->limits->give_up_ns != SI_FOREVER || sipy_endings_give_up_ns() != SI_FOREVER;
    a->guards = sipy_compat_open_guards(interp->native);
    if (limited && a->guards > 0) {
        return LATE;
    }
    sipy_leaving left = sipy_threads_leave(interp, slot, caller, a->limits);
    if (left != SIPY_LEFT) {
        return left == SIPY_STAYED ? LATE : DISTURBED;
    }
    PyThreadState *ts = slot->ts;
    sipy_compat_reset_thread(ts);
    si_status opened = sipy_ending_open(ending, interp, ts, a->limits);
    if (opened == SI_CLOSED) {
        return LATE;
    }
    if (opened != SI_OK && a->limits->heeds) {
        sipy_ending_shut(interp);
        sipy_ending_gone(ending);
        return NO_THREAD;
    }
    sipy_home_flush(interp->home);
    sipy_slots_clear(interp, slot);
    sipy_compat_before_end();
    Py_EndInterpreter(ts); /* calls interpreter_ends; no thread state is current after */
    sipy_ending_gone(ending);
    return ENDED;
}

/* Ends an interpreter whose gate is closed and drained. If that fails the gate stays as it
 * is. Attached to another one or to nothing. */
static outcome
end(sipy_interp *interp, attempt *a)
{
    sipy_slot *slot = sipy_compat_keep_first_thread_state() ? sipy_slot_first(interp)
                                                            : sipy_slot_get(interp);
    if (slot == NULL) {
        return NO_MEMORY;
    }
    sipy_ending ending = {.fate = SIPY_CTRL_C_NONE};
    sipy_ending_begins();
    PyThreadState *caller = sipy_slot_enter(slot);
    outcome result = end_attached(interp, slot, caller, a, &ending);
    sipy_slot_leave(caller);
    sipy_ending_is_over();
    sipy_ending_conclude(&ending);
    if (result == ENDED) {
        if (interp->loader != NULL) {
            sipy_loader_ended(&interp->loader);
        }
        sipy_arenas_interp_gone(interp->entry.id);
        si_gate_end(&interp->gate);
        sipy_slot_purge(interp);
    }
    else if (a->limits->heeds) {
        sipy_interrupt_own_resume(interp);
    }
    return result;
}

void
sipy_interp_end_detached(sipy_interp *interp)
{
    while (si_gate_drain(&interp->gate, SI_FOREVER) != SI_OK) {
        /* Signals are no business of this. */
    }
    attempt a = {.limits = &patient};
    if (end(interp, &a) != ENDED) {
        si_gate_reopen(&interp->gate); /* threads are in the way: the exit ends it */
    }
}

bool
sipy_interp_end_within(sipy_interp *interp, const sipy_patience *limits)
{
    attempt a = {.limits = limits};
    return end(interp, &a) == ENDED;
}

/* The exception for an end that has failed. */
static void
complain(PyObject *error, const sipy_interp *interp, outcome result, const attempt *a)
{
    long long id = (long long)interp->entry.id;
    if (result == NO_MEMORY) {
        PyErr_NoMemory();
    }
    else if (result == NO_THREAD) {
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
    }
    else if (result == LATE && a->guards > 0) {
        PyErr_Format(PyExc_TimeoutError,
                     "interpreter %lld is kept by %zd open PyInterpreterGuard%s", id,
                     a->guards, a->guards == 1 ? "" : "s");
    }
    else if (result == LATE) {
        PyErr_Format(PyExc_TimeoutError,
                     "threads of interpreter %lld, or work in its pools, still run", id);
    }
    else if (a->keeper[0] != '\0') {
        PyErr_Format(error, "cannot destroy interpreter %lld: %s", id, a->keeper);
    }
    else if (a->here) {
        PyErr_Format(error, "cannot destroy interpreter %lld: this thread belongs to it",
                     id);
    }
    else {
        PyErr_Format(error,
                     "cannot destroy interpreter %lld: %d of its threads were not started "
                     "by its threading module and cannot be joined",
                     id, a->left);
    }
}

int
sipy_interp_end(const sipy_state *state, sipy_interp *interp, const sipy_patience *limits)
{
    attempt a = {.limits = limits};
    outcome result = end(interp, &a);
    if (result == ENDED) {
        return 0;
    }
    si_gate_reopen(&interp->gate);
    if (result != DISTURBED) {
        complain(state == NULL ? PyExc_RuntimeError : state->InterpreterError, interp,
                 result, &a);
    }
    return -1;
}

/* Waits, detached, until all entries have left. here: the interpreter that is attached, if
 * its interrupts are to end that. -> 0 | -1 with TimeoutError or the exception of a signal
 * handler or interrupt, and the gate open again */
static int
drain(sipy_interp *interp, sipy_interp *here, int64_t deadline_ns)
{
    for (;;) {
        si_status status = sipy_interrupt_drain(here, interp, deadline_ns);
        if (status == SI_OK) {
            return 0;
        }
        if (status == SI_TIMEOUT) {
            PyErr_Format(PyExc_TimeoutError, "interpreter %lld still runs",
                         (long long)interp->entry.id);
        }
        if (status == SI_TIMEOUT || (here != NULL && sipy_interrupt_deliver(here) < 0) ||
            PyErr_CheckSignals() < 0) {
            sipy_interrupt_close(interp, NULL);
            si_gate_reopen(&interp->gate);
            return -1;
        }
    }
}

int
sipy_interp_close(sipy_state *state, sipy_interp *interp, const sipy_closing *how)
{
    if (si_gate_is_closed(&interp->gate)) {
        return sipy_raise_not_found(state, interp->entry.id);
    }
    if (sipy_check_ours(state, interp, "destroy") < 0) {
        return -1;
    }
    if (interp == state->interp) {
        PyErr_SetString(state->InterpreterError, "cannot destroy the current interpreter");
        return -1;
    }
    /* What this very thread runs there goes on only when this returns. */
    bool mine = si_load_relaxed(&interp->run_thread) == PyThread_get_thread_ident();
    switch (sipy_errand_visits(interp) ? SI_BUSY
                                       : si_gate_close(&interp->gate, !how->wait || mine)) {
        case SI_OK:
            break;
        case SI_BUSY:
            PyErr_SetString(state->InterpreterError, "interpreter running");
            return -1;
        default:
            return sipy_raise_not_found(state, interp->entry.id);
    }
    if (how->interrupt) {
        sipy_interrupt_close(interp, PyExc_KeyboardInterrupt);
    }
    if (drain(interp, state->interp, how->deadline_ns) < 0) {
        return -1;
    }
    sipy_interrupt_close(interp, NULL);
    const sipy_patience limits = {.ask_ns = how->interrupt ? 0 : SI_FOREVER,
                                  .give_up_ns = how->deadline_ns,
                                  .heeds = true};
    return sipy_interp_end(state, interp, &limits);
}

/* --- handles ----------------------------------------------------------------------- */

void
sipy_handle_hold(sipy_interp *interp)
{
    (void)si_add_relaxed(&interp->handles, 1);
}

/* Ends an interpreter that nobody has a handle of any more. */
static void
abandon(sipy_interp *interp)
{
    PyThreadState *ts = sipy_compat_current();
    if (interp->origin != SIPY_OURS || ts == NULL ||
        PyThreadState_GetInterpreter(ts) == interp->native || sipy_errand_visits(interp) ||
        si_gate_close(&interp->gate, true) != SI_OK) {
        return; /* it runs, or ends, or cannot be ended from here: the exit does it */
    }
    const sipy_patience limits = {SI_FOREVER, SI_FOREVER, true};
    PyObject *saved = PyErr_GetRaisedException();
    if (drain(interp, NULL, SI_FOREVER) < 0 || sipy_interp_end(NULL, interp, &limits) < 0) {
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) &&
            sipy_compat_raise_soon(ts, PyExc_KeyboardInterrupt)) {
            PyErr_Clear(); /* it is for the code that has let go of the handle */
        }
        else {
            PyErr_WriteUnraisable(NULL);
        }
    }
    PyErr_SetRaisedException(saved);
}

void
sipy_handle_drop(sipy_interp *interp)
{
    if (si_sub_acq_rel(&interp->handles, 1) == 1) {
        abandon(interp);
    }
}
