/* queue_async.c — Queue.get_async and put_async: waiting for a queue in an event loop.
 *
 * A loop cannot block, so it has the channel watched. What the channel fires is a task that
 * ends at once: it goes to the loop's outbox, whose descriptor wakes the loop, and carries
 * the asyncio future that waits there. A channel that is never tried again keeps its watch;
 * aio.py sees to it that there is one for each loop, queue and side at most.
 */
#include "binding/pool/pool.h"
#include "binding/queues.h"
#include "core/base/alloc.h"
#include "core/task/outbox.h"

typedef struct summons {
    si_task task; /* first */
    si_watch watch;
} summons;

static void
destroy_summons(si_task *task)
{
    si_free(task);
}

/* Called by whoever made room or put an item, in any interpreter or none. */
static void
fire(si_watch *watch)
{
    summons *self = (summons *)((char *)watch - offsetof(summons, watch));
    if (si_task_claim(&self->task)) {
        si_task_finish(&self->task, SI_TASK_DONE);
    }
    si_task_drop(&self->task);
}

PyObject *
sipy_queue_watch(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    const sipy_state *state = sipy_state_of_type(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "_watch() takes 3 arguments");
        return NULL;
    }
    si_side side = args[0] == Py_True ? SI_SIDE_PUT : SI_SIDE_GET;
    si_outbox *box = sipy_outbox_of(state, args[1]);
    summons *fresh = box == NULL ? NULL : si_calloc(sizeof(*fresh));
    if (fresh == NULL) {
        return box == NULL ? NULL : PyErr_NoMemory();
    }
    si_task_init(&fresh->task, destroy_summons);
    fresh->watch.fire = fire;
    fresh->task.note = Py_NewRef(args[2]);
    /* It has not ended, so it can be subscribed to. */
    if (si_task_subscribe(&fresh->task, box) &&
        si_channel_watch(sipy_queue_channel(self), side, &fresh->watch)) {
        Py_RETURN_TRUE; /* from here on it is the channel's */
    }
    Py_DECREF(args[2]);
    si_task_drop(&fresh->task);
    Py_RETURN_FALSE;
}

/* subinterpreters.aio.function(self, *args, **kwargs), as a method gets them. */
static PyObject *
call_aio(const char *function, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
         PyObject *kwnames)
{
    PyObject *aio = PyImport_ImportModule("subinterpreters.aio");
    PyObject *func = aio == NULL ? NULL : PyObject_GetAttrString(aio, function);
    Py_ssize_t count = nargs + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject **all = func == NULL ? NULL : PyMem_New(PyObject *, (size_t)count + 1);
    PyObject *result = NULL;
    if (all != NULL) {
        all[0] = self;
        for (Py_ssize_t i = 0; i < count; i++) {
            all[i + 1] = args[i];
        }
        result = PyObject_Vectorcall(func, all, (size_t)nargs + 1, kwnames);
        PyMem_Free(all);
    }
    else if (func != NULL) {
        PyErr_NoMemory();
    }
    Py_XDECREF(func);
    Py_XDECREF(aio);
    return result;
}

PyObject *
sipy_queue_get_async(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return call_aio("get_from", self, NULL, 0, NULL);
}

PyObject *
sipy_queue_put_async(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    return call_aio("put_into", self, args, nargs, kwnames);
}
