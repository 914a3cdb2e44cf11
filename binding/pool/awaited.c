/* awaited.c — calls that an event loop waits for: pool.run and Interpreter.call_async.
 *
 * subinterpreters.aio makes the asyncio.Future (a Call) and knows the loop's box; this
 * submits the call so that the box is told of its end, and ties the two together.
 */
#include "binding/pool/pool.h"

/* What is needed of aio, which is imported with the first call. -> 0 | -1 */
static int
load(sipy_state *state)
{
    if (SI_LIKELY(state->name_task != NULL)) {
        return 0;
    }
    PyObject *aio = PyImport_ImportModule("subinterpreters.aio");
    if (aio == NULL) {
        return -1;
    }
    Py_XSETREF(state->Call, PyObject_GetAttrString(aio, "Call"));
    Py_XSETREF(state->loop_boxes, PyObject_GetAttrString(aio, "_boxes"));
    Py_XSETREF(state->get_running_loop, PyObject_GetAttrString(aio, "get_running_loop"));
    Py_XSETREF(state->names_loop, Py_BuildValue("(s)", "loop"));
    Py_DECREF(aio);
    if (state->Call == NULL || state->loop_boxes == NULL ||
        state->get_running_loop == NULL || state->names_loop == NULL) {
        return -1;
    }
    Py_XSETREF(state->name_task, PyUnicode_InternFromString("_task"));
    return state->name_task == NULL ? -1 : 0;
}

/* Lets call cancel future; if nobody will be told of its end, call takes it over now. */
static int
tie(const sipy_state *state, PyObject *call, PyObject *future)
{
    if (PyObject_SetAttr(call, state->name_task, future) < 0) {
        return -1;
    }
    if (sipy_future_is_subscribed(future)) {
        return 0;
    }
    PyObject *done = PyObject_CallMethod(call, "_fail", "O", future);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *
sipy_submit_awaited(sipy_state *state, sipy_pool *pool, sipy_order *order)
{
    PyObject *loop = load(state) < 0 ? NULL : PyObject_CallNoArgs(state->get_running_loop);
    PyObject *box = loop == NULL ? NULL : PyObject_GetItem(state->loop_boxes, loop);
    PyObject *call =
        box == NULL ? NULL : PyObject_Vectorcall(state->Call, &loop, 0, state->names_loop);
    PyObject *result = NULL;
    if (call != NULL) {
        order->context = call;
        order->box = sipy_outbox_of(state, box);
        PyObject *future = order->box == NULL ? NULL : sipy_submit(state, pool, order);
        if (future != NULL && tie(state, call, future) == 0) {
            result = Py_NewRef(call);
        }
        Py_XDECREF(future);
    }
    Py_XDECREF(call);
    Py_XDECREF(box);
    Py_XDECREF(loop);
    return result;
}
