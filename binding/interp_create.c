/* interp_create.c — create(). */
#include <string.h>

#include "binding/args.h"
#include "binding/ctrl_c.h"
#include "binding/failure.h"
#include "binding/interp_extras.h"
#include "binding/lifecycle.h"
#include "binding/pool/spares.h"
#include "binding/run.h"
#include "core/base/alloc.h"

/* Attached to the new interpreter. -> 0 | -1 with an exception */
static int
import_all(sipy_home *home, const sipy_image *names)
{
    PyObject *list = sipy_decode(home->transfer, names);
    Py_ssize_t count = list == NULL ? 0 : PyList_GET_SIZE(list);
    int result = list == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < count; i++) {
        PyObject *module = PyImport_Import(PyList_GET_ITEM(list, i));
        result = module == NULL ? -1 : 0;
        Py_XDECREF(module);
    }
    Py_XDECREF(list);
    return result;
}

/* -> 0 | -1 with ExecutionFailed or another exception */
static int
preload(sipy_state *state, sipy_interp *interp, const sipy_image *names)
{
    sipy_run run;
    sipy_failure failure = {0};
    if (names->len == 0) {
        return 0;
    }
    if (sipy_run_begin(&run, state, interp, "import modules in") < 0) {
        return -1;
    }
    sipy_run_attach(&run);
    int result = import_all(interp->home, names);
    sipy_run_returned(&run);
    if (result < 0) {
        sipy_failure_capture(&failure, interp->home);
    }
    sipy_run_detach(&run);
    sipy_run_end(&run);
    sipy_home *home = result < 0 ? sipy_home_of(state) : NULL;
    if (home != NULL) {
        sipy_failure_raise(&failure, home, state);
    }
    sipy_failure_fini(&failure);
    (void)sipy_run_conclude(&run, state, NULL);
    return PyErr_Occurred() ? -1 : 0;
}

/* -> a copy for the record | NULL with name None, or with an exception */
static char *
copy_name(PyObject *name)
{
    if (name == NULL || name == Py_None) {
        return NULL;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "name must be a str or None, got %R", name);
        return NULL;
    }
    PyObject *bytes = PyUnicode_AsEncodedString(name, "utf-8", "surrogatepass");
    char *copy = NULL;
    if (bytes != NULL && strlen(PyBytes_AS_STRING(bytes)) != (size_t)PyBytes_Size(bytes)) {
        PyErr_SetString(PyExc_ValueError, "name must not contain a NUL character");
    }
    else if (bytes != NULL) {
        size_t size = (size_t)PyBytes_GET_SIZE(bytes) + 1;
        copy = si_alloc(size);
        if (copy == NULL) {
            PyErr_NoMemory();
        }
        else {
            memcpy(copy, PyBytes_AS_STRING(bytes), size);
        }
    }
    Py_XDECREF(bytes);
    return copy;
}

/* What create(extensions=) asks for, NULL standing for "any". -> 0 | -1 */
static int
parse_extensions(PyObject *value, bool *private_copies)
{
    if (value != NULL && !PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "extensions must be str, not %.200s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    *private_copies = value == NULL || PyUnicode_CompareWithASCIIString(value, "any") == 0;
    if (!*private_copies && PyUnicode_CompareWithASCIIString(value, "declared") != 0) {
        PyErr_Format(PyExc_ValueError, "extensions must be 'any' or 'declared', not %R",
                     value);
        return -1;
    }
    return 0;
}

/* Takes over name. -> Interpreter | NULL with an exception */
static PyObject *
make(sipy_state *state, char *name, const sipy_image *modules, bool private_copies)
{
    /* Spares have the loader. */
    sipy_interp *interp = private_copies ? sipy_spare_take(state) : NULL;
    if (interp == NULL) {
        interp = sipy_interp_create(state, private_copies);
    }
    if (interp == NULL) {
        si_free(name);
        return NULL;
    }
    si_store_release(&interp->name, name);
    PyTypeObject *type = (PyTypeObject *)state->Interpreter;
    PyObject *self = preload(state, interp, modules) < 0
                         ? NULL
                         : sipy_interpreter_for(type, state, interp->entry.id);
    if (self != NULL) {
        /* list_all() may have made the object before there was a record. */
        (void)sipy_interpreter_record(sipy_interpreter_of(self));
    }
    sipy_handle_drop(interp); /* the object has one of its own; without it, it ends */
    sipy_interp_drop(interp);
    return self;
}

/* _capture.begin(self, capture), if it is asked for. -> 0 | -1 with an exception */
static int
begin_capture(PyObject *self, PyObject *capture)
{
    if (capture == NULL || capture == Py_None || capture == Py_False) {
        return 0;
    }
    PyObject *module = PyImport_ImportModule("subinterpreters._capture");
    PyObject *done =
        module == NULL ? NULL : PyObject_CallMethod(module, "begin", "OO", self, capture);
    Py_XDECREF(done);
    Py_XDECREF(module);
    return done == NULL ? -1 : 0;
}

PyObject *
sipy_interpreter_create(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    static const char *const names[] = {"name", "preload", "extensions", "capture", NULL};
    static const sipy_signature signature = {"create", names, 0, 0, 0};
    sipy_state *state = sipy_state_of_module(module);
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    bool private_copies = true;
    if ((nargs != 0 || kwnames != NULL) &&
        sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (parse_extensions(given[2], &private_copies) < 0 || sipy_exit_hook_register() < 0 ||
        sipy_ctrl_c_install() < 0) {
        return NULL;
    }
    sipy_image modules;
    sipy_image_init(&modules);
    char *name = copy_name(given[0]);
    PyObject *self = NULL;
    if (PyErr_Occurred() ||
        (given[1] != NULL && sipy_module_names(state, given[1], &modules) < 0)) {
        si_free(name);
    }
    else {
        self = make(state, name, &modules, private_copies);
    }
    sipy_image_fini(&modules);
    if (self != NULL && begin_capture(self, given[3]) < 0) {
        Py_CLEAR(self);
    }
    return self;
}
