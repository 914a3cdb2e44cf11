/* runtime.c — the one place that looks into CPython's runtime structure.
 *
 * All supported versions keep a list of interpreters in _PyRuntime as consecutive fields
 * {lock, head, main, next id}. From 3.13 the offset of head is published for debuggers at
 * the start of _PyRuntime; 3.12 has to be searched for the pair (head, main). Both are
 * checked against what the public functions say before anything is changed. The lock also
 * guards the lists of thread states.
 */
#include "binding/compat/compat.h"

#include <string.h>

/* Declared as bytes: the layout is internal. */
extern char _PyRuntime[];

#if PY_VERSION_HEX >= 0x030D0000
/* The beginning of _Py_DebugOffsets, the same in 3.13, 3.14 and 3.15. */
typedef struct debug_offsets {
    char cookie[8];
    uint64_t version;
    uint64_t free_threaded;
    struct {
        uint64_t size;
        uint64_t finalizing;
        uint64_t interpreters_head;
    } runtime_state;
} debug_offsets;

static size_t
candidate(size_t *end)
{
    debug_offsets offsets;
    memcpy(&offsets, _PyRuntime, sizeof(offsets));
    if (memcmp(offsets.cookie, "xdebugpy", sizeof(offsets.cookie)) != 0) {
        *end = 0;
        return 0;
    }
    *end = (size_t)offsets.runtime_state.interpreters_head + sizeof(void *);
    return (size_t)offsets.runtime_state.interpreters_head;
}
#else
/* Drop with 3.12. */
static size_t
candidate(size_t *end)
{
    *end = 512; /* the list stands near the start of the structure */
    return 0;
}
#endif

bool
sipy_compat_forget_other_interpreters(void)
{
    PyInterpreterState *const wanted[2] = {PyInterpreterState_Head(),
                                           PyInterpreterState_Main()};
    if (wanted[0] == wanted[1]) {
        return true;
    }
    size_t end;
    for (size_t at = candidate(&end); at < end; at += sizeof(void *)) {
        if (memcmp(_PyRuntime + at, wanted, sizeof(wanted)) == 0) {
            memcpy(_PyRuntime + at, &wanted[1], sizeof(wanted[1]));
            return PyInterpreterState_Head() == wanted[1];
        }
    }
    return false;
}

#if PY_VERSION_HEX >= 0x030F0000
PyAPI_FUNC(int) _PyMutex_LockTimed(PyMutex *, PyTime_t, int);

/* NULL: the runtime is not as it should be. */
static PyMutex *
states_mutex(void)
{
    size_t end;
    size_t head = candidate(&end);
    return head == 0 ? NULL : (PyMutex *)(_PyRuntime + head - sizeof(void *));
}

static void
lock_states(void)
{
    PyMutex *mutex = states_mutex();
    if (mutex != NULL) {
        /* Without giving up the GIL: whoever has the lock waits for nothing. */
        (void)_PyMutex_LockTimed(mutex, -1, 0);
    }
}

static void
unlock_states(void)
{
    PyMutex *mutex = states_mutex();
    if (mutex != NULL) {
        PyMutex_Unlock(mutex);
    }
}
#else
static void
lock_states(void)
{
}

static void
unlock_states(void)
{
}
#endif

void
sipy_compat_each_state(PyInterpreterState *interp,
                       bool (*visit)(PyThreadState *ts, void *arg), void *arg)
{
    lock_states();
    PyThreadState *ts = PyInterpreterState_ThreadHead(interp);
    while (ts != NULL && visit(ts, arg)) {
        ts = PyThreadState_Next(ts);
    }
    unlock_states();
}
