/* type_queue.c — Queue: a first-in, first-out queue between interpreters.
 *
 * A Queue object is a reference to a channel of core. There is one object per channel
 * and interpreter; the channel lives as long as any such object, or an item that carries
 * one, does. An item is an image behind a si_item, in one block of raw memory.
 */
#include "binding/args.h"
#include "binding/attributes.h"
#include "binding/crossers.h"
#include "binding/interrupt.h"
#include "binding/known.h"
#include "binding/queues.h"
#include "binding/unbound.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"

#define ITEM_HEADER 32 /* sizeof(si_item), a multiple of 16 as the engine wants it */
_Static_assert(sizeof(si_item) <= ITEM_HEADER, "the header of an item has grown");

typedef struct queue_object {
    SIPY_OBJECT_HEAD
    sipy_state *state;   /* of the interpreter whose object this is */
    si_channel *channel; /* a reference */
} queue_object;

static queue_object *
as_queue(PyObject *self)
{
    return (queue_object *)self;
}

si_channel *
sipy_queue_channel(PyObject *queue)
{
    return as_queue(queue)->channel;
}

static long long
id_of(const queue_object *self)
{
    return (long long)self->channel->entry.id;
}

/* --- making ------------------------------------------------------------------------ */

/* The object for channel, whose reference this takes over, also on failure. */
static PyObject *
wrap_steal(PyTypeObject *type, sipy_state *state, si_channel *channel)
{
    PyObject *self = sipy_known_get(state->known_queues, channel->entry.id);
    if (self != NULL || PyErr_Occurred()) {
        si_entry_drop(&channel->entry);
        return self;
    }
    queue_object *fresh = (queue_object *)type->tp_alloc(type, 0);
    if (fresh == NULL) {
        si_entry_drop(&channel->entry);
        return NULL;
    }
    fresh->state = state;
    fresh->channel = channel;
    if (sipy_known_put(state->known_queues, channel->entry.id, (PyObject *)fresh) < 0) {
        Py_CLEAR(fresh);
    }
    return (PyObject *)fresh;
}

static PyObject *
find_queue(PyTypeObject *type, sipy_state *state, int64_t id)
{
    si_channel *channel = (si_channel *)si_registry_find(&sipy_queues, id);
    if (channel == NULL) {
        PyErr_Format(state->QueueNotFoundError, "queue %lld not found", (long long)id);
        return NULL;
    }
    return wrap_steal(type, state, channel);
}

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    sipy_state *state = sipy_state_of_type(type);
    if (state == NULL) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) != 1 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0)) {
        PyErr_SetString(PyExc_TypeError, "Queue() takes exactly one argument, the id");
        return NULL;
    }
    int64_t id = sipy_id_from_object(PyTuple_GET_ITEM(args, 0), "queue ID");
    return id < 0 ? NULL : find_queue(type, state, id);
}

PyObject *
sipy_queue_create(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    static const char *const names[] = {"maxsize", "unbounditems", NULL};
    static const sipy_signature signature = {"create_queue", names, 0, 1, 0};
    PyObject *given[2];
    sipy_state *state = sipy_state_of_module(module);
    si_unbound policy = SI_UNBOUND_PLACEHOLDER;
    long long maxsize = 0;
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (given[0] != NULL) {
        PyObject *index = PyNumber_Index(given[0]);
        maxsize = index == NULL ? -1 : PyLong_AsLongLong(index);
        Py_XDECREF(index);
        if (maxsize == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (given[1] != NULL && sipy_unbound_policy(state, given[1], &policy) < 0) {
        return NULL;
    }
    si_channel *channel;
    if (si_channel_new(maxsize, (int32_t)policy, &channel) != SI_OK) {
        return PyErr_NoMemory();
    }
    channel->entry.id = -1;
    if (si_registry_add(&sipy_queues, &channel->entry, si_channel_destroy) != SI_OK) {
        si_channel_destroy(&channel->entry);
        return PyErr_NoMemory();
    }
    return wrap_steal((PyTypeObject *)state->Queue, state, channel);
}

static void
queue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    queue_object *queue = as_queue(self);
    si_channel *channel = queue->channel;
    sipy_attributes_drop(self);
    if (channel != NULL) {
        sipy_known_forget(queue->state->known_queues, channel->entry.id);
        si_entry_drop(&channel->entry);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

/* --- waiting ----------------------------------------------------------------------- */

/* A deadline from a timeout in seconds or None. -> 0 | -1 with an exception */
static int
deadline_from(PyObject *timeout, int64_t *deadline_ns)
{
    *deadline_ns = SI_FOREVER;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(seconds >= 0.0)) { /* also NaN */
        PyErr_SetString(PyExc_ValueError, "timeout value must be non-negative");
        return -1;
    }
    if (seconds < 9e9) { /* about 285 years; more is for ever */
        *deadline_ns = si_deadline_after((int64_t)(seconds * 1e9));
    }
    return 0;
}

/* What a wait that was interrupted leads to. -> 0 go on | -1 with an exception */
static int
look_around(sipy_interp *interp)
{
    return sipy_interrupt_deliver(interp) < 0 || PyErr_CheckSignals() < 0 ? -1 : 0;
}

/* Waits until the channel may be tried again.
 * -> 1 try again | 0 the time is over | -1 with an exception */
static int
wait_for(queue_object *self, si_side side, int64_t deadline_ns)
{
    sipy_interp *interp = self->state->interp;
    si_channel *channel = self->channel;
    si_status status;
    si_waiter waiter;
    si_waiter_arm(&waiter);
    if (!sipy_interrupt_publish(interp, &waiter)) {
        return look_around(interp) < 0 ? -1 : 1;
    }
    Py_BEGIN_ALLOW_THREADS
    status = si_channel_spin(channel, side, &waiter, deadline_ns);
    Py_END_ALLOW_THREADS
    /* A signal that came while it spun has not interrupted anything. */
    int alive = status == SI_TIMEOUT ? PyErr_CheckSignals() : 0;
    if (status == SI_TIMEOUT && alive == 0) {
        Py_BEGIN_ALLOW_THREADS
        status = si_channel_park(channel, side, &waiter, deadline_ns);
        Py_END_ALLOW_THREADS
    }
    sipy_interrupt_retract(interp, &waiter);
    if (alive < 0 || (status == SI_INTERRUPTED && look_around(interp) < 0)) {
        return -1;
    }
    return status != SI_TIMEOUT;
}

/* --- put --------------------------------------------------------------------------- */

static void
release_item(si_item *item)
{
    sipy_packet_fini(sipy_packet_behind(item, ITEM_HEADER));
    si_free(item);
}

static si_item *
pack_item(queue_object *self, PyObject *obj, int policy)
{
    sipy_home *home = sipy_home_of(self->state);
    if (home == NULL) {
        return NULL;
    }
    si_item *item = sipy_encode_packet(home->transfer, obj, SIPY_ASYNC, ITEM_HEADER);
    if (item != NULL) {
        item->owner = self->state->interp->entry.id;
        item->policy = (uint8_t)policy;
        item->release = release_item;
    }
    return item;
}

/* Puts obj; waits for room if block is true. -> None | NULL with an exception */
static PyObject *
put(queue_object *self, PyObject *obj, bool block, PyObject *timeout, PyObject *unbound)
{
    int64_t deadline_ns = SI_FOREVER;
    si_unbound policy = (si_unbound)self->channel->tag;
    if ((block && deadline_from(timeout, &deadline_ns) < 0) ||
        (unbound != NULL && unbound != Py_None &&
         sipy_unbound_policy(self->state, unbound, &policy) < 0)) {
        return NULL;
    }
    si_item *item = pack_item(self, obj, (int)policy);
    if (item == NULL) {
        return NULL;
    }
    int again = 1;
    while (si_channel_try_put(self->channel, item) != SI_OK) {
        again = block ? wait_for(self, SI_SIDE_PUT, deadline_ns) : 0;
        if (again <= 0) {
            break;
        }
    }
    if (again > 0) {
        Py_RETURN_NONE;
    }
    release_item(item);
    if (again == 0) {
        PyErr_Format(self->state->QueueFull, "queue %lld is full", id_of(self));
    }
    return NULL;
}

static PyObject *
queue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", "block", "timeout", "unbounditems", NULL};
    static const sipy_signature signature = {"put", names, 0, 3, 1};
    PyObject *given[4];
    if (nargs == 1 && kwnames == NULL) {
        return put(as_queue(self), args[0], true, NULL, NULL);
    }
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    int block = given[1] == NULL ? 1 : PyObject_IsTrue(given[1]);
    return block < 0 ? NULL : put(as_queue(self), given[0], block, given[2], given[3]);
}

static PyObject *
queue_put_nowait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", "unbounditems", NULL};
    static const sipy_signature signature = {"put_nowait", names, 0, 1, 1};
    PyObject *given[2];
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    return put(as_queue(self), given[0], false, NULL, given[1]);
}

/* --- get --------------------------------------------------------------------------- */

/* What a placeholder stands for. -> object | NULL with ItemInterpreterDestroyed */
static PyObject *
resolve_unbound(queue_object *self, const si_item *item)
{
    if (item->policy == SI_UNBOUND_ERROR) {
        PyErr_SetString(self->state->ItemInterpreterDestroyed,
                        "item's original interpreter destroyed");
        return NULL;
    }
    return Py_NewRef(sipy_unbound_object(self->state, (si_unbound)item->policy));
}

/* Turns the exception that kept an item from being rebuilt into a NotShareableError that
 * it caused, unless it is none of the item's. */
static void
explain_failure(queue_object *self)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) ||
        PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return;
    }
    PyObject *cause = PyErr_GetRaisedException();
    PyErr_Format(self->state->NotShareableError,
                 "an item of queue %lld cannot be rebuilt in this interpreter and stays in "
                 "the queue: %s: %S",
                 id_of(self), Py_TYPE(cause)->tp_name, cause);
    PyObject *error = PyErr_GetRaisedException();
    PyException_SetCause(error, cause);
    PyErr_SetRaisedException(error);
}

/* The object that item carries; takes the item, or puts it back on failure. */
static PyObject *
unpack_item(queue_object *self, si_item *item)
{
    PyObject *obj = NULL;
    if (item->unbound) {
        obj = resolve_unbound(self, item);
        item->release(item);
        return obj;
    }
    sipy_home *home = sipy_home_of(self->state);
    if (home != NULL) {
        const sipy_packet *packet = sipy_packet_behind(item, ITEM_HEADER);
        obj = sipy_decode_packet(home->transfer, packet);
        if (obj == NULL) {
            explain_failure(self);
        }
    }
    if (obj == NULL) {
        si_channel_unget(self->channel, item);
    }
    else {
        release_item(item);
    }
    return obj;
}

/* The next object; waits for one if block is true. */
static PyObject *
get(queue_object *self, bool block, PyObject *timeout)
{
    si_item *item;
    int64_t deadline_ns = SI_FOREVER;
    if (block && deadline_from(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    while (si_channel_try_get(self->channel, &item) != SI_OK) {
        int again = block ? wait_for(self, SI_SIDE_GET, deadline_ns) : 0;
        if (again == 0) {
            PyErr_Format(self->state->QueueEmpty, "queue %lld is empty", id_of(self));
        }
        if (again <= 0) {
            return NULL;
        }
    }
    return unpack_item(self, item);
}

static PyObject *
queue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout", NULL};
    static const sipy_signature signature = {"get", names, 0, 2, 0};
    PyObject *given[2];
    if (nargs == 0 && kwnames == NULL) {
        return get(as_queue(self), true, NULL);
    }
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    int block = given[0] == NULL ? 1 : PyObject_IsTrue(given[0]);
    return block < 0 ? NULL : get(as_queue(self), block, given[1]);
}

static PyObject *
queue_get_nowait(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return get(as_queue(self), false, NULL);
}

/* --- looking at it ----------------------------------------------------------------- */

static PyObject *
queue_qsize(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLongLong(si_channel_count(as_queue(self)->channel));
}

static PyObject *
queue_empty(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(si_channel_count(as_queue(self)->channel) == 0);
}

static PyObject *
queue_full(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(si_channel_is_full(as_queue(self)->channel));
}

static PyObject *
queue_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("O(L)", Py_TYPE(self), id_of(as_queue(self)));
}

static PyObject *
queue_repr(PyObject *self)
{
    PyObject *name = PyType_GetName(Py_TYPE(self));
    PyObject *repr =
        name == NULL ? NULL : PyUnicode_FromFormat("%U(%lld)", name, id_of(as_queue(self)));
    Py_XDECREF(name);
    return repr;
}

static Py_hash_t
queue_hash(PyObject *self)
{
    return (Py_hash_t)id_of(as_queue(self));
}

static PyObject *
queue_get_id(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(id_of(as_queue(self)));
}

static PyObject *
queue_get_maxsize(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(as_queue(self)->channel->maxsize);
}

static PyObject *
queue_get_unbounditems(PyObject *self, void *Py_UNUSED(closure))
{
    const queue_object *queue = as_queue(self);
    return Py_NewRef(sipy_unbound_object(queue->state, (si_unbound)queue->channel->tag));
}

/* --- crossing ---------------------------------------------------------------------- */

static void
drop_entry(void *entry)
{
    si_entry_drop(entry);
}

static int
pack_queue(void *Py_UNUSED(owner), PyObject *obj, uint64_t out[2], sipy_image *image)
{
    si_entry *entry = &as_queue(obj)->channel->entry;
    out[0] = (uint64_t)entry->id;
    out[1] = 0;
    si_entry_hold(entry);
    if (sipy_image_hold(image, entry, drop_entry) < 0) {
        si_entry_drop(entry);
        return -1;
    }
    return 0;
}

static PyObject *
unpack_queue(void *owner, const uint64_t in[2])
{
    sipy_state *state = sipy_state_here(owner);
    if (state == NULL) {
        return NULL;
    }
    return find_queue((PyTypeObject *)state->Queue, state, (int64_t)in[0]);
}

const sipy_crosser sipy_queue_crosser = {
    .tag = SIPY_TAG_QUEUE,
    .pack = pack_queue,
    .unpack = unpack_queue,
};

/* --- the type ---------------------------------------------------------------------- */

PyDoc_STRVAR(
    queue_doc,
    "Queue(id, /)\n--\n\n"
    "A first-in, first-out queue that any interpreter of the process can use.\n\n"
    "Made by create_queue(). There is one object per id in each interpreter; a Queue\n"
    "that is sent to another interpreter refers to the same items there.\n"
    "Raises QueueNotFoundError if no queue has that id.");
PyDoc_STRVAR(
    put_doc,
    "put($self, /, obj, block=True, timeout=None, *, unbounditems=None)\n--\n\n"
    "Add obj to the queue.\n\n"
    "Waits while the queue is full: for ever, or timeout seconds (a float). With\n"
    "block=False, or when the time is over, raises QueueFull. unbounditems says what\n"
    "becomes of the item if this interpreter ends before it is taken (UNBOUND,\n"
    "UNBOUND_ERROR, UNBOUND_REMOVE; None: the queue's default).\n"
    "Raises NotShareableError if obj cannot be sent, ValueError for a bad timeout.");
PyDoc_STRVAR(put_nowait_doc,
             "put_nowait($self, /, obj, *, unbounditems=None)\n--\n\n"
             "As put(obj, block=False).");
PyDoc_STRVAR(
    get_doc,
    "get($self, /, block=True, timeout=None)\n--\n\n"
    "Remove and return the next object.\n\n"
    "Waits while the queue is empty: for ever, or timeout seconds (a float). With\n"
    "block=False, or when the time is over, raises QueueEmpty. Raises\n"
    "ItemInterpreterDestroyed for an item put with UNBOUND_ERROR whose interpreter has\n"
    "ended. An item that cannot be rebuilt here raises NotShareableError and stays.");
PyDoc_STRVAR(get_nowait_doc,
             "get_nowait($self, /)\n--\n\n"
             "As get(block=False).");
PyDoc_STRVAR(get_async_doc,
             "get_async($self, /)\n--\n\n"
             "As get(), for asyncio: a coroutine that waits for the next object without\n"
             "blocking the event loop. Those of one loop are served in order; a cancelled\n"
             "one takes nothing.");
PyDoc_STRVAR(put_async_doc,
             "put_async($self, /, obj, *, unbounditems=None)\n--\n\n"
             "As put(), for asyncio: a coroutine that waits for room without blocking the\n"
             "event loop. A cancelled one has put nothing.");
PyDoc_STRVAR(qsize_doc, "qsize($self, /)\n--\n\nThe number of items in the queue now.");
PyDoc_STRVAR(empty_doc, "empty($self, /)\n--\n\nWhether the queue has no item now.");
PyDoc_STRVAR(full_doc, "full($self, /)\n--\n\nWhether the queue has no room now.");

static PyMethodDef queue_methods[] = {
    {"put", _PyCFunction_CAST(queue_put), METH_FASTCALL | METH_KEYWORDS, put_doc},
    {"put_nowait", _PyCFunction_CAST(queue_put_nowait), METH_FASTCALL | METH_KEYWORDS,
     put_nowait_doc},
    {"get", _PyCFunction_CAST(queue_get), METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"get_nowait", queue_get_nowait, METH_NOARGS, get_nowait_doc},
    {"get_async", sipy_queue_get_async, METH_NOARGS, get_async_doc},
    {"put_async", _PyCFunction_CAST(sipy_queue_put_async), METH_FASTCALL | METH_KEYWORDS,
     put_async_doc},
    {"_watch", _PyCFunction_CAST(sipy_queue_watch), METH_FASTCALL, NULL},
    {"qsize", queue_qsize, METH_NOARGS, qsize_doc},
    {"empty", queue_empty, METH_NOARGS, empty_doc},
    {"full", queue_full, METH_NOARGS, full_doc},
    {"__reduce__", queue_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
    {"id", queue_get_id, NULL, "The queue's number in this process.", NULL},
    {"maxsize", queue_get_maxsize, NULL, "Items it can hold; 0 or less: any number.", NULL},
    {"unbounditems", queue_get_unbounditems, NULL,
     "What becomes of items whose interpreter ends, by default.", NULL},
    SIPY_ATTRIBUTE_GETSET,
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *)queue_doc},
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_repr, queue_repr},
    {Py_tp_hash, queue_hash},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_members, sipy_attribute_members},
    {Py_tp_traverse, sipy_attributes_traverse},
    {Py_tp_clear, sipy_attributes_clear},
    {0, NULL},
};

static PyType_Spec queue_spec = {
    .name = "subinterpreters.Queue",
    .basicsize = sizeof(queue_object),
    .flags = SIPY_ATTRIBUTE_FLAGS,
    .slots = queue_slots,
};

int
sipy_queue_type_add(PyObject *module, sipy_state *state)
{
    state->known_queues = PyDict_New();
    state->Queue = PyType_FromModuleAndSpec(module, &queue_spec, NULL);
    if (state->known_queues == NULL || state->Queue == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Queue", state->Queue);
}
