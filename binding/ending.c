/* ending.c — see ending.h.
 *
 * The thread that watches lives while there is an ending with a time limit, and through
 * the exit of the process once it was needed there. It cannot wait for a GIL that the code
 * keeps, so it marks the exception in the thread state, which exists as long as the ending
 * is listed, and wakes what that thread waits on.
 */
#include "binding/ending.h"

#include "binding/interrupt.h"
#include "binding/threads.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"
#include "core/platform/thread.h"

/* What runs in an ending has so long in any case, and until the next interrupt. */
#define AGAIN_NS (INT64_C(100) * 1000 * 1000)

static si_mutex endings_mu = SI_MUTEX_INIT;
static sipy_ending *endings SI_GUARDED_BY(endings_mu);
static si_waiter *watcher SI_GUARDED_BY(endings_mu); /* the thread sleeps, or NULL */
static bool watcher_runs SI_GUARDED_BY(endings_mu);
static bool abandoned SI_GUARDED_BY(endings_mu);
static si_atomic_u32 last_steps; /* endings that are shut and not done; a futex */
static si_atomic_i64 exit_ask_ns = SI_FOREVER;
static si_atomic_i64 exit_give_up_ns = SI_FOREVER;

int64_t
sipy_endings_ask_ns(void)
{
    int64_t ask_ns = si_load_seq_cst(&exit_ask_ns);
    unsigned long thread = PyThread_get_thread_ident();
    si_mutex_lock(&endings_mu);
    for (const sipy_ending *e = endings; e != NULL; e = e->next) {
        if (e->thread == thread && e->ask_ns < ask_ns) {
            ask_ns = e->ask_ns;
        }
    }
    si_mutex_unlock(&endings_mu);
    return ask_ns;
}

int64_t
sipy_endings_give_up_ns(void)
{
    return si_load_seq_cst(&exit_give_up_ns);
}

/* --- the thread that watches --------------------------------------------------------- */

static int64_t
earliest(void) SI_REQUIRES(endings_mu)
{
    int64_t due_ns = SI_FOREVER;
    for (const sipy_ending *e = endings; e != NULL; e = e->next) {
        due_ns = e->due_ns < due_ns ? e->due_ns : due_ns;
    }
    return due_ns;
}

/* In the code of e and in what that runs in other interpreters. */
static void
interrupt_one(const sipy_ending *e, PyObject *exc) SI_REQUIRES(endings_mu)
{
    (void)sipy_compat_raise_soon(e->ts, exc); /* else one waits there already */
    sipy_interrupt_nudge(e->interp);
    sipy_interrupt_inner(NULL, 0, e->thread, e->depth, exc);
}

static void
interrupt_due(int64_t now_ns) SI_REQUIRES(endings_mu)
{
    for (sipy_ending *e = endings; e != NULL; e = e->next) {
        if (e->due_ns <= now_ns) {
            interrupt_one(e, e->exc);
            e->due_ns = now_ns + AGAIN_NS;
        }
    }
}

/* Whether it is of use without an ending: during the exit, where one follows another. */
static bool
stays(int64_t now_ns, int64_t *until_ns)
{
    *until_ns = sipy_endings_give_up_ns();
    return *until_ns != SI_FOREVER && *until_ns > now_ns;
}

static void
watch(void *Py_UNUSED(arg))
{
    int64_t next_ns;
    si_waiter waiter;
    si_mutex_lock(&endings_mu);
    for (;;) {
        int64_t now_ns = si_now_ns();
        next_ns = earliest();
        if (next_ns <= now_ns) {
            interrupt_due(now_ns);
            continue;
        }
        if (next_ns == SI_FOREVER && !stays(now_ns, &next_ns)) {
            break;
        }
        si_waiter_arm(&waiter);
        watcher = &waiter;
        si_mutex_unlock(&endings_mu);
        si_status status = si_waiter_park(&waiter, next_ns);
        (void)status; /* whatever ended the sleep: it looks again */
        si_mutex_lock(&endings_mu);
        watcher = NULL;
    }
    watcher_runs = false;
    si_mutex_unlock(&endings_mu);
}

/* After a change of the list: the thread shall look at it, and exist if it has to. */
static si_status
look_again(void)
{
    si_status status = SI_OK;
    si_mutex_lock(&endings_mu);
    if (!watcher_runs && earliest() != SI_FOREVER) {
        /* Inside, so that nobody counts on a thread that does not come to be. */
        status = si_thread_start(watch, NULL, "endings");
        watcher_runs = status == SI_OK;
    }
    si_waiter *w = watcher;
    bool kick = w != NULL && si_waiter_signal(w);
    si_mutex_unlock(&endings_mu);
    if (kick) {
        si_waiter_kick(w);
    }
    return status;
}

/* --- an ending ----------------------------------------------------------------------- */

static void
limit(sipy_ending *ending) SI_REQUIRES(endings_mu)
{
    int64_t give_up_ns = sipy_endings_give_up_ns();
    int64_t soonest_ns = si_deadline_after(AGAIN_NS);
    if (give_up_ns != SI_FOREVER) {
        ending->exc = PyExc_SystemExit;
    }
    if (give_up_ns < ending->due_ns) {
        ending->due_ns = give_up_ns;
    }
    if (ending->due_ns < soonest_ns) {
        ending->due_ns = soonest_ns;
    }
}

/* Whatever is to interrupt what this thread runs shall not wait for what that ends. */
static void
limit_as_others(sipy_ending *ending) SI_REQUIRES(endings_mu)
{
    for (const sipy_ending *e = endings; e != NULL; e = e->next) {
        if (e->thread == ending->thread && e->due_ns < ending->due_ns) {
            ending->due_ns = e->due_ns;
        }
    }
}

si_status
sipy_ending_open(sipy_ending *ending, sipy_interp *interp, PyThreadState *ts,
                 const sipy_patience *limits)
{
    *ending = (sipy_ending){
        .interp = interp,
        .ts = ts,
        .thread = PyThread_get_thread_ident(),
        .exc = PyExc_KeyboardInterrupt,
        .depth = sipy_interrupt_depth() + 1,
        .ask_ns = limits->ask_ns,
        .due_ns = limits->give_up_ns,
    };
    si_mutex_lock(&endings_mu);
    if (abandoned) {
        si_mutex_unlock(&endings_mu);
        return SI_CLOSED;
    }
    limit_as_others(ending);
    limit(ending);
    bool limited = ending->due_ns != SI_FOREVER;
    ending->next = endings;
    if (endings != NULL) {
        endings->prev = ending;
    }
    endings = ending;
    si_mutex_unlock(&endings_mu);
    interp->ending = ending;
    sipy_interrupt_close(interp, NULL); /* that was for the code that ran before */
    sipy_interrupt_open(interp);
    sipy_ctrl_c_enter(&ending->scope, ts);
    return limited ? look_again() : SI_OK;
}

/* Takes it off the list; does not return once the endings are abandoned. -> whether it had
 * a time limit */
static bool
unlist(sipy_ending *ending)
{
    ending->interp->ending = NULL;
    ending->fate = sipy_ctrl_c_leave(&ending->scope);
    ending->shut = true;
    si_mutex_lock(&endings_mu);
    if (abandoned) {
        si_mutex_unlock(&endings_mu);
        si_thread_stop();
    }
    (void)si_add_seq_cst(&last_steps, 1);
    bool limited = ending->due_ns != SI_FOREVER;
    if (ending->prev != NULL) {
        ending->prev->next = ending->next;
    }
    else {
        endings = ending->next;
    }
    if (ending->next != NULL) {
        ending->next->prev = ending->prev;
    }
    si_mutex_unlock(&endings_mu);
    sipy_interrupt_shut(ending->interp);
    return limited;
}

void
sipy_ending_shut(sipy_interp *interp)
{
    sipy_ending *ending = interp->ending;
    if (ending == NULL) {
        return;
    }
    bool limited = unlist(ending);
    Py_XDECREF(sipy_compat_take_async(ending->ts));
    if (limited) {
        si_status status = look_again();
        (void)status; /* without a thread the other endings take as long as they take */
    }
}

static const char last_name[] = "subinterpreters.last";

static void
shut_at_last(PyObject *capsule)
{
    sipy_interp *interp = PyCapsule_GetPointer(capsule, last_name);
    sipy_ending_shut(interp);
    sipy_interp_drop(interp);
}

void
sipy_ending_shut_at_last(sipy_interp *interp)
{
    if (interp->ending == NULL) {
        return;
    }
    PyObject *saved = PyErr_GetRaisedException();
    PyObject *builtins = PyEval_GetBuiltins(); /* borrowed */
    PyObject *capsule =
        builtins == NULL ? NULL : PyCapsule_New(interp, last_name, shut_at_last);
    if (capsule != NULL) {
        si_entry_hold(&interp->entry);
        (void)PyDict_SetItemString(builtins, last_name, capsule);
        Py_DECREF(capsule); /* without memory it goes here, and is the last already */
    }
    else {
        sipy_ending_shut(interp);
    }
    PyErr_Clear();
    PyErr_SetRaisedException(saved);
}

void
sipy_endings_interrupt(const sipy_interp *outer, uint64_t outer_run, unsigned long thread,
                       uint32_t depth, PyObject *exc)
{
    si_mutex_lock(&endings_mu);
    for (const sipy_ending *e = endings; e != NULL; e = e->next) {
        if (e->thread == thread && e->depth > depth &&
            sipy_interrupt_goes_on(outer, outer_run)) { /* so e, which is open, is in it */
            interrupt_one(e, exc);
        }
    }
    si_mutex_unlock(&endings_mu);
}

void
sipy_ending_gone(sipy_ending *ending)
{
    if (ending->interp->ending == ending) {
        (void)unlist(ending); /* code of its end has kept what stood for it */
    }
    if (ending->shut && si_sub_seq_cst(&last_steps, 1) == 1 && sipy_process_exiting()) {
        si_futex_wake(&last_steps, INT32_MAX);
    }
}

void
sipy_ending_conclude(const sipy_ending *ending)
{
    PyThreadState *ts = sipy_compat_current();
    if (ending->fate != SIPY_CTRL_C_NONE && ts != NULL &&
        PyThreadState_GetInterpreter(ts) != PyInterpreterState_Main()) {
        (void)sipy_compat_raise_soon(ts, PyExc_KeyboardInterrupt);
    } /* the main interpreter hears of every signal */
}

void
sipy_endings_hurry(int64_t ask_ns, int64_t give_up_ns)
{
    si_store_seq_cst(&exit_ask_ns, ask_ns);
    si_store_seq_cst(&exit_give_up_ns, give_up_ns);
    si_mutex_lock(&endings_mu);
    for (sipy_ending *e = endings; e != NULL; e = e->next) {
        limit(e);
    }
    si_mutex_unlock(&endings_mu);
    si_status status = look_again();
    (void)status; /* no thread: they take as long as they take */
    si_entry *e = NULL;
    while ((e = si_registry_next(&sipy_interps, e)) != NULL) {
        sipy_threads_nudge((sipy_interp *)e); /* whoever waits looks at the times */
    }
}

void
sipy_endings_abandon(void)
{
    si_mutex_lock(&endings_mu);
    abandoned = true;
    for (sipy_ending *e = endings; e != NULL; e = e->next) {
        sipy_exit_stop_code(e->interp); /* listed, it is there */
    }
    si_mutex_unlock(&endings_mu);
    uint32_t count;
    while ((count = si_load_seq_cst(&last_steps)) != 0) {
        si_status status = si_futex_wait(&last_steps, count, SI_FOREVER);
        (void)status; /* whatever woke us: look again */
    }
}

/* --- fork ---------------------------------------------------------------------------- */

void
sipy_endings_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&endings_mu);
}

void
sipy_endings_fork_done(bool child) SI_NO_THREAD_SAFETY
{
    if (child) {
        endings = NULL; /* of threads that do not exist here */
        watcher = NULL;
        watcher_runs = false;
        si_store_seq_cst(&last_steps, 0);
    }
    si_mutex_unlock(&endings_mu);
}
