/* threads.c — see threads.h. */
#include "binding/threads.h"

#include "binding/attach.h"
#include "binding/interrupt.h"
#include "core/platform/clock.h"

static bool
is_a(PyObject *threading, PyObject *thread, const char *name)
{
    PyObject *type = PyObject_GetAttrString(threading, name);
    bool result = type != NULL && PyObject_IsInstance(thread, type) == 1;
    Py_XDECREF(type);
    PyErr_Clear();
    return result;
}

/* Whether the end of the interpreter joins thread: it is neither the main thread nor one
 * that merely passed by, which have no state to join. */
static bool
is_joined(PyObject *threading, PyObject *thread)
{
    return !is_a(threading, thread, "_MainThread") &&
           !is_a(threading, thread, "_DummyThread");
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
        if (is_joined(threading, thread) && PyList_Append(joined, thread) < 0) {
            Py_CLEAR(joined);
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

/* Calls what threading._register_atexit has registered, last first: concurrent.futures has
 * its threads told to leave this way. */
static void
call_registered(PyObject *threading)
{
    PyObject *list = PyObject_GetAttrString(threading, "_threading_atexits");
    PyObject *calls = list == NULL ? NULL : PySequence_Tuple(list);
    if (calls == NULL || PySequence_DelSlice(list, 0, PyTuple_GET_SIZE(calls)) < 0) {
        PyErr_Clear(); /* no such list: nothing is registered */
        Py_CLEAR(calls);
    }
    for (Py_ssize_t i = calls == NULL ? 0 : PyTuple_GET_SIZE(calls); i > 0; i--) {
        PyObject *done = PyObject_CallNoArgs(PyTuple_GET_ITEM(calls, i - 1));
        if (done == NULL) {
            PyErr_WriteUnraisable(PyTuple_GET_ITEM(calls, i - 1));
        }
        Py_XDECREF(done);
    }
    Py_XDECREF(calls);
    Py_XDECREF(list);
}

/* -> whether thread has ended */
static bool
join(PyObject *thread, int64_t deadline_ns)
{
    int64_t left = deadline_ns - si_now_ns();
    PyObject *joined =
        PyObject_CallMethod(thread, "join", "d", left > 0 ? (double)left / 1e9 : 0.0);
    PyObject *alive = joined == NULL ? NULL : PyObject_CallMethod(thread, "is_alive", NULL);
    bool ended = alive == Py_False;
    Py_XDECREF(alive);
    Py_XDECREF(joined);
    PyErr_Clear(); /* what cannot be joined is taken to be alive */
    return ended;
}

/* -> whether all have ended */
static bool
join_all(PyObject *threading, int64_t deadline_ns)
{
    bool some = true;
    bool all = true;
    while (some && all) {
        PyObject *list = list_joined(threading);
        Py_ssize_t count = list == NULL ? 0 : PyList_GET_SIZE(list);
        for (Py_ssize_t i = 0; all && i < count; i++) {
            all = join(PyList_GET_ITEM(list, i), deadline_ns);
        }
        some = count > 0; /* they may have started others */
        Py_XDECREF(list);
    }
    PyErr_Clear();
    return all;
}

bool
sipy_threads_leave(sipy_interp *interp, const sipy_patience *limits)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *threading = PyDict_GetItemWithError(modules, interp->home->name_threading);
    if (threading == NULL) {
        PyErr_Clear();
        return true;
    }
    Py_INCREF(threading);
    call_registered(threading);
    bool all = join_all(threading, limits->ask_ns);
    if (!all) {
        sipy_interrupt_own_threads(interp);
        all = join_all(threading, limits->give_up_ns);
    }
    Py_DECREF(threading);
    return all;
}
