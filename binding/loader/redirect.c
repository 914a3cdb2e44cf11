/* redirect.c — what a private copy reaches when it calls CPython's process-wide parts.
 *
 * CPython ties these calls to the main interpreter, or to the whole process. Each
 * function here gets one argument more, the copy that calls, and does the same for that
 * copy's own interpreter. Any thread may call, also one that the library started, one
 * that is attached to another interpreter, and one that runs its exit destructors after
 * the interpreter has ended.
 *
 * Invariant  loader->native is used only while attached to it or inside the gate.
 * Guests     A thread state that a copy's code makes is a guest: counted at the gate until
 *            it is deleted, so the interpreter does not end under it, and nobody but the
 *            library deletes it. One that PyGILState_Ensure made belongs to one OS thread
 *            and to one visit: that thread clears and deletes it, attached through it, in
 *            the PyGILState_Release that leaves the interpreter, whatever the library still
 *            counts on it. Libraries keep it for the thread's next visit by an Ensure more
 *            (cffi does); they learn of its end as they learn of Python's: objects in its
 *            dict are destroyed, and PyGILState_GetThisThreadState says NULL, so that they
 *            come by PyGILState_Ensure again, which looks whether the interpreter is there.
 *            Therefore no thread outside of a visit has a pointer to a guest, neither in a
 *            library's thread-local variables nor in CPython's own, which it writes through
 *            when the thread attaches elsewhere; and closing need not tell a guest that is
 *            kept from one whose thread is in the middle of a call and will be back.
 */
#include <string.h>

#include "binding/loader/copy.h"
#include "core/base/alloc.h"
#include "core/elf/patch.h"
#include "core/platform/clock.h"
#include "core/platform/thread.h"

/* One PyGILState_Ensure ... PyGILState_Release of this thread that attached it to a
 * thread state other than one it had anyway. Kept per thread: PyGILState_STATE has no
 * room for it. */
typedef struct visit {
    struct visit *outer;
    PyThreadState *ts;
    PyThreadState *before; /* what the thread was attached to, or NULL */
    unsigned depth;        /* calls of Ensure that are not released */
    unsigned attached;     /* those of them that found the thread detached */
    sipy_loader *loader;
    sipy_guest *guest; /* ts was made for this visit; or NULL */
} visit;

static _Thread_local visit *visits;
static _Thread_local const char *package_context;

const char *
sipy_package_context(const char *name)
{
    const char *before = package_context;
    package_context = name;
    return before;
}

static bool
belongs(const sipy_loader *loader, PyThreadState *ts)
{
    return ts != NULL &&
           PyInterpreterState_GetID(PyThreadState_GetInterpreter(ts)) == loader->id;
}

/* The interpreter has ended and the call has no way to fail: the thread must not come
 * back. CPython does the same with threads that outlive it. */
_Noreturn static void
stop_thread(void)
{
    if (sipy_compat_current() != NULL) {
        PyEval_SaveThread();
    }
    si_thread_stop();
}

/* Whether the interpreter lets nobody in any more. Once its gate has ended, CPython still
 * waits for guards that are open, whose holders expect every call to work, and gives out
 * others meanwhile. */
static bool
is_over(const sipy_loader *loader)
{
    if (!si_load_acquire(&loader->ended)) {
        return false;
    }
    void *guard = sipy_compat_guard(loader->view);
    sipy_compat_guard_close(guard);
    return guard == NULL;
}

/* Keeps the interpreter from ending: by an entry of its gate or, once that has ended, by
 * *guard. While it is only being looked whether it can end, waits for the outcome. Not
 * attached. -> false: it is over */
static bool
enter(sipy_loader *loader, void **guard)
{
    *guard = NULL;
    while (si_gate_enter(&loader->gate) != SI_OK) {
        si_status status = si_gate_wait_end(&loader->gate, SI_FOREVER);
        if (status == SI_OK && si_load_acquire(&loader->ended)) {
            *guard = sipy_compat_guard(loader->view);
            return *guard != NULL;
        }
    }
    return true;
}

static void
leave(sipy_loader *loader, void *guard)
{
    if (guard == NULL) {
        si_gate_leave(&loader->gate);
    }
    sipy_compat_guard_close(guard);
}

/* Whether this thread is the one that is ending the interpreter. */
static bool
is_ender(const sipy_loader *loader)
{
    return si_load_acquire(&loader->ender) == (int64_t)pthread_self();
}

/* A new thread state of the copy's interpreter, with its guest on the list and counted
 * at the gate; NULL: no memory, or this thread is ending the interpreter. Stops any other
 * if it has ended. Not attached, unless to this interpreter. */
static sipy_guest *
guest_new(sipy_copy *copy, bool kept)
{
    sipy_loader *loader = copy->loader;
    sipy_guest *guest = si_calloc(sizeof *guest);
    if (guest == NULL) {
        return NULL;
    }
    if (!enter(loader, &guest->guard)) {
        si_free(guest);
        if (is_ender(loader)) {
            return NULL;
        }
        stop_thread();
    }
    guest->copy = copy;
    guest->kept = kept;
    guest->ts = PyThreadState_New(loader->native);
    if (guest->ts == NULL) {
        leave(loader, guest->guard);
        si_free(guest);
        return NULL;
    }
    sipy_compat_know_stack(guest->ts);
    si_mutex_lock(&loader->mu);
    guest->next = loader->guests;
    loader->guests = guest;
    si_mutex_unlock(&loader->mu);
    return guest;
}

/* Takes the guest of ts off the list; NULL if ts is no guest's. */
static sipy_guest *
guest_take(sipy_loader *loader, PyThreadState *ts)
{
    si_mutex_lock(&loader->mu);
    sipy_guest **link = &loader->guests;
    while (*link != NULL && (*link)->ts != ts) {
        link = &(*link)->next;
    }
    sipy_guest *guest = *link;
    if (guest != NULL) {
        *link = guest->next;
    }
    si_mutex_unlock(&loader->mu);
    return guest;
}

/* After its thread state is gone: the interpreter may end now. */
static void
guest_free(sipy_loader *loader, sipy_guest *guest)
{
    if (guest != NULL) {
        void *guard = guest->guard;
        si_free(guest);
        leave(loader, guard);
    }
}

/* A thread state for the interpreter that this thread has and is not attached to. Near the
 * interpreter's end those are gone that are not of a visit, but the one that it ends
 * through. */
static PyThreadState *
own_thread_state(const sipy_loader *loader)
{
    if (si_load_acquire(&loader->ended)) {
        visit *v = visits;
        while (v != NULL && (v->loader != loader || v->guest == NULL)) {
            v = v->outer;
        }
        return v != NULL ? v->ts : is_ender(loader) ? loader->ender_ts : NULL;
    }
    for (visit *v = visits; v != NULL; v = v->outer) {
        if (belongs(loader, v->ts)) {
            return v->ts;
        }
        if (belongs(loader, v->before)) {
            return v->before;
        }
    }
    PyThreadState *last = PyGILState_GetThisThreadState();
    return belongs(loader, last) ? last : NULL;
}

int
sipy_gilstate_ensure(sipy_copy *copy)
{
    sipy_loader *loader = copy->loader;
    PyThreadState *current = sipy_compat_current();
    if (belongs(loader, current)) {
        if (visits != NULL && visits->ts == current) {
            visits->depth++;
        }
        return PyGILState_LOCKED;
    }
    PyThreadState *own = own_thread_state(loader);
    if (own != NULL && visits != NULL && visits->ts == own && current == NULL) {
        visits->depth++; /* the thread had only released the GIL */
        visits->attached++;
        PyEval_RestoreThread(own);
        return PyGILState_UNLOCKED;
    }
    if (own != NULL && current == NULL) {
        PyEval_RestoreThread(own);
        return PyGILState_UNLOCKED;
    }
    if (current != NULL) {
        PyEval_SaveThread();
    }
    visit *v = si_calloc(sizeof *v);
    if (v != NULL) {
        v->guest = own == NULL ? guest_new(copy, false) : NULL;
        v->ts = own != NULL ? own : v->guest != NULL ? v->guest->ts : NULL;
    }
    if (v == NULL || v->ts == NULL) {
        Py_FatalError("no memory for a thread of a library"); /* as CPython does */
    }
    v->loader = loader;
    v->before = current;
    v->depth = 1;
    v->attached = 1;
    v->outer = visits;
    visits = v;
    PyEval_RestoreThread(v->ts);
    return PyGILState_UNLOCKED;
}

static void
end_visit(visit *v)
{
    if (v->guest != NULL) {
        v->depth = v->attached = 1;
        PyThreadState_Clear(v->ts); /* runs destructors, which may visit again */
        guest_take(v->loader, v->ts);
    }
    visits = v->outer;
    if (v->guest != NULL) {
        PyThreadState_DeleteCurrent();
        guest_free(v->loader, v->guest);
    }
    else {
        PyEval_SaveThread();
    }
    if (v->before != NULL) {
        PyEval_RestoreThread(v->before);
    }
    si_free(v);
}

void
sipy_gilstate_release(int state, sipy_copy *copy)
{
    PyThreadState *current = sipy_compat_current();
    if (!belongs(copy->loader, current)) {
        Py_FatalError("PyGILState_Release: this thread is not attached");
    }
    visit *v = visits;
    if (v != NULL && v->ts == current) {
        v->depth--;
        v->attached -= state == PyGILState_UNLOCKED;
        if (v->depth == 0 || v->attached == 0) {
            end_visit(v);
            return;
        }
    }
    if (state == PyGILState_UNLOCKED) {
        PyEval_SaveThread();
    }
}

static PyThreadState *
gilstate_this_thread(sipy_copy *copy)
{
    PyThreadState *current = sipy_compat_current();
    if (belongs(copy->loader, current)) {
        return current;
    }
    return own_thread_state(copy->loader);
}

static int
gilstate_check(sipy_copy *copy)
{
    return belongs(copy->loader, sipy_compat_current());
}

static PyThreadState *
thread_state_new(PyInterpreterState *native, sipy_copy *copy)
{
    if (native != copy->loader->native) {
        return PyThreadState_New(native);
    }
    PyThreadState *current = sipy_compat_current();
    if (current != NULL) {
        PyEval_SaveThread(); /* the gate may make us wait */
    }
    sipy_guest *guest = guest_new(copy, true);
    if (current != NULL) {
        PyEval_RestoreThread(current);
    }
    return guest != NULL ? guest->ts : NULL;
}

static void
thread_state_delete(PyThreadState *ts, sipy_copy *copy)
{
    sipy_guest *guest = guest_take(copy->loader, ts);
    PyThreadState_Delete(ts);
    guest_free(copy->loader, guest);
}

static void
thread_state_delete_current(sipy_copy *copy)
{
    sipy_guest *guest = guest_take(copy->loader, sipy_compat_current());
    PyThreadState_DeleteCurrent();
    guest_free(copy->loader, guest);
}

static PyInterpreterState *
interpreter_main(sipy_copy *copy)
{
    return copy->loader->native;
}

/* PyInterpreterView_FromMain, of CPython 3.15. */
static void *
view_from_main(sipy_copy *copy)
{
    if (is_over(copy->loader)) {
        return NULL;
    }
    int state = sipy_gilstate_ensure(copy);
    void *view = sipy_compat_view_of_current();
    sipy_gilstate_release(state, copy);
    return view;
}

/* A call of CPython 3.15 that attaches this thread, perhaps with a new thread state. None
 * is half made while the interpreter's threads are counted. */
static void *
ensure_by(void *(*call)(void *), void *argument, sipy_loader *loader)
{
    void *guard;
    PyThreadState *current = sipy_compat_current();
    if (belongs(loader, current)) {
        return call(argument);
    }
    if (current != NULL) {
        PyEval_SaveThread(); /* the gate may make us wait */
    }
    bool entered = enter(loader, &guard);
    if (current != NULL) {
        PyEval_RestoreThread(current);
    }
    void *token = call(argument);
    if (entered) {
        leave(loader, guard);
    }
    return token;
}

static void *
thread_state_ensure(void *guard, sipy_copy *copy)
{
    return ensure_by(sipy_compat_ensure, guard, copy->loader);
}

static void *
thread_state_ensure_from_view(void *view, sipy_copy *copy)
{
    return ensure_by(sipy_compat_ensure_from_view, view, copy->loader);
}

static int
add_pending_call(int (*function)(void *), void *argument, sipy_copy *copy)
{
    sipy_loader *loader = copy->loader;
    PyThreadState *current = sipy_compat_current();
    if (belongs(loader, current)) {
        return sipy_compat_add_pending(loader->native, function, argument);
    }
    void *guard = NULL;
    bool entered =
        current != NULL ? si_gate_enter(&loader->gate) == SI_OK : enter(loader, &guard);
    if (!entered) {
        return 0; /* what the call would clean up ends with the interpreter */
    }
    int result = sipy_compat_add_pending(loader->native, function, argument);
    leave(loader, guard);
    return result;
}

static int
at_exit(void (*function)(void), sipy_copy *copy)
{
    sipy_exit *entry = si_alloc(sizeof *entry);
    if (entry == NULL) {
        return -1;
    }
    entry->function = function;
    si_mutex_lock(&copy->loader->mu);
    entry->next = copy->loader->exits;
    copy->loader->exits = entry;
    si_mutex_unlock(&copy->loader->mu);
    return 0;
}

static int
is_initialized(sipy_copy *copy)
{
    return Py_IsInitialized() && !is_over(copy->loader);
}

static int
is_finalizing(sipy_copy *copy)
{
    return sipy_compat_runtime_finalizing() || is_over(copy->loader);
}

/* CPython knows the full name of the module that is being initialised only for its own
 * imports. The definition is the copy's, so its name can be set. */
static PyObject *
module_create(PyModuleDef *def, int api_version, sipy_copy *copy)
{
    (void)copy;
    const char *context = package_context;
    const char *last = context != NULL ? strrchr(context, '.') : NULL;
    if (last != NULL && def->m_name != NULL && strcmp(last + 1, def->m_name) == 0) {
        package_context = NULL;
        def->m_name = context; /* lives as long as the copy */
    }
    return PyModule_Create2(def, api_version);
}

/* Modules make submodules of their own, from definitions that declare nothing. */
static PyObject *
module_from_def(PyModuleDef *def, PyObject *spec, int api_version, sipy_copy *copy)
{
    (void)copy;
    if (sipy_module_declare(def) < 0) {
        return NULL;
    }
    return PyModule_FromDefAndSpec2(def, spec, api_version);
}

static PyObject *
module_from_slots(const void *slots, PyObject *spec, sipy_copy *copy)
{
    (void)copy;
    return sipy_module_from_slots(slots, spec);
}

#define REDIRECT(symbol, function, argument) {symbol, (uintptr_t)(function), argument}

const si_elf_redirect *
sipy_redirects(const sipy_copy *copy, size_t *count)
{
    static const si_elf_redirect table[] = {
        REDIRECT("PyGILState_Ensure", sipy_gilstate_ensure, 0),
        REDIRECT("PyGILState_Release", sipy_gilstate_release, 1),
        REDIRECT("PyGILState_GetThisThreadState", gilstate_this_thread, 0),
        REDIRECT("PyGILState_Check", gilstate_check, 0),
        REDIRECT("PyThreadState_New", thread_state_new, 1),
        REDIRECT("PyThreadState_Delete", thread_state_delete, 1),
        REDIRECT("PyThreadState_DeleteCurrent", thread_state_delete_current, 0),
        REDIRECT("PyInterpreterState_Main", interpreter_main, 0),
        REDIRECT("PyInterpreterView_FromMain", view_from_main, 0),
        REDIRECT("PyThreadState_Ensure", thread_state_ensure, 1),
        REDIRECT("PyThreadState_EnsureFromView", thread_state_ensure_from_view, 1),
        REDIRECT("Py_AddPendingCall", add_pending_call, 2),
        REDIRECT("Py_AtExit", at_exit, 1),
        REDIRECT("Py_IsInitialized", is_initialized, 0),
        REDIRECT("Py_IsFinalizing", is_finalizing, 0),
        REDIRECT("_Py_IsFinalizing", is_finalizing, 0),
        REDIRECT("PyThread_tss_create", sipy_tss_create, 1),
        REDIRECT("PyThread_tss_delete", sipy_tss_delete, 1),
        REDIRECT("PyThread_tss_free", sipy_tss_free, 1),
        REDIRECT("PyThread_tss_get", sipy_tss_get, 1),
        REDIRECT("PyThread_tss_set", sipy_tss_set, 2),
        REDIRECT("pthread_key_create", sipy_key_create, 2),
        REDIRECT("__pthread_key_create", sipy_key_create, 2),
        REDIRECT("pthread_key_delete", sipy_key_delete, 1),
        REDIRECT("pthread_getspecific", sipy_key_get, 1),
        REDIRECT("__pthread_getspecific", sipy_key_get, 1),
        REDIRECT("pthread_setspecific", sipy_key_set, 2),
        REDIRECT("__pthread_setspecific", sipy_key_set, 2),
        REDIRECT("PyModule_Create2", module_create, 2),
        REDIRECT("PyState_FindModule", sipy_state_find, 1),
        REDIRECT("PyState_AddModule", sipy_state_add, 2),
        REDIRECT("PyState_RemoveModule", sipy_state_remove, 1),
        REDIRECT("PyModule_FromDefAndSpec2", module_from_def, 3),
        REDIRECT("PyModule_FromSlotsAndSpec", module_from_slots, 2),
        REDIRECT(SIPY_FINDER, sipy_find_symbol, 2),
        REDIRECT("dladdr", sipy_address_info, 2),
        REDIRECT("dlopen", sipy_open_library, 2), /* these two for some */
        REDIRECT("dlerror", sipy_open_error, 0),
    };
    *count = sizeof table / sizeof *table - (sipy_opens_libraries(copy) ? 0 : 2);
    return table;
}
