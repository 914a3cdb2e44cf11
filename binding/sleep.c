/* sleep.c — see sleep.h.
 *
 * CPython's time.sleep cannot be woken outside the main interpreter. This one sleeps on a
 * waiter that it publishes, as our queues do. Arguments and errors are CPython's.
 */
#include "binding/sleep.h"

#include "binding/interrupt.h"
#include "core/platform/clock.h"

/* -> 0 | -1 with an exception */
static int
parse_seconds(PyObject *arg, int64_t *ns)
{
    double seconds = PyFloat_AsDouble(arg);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (seconds != seconds) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    if (seconds < 0) {
        PyErr_SetString(PyExc_ValueError, "sleep length must be non-negative");
        return -1;
    }
    if (seconds > 9.2e9) {
        PyErr_SetString(PyExc_OverflowError,
                        "timestamp too large to convert to C PyTime_t");
        return -1;
    }
    *ns = (int64_t)(seconds * 1e9);
    return 0;
}

static si_status
sleep_once(sipy_interp *interp, int64_t deadline_ns)
{
    si_waiter waiter;
    si_waiter_arm(&waiter);
    if (!sipy_interrupt_publish(interp, &waiter)) {
        return SI_INTERRUPTED;
    }
    si_status status;
    Py_BEGIN_ALLOW_THREADS
    status = si_waiter_park(&waiter, deadline_ns);
    Py_END_ALLOW_THREADS
    sipy_interrupt_retract(interp, &waiter);
    return status;
}

static PyObject *
interruptible_sleep(PyObject *Py_UNUSED(self), PyObject *arg)
{
    int64_t ns;
    if (PySys_Audit("time.sleep", "O", arg) < 0 || parse_seconds(arg, &ns) < 0) {
        return NULL;
    }
    sipy_interp *interp = sipy_interp_current();
    if (interp == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this interpreter is being finalized");
        return NULL;
    }
    int64_t deadline_ns = si_deadline_after(ns);
    int failed = 0;
    while (!failed && sleep_once(interp, deadline_ns) != SI_TIMEOUT) {
        failed = sipy_interrupt_deliver(interp) < 0 || PyErr_CheckSignals() < 0;
    }
    sipy_interp_drop(interp);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef sleep_def = {
    "sleep", interruptible_sleep, METH_O,
    "sleep($module, object, /)\n--\n\n"
    "Delay execution for a given number of seconds.\n\n"
    "The argument may be a floating-point number for subsecond precision."};

int
sipy_sleep_install(void)
{
    PyObject *module = PyImport_ImportModule("time");
    PyObject *name = PyUnicode_InternFromString("time");
    PyObject *function =
        module == NULL || name == NULL ? NULL : PyCFunction_NewEx(&sleep_def, module, name);
    int result = function == NULL ? -1 : PyObject_SetAttrString(module, "sleep", function);
    Py_XDECREF(function);
    Py_XDECREF(name);
    Py_XDECREF(module);
    return result;
}
