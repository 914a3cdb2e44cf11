/* type_outbox.c — Outbox: the futures that have ended, for a thread or an event loop.
 *
 * The task of a subscribed future carries a reference to it, which take() hands over; that
 * of a Call likewise, and that of a watched queue the asyncio future that waits for it, and
 * deliver() tells them. A box that is thrown away while tasks of it still run is kept by
 * them; the reference of what they post then goes back to the interpreter of the box by an
 * errand.
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
    PyObject *loop;      /* a weak reference to the event loop that it is for, or NULL */
    Py_ssize_t expected; /* futures that are subscribed and were not taken */
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
    PyObject *loop = NULL;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) ||
        !PyArg_ParseTuple(args, "|O", &loop)) {
        return NULL;
    }
    sipy_state *state = sipy_state_of_type(type);
    outbox_object *self = state == NULL ? NULL : (outbox_object *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->generation = sipy_forks();
    if (loop != NULL && (self->loop = PyWeakref_NewRef(loop, NULL)) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    si_status status = si_outbox_new(loop != NULL, &self->box);
    if (status != SI_OK) {
        Py_DECREF(self);
        return status == SI_NOMEM ? PyErr_NoMemory() : PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

PyObject *
sipy_outbox_loop(PyObject *obj)
{
    return as_outbox(obj)->loop;
}

void
sipy_outbox_expect(PyObject *obj)
{
    as_outbox(obj)->expected++;
}

bool
sipy_outbox_usable(PyObject *obj)
{
    return as_outbox(obj)->generation == sipy_forks();
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
    Py_CLEAR(self->loop);
    /* In a child the parent's box is left alone: its lock may be held for ever. */
    if (self->box != NULL && sipy_outbox_usable(op)) {
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

static Py_ssize_t
outbox_length(PyObject *op)
{
    return (Py_ssize_t)si_outbox_count(as_outbox(op)->box);
}

/* The reader is the only one who takes. */
static PyObject *
outbox_take(PyObject *op, PyObject *limit)
{
    outbox_object *self = as_outbox(op);
    Py_ssize_t most = PyLong_AsSsize_t(limit);
    if (most == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_ssize_t count = outbox_length(op);
    count = most < count ? Py_MAX(most, 0) : count;
    PyObject *list = PyList_New(count); /* what is taken must not get lost */
    for (Py_ssize_t i = 0; i < count && list != NULL; i++) {
        PyList_SET_ITEM(list, i, future_of(si_outbox_take(self->box)));
        self->expected--;
    }
    return list;
}

/* Lets what waits for a watched queue try again. -> 0 | -1 with an exception */
static int
ring(PyObject *bell)
{
    PyObject *done = PyObject_CallMethod(bell, "done", NULL);
    if (done == Py_False) {
        Py_SETREF(done, PyObject_CallMethod(bell, "set_result", "O", Py_None));
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Tells at most limit calls, and who waits for queues. A Ctrl-C ends it, for it ends the
 * loop; what is left in the box keeps its descriptor readable. */
static PyObject *
outbox_deliver(PyObject *op, PyObject *limit)
{
    outbox_object *self = as_outbox(op);
    Py_ssize_t most = PyLong_AsSsize_t(limit);
    int status = most == -1 && PyErr_Occurred() ? -1 : 0;
    si_task *task;
    for (Py_ssize_t i = 0; status == 0 && i < most; i++) {
        task = si_outbox_take(self->box);
        if (task == NULL) {
            break;
        }
        PyObject *waiting = future_of(task);
        bool is_call = (PyObject *)Py_TYPE(waiting) == self->state->Call;
        status = is_call ? sipy_call_tell(waiting) : ring(waiting);
        if (status < 0 && PyErr_ExceptionMatches(PyExc_Exception)) {
            PyErr_WriteUnraisable(waiting); /* the others go on */
            status = 0;
        }
        Py_DECREF(waiting);
    }
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
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
    sipy_interp *here = self->state->interp;
    do {
        status = SI_INTERRUPTED;
        si_waiter_arm(&waiter);
        if (sipy_interrupt_publish(here, &waiter)) {
            Py_BEGIN_ALLOW_THREADS
            status = si_outbox_wait(self->box, &waiter, deadline_ns);
            Py_END_ALLOW_THREADS
            sipy_interrupt_retract(here, &waiter);
        }
        if (status == SI_INTERRUPTED &&
            (sipy_interrupt_deliver(here) < 0 || PyErr_CheckSignals() < 0)) {
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

static PyMethodDef outbox_methods[] = {
    {"take", outbox_take, METH_O,
     "take($self, limit, /)\n--\n\nAt most limit ended futures, oldest first."},
    {"deliver", outbox_deliver, METH_O,
     "deliver($self, limit, /)\n--\n\n"
     "Tell at most limit calls, and those who wait for queues, in the loop."},
    {"wait", outbox_wait, METH_O,
     "wait($self, timeout, /)\n--\n\n"
     "Sleep until there is one; False if there is none in time or the box is stopped."},
    {"stop", outbox_stop, METH_NOARGS, "stop($self, /)\n--\n\nEnd wait()."},
    {"fileno", outbox_fileno, METH_NOARGS,
     "fileno($self, /)\n--\n\nReadable while there is one; -1 without a descriptor."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef outbox_members[] = {
    {"expected", Py_T_PYSSIZET, offsetof(outbox_object, expected), Py_READONLY,
     "How many futures are subscribed and were not taken."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot outbox_slots[] = {
    {Py_tp_doc,
     "Outbox(loop=None, /)\n--\n\n"
     "Ended futures, for one reader: an event loop, which gets a descriptor, or a thread."},
    {Py_tp_new, outbox_new},
    {Py_tp_dealloc, outbox_dealloc},
    {Py_tp_methods, outbox_methods},
    {Py_tp_members, outbox_members},
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
