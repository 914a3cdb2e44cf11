/* ctrl_c.c — see ctrl_c.h.
 *
 * The signal handler may not lock, allocate or attach: it reads which thread state runs
 * on the main thread, which only that thread writes, and if it is itself on that thread
 * marks an asynchronous exception in it. The system may hand the signal to any thread: on
 * another one the handler sends it on. signal.signal() replaces the handler of the
 * process, so where ours still stands, Python's default handler does too; a function
 * before signal.signal() puts ours back once the default handler is (asyncio.run() does
 * that to it each time).
 */
#include "binding/ctrl_c.h"

#include <errno.h>
#include <signal.h>

#include "core/platform/clock.h"

static si_atomic_ptr running; /* PyThreadState * on the main thread; written by it */
si_atomic_u32 sipy_ctrl_c_raised;

static struct sigaction before_us; /* written before our handler is installed */
static si_atomic_u32 installing;   /* 1 while a thread installs */
static si_atomic_ptr waiting;      /* si_waiter * of the main thread; written by it */
static si_atomic_u32 passed_on;    /* 1: another thread has sent the signal on to it */

/* On the main thread. */
static void
reach_out(void)
{
    PyThreadState *ts = si_load_acquire(&running);
    if (ts != NULL && sipy_compat_raise_soon(ts, PyExc_KeyboardInterrupt)) {
        /* Where it cannot be raised, the main interpreter hears of it. */
        (void)si_add_relaxed(&sipy_ctrl_c_raised, 1);
    }
    /* The kernel ends a sleep; this ends one that is about to begin. */
    si_waiter *w = si_load_acquire(&waiting);
    if (w != NULL && si_waiter_interrupt_published(w)) {
        si_waiter_kick(w);
    }
}

static void
on_sigint(int signum)
{
    int saved_errno = errno;
    bool here = si_is_main_thread();
    if (!here || si_swap_acq_rel(&passed_on, 0) == 0) {
        before_us.sa_handler(signum);
    }
    if (here) {
        reach_out();
    }
    else if (si_load_acquire(&running) != NULL || si_load_acquire(&waiting) != NULL) {
        si_store_release(&passed_on, 1);
        if (!si_signal_main_thread(signum)) {
            si_store_release(&passed_on, 0);
        }
    }
    errno = saved_errno;
}

/* -> 1 if SIGINT has Python's default handler, 0 if not, -1 with an exception */
static int
has_default_handler(void)
{
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *current = NULL;
    PyObject *usual = NULL;
    if (module != NULL) {
        current = PyObject_CallMethod(module, "getsignal", "i", SIGINT);
        usual = sipy_compat_attr(module, "default_int_handler");
    }
    int result = current == NULL || usual == NULL ? -1 : current == usual;
    Py_XDECREF(usual);
    Py_XDECREF(current);
    Py_XDECREF(module);
    return result;
}

/* Whether the handler that stands now is a plain function other than ours. */
static bool
can_chain(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) == 0 && action->sa_handler != SIG_DFL &&
           action->sa_handler != SIG_IGN && action->sa_handler != on_sigint;
}

/* -> 0 | -1 with an exception */
static int
install_handler(void)
{
    struct sigaction action;
    if (sigaction(SIGINT, NULL, &action) != 0 || !can_chain(&action)) {
        return 0;
    }
    int usual = has_default_handler();
    uint32_t expected = 0;
    if (usual <= 0 || !si_cas_acq_rel(&installing, &expected, 1)) {
        return usual < 0 ? -1 : 0;
    }
    before_us = action;
    action.sa_handler = on_sigint;
    (void)sigaction(SIGINT, &action, NULL); /* cannot fail: SIGINT and a good action */
    si_store_release(&installing, 0);
    return 0;
}

/* Takes the place of _signal.signal, which signal.signal() calls; self is the original. */
static PyObject *
signal_and_install(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *old = PyObject_Vectorcall(self, args, (size_t)nargs, NULL);
    if (old != NULL && install_handler() < 0) {
        Py_CLEAR(old);
    }
    return old;
}

static PyMethodDef signal_def = {
    "signal", (PyCFunction)(void (*)(void))signal_and_install, METH_FASTCALL,
    "signal($module, signalnum, handler, /)\n--\n\n"
    "Set the action for the given signal.\n\n"
    "The action can be SIG_DFL, SIG_IGN, or a callable Python object.\n"
    "The previous action is returned."};

/* -> 0 | -1 with an exception */
static int
wrap_signal(void)
{
    PyObject *module = PyImport_ImportModule("_signal");
    /* CPython caches lookups by the address of the name: a new str each time would fill
     * that cache, one entry for each interpreter that is created. */
    PyObject *key = module == NULL ? NULL : PyUnicode_InternFromString("signal");
    PyObject *original = key == NULL ? NULL : PyObject_GetAttr(module, key);
    int result = original == NULL ? -1 : 0;
    if (original != NULL && !(PyCFunction_Check(original) &&
                              PyCFunction_GET_FUNCTION(original) == signal_def.ml_meth)) {
        PyObject *name = PyModule_GetNameObject(module);
        PyObject *ours =
            name == NULL ? NULL : PyCFunction_NewEx(&signal_def, original, name);
        result = ours == NULL ? -1 : PyObject_SetAttr(module, key, ours);
        Py_XDECREF(ours);
        Py_XDECREF(name);
    }
    Py_XDECREF(original);
    Py_XDECREF(key);
    Py_XDECREF(module);
    return result;
}

int
sipy_ctrl_c_install(void)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        return 0;
    }
    return wrap_signal() < 0 ? -1 : install_handler();
}

/* si_is_main_thread without the system call. Not for the handler: the first use of a
 * thread-local variable in a thread may allocate. */
static bool
on_main_thread(void)
{
    static _Thread_local enum { UNKNOWN, YES, NO } known;
    if (SI_UNLIKELY(known == UNKNOWN)) {
        known = si_is_main_thread() ? YES : NO;
    }
    return known == YES;
}

void
sipy_ctrl_c_wait_for(si_waiter *w)
{
    if (on_main_thread()) {
        si_store_release(&waiting, w);
    }
}

void
sipy_ctrl_c_enter(sipy_ctrl_c *scope, PyThreadState *ts)
{
    scope->main_thread = on_main_thread();
    scope->owed = false;
    if (scope->main_thread) {
        scope->outer = si_load_relaxed(&running);
        scope->seen = si_load_relaxed(&sipy_ctrl_c_raised);
        scope->returned = scope->seen;
        si_store_release(&running, ts);
    }
}

void
sipy_ctrl_c_sort(sipy_ctrl_c *scope, PyThreadState *ts)
{
    scope->returned = si_load_relaxed(&sipy_ctrl_c_raised);
    if (ts->async_exc == PyExc_KeyboardInterrupt) {
        Py_XDECREF(sipy_compat_take_async(ts));
        scope->owed = true;
    }
}

sipy_ctrl_c_fate
sipy_ctrl_c_leave(const sipy_ctrl_c *scope)
{
    if (!scope->main_thread) {
        return SIPY_CTRL_C_NONE;
    }
    si_store_release(&running, scope->outer);
    uint32_t now = si_load_relaxed(&sipy_ctrl_c_raised);
    if (SI_LIKELY(now == scope->seen)) {
        return SIPY_CTRL_C_NONE;
    }
    return scope->owed || now != scope->returned ? SIPY_CTRL_C_OWED : SIPY_CTRL_C_RAISED;
}

/* Whether failure is an ExecutionFailed by a KeyboardInterrupt. Clears what goes wrong. */
static bool
is_interrupted(const sipy_state *state, PyObject *failure)
{
    if (!PyErr_GivenExceptionMatches(failure, state->ExecutionFailed)) {
        return false;
    }
    PyObject *excinfo = sipy_compat_attr(failure, "excinfo");
    PyObject *type = excinfo == NULL ? NULL : sipy_compat_attr(excinfo, "type");
    PyObject *name = type == NULL ? NULL : sipy_compat_attr(type, "__name__");
    bool result = name != NULL && PyUnicode_Check(name) &&
                  PyUnicode_CompareWithASCIIString(name, "KeyboardInterrupt") == 0;
    Py_XDECREF(name);
    Py_XDECREF(type);
    Py_XDECREF(excinfo);
    PyErr_Clear();
    return result;
}

void
sipy_ctrl_c_conclude(const sipy_state *state, sipy_ctrl_c_fate fate)
{
    PyObject *failure = PyErr_GetRaisedException();
    int tripped = PyErr_CheckSignals(); /* a no-op outside the main interpreter */
    if (tripped < 0 && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        Py_XDECREF(failure); /* some other signal's handler raised: that goes first */
        return;
    }
    PyErr_Clear();
    if ((fate & SIPY_CTRL_C_OWED) != 0 ||
        (failure != NULL && is_interrupted(state, failure))) {
        PyThreadState *ts = PyThreadState_Get();
        if (ts->async_exc == PyExc_KeyboardInterrupt) {
            Py_XDECREF(sipy_compat_take_async(ts)); /* a press at the way back: the same */
        }
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        PyObject *interrupt = PyErr_GetRaisedException();
        PyException_SetCause(interrupt, failure); /* takes the reference; may be NULL */
        failure = interrupt;
    }
    PyErr_SetRaisedException(failure);
}
