/* type_outbox.c — Outbox: the futures that have ended, for a thread or an event loop.
 *
 * The task of a subscribed future carries a reference to it, which take() hands over; that
 * of a watched queue carries the asyncio future that waits for it. A box that is thrown
 * away while tasks of it still run is kept by them; the reference of what they post then
 * goes back to the interpreter of the box by an errand.
 */
#include "binding/errand.h"
#include "binding/interrupt.h"
#include "binding/pool/pool.h"
#include "core/task/outbox.h"

typedef struct outbox_object {
    PyObject_HEAD
    sipy_state *state;
    si_outbox *box;      /* a reference */
    uint32_t generation; /* of forks, when it was made */
} outbox_object;

static outbox_object *
as_outbox(PyObject *self)
{
    return (outbox_object *)self;
}

si_outbox *
sipy_outbox_of(const sipy_state *state, PyObject *obj)
{
    if ((PyObject *)Py_TYPE(obj) != state->Outbox) {
        PyErr_Format(PyExc_TypeError, "expected an Outbox, got %R", obj);
        return NULL;
    }
    return as_outbox(obj)->box;
}

static PyObject *
outbox_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *with_fd = Py_False;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) ||
        !PyArg_ParseTuple(args, "|O", &with_fd)) {
        return NULL;
    }
    sipy_state *state = sipy_state_of_type(type);
    outbox_object *self = state == NULL ? NULL : (outbox_object *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->generation = sipy_forks();
    si_status status = si_outbox_new(with_fd == Py_True, &self->box);
    if (status != SI_OK) {
        Py_DECREF(self);
        return status == SI_NOMEM ? PyErr_NoMemory() : PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

/* The future of a posted task, whose reference the caller gets. */
static PyObject *
future_of(si_task *task)
{
    PyObject *future = task->note;
    task->note = NULL;
    si_task_drop(task);
    return future;
}

static void
give_up(void *arg)
{
    Py_DECREF((PyObject *)arg);
}

/* The box of a posted task is gone. Any thread. */
static void
lose(si_task *task, int64_t home_id)
{
    PyObject *future = task->note;
    task->note = NULL;
    /* If that interpreter is gone, so is the future. */
    (void)sipy_errand_post(home_id, give_up, future);
}

static void
outbox_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    outbox_object *self = as_outbox(op);
    /* In a child the parent's box is left alone: its lock may be held for ever. */
    if (self->box != NULL && self->generation == sipy_forks()) {
        si_task *task;
        si_outbox_lose(self->box, lose, self->state->interp->entry.id);
        while ((task = si_outbox_take(self->box)) != NULL) {
            Py_XDECREF(future_of(task));
        }
        si_outbox_drop(self->box);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
outbox_take(PyObject *op, PyObject *limit)
{
    outbox_object *self = as_outbox(op);
    Py_ssize_t most = PyLong_AsSsize_t(limit);
    if (most == -1 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; i < most && list != NULL; i++) {
        si_task *task = si_outbox_take(self->box);
        if (task == NULL) {
            break;
        }
        PyObject *future = future_of(task);
        if (PyList_Append(list, future) < 0) {
            Py_CLEAR(list);
        }
        Py_DECREF(future);
    }
    return list;
}

/* Gives the result of a future, or None for a watched queue, to the asyncio future that
 * waits for it. -> 1 | 0 it needs more than that | -1 with an exception */
static int
deliver(const sipy_state *state, PyObject *future, PyObject *name_done, PyObject *name_set)
{
    bool is_task = PyObject_TypeCheck(future, (PyTypeObject *)state->TaskFuture);
    PyObject *result = is_task ? sipy_future_plain_result(future) : Py_NewRef(Py_None);
    if (result == NULL) {
        return 0;
    }
    PyObject *call = is_task ? sipy_future_take_context(future) : Py_NewRef(future);
    PyObject *done =
        call == NULL ? Py_NewRef(Py_True) : PyObject_CallMethodNoArgs(call, name_done);
    if (done == Py_False) {
        Py_SETREF(done, PyObject_CallMethodOneArg(call, name_set, result));
    }
    Py_XDECREF(call);
    Py_DECREF(result);
    Py_XDECREF(done);
    return done == NULL ? -1 : 1;
}

/* Delivers the results of at most limit futures; returns those that failed. */
static PyObject *
outbox_deliver(PyObject *op, PyObject *limit)
{
    PyObject *rest = NULL;
    PyObject *name_done = PyUnicode_InternFromString("done");
    PyObject *name_set = PyUnicode_InternFromString("set_result");
    PyObject *list = name_done == NULL || name_set == NULL ? NULL : outbox_take(op, limit);
    if (list != NULL) {
        rest = PyList_New(0);
    }
    for (Py_ssize_t i = 0; rest != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *future = PyList_GET_ITEM(list, i);
        int delivered = deliver(as_outbox(op)->state, future, name_done, name_set);
        if (delivered < 0) {
            PyErr_WriteUnraisable(future); /* the others of the batch go on */
        }
        else if (delivered == 0 && PyList_Append(rest, future) < 0) {
            Py_CLEAR(rest);
        }
    }
    Py_XDECREF(list);
    Py_XDECREF(name_done);
    Py_XDECREF(name_set);
    return rest;
}

static PyObject *
outbox_wait(PyObject *op, PyObject *timeout)
{
    outbox_object *self = as_outbox(op);
    si_waiter waiter;
    si_status status;
    int64_t deadline_ns;
    if (sipy_deadline_from(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    do {
        si_waiter_arm(&waiter);
        Py_BEGIN_ALLOW_THREADS
        status = si_outbox_wait(self->box, &waiter, deadline_ns);
        Py_END_ALLOW_THREADS
        if (status == SI_INTERRUPTED && PyErr_CheckSignals() < 0) {
            return NULL;
        }
    } while (status == SI_INTERRUPTED);
    return PyBool_FromLong(status == SI_OK);
}

static PyObject *
outbox_stop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    si_outbox_stop(as_outbox(op)->box);
    Py_RETURN_NONE;
}

static PyObject *
outbox_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(as_outbox(op)->box->wakeup.read_fd);
}

static Py_ssize_t
outbox_length(PyObject *op)
{
    return (Py_ssize_t)si_outbox_count(as_outbox(op)->box);
}

static PyMethodDef outbox_methods[] = {
    {"take", outbox_take, METH_O,
     "take($self, limit, /)\n--\n\nAt most limit ended futures, oldest first."},
    {"deliver", outbox_deliver, METH_O,
     "deliver($self, limit, /)\n--\n\n"
     "Give at most limit results to the asyncio futures that wait for them; return the\n"
     "futures that have none."},
    {"wait", outbox_wait, METH_O,
     "wait($self, timeout, /)\n--\n\n"
     "Sleep until there is one; False if there is none in time or the box is stopped."},
    {"stop", outbox_stop, METH_NOARGS, "stop($self, /)\n--\n\nEnd wait()."},
    {"fileno", outbox_fileno, METH_NOARGS,
     "fileno($self, /)\n--\n\nReadable while there is one; -1 without a descriptor."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot outbox_slots[] = {
    {Py_tp_doc, "Outbox(with_descriptor=False, /)\n--\n\nEnded futures, for one reader."},
    {Py_tp_new, outbox_new},
    {Py_tp_dealloc, outbox_dealloc},
    {Py_tp_methods, outbox_methods},
    {Py_sq_length, outbox_length},
    {0, NULL},
};

static PyType_Spec outbox_spec = {
    .name = "subinterpreters._core.Outbox",
    .basicsize = sizeof(outbox_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = outbox_slots,
};

int
sipy_outbox_type_add(PyObject *module, sipy_state *state)
{
    state->Outbox = PyType_FromModuleAndSpec(module, &outbox_spec, NULL);
    if (state->Outbox == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "_Outbox", state->Outbox);
}
