/* awaited.c — submitting what an event loop waits for: pool.run and Interpreter.call_async.
 *
 * subinterpreters.aio knows each loop's box; the last one that was used is kept at hand.
 */
#include "binding/pool/pool.h"

/* What is needed of aio, which is imported with the first call. -> 0 | -1 */
static int
load(sipy_state *state)
{
    if (SI_LIKELY(state->get_running_loop != NULL)) {
        return 0;
    }
    PyObject *aio =
        PyImport_ImportModule("subinterpreters.aio"); /* makes the type of calls */
    if (aio == NULL) {
        return -1;
    }
    Py_XSETREF(state->loop_boxes, PyObject_GetAttrString(aio, "_boxes"));
    if (state->loop_boxes != NULL) {
        Py_XSETREF(state->get_running_loop,
                   PyObject_GetAttrString(aio, "get_running_loop"));
    }
    Py_DECREF(aio);
    return state->get_running_loop == NULL ? -1 : 0;
}

/* The box of loop: a new reference, or NULL with an exception. */
static PyObject *
box_of(sipy_state *state, PyObject *loop)
{
    if (loop == state->last_loop && sipy_outbox_usable(state->last_box)) {
        return Py_NewRef(state->last_box);
    }
    PyObject *box = PyObject_GetItem(state->loop_boxes, loop);
    if (box == NULL || sipy_outbox_of(state, box) == NULL) {
        Py_XDECREF(box);
        return NULL;
    }
    /* Both first: what is let go may run code, also that of another loop. */
    PyObject *last_box = state->last_box;
    PyObject *last_loop = state->last_loop;
    state->last_box = Py_NewRef(box);
    state->last_loop = Py_NewRef(loop);
    Py_XDECREF(last_box);
    Py_XDECREF(last_loop);
    return box;
}

PyObject *
sipy_submit_awaited(sipy_state *state, sipy_pool *pool, sipy_order *order)
{
    PyObject *loop = load(state) < 0 ? NULL : PyObject_CallNoArgs(state->get_running_loop);
    order->box = loop == NULL ? NULL : box_of(state, loop);
    PyObject *call = order->box == NULL ? NULL : sipy_submit(state, pool, order);
    Py_CLEAR(order->box);
    Py_XDECREF(loop);
    return call;
}
