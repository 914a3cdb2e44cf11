/* compat.c — see compat.h. */
#include "binding/compat/compat.h"

#include <opcode.h>

#include "core/platform/thread.h"

/* Private but exported by all supported versions, with these signatures. */
PyAPI_FUNC(PyInterpreterState *) _PyInterpreterState_LookUpID(int64_t);
PyAPI_FUNC(int) _PyInterpreterState_SetRunningMain(PyInterpreterState *);
PyAPI_FUNC(void) _PyInterpreterState_SetNotRunningMain(PyInterpreterState *);
PyAPI_FUNC(int) _PyInterpreterState_IsRunningMain(PyInterpreterState *);
PyAPI_FUNC(int) _PyEval_AddPendingCall(PyInterpreterState *, int (*)(void *), void *, int);

PyInterpreterState *
sipy_compat_find(int64_t id)
{
    return _PyInterpreterState_LookUpID(id);
}

bool
sipy_compat_exists(int64_t id)
{
    PyObject *saved = PyErr_GetRaisedException();
    bool found = _PyInterpreterState_LookUpID(id) != NULL;
    PyErr_SetRaisedException(saved);
    return found;
}

int
sipy_compat_set_running(PyInterpreterState *interp)
{
    return _PyInterpreterState_SetRunningMain(interp);
}

void
sipy_compat_unset_running(PyInterpreterState *interp)
{
    _PyInterpreterState_SetNotRunningMain(interp);
}

bool
sipy_compat_is_running(PyInterpreterState *interp)
{
    return _PyInterpreterState_IsRunningMain(interp) != 0;
}

int
sipy_compat_add_pending(PyInterpreterState *interp, int (*fn)(void *), void *arg)
{
    return _PyEval_AddPendingCall(interp, fn, arg, 0) == 0 ? 0 : -1;
}

#if PY_VERSION_HEX >= 0x030E0000
/* From 3.14 a thread state knows the bounds of its thread's stack. CPython asks the system
 * for them when the state is first attached, which takes 0.3 ms on the first thread of a
 * process. The function that sets them came in 3.14.1. */
#define SMALLEST_STACK \
    ((size_t)256 << 10) /* of which CPython is sure to accept the bounds */

extern int
PyUnstable_ThreadState_SetStackProtection(PyThreadState *, void *, size_t)
    __attribute__((weak));

void
sipy_compat_know_stack(PyThreadState *ts)
{
    void *low;
    size_t size;
    if (PyUnstable_ThreadState_SetStackProtection != NULL && si_thread_stack(&low, &size) &&
        size >= SMALLEST_STACK) {
        (void)PyUnstable_ThreadState_SetStackProtection(ts, low, size);
    }
}
#else
void
sipy_compat_know_stack(PyThreadState *ts)
{
    (void)ts;
}
#endif

#if PY_VERSION_HEX >= 0x030D0000
/* 3.13 records where an interpreter came from and whether it is ready. */
PyAPI_FUNC(int) _PyInterpreterState_IsReady(PyInterpreterState *);
PyAPI_FUNC(long) _PyInterpreterState_GetWhence(PyInterpreterState *);

bool
sipy_compat_is_ready(PyInterpreterState *interp)
{
    return _PyInterpreterState_IsReady(interp) != 0;
}

const char *
sipy_compat_whence(PyInterpreterState *interp)
{
    static const char *const names[] = {
        "unknown",
        "runtime init",
        "legacy C-API",
        "C-API",
        "cross-interpreter C-API",
        "_interpreters module",
    };
    long whence = _PyInterpreterState_GetWhence(interp);
    if (whence < 0 || whence >= (long)Py_ARRAY_LENGTH(names)) {
        return names[0];
    }
    return names[whence];
}

int
sipy_compat_at_end(PyInterpreterState *interp, void (*fn)(void *), void *data)
{
    return PyUnstable_AtExit(interp, fn, data);
}

bool
sipy_compat_runtime_finalizing(void)
{
    return Py_IsFinalizing() != 0;
}

PyThreadState *
sipy_compat_current(void)
{
    return PyThreadState_GetUnchecked();
}

PyObject *
sipy_compat_weakref_get(PyObject *ref)
{
    PyObject *obj = NULL;
    if (PyWeakref_GetRef(ref, &obj) < 0) {
        PyErr_Clear();
    }
    return obj;
}

PyAPI_DATA(PyObject *) PyExc_InterpreterError;
PyAPI_DATA(PyObject *) PyExc_InterpreterNotFoundError;

PyObject *
sipy_compat_interpreter_error(void)
{
    return Py_NewRef(PyExc_InterpreterError);
}

PyObject *
sipy_compat_not_found_error(void)
{
    return Py_NewRef(PyExc_InterpreterNotFoundError);
}
#else /* 3.12; drop with it */
bool
sipy_compat_is_ready(PyInterpreterState *interp)
{
    (void)interp;
    return true;
}

const char *
sipy_compat_whence(PyInterpreterState *interp)
{
    return PyInterpreterState_GetID(interp) == 0 ? "runtime init" : "unknown";
}

int
sipy_compat_at_end(PyInterpreterState *interp, void (*fn)(void *), void *data)
{
    return _Py_AtExit(interp, fn, data);
}

bool
sipy_compat_runtime_finalizing(void)
{
    return _Py_IsFinalizing() != 0;
}

PyThreadState *
sipy_compat_current(void)
{
    return _PyThreadState_UncheckedGet();
}

PyObject *
sipy_compat_weakref_get(PyObject *ref)
{
    PyObject *obj = PyWeakref_GetObject(ref);
    return obj == NULL || obj == Py_None ? NULL : Py_NewRef(obj);
}

PyObject *
sipy_compat_interpreter_error(void)
{
    return NULL;
}

PyObject *
sipy_compat_not_found_error(void)
{
    return NULL;
}
#endif

PyObject *
sipy_compat_not_shareable_error(void)
{
#if PY_VERSION_HEX >= 0x030E0000
    /* 3.14 made NotShareableError a public class, one per interpreter. */
    PyObject *module = PyImport_ImportModule("_interpreters");
    if (module == NULL) {
        return NULL;
    }
    PyObject *error = PyObject_GetAttrString(module, "NotShareableError");
    Py_DECREF(module);
    return error;
#else
    return NULL;
#endif
}

void
sipy_compat_drop_thread_locals(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030D0000
    Py_CLEAR(ts->threading_local_key);
    Py_CLEAR(ts->threading_local_sentinel);
#else
    if (ts->dict != NULL) {
        PyDict_Clear(ts->dict);
    }
#endif
}

void
sipy_compat_reset_thread(PyThreadState *ts)
{
    if (ts->context != NULL) {
        Py_CLEAR(ts->context);
        ts->context_ver++; /* the cached lookups of ContextVar are keyed by it */
    }
    if (ts->async_exc != NULL) {
        Py_CLEAR(ts->async_exc);
    }
    if (ts->c_tracefunc != NULL) {
        PyEval_SetTrace(NULL, NULL);
    }
    if (ts->c_profilefunc != NULL) {
        PyEval_SetProfile(NULL, NULL);
    }
}

PyObject *
sipy_compat_take_async(PyThreadState *ts)
{
    return __atomic_exchange_n(&ts->async_exc, NULL, __ATOMIC_ACQ_REL);
}

bool
sipy_compat_has_async(PyThreadState *ts)
{
    return __atomic_load_n(&ts->async_exc, __ATOMIC_ACQUIRE) != NULL;
}

#if PY_VERSION_HEX >= 0x030D0000
/* 3.13 moved the eval breaker into the thread state; the bit has the same place since. */
#define ASYNC_EXCEPTION_BIT ((uintptr_t)1 << 3)

static void
wake_evaluation(PyThreadState *ts)
{
    (void)__atomic_fetch_or(&ts->eval_breaker, ASYNC_EXCEPTION_BIT, __ATOMIC_RELAXED);
}
#else
/* Drop with 3.12: there the flag is the interpreter's. Sets two words, without a lock. */
PyAPI_FUNC(void) _PyEval_SignalAsyncExc(PyInterpreterState *);

static void
wake_evaluation(PyThreadState *ts)
{
    _PyEval_SignalAsyncExc(ts->interp);
}
#endif

PyObject *
sipy_compat_handled(PyThreadState *ts)
{
    const _PyErr_StackItem *item = ts->exc_info;
    while ((item->exc_value == NULL || item->exc_value == Py_None) &&
           item->previous_item != NULL) {
        item = item->previous_item;
    }
    return item->exc_value == NULL ? Py_None : item->exc_value;
}

bool
sipy_compat_raise_soon(PyThreadState *ts, PyObject *exc)
{
    /* Static classes are immortal: there is no reference to count. */
    PyObject *none = NULL;
    bool placed = __atomic_compare_exchange_n(&ts->async_exc, &none, exc, false,
                                              __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    wake_evaluation(ts); /* also for one that waits: 3.12 can lose the mark of that */
    return placed;
}

#if PY_VERSION_HEX >= 0x030E0000
PyAPI_FUNC(int) _PyCode_ReturnsOnlyNone(PyCodeObject *);

int
sipy_compat_returns_only_none(PyCodeObject *code)
{
    return _PyCode_ReturnsOnlyNone(code) != 0;
}
#else
/* 3.12 and 3.13 compile "return <constant>" to RETURN_CONST and any other return to
 * RETURN_VALUE. Inline caches are zero in co_code, so each even byte is an opcode. */
int
sipy_compat_returns_only_none(PyCodeObject *code)
{
    PyObject *bytecode = PyCode_GetCode(code);
    if (bytecode == NULL) {
        return -1;
    }
    const unsigned char *unit = (const unsigned char *)PyBytes_AS_STRING(bytecode);
    Py_ssize_t size = PyBytes_GET_SIZE(bytecode);
    int only_none = 1;
    Py_ssize_t high = 0;
    for (Py_ssize_t i = 0; i + 1 < size && only_none; i += 2) {
        Py_ssize_t arg = (high << 8) | unit[i + 1];
        high = unit[i] == EXTENDED_ARG ? arg : 0;
        if (unit[i] == RETURN_VALUE) {
            only_none = 0;
        }
        else if (unit[i] == RETURN_CONST) {
            only_none = arg < PyTuple_GET_SIZE(code->co_consts) &&
                        PyTuple_GET_ITEM(code->co_consts, arg) == Py_None;
        }
    }
    Py_DECREF(bytecode);
    return only_none;
}
#endif

static int
import_and_forget(const char *name)
{
    PyObject *module = PyImport_ImportModule(name);
    if (module == NULL) {
        return -1;
    }
    Py_DECREF(module);
    return 0;
}

int
sipy_compat_prepare_main(void)
{
#if PY_VERSION_HEX < 0x030E0000
    /* gh-136421: the C part of datetime keeps process-wide state that only survives
     * several interpreters when the main one has loaded it first. 3.12 has more such
     * modules: a repeated import of a single-phase module corrupts memory there. */
    if (import_and_forget("_datetime") < 0) {
        return -1;
    }
#endif
#if PY_VERSION_HEX < 0x030D0000
    static const char *const more[] = {"_decimal", "_elementtree", "_ctypes"};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(more); i++) {
        if (import_and_forget(more[i]) < 0) {
            PyErr_Clear(); /* optional modules of CPython: some builds lack them */
        }
    }
#endif
    return 0;
}

int
sipy_compat_audit_creation(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return PySys_Audit("cpython.PyInterpreterState_New", NULL);
#else
    return 0;
#endif
}

#if PY_VERSION_HEX < 0x030D0000
/* 3.12 ties threading's main thread to the thread state that imports the module and
 * asserts at the end that it is the one that ends it. */
int
sipy_compat_after_create(void)
{
    return import_and_forget("threading");
}

void
sipy_compat_before_end(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread = NULL;
    PyObject *done = NULL;
    if (threading != NULL) {
        thread = PyObject_GetAttrString(threading, "_main_thread");
    }
    if (thread != NULL) {
        done = PyObject_CallMethod(thread, "_set_ident", NULL);
    }
    Py_XDECREF(done);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
    PyErr_Clear();
}

bool
sipy_compat_keep_first_thread_state(void)
{
    return true;
}

bool
sipy_compat_creates_in_turn(void)
{
    return true;
}
#else
#if PY_VERSION_HEX < 0x030E0000
PyAPI_FUNC(int) _PyInterpreterState_IDInitref(PyInterpreterState *);

/* What counts the references by id; _interpreters.decref() takes its lock unseen. */
int
sipy_compat_after_create(void)
{
    (void)import_and_forget;
    return _PyInterpreterState_IDInitref(PyInterpreterState_Get());
}
#else
int
sipy_compat_after_create(void)
{
    (void)import_and_forget;
    return 0;
}
#endif

void
sipy_compat_before_end(void)
{
}

bool
sipy_compat_keep_first_thread_state(void)
{
    return false;
}

bool
sipy_compat_creates_in_turn(void)
{
    return false;
}
#endif
