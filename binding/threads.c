/* threads.c — see threads.h.
 *
 * Thread.join() of CPython cannot be woken outside the main interpreter. So each thread
 * that is waited for gets an object into the dict of its thread state, whose destruction,
 * at the thread's end, wakes who waits. What threading has registered is called in a thread
 * of the interpreter's own, for it joins threads as well (concurrent.futures does).
 */
#include "binding/threads.h"

#include "binding/attach.h"
#include "binding/ending.h"
#include "binding/interrupt.h"
#include "binding/pool/pool.h"
#include "core/platform/clock.h"

/* At the exit even who is late has so long for threads that only have to be told. */
#define A_MOMENT_NS (INT64_C(100) * 1000 * 1000)
/* And so long, if there is time, before they are asked: asked threads of an executor leave
 * with a message of the executor's. */
#define TOLD_NS A_MOMENT_NS

/* How a wait for threads stands. */
typedef struct wait_state {
    int64_t start_ns;
    bool told; /* there was something registered with threading */
    int asked; /* to leave: 0 nobody, 1 all but the teller, 2 all */
    sipy_leaving result;
} wait_state;

/* -> 1 | 0 | -1 with an exception */
static int
is_a(PyObject *threading, PyObject *thread, const char *name)
{
    PyObject *type = PyObject_GetAttrString(threading, name);
    int result = type == NULL ? -1 : PyObject_IsInstance(thread, type);
    Py_XDECREF(type);
    return result;
}

/* Whether the end of the interpreter joins thread: it is neither the main thread nor one
 * that merely passed by, which have no state to join. -> 1 | 0 | -1 with an exception */
static int
is_joined(PyObject *threading, PyObject *thread)
{
    int is_not = is_a(threading, thread, "_MainThread");
    if (is_not == 0) {
        is_not = is_a(threading, thread, "_DummyThread");
    }
    return is_not < 0 ? -1 : !is_not;
}

/* The threads that threading will join, as a new list; NULL with an exception. */
static PyObject *
list_joined(PyObject *threading)
{
    PyObject *all = PyObject_CallMethod(threading, "enumerate", NULL);
    PyObject *joined = all == NULL ? NULL : PyList_New(0);
    Py_ssize_t count = joined == NULL || !PyList_Check(all) ? 0 : PyList_GET_SIZE(all);
    for (Py_ssize_t i = 0; joined != NULL && i < count; i++) {
        PyObject *thread = PyList_GET_ITEM(all, i);
        int taken = is_joined(threading, thread);
        if (taken < 0 || (taken > 0 && PyList_Append(joined, thread) < 0)) {
            Py_CLEAR(joined); /* the main thread would be waited for, by itself */
        }
    }
    Py_XDECREF(all);
    return joined;
}

int
sipy_threads_unknown(sipy_interp *interp, bool *here)
{
    int own = sipy_count_own_threads(interp, here);
    if (own == 0 || *here) {
        return own;
    }
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *list = threading == NULL ? NULL : list_joined(threading);
    int known = list == NULL ? 0 : (int)PyList_GET_SIZE(list);
    PyErr_Clear(); /* then none is known */
    Py_XDECREF(list);
    Py_XDECREF(threading);
    return own > known ? own - known : 0;
}

/* --- what is registered with threading ---------------------------------------------- */

/* Calls what threading._register_atexit has registered, last first: concurrent.futures has
 * its threads told to leave this way. self is a tuple of it. */
static PyObject *
call_registered(PyObject *self, PyObject *Py_UNUSED(args))
{
    for (Py_ssize_t i = PyTuple_GET_SIZE(self); i > 0; i--) {
        PyObject *done = PyObject_CallNoArgs(PyTuple_GET_ITEM(self, i - 1));
        if (done == NULL && PyErr_ExceptionMatches(PyExc_SystemExit)) {
            PyErr_Clear(); /* this thread was asked to leave: so is everybody else */
        }
        else if (done == NULL) {
            PyErr_WriteUnraisable(PyTuple_GET_ITEM(self, i - 1));
        }
        Py_XDECREF(done);
    }
    Py_RETURN_NONE;
}

static PyMethodDef call_registered_def = {"call_registered", call_registered, METH_NOARGS,
                                          NULL};

/* Takes what is registered: a tuple, or NULL if it is nothing. */
static PyObject *
take_registered(PyObject *threading)
{
    PyObject *list = PyObject_GetAttrString(threading, "_threading_atexits");
    PyObject *calls = list == NULL ? NULL : PySequence_Tuple(list);
    Py_ssize_t count = calls == NULL ? 0 : PyTuple_GET_SIZE(calls);
    if (count == 0 || PySequence_DelSlice(list, 0, count) < 0) {
        Py_CLEAR(calls);
    }
    PyErr_Clear(); /* no such list: nothing is registered */
    Py_XDECREF(list);
    return calls;
}

static unsigned long
ident_of(PyObject *thread)
{
    PyObject *ident = PyObject_GetAttrString(thread, "ident");
    unsigned long result =
        ident == NULL || !PyLong_Check(ident) ? 0 : PyLong_AsUnsignedLong(ident);
    Py_XDECREF(ident);
    PyErr_Clear();
    return result;
}

/* -> whether anything was registered */
static bool
tell(sipy_interp *interp, PyObject *threading)
{
    PyObject *calls = take_registered(threading);
    if (calls == NULL) {
        return false;
    }
    PyObject *target = PyCFunction_New(&call_registered_def, calls);
    PyObject *thread =
        target == NULL ? NULL
                       : PyObject_CallMethod(threading, "Thread", "OO", Py_None, target);
    PyObject *done = thread == NULL ? NULL : PyObject_CallMethod(thread, "start", NULL);
    if (done != NULL) {
        interp->teller = ident_of(thread);
    }
    else {
        PyErr_Clear(); /* no thread, no memory: then here, as CPython does */
        Py_XDECREF(call_registered(calls, NULL));
    }
    Py_XDECREF(done);
    Py_XDECREF(thread);
    Py_XDECREF(target);
    Py_DECREF(calls);
    return true;
}

/* --- hearing of the end of a thread ------------------------------------------------- */

static const char watch_name[] = "subinterpreters.watch";

void
sipy_threads_nudge(sipy_interp *interp)
{
    si_mutex_lock(&interp->mu);
    si_waiter *w = interp->ender;
    bool kick = w != NULL && si_waiter_signal(w);
    si_mutex_unlock(&interp->mu);
    if (kick) {
        si_waiter_kick(w);
    }
}

static void
set_ender(sipy_interp *interp, si_waiter *w)
{
    si_mutex_lock(&interp->mu);
    interp->ender = w;
    si_mutex_unlock(&interp->mu);
}

/* Called in the thread itself, as its thread state is cleared. */
static void
thread_leaves(PyObject *capsule)
{
    sipy_interp *interp = PyCapsule_GetPointer(capsule, watch_name);
    sipy_threads_nudge(interp);
    sipy_interp_drop(interp);
}

/* -> 0 | -1 with MemoryError */
static int
watch(sipy_interp *interp, PyThreadState *ts)
{
    if (ts->dict == NULL && (ts->dict = PyDict_New()) == NULL) {
        return -1;
    }
    PyObject *name = PyUnicode_FromString(watch_name);
    int result = name == NULL ? -1 : PyDict_Contains(ts->dict, name);
    if (result == 0) {
        PyObject *capsule = PyCapsule_New(interp, watch_name, thread_leaves);
        result = -1;
        if (capsule != NULL) {
            si_entry_hold(&interp->entry);
            result = PyDict_SetItem(ts->dict, name, capsule);
            Py_DECREF(capsule);
        }
    }
    Py_XDECREF(name);
    return result < 0 ? -1 : 0;
}

typedef struct wanted {
    unsigned long ident;
    PyThreadState *found;
} wanted;

static bool
is_of(PyThreadState *ts, void *arg)
{
    wanted *w = arg;
    if (ts->thread_id == w->ident && !sipy_compat_is_guarded(ts)) {
        w->found = ts;
    }
    return w->found == NULL;
}

/* The thread state of a thread that is still known to threading, and so has not begun to
 * clear it; NULL: it is gone without having told threading. */
static PyThreadState *
state_of(const sipy_interp *interp, unsigned long ident)
{
    wanted w = {ident, NULL};
    sipy_compat_each_state(interp->native, is_of, &w);
    return w.found;
}

/* A thread that is being started has no ident until it runs, which is soon. */
static unsigned long
await_ident(PyObject *thread)
{
    unsigned long ident = ident_of(thread);
    if (ident == 0) {
        PyObject *started = PyObject_GetAttrString(thread, "_started");
        PyObject *done =
            started == NULL ? NULL : PyObject_CallMethod(started, "wait", "d", 1.0);
        Py_XDECREF(done);
        Py_XDECREF(started);
        PyErr_Clear();
        ident = ident_of(thread);
    }
    return ident;
}

/* -> whether thread goes on; its end wakes the ender */
static bool
goes_on(sipy_interp *interp, PyObject *thread, unsigned long ident)
{
    PyThreadState *ts = ident == 0 ? NULL : state_of(interp, ident);
    if (ts == NULL) {
        return false;
    }
    if (watch(interp, ts) == 0) {
        return true;
    }
    PyErr_Clear(); /* no memory to hear of it: joined as CPython does */
    PyObject *joined = PyObject_CallMethod(thread, "join", NULL);
    Py_XDECREF(joined);
    PyErr_Clear();
    return false;
}

/* How many of the threads that its end would join go on; *only_teller: it is the one that
 * calls what is registered. Attached. */
static int
count_left(sipy_interp *interp, PyObject *threading, bool *only_teller)
{
    int count = 0;
    bool tells = false;
    PyObject *list = list_joined(threading);
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *thread = PyList_GET_ITEM(list, i);
        unsigned long ident = await_ident(thread);
        if (goes_on(interp, thread, ident)) {
            count++;
            tells |= ident == interp->teller;
        }
    }
    if (list != NULL && !tells) {
        interp->teller = 0; /* it has left, and a later thread may get its ident */
    }
    PyErr_Clear(); /* what threading cannot list is left to CPython */
    Py_XDECREF(list);
    *only_teller = tells && count == 1;
    return count;
}

/* --- waiting ------------------------------------------------------------------------ */

/* Sleeps on w, attached to the interpreter of who waits or to nothing.
 * -> 0 | -1 with an exception */
static int
doze(si_waiter *w, bool heeds, int64_t deadline_ns)
{
    sipy_interp *here = heeds ? sipy_interp_current() : NULL;
    int result = 0;
    if (here == NULL) {
        PyThreadState *ts = sipy_detach();
        while (si_waiter_park(w, deadline_ns) == SI_INTERRUPTED) {
            /* Signals wait for the end, or are no business of this thread. */
        }
        sipy_reattach(ts);
        return 0;
    }
    si_status status = SI_INTERRUPTED;
    if (sipy_interrupt_publish(here, w)) {
        /* A signal that came while we were in the other interpreter wakes nobody now. */
        result = PyErr_CheckSignals();
        if (result == 0) {
            Py_BEGIN_ALLOW_THREADS
            status = si_waiter_park(w, deadline_ns);
            Py_END_ALLOW_THREADS
        }
        sipy_interrupt_retract(here, w);
    }
    if (result == 0 && status == SI_INTERRUPTED &&
        (sipy_interrupt_deliver(here) < 0 || PyErr_CheckSignals() < 0)) {
        result = -1;
    }
    sipy_interp_drop(here);
    return result;
}

static int64_t
sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Until when threads are waited for that have been told to leave at start_ns. */
static int64_t
end_of_patience(const sipy_patience *limits, int64_t start_ns)
{
    int64_t give_up_ns = sooner(limits->give_up_ns, sipy_endings_give_up_ns());
    if (!limits->heeds && give_up_ns < start_ns + A_MOMENT_NS) {
        give_up_ns = start_ns + A_MOMENT_NS;
    }
    return give_up_ns;
}

/* The teller is spared as long as there are others, which it may have to tell. */
static void
ask(sipy_interp *interp, bool only_teller, wait_state *state)
{
    if (state->asked == 0) {
        sipy_pools_stop(
            interp, sipy_process_exiting() ? PyExc_SystemExit : PyExc_KeyboardInterrupt);
    }
    if (state->asked < 1 + only_teller) {
        state->asked = 1 + only_teller;
        sipy_interrupt_own_threads(interp, only_teller ? 0 : interp->teller);
    }
}

/* One step, attached to interp; in between attached to caller. -> whether it is over */
static bool
step(sipy_interp *interp, sipy_slot *slot, PyThreadState *caller, PyObject *threading,
     const sipy_patience *limits, wait_state *state)
{
    si_waiter waiter;
    si_waiter_arm(&waiter);
    set_ender(interp, &waiter); /* first: whoever leaves from here on wakes it */
    bool only_teller = false;
    int left = count_left(interp, threading, &only_teller);
    int64_t give_up_ns = end_of_patience(limits, state->start_ns);
    int64_t ask_ns = sooner(limits->ask_ns, sipy_endings_ask_ns());
    if (state->told && ask_ns < state->start_ns + TOLD_NS) {
        ask_ns = sooner(state->start_ns + TOLD_NS, give_up_ns);
    }
    int64_t now_ns = si_now_ns();
    if (left > 0 && now_ns >= ask_ns) {
        ask(interp, only_teller, state);
    }
    if (left == 0 || now_ns >= give_up_ns) {
        set_ender(interp, NULL);
        state->result = left == 0 ? SIPY_LEFT : SIPY_STAYED;
        return true;
    }
    sipy_slot_leave(caller);
    int disturbed = doze(&waiter, limits->heeds,
                         state->asked > 0 ? give_up_ns : sooner(ask_ns, give_up_ns));
    set_ender(interp, NULL);
    (void)sipy_slot_enter(slot);
    state->result = SIPY_DISTURBED;
    return disturbed < 0;
}

/* Its pools were told to stop: a close that succeeds leaves none of their work behind. */
static sipy_leaving
await_pools(sipy_interp *interp, sipy_slot *slot, PyThreadState *caller,
            int64_t deadline_ns)
{
    sipy_slot_leave(caller);
    int gone = sipy_pools_await(interp, deadline_ns);
    (void)sipy_slot_enter(slot);
    return gone < 0 ? SIPY_DISTURBED : gone > 0 ? SIPY_LEFT : SIPY_STAYED;
}

sipy_leaving
sipy_threads_leave(sipy_interp *interp, sipy_slot *slot, PyThreadState *caller,
                   const sipy_patience *limits)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *threading = PyDict_GetItemWithError(modules, interp->home->name_threading);
    if (threading == NULL) {
        PyErr_Clear();
        return SIPY_LEFT;
    }
    Py_INCREF(threading);
    bool told = tell(interp, threading);
    wait_state state = {si_now_ns(), told, 0, SIPY_LEFT};
    while (!step(interp, slot, caller, threading, limits, &state)) {
        /* Somebody has left, or it is time to ask. */
    }
    Py_DECREF(threading);
    if (state.result == SIPY_LEFT && state.asked > 0 && limits->heeds) {
        state.result =
            await_pools(interp, slot, caller, end_of_patience(limits, state.start_ns));
    }
    return state.result;
}

void
sipy_threads_join_late(void)
{
    PyObject *module = PyImport_ImportModule("_thread");
    PyObject *join = module == NULL ? NULL : PyObject_GetAttrString(module, "_shutdown");
    PyErr_Clear(); /* 3.12 has none, and starts no thread as late */
    PyObject *done = join == NULL ? NULL : PyObject_CallNoArgs(join);
    if (join != NULL && done == NULL) {
        PyErr_WriteUnraisable(join);
    }
    Py_XDECREF(done);
    Py_XDECREF(join);
    Py_XDECREF(module);
}
