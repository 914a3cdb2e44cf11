/* home.c — see home.h. */
#include "binding/home.h"

#include "binding/crossers.h"
#include "binding/errand.h"
#include "binding/failure.h"
#include "core/base/alloc.h"

/* The engine asks for this interpreter's NotShareableError when something cannot cross.
 * Only then is our module imported into an interpreter that never asked for it. */
static PyObject *
not_shareable_error(void *owner)
{
    sipy_home *home = owner;
    if (home->NotShareableError != NULL) {
        return home->NotShareableError;
    }
    PyObject *error = sipy_compat_not_shareable_error();
    if (error == NULL && !PyErr_Occurred()) {
        PyObject *module = PyImport_ImportModule("subinterpreters._core");
        if (module != NULL) {
            error = sipy_compat_attr(module, "NotShareableError");
            Py_DECREF(module);
        }
    }
    home->NotShareableError = error;
    return error;
}

static int
fill(sipy_home *home)
{
    PyObject *main_module = PyImport_AddModule("__main__");
    PyObject *sys_module = main_module == NULL ? NULL : PyImport_ImportModule("sys");
    if (sys_module == NULL) {
        return -1;
    }
    if (home->interp->origin == SIPY_OURS) {
        home->main_ns = Py_NewRef(PyModule_GetDict(main_module));
    }
    home->sys_ns = Py_NewRef(PyModule_GetDict(sys_module));
    Py_DECREF(sys_module);
    home->name_stdout = PyUnicode_InternFromString("stdout");
    home->name_stderr = PyUnicode_InternFromString("stderr");
    home->name_flush = PyUnicode_InternFromString("flush");
    home->name_threading = PyUnicode_InternFromString("threading");
    home->name_path = PyUnicode_InternFromString("path");
    home->name_builtins = PyUnicode_InternFromString("__builtins__");
    if (home->name_stdout == NULL || home->name_stderr == NULL ||
        home->name_flush == NULL || home->name_threading == NULL ||
        home->name_path == NULL || home->name_builtins == NULL) {
        return -1;
    }
    sipy_stream_types_init(&home->streams);
    const sipy_hooks hooks = {
        .not_shareable = not_shareable_error,
        .stand_in = sipy_failure_stand_in,
        .find_crosser = sipy_crosser_of_type,
        .crosser_by_tag = sipy_crosser_of_tag,
        .run_at_home = sipy_errand_post,
        .owner = home,
        .interp_id = home->interp->entry.id,
    };
    home->transfer = sipy_transfer_new(&hooks);
    return home->transfer == NULL ? -1 : 0;
}

static void
clear(sipy_home *home)
{
    sipy_sources_clear(&home->sources);
    sipy_stream_types_clear(&home->streams);
    sipy_image_fini(&home->spare_request);
    sipy_image_fini(&home->spare_reply);
    if (home->transfer != NULL) {
        sipy_transfer_clear(home->transfer);
        sipy_transfer_free(home->transfer);
        home->transfer = NULL;
    }
    Py_CLEAR(home->main_ns);
    Py_CLEAR(home->sys_ns);
    Py_CLEAR(home->name_stdout);
    Py_CLEAR(home->name_stderr);
    Py_CLEAR(home->name_flush);
    Py_CLEAR(home->name_threading);
    Py_CLEAR(home->name_path);
    Py_CLEAR(home->name_builtins);
    Py_CLEAR(home->NotShareableError);
}

int
sipy_home_make(sipy_interp *interp)
{
    sipy_home *home = si_calloc(sizeof(*home));
    if (home == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    home->interp = interp;
    if (fill(home) < 0) {
        clear(home);
        si_free(home);
        return -1;
    }
    interp->home = home;
    return 0;
}

void
sipy_home_retire(sipy_home *home)
{
    sipy_sources_clear(&home->sources);
    Py_CLEAR(home->main_ns);
    sipy_transfer_forget(home->transfer);
}

void
sipy_home_clear(sipy_interp *interp)
{
    sipy_errands_stop(interp);
    sipy_home *home = interp->home;
    interp->home = NULL;
    if (home != NULL) {
        clear(home);
        si_free(home);
    }
}

sipy_home *
sipy_home_of(const sipy_state *state)
{
    sipy_home *home = state->interp == NULL ? NULL : state->interp->home;
    if (home == NULL) {
        PyErr_SetString(
            state->InterpreterError != NULL ? state->InterpreterError : PyExc_RuntimeError,
            "this interpreter is being finalized");
    }
    return home;
}

/* Leaves no exception. -> 0 | -1 if KeyboardInterrupt ended it */
static int
flush_stream(sipy_home *home, PyObject *name)
{
    PyObject *stream = PyDict_GetItemWithError(home->sys_ns, name);
    if (stream == NULL || stream == Py_None ||
        sipy_stream_is_idle(&home->streams, stream)) {
        return 0;
    }
    Py_INCREF(stream);
    PyObject *done = PyObject_CallMethodNoArgs(stream, home->name_flush);
    Py_DECREF(stream);
    int result = 0;
    if (done == NULL) {
        result = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ? -1 : 0;
        PyErr_Clear(); /* closed, or cannot flush now; the data stays buffered */
    }
    Py_XDECREF(done);
    return result;
}

int
sipy_home_flush_stdout(sipy_home *home)
{
    int result = flush_stream(home, home->name_stdout);
    if (SI_UNLIKELY(result < 0)) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
    return result;
}

void
sipy_home_flush(sipy_home *home)
{
    /* What Ctrl-C ended, the run hears of in another way (binding/ctrl_c.h). */
    (void)flush_stream(home, home->name_stdout);
    (void)flush_stream(home, home->name_stderr);
}

/* Hands the hook that threading keeps under attribute to the function of sys. */
static void
apply_hook(PyObject *threading, const char *attribute, const char *function)
{
    PyObject *hook = sipy_compat_attr(threading, attribute);
    if (hook != NULL && hook != Py_None) {
        PyObject *set = PySys_GetObject(function); /* borrowed */
        PyObject *done = set == NULL ? NULL : PyObject_CallOneArg(set, hook);
        Py_XDECREF(done);
    }
    Py_XDECREF(hook);
    PyErr_Clear(); /* someone replaced threading or sys.settrace: no hook, as there */
}

void
sipy_home_apply_hooks(sipy_home *home)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *threading = PyDict_GetItemWithError(modules, home->name_threading);
    if (SI_LIKELY(threading == NULL)) {
        return;
    }
    apply_hook(threading, "_trace_hook", "settrace");
    apply_hook(threading, "_profile_hook", "setprofile");
}
