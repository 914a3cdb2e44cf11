/* type_future.c — TaskFuture: what a submitted task will come to.
 *
 * The base of subinterpreters.executor.Future, which adds what concurrent.futures expects
 * of a future. Nothing runs when the task ends: whoever asks first decodes the outcome,
 * in its own thread, and the future keeps the object. All of it belongs to the owner of
 * the pool and is touched attached to it.
 */
#include "binding/args.h"
#include "binding/interrupt.h"
#include "binding/pool/promise.h"
#include "core/platform/clock.h"
#include "core/task/outbox.h"

typedef struct future_object {
    PyObject_HEAD
    sipy_promise promise;
    PyObject *waiters;   /* of concurrent.futures.wait and as_completed, or NULL */
    PyObject *callbacks; /* a list, or NULL */
    PyObject *guard;     /* a lock for these two and notified, or NULL */
    char subscribed;     /* an outbox is told of the end */
    char notified;       /* and its reader has seen it */
} future_object;

static future_object *
as_future(PyObject *self)
{
    return (future_object *)self;
}

PyObject *
sipy_future_new(sipy_state *state, sipy_pool *pool, sipy_job *job)
{
    PyTypeObject *type = (PyTypeObject *)state->Future;
    sipy_promise promise = sipy_promise_of(state, pool, job);
    future_object *self = (future_object *)type->tp_alloc(type, 0);
    if (self == NULL) {
        sipy_promise_fini(&promise);
        return NULL;
    }
    self->promise = promise;
    return (PyObject *)self;
}

static PyObject *
future_new(PyTypeObject *Py_UNUSED(type), PyObject *Py_UNUSED(args),
           PyObject *Py_UNUSED(kwargs))
{
    PyErr_SetString(PyExc_TypeError, "futures are made by submit()");
    return NULL;
}

static int
future_traverse(PyObject *op, visitproc visit, void *arg)
{
    future_object *self = as_future(op);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->waiters);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->guard);
    return sipy_promise_traverse(&self->promise, visit, arg);
}

static int
future_clear(PyObject *op)
{
    future_object *self = as_future(op);
    sipy_promise_clear(&self->promise);
    Py_CLEAR(self->waiters);
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->guard);
    return 0;
}

static void
future_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    future_object *self = as_future(op);
    PyObject_GC_UnTrack(op);
    (void)future_clear(op);
    sipy_promise_fini(&self->promise);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- waiting ------------------------------------------------------------------------- */

int
sipy_deadline_from(PyObject *timeout, int64_t *deadline_ns)
{
    *deadline_ns = SI_FOREVER;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (seconds != seconds) {
        PyErr_SetString(PyExc_ValueError, "timeout must not be NaN");
        return -1;
    }
    if (seconds < 9e9) { /* about 285 years; more is for ever */
        *deadline_ns = si_deadline_after(seconds > 0 ? (int64_t)(seconds * 1e9) : 0);
    }
    return 0;
}

int
sipy_wait_for_task(si_task *task, sipy_interp *here, int64_t deadline_ns)
{
    si_waiter waiter;
    while (!si_task_ended(task)) {
        bool ended = false;
        int alive = 0;
        si_status status = SI_INTERRUPTED;
        si_waiter_arm(&waiter);
        if (sipy_interrupt_publish(here, &waiter)) {
            Py_BEGIN_ALLOW_THREADS
            ended = si_task_spin(task, &waiter, deadline_ns);
            Py_END_ALLOW_THREADS
            /* A signal that came while it spun has not interrupted anything. */
            alive = ended ? 0 : PyErr_CheckSignals();
            if (!ended && alive == 0) {
                Py_BEGIN_ALLOW_THREADS
                status = si_task_wait(task, &waiter, deadline_ns);
                Py_END_ALLOW_THREADS
            }
            sipy_interrupt_retract(here, &waiter);
        }
        if (ended || (alive == 0 && status == SI_OK)) {
            return 1;
        }
        if (alive < 0 || (status == SI_INTERRUPTED &&
                          (sipy_interrupt_deliver(here) < 0 || PyErr_CheckSignals() < 0))) {
            return -1;
        }
        if (status == SI_TIMEOUT) {
            return si_task_ended(task);
        }
    }
    return 1;
}

/* Waits, and decodes unless that was done. -> 0 with result or exception in place
 * | -1 with an exception: time over, cancelled, interrupted, ... */
static int
settle(sipy_promise *promise, PyObject *timeout)
{
    int64_t deadline_ns;
    if (!sipy_promise_ended(promise)) {
        if (sipy_deadline_from(timeout, &deadline_ns) < 0 ||
            sipy_promise_can_end(promise) < 0) {
            return -1;
        }
        int ended =
            sipy_wait_for_task(&promise->job->task, promise->state->interp, deadline_ns);
        if (ended <= 0) {
            if (ended == 0) {
                PyErr_SetNone(PyExc_TimeoutError);
            }
            return -1;
        }
    }
    if (sipy_promise_cancelled(promise)) {
        PyErr_SetNone(promise->state->CancelledError);
        return -1;
    }
    return sipy_promise_decode(promise);
}

static const char *const timeout_names[] = {"timeout", NULL};

static PyObject *
future_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const sipy_signature signature = {"result", timeout_names, 0, 1, 0};
    sipy_promise *promise = &as_future(op)->promise;
    PyObject *given[1] = {NULL};
    if ((nargs != 0 || kwnames != NULL) &&
        sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (settle(promise, given[0]) < 0) {
        return NULL;
    }
    if (promise->exception != NULL) {
        PyErr_SetRaisedException(Py_NewRef(promise->exception));
        return NULL;
    }
    return Py_NewRef(promise->result);
}

static PyObject *
future_exception(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const sipy_signature signature = {"exception", timeout_names, 0, 1, 0};
    sipy_promise *promise = &as_future(op)->promise;
    PyObject *given[1];
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0 ||
        settle(promise, given[0]) < 0) {
        return NULL;
    }
    return Py_NewRef(promise->exception == NULL ? Py_None : promise->exception);
}

/* --- the rest ------------------------------------------------------------------------ */

static PyObject *
future_cancel(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_promise *promise = &as_future(op)->promise;
    if (promise->job == NULL || !sipy_pool_usable(promise->pool)) {
        Py_RETURN_FALSE;
    }
    return PyBool_FromLong(sipy_job_cancel(promise->pool, promise->job) ||
                           sipy_promise_cancelled(promise));
}

static PyObject *
future_interrupt(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_promise *promise = &as_future(op)->promise;
    if (sipy_promise_ended(promise) || !sipy_pool_usable(promise->pool)) {
        Py_RETURN_FALSE;
    }
    return PyBool_FromLong(sipy_job_stop(promise->pool, promise->job));
}

static PyObject *
future_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sipy_promise_cancelled(&as_future(op)->promise));
}

static PyObject *
future_running(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const sipy_promise *promise = &as_future(op)->promise;
    return PyBool_FromLong(!sipy_promise_ended(promise) &&
                           (si_load_acquire(&promise->job->task.word) & SI_TASK_RUNNING) !=
                               0);
}

static PyObject *
future_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sipy_promise_ended(&as_future(op)->promise));
}

/* Whether the task ended with an exception, without decoding it. */
static PyObject *
future_failed(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sipy_promise_failed(&as_future(op)->promise));
}

/* The job behind op if it has ended, or NULL. */
static const sipy_job *
ended_job(PyObject *op)
{
    const sipy_promise *promise = &as_future(op)->promise;
    return sipy_promise_ended(promise) ? promise->job : NULL;
}

/* How long it ran, in seconds; 0.0 if it did not. */
static PyObject *
future_run_time(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const sipy_job *job = ended_job(op);
    return PyFloat_FromDouble(job != NULL ? (double)job->run_ns * 1e-9 : 0.0);
}

/* How much processor time that took, in seconds. */
static PyObject *
future_cpu_time(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const sipy_job *job = ended_job(op);
    return PyFloat_FromDouble(job != NULL ? (double)job->cpu_ns * 1e-9 : 0.0);
}

/* What came out before a chunk failed: a list, or None. */
static PyObject *
future_partial(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const sipy_job *job = ended_job(op);
    if (job == NULL || job->reply == NULL) {
        Py_RETURN_NONE;
    }
    sipy_home *home = sipy_home_of(as_future(op)->promise.state);
    return home == NULL
               ? NULL
               : sipy_decode_packet(home->transfer, sipy_packet_behind(job->reply, 0));
}

static PyObject *
future_subscribe(PyObject *op, PyObject *arg)
{
    future_object *self = as_future(op);
    si_outbox *box = sipy_outbox_of(self->promise.state, arg);
    if (box == NULL || sipy_promise_can_end(&self->promise) < 0) {
        return NULL;
    }
    if (!self->subscribed && sipy_promise_subscribe(&self->promise, box, op)) {
        self->subscribed = 1;
        sipy_outbox_expect(arg);
    }
    return PyBool_FromLong(self->subscribed);
}

/* --- the type ------------------------------------------------------------------------ */

PyDoc_STRVAR(
    result_doc,
    "result($self, /, timeout=None)\n--\n\n"
    "Wait for the task, at most timeout seconds, and return its result.\n\n"
    "Raises what the task raised, with the traceback of the other interpreter as\n"
    "its cause; TimeoutError if it has not ended in time, CancelledError if it was\n"
    "cancelled or interrupted.");
PyDoc_STRVAR(exception_doc,
             "exception($self, /, timeout=None)\n--\n\n"
             "Wait as result() does and return the task's exception, None if it has none.");
PyDoc_STRVAR(cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Take the task out of the queue. Returns False if it runs or has ended.");
PyDoc_STRVAR(interrupt_doc,
             "interrupt($self, /)\n--\n\n"
             "Cancel the task; if it runs, raise KeyboardInterrupt in it.\n\n"
             "A task that ends by it is cancelled; one that catches it ends as it likes.\n"
             "Returns whether there was anything to stop. Does not wait.");
PyDoc_STRVAR(cancelled_doc,
             "cancelled($self, /)\n--\n\n"
             "Whether it was cancelled, or ended by interrupt().");
PyDoc_STRVAR(running_doc, "running($self, /)\n--\n\nWhether a worker runs it now.");
PyDoc_STRVAR(done_doc, "done($self, /)\n--\n\nWhether it has ended or was cancelled.");

static PyMethodDef future_methods[] = {
    {"result", _PyCFunction_CAST(future_result), METH_FASTCALL | METH_KEYWORDS, result_doc},
    {"exception", _PyCFunction_CAST(future_exception), METH_FASTCALL | METH_KEYWORDS,
     exception_doc},
    {"cancel", future_cancel, METH_NOARGS, cancel_doc},
    {"interrupt", future_interrupt, METH_NOARGS, interrupt_doc},
    {"cancelled", future_cancelled, METH_NOARGS, cancelled_doc},
    {"running", future_running, METH_NOARGS, running_doc},
    {"done", future_done, METH_NOARGS, done_doc},
    {"_failed", future_failed, METH_NOARGS, NULL},
    {"_run_time", future_run_time, METH_NOARGS, NULL},
    {"_cpu_time", future_cpu_time, METH_NOARGS, NULL},
    {"_partial", future_partial, METH_NOARGS, NULL},
    {"_subscribe", future_subscribe, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef future_members[] = {
    {"_waiter_list", _Py_T_OBJECT, offsetof(future_object, waiters), 0, NULL},
    {"_callbacks", _Py_T_OBJECT, offsetof(future_object, callbacks), 0, NULL},
    {"_guard", _Py_T_OBJECT, offsetof(future_object, guard), 0, NULL},
    {"_subscribed", Py_T_BOOL, offsetof(future_object, subscribed), Py_READONLY, NULL},
    {"_notified", Py_T_BOOL, offsetof(future_object, notified), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot future_slots[] = {
    {Py_tp_doc, "A task of a pool; see subinterpreters.executor.Future."},
    {Py_tp_new, future_new},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_tp_methods, future_methods},
    {Py_tp_members, future_members},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "subinterpreters._core.TaskFuture",
    .basicsize = sizeof(future_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = future_slots,
};

int
sipy_future_type_add(PyObject *module, sipy_state *state)
{
    state->TaskFuture = PyType_FromModuleAndSpec(module, &future_spec, NULL);
    if (state->TaskFuture == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "_TaskFuture", state->TaskFuture);
}
