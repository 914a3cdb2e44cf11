/* prepare.c — Interpreter.prepare_main(); see execute.h.
 *
 * Each value has an image of its own, so that what cannot cross is named by itself. All
 * are encoded before the interpreter is entered and decoded before any is bound: it is
 * all or nothing.
 */
#include "binding/execute.h"
#include "binding/failure.h"
#include "binding/run.h"
#include "binding/shareable.h"
#include "core/base/alloc.h"

/* The arguments in raw memory: names[i] is an image of a str, values[i] of its value. */
typedef struct bindings {
    sipy_image *images; /* 2 * count */
    Py_ssize_t count;
} bindings;

/* Whether name can be that of a variable. -> 0 | -1 with an exception */
static int
check_name(PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "names in __main__ must be str, got %R", name);
        return -1;
    }
    if (PyUnicode_FindChar(name, 0, 0, PyUnicode_GET_LENGTH(name), 1) >= 0) {
        PyErr_SetString(PyExc_ValueError, "found embedded NULL character");
        return -1;
    }
    return PyUnicode_AsUTF8(name) == NULL ? -1 : 0; /* a lone surrogate is refused */
}

static int
encode_name(sipy_home *home, PyObject *name, sipy_image *image)
{
    if (check_name(name) < 0) {
        return -1;
    }
    PyObject *exact = PyUnicode_FromObject(name);
    int result = exact == NULL ? -1 : sipy_encode(home->transfer, exact, SIPY_ASYNC, image);
    Py_XDECREF(exact);
    return result;
}

/* ns is a dict of our own, which nobody else changes meanwhile. */
static int
encode_all(const sipy_state *state, sipy_home *home, PyObject *ns, bindings *out)
{
    Py_ssize_t position = 0;
    PyObject *name;
    PyObject *value;
    for (Py_ssize_t i = 0; PyDict_Next(ns, &position, &name, &value); i++) {
        if (encode_name(home, name, &out->images[2 * i]) < 0 ||
            sipy_check_shareable(state, value, name) < 0 ||
            sipy_encode(home->transfer, value, SIPY_SYNC, &out->images[2 * i + 1]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
bindings_init(bindings *b, Py_ssize_t count)
{
    b->images = si_calloc(2 * (size_t)count * sizeof(sipy_image));
    b->count = count;
    if (b->images == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < 2 * count; i++) {
        sipy_image_init(&b->images[i]);
    }
    return 0;
}

static void
bindings_fini(bindings *b)
{
    for (Py_ssize_t i = 0; i < 2 * b->count; i++) {
        sipy_image_fini(&b->images[i]);
    }
    si_free(b->images);
}

/* Attached to the target. -> a dict | NULL with an exception */
static PyObject *
decode_all(sipy_home *home, const bindings *b)
{
    PyObject *ns = PyDict_New();
    for (Py_ssize_t i = 0; ns != NULL && i < b->count; i++) {
        PyObject *name = sipy_decode(home->transfer, &b->images[2 * i]);
        PyObject *value =
            name == NULL ? NULL : sipy_decode(home->transfer, &b->images[2 * i + 1]);
        if (value == NULL || PyDict_SetItem(ns, name, value) < 0) {
            Py_CLEAR(ns);
        }
        Py_XDECREF(value);
        Py_XDECREF(name);
    }
    return ns;
}

static PyObject *
bind(sipy_state *state, sipy_interp *interp, const bindings *b)
{
    sipy_run run;
    sipy_failure failure = {0};
    if (sipy_run_begin(&run, state, interp, "update __main__ for") < 0) {
        return NULL;
    }
    sipy_run_attach(&run);
    sipy_home *home = interp->home;
    PyObject *ns = decode_all(home, b);
    bool ok = ns != NULL && PyDict_Update(home->main_ns, ns) == 0;
    if (!ok) {
        sipy_failure_capture(&failure, home);
    }
    Py_XDECREF(ns);
    sipy_run_detach(&run);
    sipy_run_end(&run);
    if (!ok) {
        sipy_failure_raise_as(&failure, state->InterpreterError,
                              "__main__ could not be updated");
    }
    sipy_failure_fini(&failure);
    return sipy_run_conclude(&run, state, ok ? Py_NewRef(Py_None) : NULL);
}

PyObject *
sipy_prepare_main(sipy_state *state, sipy_interp *interp, PyObject *ns)
{
    sipy_home *home = sipy_home_of(state);
    if (home == NULL) {
        return NULL;
    }
    if (PyDict_GET_SIZE(ns) == 0) {
        PyErr_SetString(PyExc_ValueError, "arg 2 must be a non-empty dict");
        return NULL;
    }
    bindings b;
    if (bindings_init(&b, PyDict_GET_SIZE(ns)) < 0) {
        return NULL;
    }
    PyObject *result = encode_all(state, home, ns, &b) < 0 ? NULL : bind(state, interp, &b);
    bindings_fini(&b);
    return result;
}
