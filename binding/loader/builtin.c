/* builtin.c — modules of CPython itself that packages use and that are tied to the main
 * interpreter.
 *
 * faulthandler does not declare support, because it keeps one handler for the process.
 * What it only reads works anywhere; what sets the handler says whose it is.
 *
 * _tracemalloc does not either: it traces all interpreters into one table, whose file
 * names are objects of whoever allocated. A module that traces nothing stands for it.
 *
 * signal.set_wakeup_fd refuses to work outside the main interpreter. An interpreter's
 * main thread never gets a signal there, so the descriptor is recorded and returned, and
 * is never written to. (uvloop sets one whenever it runs in a main thread.)
 */
#include "binding/loader/copy.h"

static const char capsule_name[] = "subinterpreters.loader.builtin";

/* --- faulthandler ------------------------------------------------------------------ */

static PyObject *
only_in_main(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyErr_Format(PyExc_RuntimeError,
                 "faulthandler.%U() works only in the main interpreter: there is one "
                 "fault handler for the process",
                 self);
    return NULL;
}

static PyMethodDef only_in_main_def = {"only_in_main",
                                       (PyCFunction)(void (*)(void))only_in_main,
                                       METH_VARARGS | METH_KEYWORDS, NULL};

static int
replace_setters(PyObject *module)
{
    static const char *const names[] = {
        "enable",   "disable",    "dump_traceback_later", "cancel_dump_traceback_later",
        "register", "unregister",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        PyObject *function = name ? PyCFunction_New(&only_in_main_def, name) : NULL;
        int result = function ? PyObject_SetAttr(module, name, function) : -1;
        Py_XDECREF(name);
        Py_XDECREF(function);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Calls original(spec) with the check for declared support off. The initialisation of
 * faulthandler runs no Python, so nothing else of this interpreter sees it off. */
static PyObject *
create_unchecked(PyObject *original, PyObject *spec)
{
    static const char check[] = "_override_multi_interp_extensions_check";
    PyObject *imp = PyImport_ImportModule("_imp");
    PyObject *before = imp != NULL ? PyObject_CallMethod(imp, check, "i", -1) : NULL;
    PyObject *module = NULL;
    if (before != NULL) {
        module = PyObject_CallOneArg(original, spec);
        PyObject *error = PyErr_GetRaisedException();
        PyObject *restored = PyObject_CallMethod(imp, check, "O", before);
        if (restored == NULL) {
            Py_CLEAR(module);
            Py_XDECREF(error);
        }
        else {
            PyErr_SetRaisedException(error);
        }
        Py_XDECREF(restored);
    }
    Py_XDECREF(before);
    Py_XDECREF(imp);
    return module;
}

/* --- _tracemalloc ------------------------------------------------------------------ */

static PyObject *
start_tracing(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    PyErr_SetString(PyExc_RuntimeError,
                    "tracemalloc.start() works only in the main "
                    "interpreter: there is one tracer for the process");
    return NULL;
}

static PyObject *
trace_nothing(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    Py_RETURN_NONE;
}

static PyObject *
is_tracing(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    Py_RETURN_FALSE;
}

static PyObject *
no_traces(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyList_New(0);
}

static PyObject *
limit_of_one(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromLong(1); /* CPython's answer before start() */
}

static PyObject *
no_memory_of_its_own(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromLong(0);
}

static PyObject *
nothing_traced(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return Py_BuildValue("(ii)", 0, 0);
}

static PyMethodDef tracing_methods[] = {
    {"start", start_tracing, METH_VARARGS,
     "start(nframe=1, /)\n--\n\nRaise RuntimeError: only the main interpreter can."},
    {"stop", trace_nothing, METH_NOARGS, NULL},
    {"clear_traces", trace_nothing, METH_NOARGS, NULL},
    {"reset_peak", trace_nothing, METH_NOARGS, NULL},
    {"is_tracing", is_tracing, METH_NOARGS, NULL},
    {"get_traceback_limit", limit_of_one, METH_NOARGS, NULL},
    {"get_traced_memory", nothing_traced, METH_NOARGS, NULL},
    {"get_tracemalloc_memory", no_memory_of_its_own, METH_NOARGS, NULL},
    {"_get_object_traceback", trace_nothing, METH_O, NULL},
    {"_get_traces", no_traces, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* -> new module | NULL with an exception */
static PyObject *
create_tracing(void)
{
    PyObject *module = PyModule_New("_tracemalloc");
    if (module != NULL && PyModule_AddFunctions(module, tracing_methods) < 0) {
        Py_CLEAR(module);
    }
    return module;
}

/* --- signal ------------------------------------------------------------------------ */

static PyObject *
set_wakeup_fd(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "warn_on_full_buffer", NULL};
    int fd;
    int warn = 1;
    sipy_loader *loader = PyCapsule_GetPointer(self, capsule_name);
    if (loader == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "i|$p:set_wakeup_fd",
                                                       names, &fd, &warn)) {
        return NULL;
    }
    int before = loader->wakeup_fd;
    loader->wakeup_fd = fd;
    return PyLong_FromLong(before);
}

static PyMethodDef set_wakeup_fd_def = {
    "set_wakeup_fd", (PyCFunction)(void (*)(void))set_wakeup_fd,
    METH_VARARGS | METH_KEYWORDS,
    "set_wakeup_fd(fd, *, warn_on_full_buffer=True)\n--\n\nRecord fd and return the one "
    "before. This interpreter gets no signals, so nothing\nis ever written to it."};

static int
replace_wakeup(PyObject *module, PyObject *capsule)
{
    PyObject *function = PyCFunction_New(&set_wakeup_fd_def, capsule);
    int result = function ? PyObject_SetAttrString(module, "set_wakeup_fd", function) : -1;
    Py_XDECREF(function);
    return result;
}

/* --- the hook ---------------------------------------------------------------------- */

static bool
is_named(PyObject *name, const char *text)
{
    return PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, text) == 0;
}

/* self is (CPython's create_builtin, the capsule of the loader). */
static PyObject *
create_builtin(PyObject *self, PyObject *spec)
{
    PyObject *original = PyTuple_GET_ITEM(self, 0);
    PyObject *name = PyObject_GetAttrString(spec, "name");
    if (name == NULL) {
        return NULL;
    }
    bool faults = is_named(name, "faulthandler");
    bool signals = is_named(name, "_signal");
    bool traces = is_named(name, "_tracemalloc");
    PyObject *module = traces                  ? create_tracing()
                       : PyUnicode_Check(name) ? sipy_module_builtin(name, spec)
                                               : NULL;
    Py_DECREF(name);
    if (module == NULL && PyErr_Occurred() == NULL) {
        module =
            faults ? create_unchecked(original, spec) : PyObject_CallOneArg(original, spec);
    }
    if (module != NULL && faults && replace_setters(module) < 0) {
        Py_CLEAR(module);
    }
    if (module != NULL && signals) {
        /* Its functions are in place; what its execution adds comes on top. */
        if (replace_wakeup(module, PyTuple_GET_ITEM(self, 1)) < 0) {
            Py_CLEAR(module);
        }
    }
    return module;
}

static PyMethodDef create_builtin_def = {
    "create_builtin", create_builtin, METH_O,
    "create_builtin(spec, /)\n--\n\nCreate a built-in module."};

int
sipy_builtin_install(sipy_loader *loader, PyObject *imp)
{
    loader->wakeup_fd = -1;
    PyObject *capsule = PyCapsule_New(loader, capsule_name, NULL);
    PyObject *original = PyObject_GetAttrString(imp, "create_builtin");
    PyObject *self = original && capsule ? PyTuple_Pack(2, original, capsule) : NULL;
    PyObject *hook = self != NULL ? PyCFunction_New(&create_builtin_def, self) : NULL;
    int result = hook != NULL ? PyObject_SetAttrString(imp, "create_builtin", hook) : -1;
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    static const char *const names[] = {"_signal", "signal"};
    for (int i = 0; i < 2 && result == 0; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        PyObject *module =
            name != NULL ? PyDict_GetItemWithError(modules, name) : NULL; /* borrowed */
        result = module != NULL ? replace_wakeup(module, capsule)
                                : (PyErr_Occurred() != NULL ? -1 : 0);
        Py_XDECREF(name);
    }
    Py_XDECREF(capsule);
    Py_XDECREF(original);
    Py_XDECREF(self);
    Py_XDECREF(hook);
    return result;
}
