/* interp_extras.c — see interp_extras.h. */
#include "binding/interp_extras.h"

#include <string.h>

#include "binding/args.h"
#include "binding/interrupt.h"
#include "binding/lifecycle.h"
#include "binding/pool/pool.h"
#include "binding/run.h"
#include "core/platform/clock.h"

PyObject *
sipy_interpreter_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(op);
}

PyObject *
sipy_interpreter_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    sipy_state *state = sipy_state_of_type(Py_TYPE(op));
    PyObject *closed = state == NULL ? NULL : PyObject_CallMethod(op, "close", NULL);
    if (closed == NULL && state != NULL &&
        PyErr_ExceptionMatches(state->InterpreterNotFoundError)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return closed;
}

/* Waits for the last lines of the closed interpreter if they are captured here.
 * -> 0 | -1 with the exception of a signal handler */
static int
await_captured(int64_t id, int64_t deadline_ns)
{
    PyObject *name = PyUnicode_InternFromString("subinterpreters._capture");
    PyObject *capture = name == NULL ? NULL : PyImport_GetModule(name);
    Py_XDECREF(name);
    if (capture == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *left = Py_NewRef(Py_None);
    if (deadline_ns != SI_FOREVER) {
        int64_t ns = deadline_ns - si_now_ns();
        Py_SETREF(left, PyFloat_FromDouble(ns > 0 ? (double)ns / 1e9 : 0.0));
    }
    PyObject *done =
        left == NULL ? NULL
                     : PyObject_CallMethod(capture, "finish", "LO", (long long)id, left);
    Py_XDECREF(left);
    Py_XDECREF(done);
    Py_DECREF(capture);
    return done == NULL ? -1 : 0;
}

PyObject *
sipy_interpreter_close(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    static const char *const names[] = {"interrupt", "timeout", NULL};
    static const sipy_signature signature = {"close", names, 0, 0, 0};
    sipy_interpreter *self = sipy_interpreter_of(op);
    PyObject *given[2];
    sipy_closing how = {false, false, SI_FOREVER};
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    int interrupt = given[0] == NULL ? 0 : PyObject_IsTrue(given[0]);
    if (interrupt < 0 || sipy_deadline_from(given[1], &how.deadline_ns) < 0) {
        return NULL;
    }
    how.interrupt = interrupt != 0;
    how.wait = how.interrupt || (given[1] != NULL && given[1] != Py_None);
    sipy_interp *interp = sipy_interpreter_driven(self, "destroy");
    if (interp == NULL || sipy_interp_close(self->state, interp, &how) < 0) {
        return NULL;
    }
    if (self->tasks != NULL) {
        sipy_pool_break(self->tasks, NULL, "the interpreter was closed");
    }
    if (await_captured(self->id, how.deadline_ns) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
sipy_interpreter_repr(PyObject *op)
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    PyObject *type = PyType_GetName(Py_TYPE(op));
    PyObject *name = sipy_interpreter_get_name(op, NULL);
    PyObject *repr = NULL;
    if (type != NULL && name != NULL) {
        repr = name == Py_None ? PyUnicode_FromFormat("%U(%lld)", type, (long long)self->id)
                               : PyUnicode_FromFormat("%U(%lld, name=%R)", type,
                                                      (long long)self->id, name);
    }
    Py_XDECREF(name);
    Py_XDECREF(type);
    return repr;
}

PyObject *
sipy_interpreter_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    sipy_interp *interp = sipy_interpreter_record(sipy_interpreter_of(op));
    const char *name = interp == NULL ? NULL : si_load_acquire(&interp->name);
    if (name == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "surrogatepass");
}

/* exc as a class that exists in every interpreter. -> 0 | -1 with TypeError set */
static int
check_interrupt(PyObject *exc)
{
    if (PyExceptionClass_Check(exc) &&
        (((PyTypeObject *)exc)->tp_flags & Py_TPFLAGS_HEAPTYPE) == 0) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "exc must be a built-in exception class, got %R", exc);
    return -1;
}

PyObject *
sipy_interpreter_interrupt(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const names[] = {"exc", NULL};
    static const sipy_signature signature = {"interrupt", names, 0, 1, 0};
    sipy_interpreter *self = sipy_interpreter_of(op);
    PyObject *given[1];
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    bool usual = given[0] == NULL || given[0] == Py_None;
    PyObject *exc = usual ? PyExc_KeyboardInterrupt : given[0];
    sipy_interp *interp = sipy_interpreter_driven(self, "interrupt");
    if (interp == NULL || check_interrupt(exc) < 0 ||
        sipy_check_ours(self->state, interp, "interrupt") < 0) {
        return NULL;
    }
    if (si_gate_enter(&interp->gate) != SI_OK) {
        sipy_raise_not_found(self->state, self->id);
        return NULL;
    }
    si_status status = sipy_interrupt_request(interp, exc);
    si_gate_leave(&interp->gate);
    if (status == SI_FULL) {
        PyErr_Format(self->state->InterpreterError,
                     "interpreter %lld has too many pending calls to be interrupted",
                     (long long)self->id);
        return NULL;
    }
    return PyBool_FromLong(status == SI_OK);
}
