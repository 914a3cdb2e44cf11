/* type_call.c — the type Call: what asyncio expects of a future; see call.h.
 *
 * A Call is its own iterator.
 */
#include "binding/args.h"
#include "binding/pool/call.h"
#include "core/task/outbox.h"

PyObject *
sipy_call_new(sipy_state *state, sipy_pool *pool, sipy_job *job, PyObject *box)
{
    PyTypeObject *type = (PyTypeObject *)state->Call;
    sipy_promise promise = sipy_promise_of(state, pool, job);
    PyObject *op = type->tp_alloc(type, 0);
    if (op == NULL) {
        sipy_promise_fini(&promise);
        return NULL;
    }
    PyObject_GC_UnTrack(op);
    sipy_call *self = sipy_call_of(op);
    self->promise = promise;
    self->box = sipy_outbox_of(state, box);
    si_outbox_hold(self->box);
    self->loop = Py_XNewRef(sipy_outbox_loop(box));
    return op;
}

/* --- callbacks ------------------------------------------------------------------------ */

static const char *const callback_names[] = {"fn", "context", NULL};

static PyObject *
call_add_done_callback(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    static const sipy_signature signature = {"add_done_callback", callback_names, 1, 1, 1};
    PyObject *given[2] = {NULL, NULL};
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *context =
        given[1] != NULL ? Py_NewRef(given[1]) : (PyObject *)PyContext_CopyCurrent();
    int status = context == NULL ? -1 : sipy_call_add_callback(op, given[0], context);
    Py_XDECREF(context);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
call_remove_done_callback(PyObject *op, PyObject *function)
{
    sipy_call *self = sipy_call_of(op);
    Py_ssize_t removed = 0;
    PyObject *kept = PyList_New(0);
    /* Comparing may run code that adds or removes some. */
    for (Py_ssize_t i = 0;
         kept != NULL && self->callbacks != NULL && i < PyList_GET_SIZE(self->callbacks);
         i++) {
        PyObject *pair = Py_NewRef(PyList_GET_ITEM(self->callbacks, i));
        int equal = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), function, Py_EQ);
        removed += equal > 0;
        if (equal < 0 || (equal == 0 && PyList_Append(kept, pair) < 0)) {
            Py_CLEAR(kept);
        }
        Py_DECREF(pair);
    }
    if (kept == NULL) {
        return NULL;
    }
    if (self->callbacks == NULL) {
        Py_DECREF(kept);
    }
    else {
        Py_SETREF(self->callbacks, kept);
    }
    return PyLong_FromSsize_t(removed);
}

/* --- cancelling, asking --------------------------------------------------------------- */

static const char *const cancel_names[] = {"msg", NULL};

static PyObject *
call_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const sipy_signature signature = {"cancel", cancel_names, 0, 1, 0};
    PyObject *given[1] = {NULL};
    sipy_call *self = sipy_call_of(op);
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    self->retrieved = true;
    if (sipy_call_is_done(self)) {
        Py_RETURN_FALSE;
    }
    self->cancelled = true;
    if (given[0] != NULL && given[0] != Py_None) {
        sipy_call_track(op);
        Py_XSETREF(self->cancel_message, Py_NewRef(given[0]));
    }
    if (sipy_pool_usable(self->promise.pool)) {
        (void)sipy_job_stop(self->promise.pool,
                            self->promise.job); /* or it has just ended */
    }
    if (sipy_call_schedule(op) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

static PyObject *
call_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sipy_call_is_cancelled(sipy_call_of(op)));
}

static PyObject *
call_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sipy_call_is_done(sipy_call_of(op)));
}

static PyObject *
call_result(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return sipy_call_result(op);
}

static PyObject *
call_exception(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (sipy_call_settle(op, "Exception is not set.") < 0) {
        return NULL;
    }
    const sipy_promise *promise = &sipy_call_of(op)->promise;
    return Py_NewRef(promise->exception == NULL ? Py_None : promise->exception);
}

static PyObject *
call_make_cancelled_error(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return sipy_call_cancelled_error(sipy_call_of(op));
}

static PyObject *
call_get_loop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return sipy_call_loop(sipy_call_of(op));
}

static PyObject *
call_cannot_set(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(value))
{
    PyErr_SetString(PyExc_RuntimeError, "only its task sets the outcome of a Call");
    return NULL;
}

/* --- awaiting ------------------------------------------------------------------------- */

/* The protocol of asyncio.Task: what is awaited yields itself, marked, and is resumed by a
 * callback once it is done. */
static PySendResult
call_send(PyObject *op, PyObject *Py_UNUSED(value), PyObject **result)
{
    sipy_call *self = sipy_call_of(op);
    *result = NULL;
    if (sipy_call_is_done(self)) {
        *result = sipy_call_result(op);
        return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
    }
    if (self->blocking) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    self->blocking = 1;
    *result = Py_NewRef(op);
    return PYGEN_NEXT;
}

static PyObject *
call_next(PyObject *op)
{
    PyObject *result;
    if (call_send(op, Py_None, &result) == PYGEN_RETURN) {
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
        if (stop != NULL) {
            PyErr_SetRaisedException(stop);
        }
        Py_CLEAR(result);
    }
    return result;
}

/* --- the end -------------------------------------------------------------------------- */

/* Tells the loop of an exception that nobody has asked for, as asyncio does. */
static int
report(PyObject *op)
{
    sipy_call *self = sipy_call_of(op);
    self->retrieved = true;
    if (sipy_call_decode(op) < 0) {
        return -1;
    }
    PyObject *loop = sipy_call_loop(self);
    PyObject *context =
        loop == NULL ? NULL
                     : Py_BuildValue("{s:s,s:O,s:O}", "message",
                                     "Call exception was never retrieved", "exception",
                                     self->promise.exception, "future", op);
    PyObject *done =
        context == NULL ? NULL
                        : PyObject_CallMethod(loop, "call_exception_handler", "O", context);
    Py_XDECREF(done);
    Py_XDECREF(context);
    Py_XDECREF(loop);
    return done == NULL ? -1 : 0;
}

static void
report_if_unseen(PyObject *op)
{
    const sipy_call *self = sipy_call_of(op);
    if (!self->retrieved && sipy_promise_failed(&self->promise) && report(op) < 0) {
        PyErr_WriteUnraisable(op);
    }
}

int
sipy_call_tell(PyObject *op)
{
    sipy_call *self = sipy_call_of(op);
    self->told = true;
    int status = sipy_call_schedule(op);
    if (self->abandoned && status == 0) {
        report_if_unseen(op); /* its finalizer was for its first owner, and runs once */
    }
    return status;
}

static void
call_finalize(PyObject *op)
{
    sipy_call *self = sipy_call_of(op);
    PyObject *saved = PyErr_GetRaisedException();
    if (!sipy_call_is_done(self) && sipy_pool_usable(self->promise.pool)) {
        /* It lives on until the loop has heard of the end: it may be an exception. */
        self->abandoned = sipy_call_will_be_told(op);
    }
    if (self->abandoned) {
        sipy_call_track(op);
    }
    else {
        report_if_unseen(op);
    }
    PyErr_SetRaisedException(saved);
}

static int
call_traverse(PyObject *op, visitproc visit, void *arg)
{
    sipy_call *self = sipy_call_of(op);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->cancel_message);
    int status = sipy_promise_traverse(&self->promise, visit, arg);
    return status != 0 ? status : Py_TYPE(op)->tp_base->tp_traverse(op, visit, arg);
}

static void
clear_own(sipy_call *self)
{
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->cancel_message);
    sipy_promise_clear(&self->promise);
}

static int
call_clear(PyObject *op)
{
    clear_own(sipy_call_of(op));
    return Py_TYPE(op)->tp_base->tp_clear(op);
}

static void
call_dealloc(PyObject *op)
{
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    sipy_call *self = sipy_call_of(op);
    PyObject_GC_UnTrack(op);
    clear_own(self);
    Py_CLEAR(self->loop);
    si_outbox_drop(self->box);
    sipy_promise_fini(&self->promise);
    Py_TYPE(op)->tp_base->tp_dealloc(op);
}

/* --- the type ------------------------------------------------------------------------- */

static int
call_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    sipy_call_track(op);
    return PyObject_GenericSetAttr(op, name, value);
}

static PyObject *
call_get_state(PyObject *op, void *Py_UNUSED(closure))
{
    const sipy_call *self = sipy_call_of(op);
    const char *state = "FINISHED";
    if (!sipy_call_is_done(self)) {
        state = "PENDING";
    }
    else if (sipy_call_is_cancelled(self)) {
        state = "CANCELLED";
    }
    return PyUnicode_FromString(state);
}

static PyObject *
call_get_loop_attribute(PyObject *op, void *Py_UNUSED(closure))
{
    return sipy_call_loop(sipy_call_of(op));
}

static PyObject *
call_repr(PyObject *op)
{
    const sipy_call *self = sipy_call_of(op);
    const sipy_promise *promise = &self->promise;
    if (!sipy_call_is_done(self)) {
        return PyUnicode_FromString("<Call pending>");
    }
    if (sipy_call_is_cancelled(self)) {
        return PyUnicode_FromString("<Call cancelled>");
    }
    if (promise->exception != NULL) {
        return PyUnicode_FromFormat("<Call finished exception=%R>", promise->exception);
    }
    return promise->result == NULL
               ? PyUnicode_FromString("<Call finished>")
               : PyUnicode_FromFormat("<Call finished result=%R>", promise->result);
}

static PyMethodDef call_methods[] = {
    {"result", call_result, METH_NOARGS, NULL},
    {"exception", call_exception, METH_NOARGS, NULL},
    {"cancel", _PyCFunction_CAST(call_cancel), METH_FASTCALL | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\n"
     "Cancel it: the task is taken out of the queue, or interrupted."},
    {"cancelled", call_cancelled, METH_NOARGS, NULL},
    {"done", call_done, METH_NOARGS, NULL},
    {"add_done_callback", _PyCFunction_CAST(call_add_done_callback),
     METH_FASTCALL | METH_KEYWORDS, NULL},
    {"remove_done_callback", call_remove_done_callback, METH_O, NULL},
    {"get_loop", call_get_loop, METH_NOARGS, NULL},
    {"set_result", call_cannot_set, METH_O, NULL},
    {"set_exception", call_cannot_set, METH_O, NULL},
    {"_make_cancelled_error", call_make_cancelled_error, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef call_members[] = {
    {"_asyncio_future_blocking", Py_T_BOOL, offsetof(sipy_call, blocking),
     Py_RELATIVE_OFFSET, NULL},
    {"_callbacks", _Py_T_OBJECT, offsetof(sipy_call, callbacks),
     Py_READONLY | Py_RELATIVE_OFFSET, NULL},
    {"_cancel_message", _Py_T_OBJECT, offsetof(sipy_call, cancel_message),
     Py_READONLY | Py_RELATIVE_OFFSET, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef call_attributes[] = {
    {"_state", call_get_state, NULL, NULL, NULL},
    {"_loop", call_get_loop_attribute, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc,
     "An awaitable call of a pool, an asyncio.Future. Cancelling it stops the work."},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_finalize, call_finalize},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_setattro, call_setattro},
    {Py_tp_repr, call_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, call_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, call_send},
    {Py_tp_methods, call_methods},
    {Py_tp_members, call_members},
    {Py_tp_getset, call_attributes},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "subinterpreters.aio.Call",
    .basicsize = -(int)sizeof(sipy_call), /* behind what asyncio.Future has */
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = call_slots,
};

PyObject *
sipy_call_type(PyObject *module, PyObject *args)
{
    sipy_state *state = sipy_state_of_module(module);
    PyObject *cancelled, *invalid;
    if (!PyArg_ParseTuple(args, "OO:_call_type", &cancelled, &invalid)) {
        return NULL;
    }
    if (state->Call != NULL) {
        return Py_NewRef(state->Call);
    }
    /* The one in C, whatever somebody has put in place of asyncio.Future. */
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    PyObject *base = asyncio == NULL ? NULL : PyObject_GetAttrString(asyncio, "Future");
    Py_XSETREF(state->AsyncCancelledError, Py_NewRef(cancelled));
    Py_XSETREF(state->InvalidStateError, Py_NewRef(invalid));
    Py_XSETREF(state->name_call_soon, PyUnicode_InternFromString("call_soon"));
    Py_XSETREF(state->names_context, Py_BuildValue("(s)", "context"));
    PyObject *type = NULL;
    if (base != NULL && state->name_call_soon != NULL && state->names_context != NULL) {
        type = PyType_FromModuleAndSpec(module, &call_spec, base);
    }
    Py_XSETREF(state->Call, Py_XNewRef(type));
    Py_XDECREF(base);
    Py_XDECREF(asyncio);
    return type;
}
