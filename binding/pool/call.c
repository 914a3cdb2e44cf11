/* call.c — see call.h. */
#include "binding/pool/call.h"

#include "core/task/outbox.h"

PyObject *
sipy_call_loop(const sipy_call *self)
{
    PyObject *loop =
        self->loop == NULL ? Py_NewRef(Py_None) : PyObject_CallNoArgs(self->loop);
    if (loop == Py_None) {
        Py_CLEAR(loop);
        PyErr_SetString(PyExc_RuntimeError, "the event loop of the call is gone");
    }
    return loop;
}

void
sipy_call_track(PyObject *op)
{
    if (!PyObject_GC_IsTracked(op)) {
        PyObject_GC_Track(op);
    }
}

/* --- how it stands -------------------------------------------------------------------- */

bool
sipy_call_is_cancelled(const sipy_call *self)
{
    return self->cancelled || sipy_promise_cancelled(&self->promise);
}

bool
sipy_call_is_done(const sipy_call *self)
{
    return self->cancelled || sipy_promise_ended(&self->promise);
}

/* The StopIteration that a task has raised cannot be raised into a coroutine. -> 0 | -1 */
static int
wrap_stop_iteration(sipy_promise *promise)
{
    if (promise->exception == NULL ||
        !PyErr_GivenExceptionMatches(promise->exception, PyExc_StopIteration)) {
        return 0;
    }
    PyObject *wrapped =
        PyObject_CallFunction(PyExc_RuntimeError, "s", "the task raised StopIteration");
    if (wrapped == NULL) {
        return -1;
    }
    PyException_SetCause(wrapped, Py_NewRef(promise->exception));
    Py_SETREF(promise->exception, wrapped);
    return 0;
}

int
sipy_call_decode(PyObject *op)
{
    sipy_promise *promise = &sipy_call_of(op)->promise;
    if (promise->result != NULL) {
        return 0;
    }
    if (sipy_promise_decode(promise) < 0 || wrap_stop_iteration(promise) < 0) {
        return -1;
    }
    if (promise->result == NULL || PyObject_IS_GC(promise->result)) {
        sipy_call_track(op);
    }
    return 0;
}

PyObject *
sipy_call_cancelled_error(const sipy_call *self)
{
    PyObject *type = self->promise.state->AsyncCancelledError;
    return self->cancel_message == NULL ? PyObject_CallNoArgs(type)
                                        : PyObject_CallOneArg(type, self->cancel_message);
}

int
sipy_call_settle(PyObject *op, const char *missing)
{
    sipy_call *self = sipy_call_of(op);
    if (!sipy_call_is_done(self)) {
        PyErr_SetString(self->promise.state->InvalidStateError, missing);
        return -1;
    }
    if (sipy_call_is_cancelled(self)) {
        PyObject *error = sipy_call_cancelled_error(self);
        if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
        return -1;
    }
    self->retrieved = true;
    return sipy_call_decode(op);
}

PyObject *
sipy_call_result(PyObject *op)
{
    if (sipy_call_settle(op, "Result is not set.") < 0) {
        return NULL;
    }
    const sipy_promise *promise = &sipy_call_of(op)->promise;
    if (promise->exception != NULL) {
        /* Each time from here: the tracebacks of those who asked before are theirs. */
        (void)PyException_SetTraceback(promise->exception, Py_None);
        PyErr_SetRaisedException(Py_NewRef(promise->exception));
        return NULL;
    }
    return Py_NewRef(promise->result);
}

/* --- callbacks ------------------------------------------------------------------------ */

/* loop.call_soon(function, op, context=context). -> 0 | -1 */
static int
call_soon(PyObject *op, PyObject *function, PyObject *context)
{
    const sipy_call *self = sipy_call_of(op);
    PyObject *loop = sipy_call_loop(self);
    if (loop == NULL) {
        return -1;
    }
    const sipy_state *state = self->promise.state;
    PyObject *args[] = {loop, function, op, context};
    PyObject *handle =
        PyObject_VectorcallMethod(state->name_call_soon, args,
                                  3 | PY_VECTORCALL_ARGUMENTS_OFFSET, state->names_context);
    Py_XDECREF(handle);
    Py_DECREF(loop);
    return handle == NULL ? -1 : 0;
}

int
sipy_call_schedule(PyObject *op)
{
    sipy_call *self = sipy_call_of(op);
    PyObject *callbacks = self->callbacks;
    PyObject *error = NULL;
    self->callbacks = NULL;
    for (Py_ssize_t i = 0; callbacks != NULL && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *pair = PyList_GET_ITEM(callbacks, i);
        if (call_soon(op, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)) == 0) {
            continue;
        }
        if (PyErr_ExceptionMatches(PyExc_Exception)) {
            PyErr_WriteUnraisable(op);
        }
        else {
            Py_XSETREF(error, PyErr_GetRaisedException());
        }
    }
    Py_XDECREF(callbacks);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return error == NULL ? 0 : -1;
}

bool
sipy_call_will_be_told(PyObject *op)
{
    sipy_call *self = sipy_call_of(op);
    if (self->cancelled || self->told) {
        return false;
    }
    if (!self->subscribed) {
        self->subscribed = sipy_promise_subscribe(&self->promise, self->box, op);
    }
    return self->subscribed;
}

int
sipy_call_add_callback(PyObject *op, PyObject *function, PyObject *context)
{
    sipy_call *self = sipy_call_of(op);
    if (!self->cancelled && sipy_promise_can_end(&self->promise) < 0) {
        return -1;
    }
    if (!sipy_call_will_be_told(op)) {
        return call_soon(op, function, context);
    }
    if (self->callbacks == NULL && (self->callbacks = PyList_New(0)) == NULL) {
        return -1;
    }
    sipy_call_track(op);
    PyObject *pair = PyTuple_Pack(2, function, context);
    int status = pair == NULL ? -1 : PyList_Append(self->callbacks, pair);
    Py_XDECREF(pair);
    return status;
}
