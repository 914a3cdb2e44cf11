/* guards.c — what keeps an interpreter from ending, of CPython 3.15; before, nothing does.
 */
#include "binding/compat/compat.h"

#if PY_VERSION_HEX >= 0x030F0000
PyAPI_FUNC(Py_ssize_t) _PyInterpreterState_GuardCountdown(PyInterpreterState *);

Py_ssize_t
sipy_compat_open_guards(PyInterpreterState *interp)
{
    return _PyInterpreterState_GuardCountdown(interp);
}

void *
sipy_compat_view_of_current(void)
{
    void *view = PyInterpreterView_FromCurrent();
    if (view == NULL) {
        PyErr_Clear();
    }
    return view;
}

void
sipy_compat_view_close(void *view)
{
    if (view != NULL) {
        PyInterpreterView_Close(view);
    }
}

void *
sipy_compat_guard(void *view)
{
    return view == NULL ? NULL : PyInterpreterGuard_FromView(view);
}

void
sipy_compat_guard_close(void *guard)
{
    if (guard != NULL) {
        PyInterpreterGuard_Close(guard);
    }
}

bool
sipy_compat_is_guarded(PyThreadState *ts)
{
    return ts->ensure.delete_on_release != 0;
}

void *
sipy_compat_ensure(void *guard)
{
    return PyThreadState_Ensure(guard);
}

void *
sipy_compat_ensure_from_view(void *view)
{
    return PyThreadState_EnsureFromView(view);
}
#else
Py_ssize_t
sipy_compat_open_guards(PyInterpreterState *interp)
{
    (void)interp;
    return 0;
}

void *
sipy_compat_view_of_current(void)
{
    return NULL;
}

void
sipy_compat_view_close(void *view)
{
    (void)view;
}

void *
sipy_compat_guard(void *view)
{
    (void)view;
    return NULL;
}

void
sipy_compat_guard_close(void *guard)
{
    (void)guard;
}

bool
sipy_compat_is_guarded(PyThreadState *ts)
{
    (void)ts;
    return false;
}

void *
sipy_compat_ensure(void *guard)
{
    (void)guard;
    return NULL;
}

void *
sipy_compat_ensure_from_view(void *view)
{
    (void)view;
    return NULL;
}
#endif
