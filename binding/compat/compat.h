/* compat.h — everything that differs between CPython 3.12, 3.13, 3.14 and 3.15.
 *
 * The only folder that may look at PY_VERSION_HEX. Each shim names the change of
 * CPython that made it necessary and when it can go. The private functions declared
 * here are exported by every supported CPython with the same signature.
 */
#ifndef SIPY_COMPAT_COMPAT_H
#define SIPY_COMPAT_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
/* Not part of Python.h, and useless without it. */
#include <marshal.h>
#include <stdbool.h>
#include <stdint.h>

#if PY_VERSION_HEX < 0x030C0000
#error "subinterpreters needs CPython 3.12 or newer"
#endif
#ifdef Py_GIL_DISABLED
#error "subinterpreters does not support free-threaded builds of CPython yet"
#endif

/* As PyObject_GetAttrString, with the name interned: CPython's cache of methods keeps
 * every name that it was asked for, and would fill up with equal ones. */
static inline PyObject *
sipy_compat_attr(PyObject *obj, const char *name)
{
    PyObject *str = PyUnicode_InternFromString(name);
    PyObject *value = str == NULL ? NULL : PyObject_GetAttr(obj, str);
    Py_XDECREF(str);
    return value;
}

/* obj.name(arg), or obj.name() if arg is NULL; the name as above. */
static inline PyObject *
sipy_compat_method(PyObject *obj, const char *name, PyObject *arg)
{
    PyObject *method = sipy_compat_attr(obj, name);
    PyObject *args[1] = {arg};
    PyObject *result =
        method == NULL ? NULL : PyObject_Vectorcall(method, args, arg != NULL, NULL);
    Py_XDECREF(method);
    return result;
}

/* The interpreter with that id, or NULL with InterpreterNotFoundError (3.12:
 * RuntimeError) set. Takes the runtime's lock; the result may end right after. */
PyInterpreterState *
sipy_compat_find(int64_t id);

/* Tells ts, a new thread state of the calling thread, where its stack is: CPython need not
 * find out when ts is attached for the first time. Need not be attached. */
void
sipy_compat_know_stack(PyThreadState *ts);

/* Whether any interpreter with that id exists; sets no exception. Attached. */
bool
sipy_compat_exists(int64_t id);

/* Whether the interpreter is past its initialisation. 3.12 cannot tell: true. */
bool
sipy_compat_is_ready(PyInterpreterState *interp);

/* Where the interpreter came from, as CPython's module words it ("C-API", ...). */
const char *
sipy_compat_whence(PyInterpreterState *interp);

/* Marks the current thread state as the one that runs its interpreter's __main__, so
 * that CPython's own module sees "running" too. -> 0, or -1 with an exception set. */
int
sipy_compat_set_running(PyInterpreterState *interp);

void
sipy_compat_unset_running(PyInterpreterState *interp);

/* Whether CPython considers the interpreter's __main__ as running. */
bool
sipy_compat_is_running(PyInterpreterState *interp);

/* Queues fn(arg) to run at a bytecode boundary of some thread of interp. Needs no
 * thread state. fn must return 0. -> 0, or -1 when the interpreter's queue is full. */
int
sipy_compat_add_pending(PyInterpreterState *interp, int (*fn)(void *), void *arg);

/* Has fn(data) called, attached, while the current interpreter is being ended, after
 * its threads are joined. It cannot be taken back. -> 0 | -1 with an exception. */
int
sipy_compat_at_end(PyInterpreterState *interp, void (*fn)(void *), void *data);

/* Whether the process has begun to finalize Python. Any thread. */
bool
sipy_compat_runtime_finalizing(void);

/* The current thread state, or NULL when not attached. */
PyThreadState *
sipy_compat_current(void);

/* A strong reference to what weak reference ref points to, or NULL (no exception). */
PyObject *
sipy_compat_weakref_get(PyObject *ref);

/* The classes that CPython itself raises, new reference; NULL without an exception
 * where this version has none (then the module makes its own). */
PyObject *
sipy_compat_interpreter_error(void);
PyObject *
sipy_compat_not_found_error(void);
/* May also return NULL with an exception (import failed). */
PyObject *
sipy_compat_not_shareable_error(void);

/* Drops what threading.local objects keep for ts, to which the thread is attached. May run
 * Python code. */
void
sipy_compat_drop_thread_locals(PyThreadState *ts);

/* Drops what one call may have left in a thread state that the next call reuses:
 * context variables, tracing and profiling functions, a late asynchronous exception. */
void
sipy_compat_reset_thread(PyThreadState *ts);

/* The exception that the code of ts handles, or None; borrowed. Attached to its
 * interpreter, in whose code no thread moves meanwhile. */
PyObject *
sipy_compat_handled(PyThreadState *ts);

/* Has the static exception class exc raised in ts at its next bytecode boundary. May be
 * called from a signal handler, by any thread while ts exists; takes no lock.
 * -> whether it will be: false if another exception waits there already */
bool
sipy_compat_raise_soon(PyThreadState *ts, PyObject *exc);

/* Takes back what sipy_compat_raise_soon or SetAsyncExc asked for and was not raised yet:
 * new reference, or NULL. Attached through ts. */
PyObject *
sipy_compat_take_async(PyThreadState *ts);

/* Whether there is something to take back so. Attached through ts. */
bool
sipy_compat_has_async(PyThreadState *ts);

/* Calls func as PyObject_Vectorcall does, on a thread state without a frame. Before 3.14
 * the builtins that look at their caller's namespaces (eval, dir, ...) fail there; they
 * get a frame in __main__. -> new reference | NULL */
PyObject *
sipy_compat_call(PyObject *func, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* How many PyInterpreterGuards of interp are open; none before 3.15. Attached to it. */
Py_ssize_t
sipy_compat_open_guards(PyInterpreterState *interp);

/* A PyInterpreterView of the current interpreter, to be closed. Attached.
 * -> NULL: no memory, or a version that has none; no exception is set */
void *
sipy_compat_view_of_current(void);
void
sipy_compat_view_close(void *view);

/* A PyInterpreterGuard, to be closed, of the interpreter that view is of. view may be NULL,
 * and so may the guard that is closed. Any thread, attached or not; an exception that is
 * set stays as it is. -> NULL: the interpreter has ended, or as above */
void *
sipy_compat_guard(void *view);
void
sipy_compat_guard_close(void *guard);

/* Whether ts lasts only as long as a guard of its interpreter is open: made by
 * PyThreadState_Ensure. Attached to the interpreter. */
bool
sipy_compat_is_guarded(PyThreadState *ts);

/* PyThreadState_Ensure and _EnsureFromView: attaches. -> its token, or NULL without an
 * exception. */
void *
sipy_compat_ensure(void *guard);
void *
sipy_compat_ensure_from_view(void *view);

/* Calls visit for the thread states of interp, newest first, until it returns false. Those
 * of threads that are not attached may be deleted at any time, but not while visit runs,
 * which must not call CPython and takes leaf locks at most. Attached to interp. (Before
 * 3.15 CPython itself deletes none without the GIL, and what an extension module deletes so
 * is not waited for.) */
void
sipy_compat_each_state(PyInterpreterState *interp,
                       bool (*visit)(PyThreadState *ts, void *arg), void *arg);

/* Whether every return of code gives None. -> 1 | 0 | -1 with an exception. */
int
sipy_compat_returns_only_none(PyCodeObject *code);

/* Asks the audit hooks whether an interpreter may be made, where CPython (3.13 on) ends the
 * process if one refuses; it asks again. May run Python. -> 0 | -1 with an exception */
int
sipy_compat_audit_creation(void);

/* Readies a fresh interpreter (attached, first thread state) for this version: 3.12
 * must import threading there first, 3.13 has a lock to make. -> 0 | -1 with an
 * exception. */
int
sipy_compat_after_create(void);

/* Whether two interpreters must not be created at the same time (3.12: what they share
 * of the runtime is not guarded, and one creation in a thousand ends the process). */
bool
sipy_compat_creates_in_turn(void);

/* The last step, attached, before Py_EndInterpreter on a thread that may not be the
 * one that created the interpreter. Clears any error of its own. */
void
sipy_compat_before_end(void);

/* Imports in the main interpreter what 3.12 and 3.13 must have loaded there before
 * another interpreter does (shared state of _datetime). -> 0 | -1 with an exception. */
int
sipy_compat_prepare_main(void);

/* Takes all other interpreters out of the runtime's list, attached to the main one: in
 * the child of a fork, where CPython (3.12 to 3.15) crashes when it ends them, and at
 * exit, when one cannot be ended. Their memory stays. -> false if it cannot be done */
bool
sipy_compat_forget_other_interpreters(void);

/* Whether an interpreter must keep its first thread state for all its life (3.12). */
bool
sipy_compat_keep_first_thread_state(void);

/* Keeps the main interpreter from freeing, at exit, the names of keyword arguments that
 * other interpreters have made so far (3.12.0 to 3.12.3). Attached. */
void
sipy_compat_keep_parsers(void);

#endif /* SIPY_COMPAT_COMPAT_H */
