/* type_pool.c — Pool: the base of subinterpreters.InterpreterPoolExecutor.
 *
 * Holds a reference to the raw pool. When the object goes, the pool is closed: its workers
 * do what is queued and end. Checks of arguments that need no lock are the executor's.
 */
#include "binding/args.h"
#include "binding/interrupt.h"
#include "binding/pool/pool.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"

typedef struct pool_object {
    PyObject_HEAD
    sipy_state *state;
    sipy_pool *pool; /* a reference; NULL until open() */
} pool_object;

static pool_object *
as_pool(PyObject *self)
{
    return (pool_object *)self;
}

static PyObject *
pool_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    sipy_state *state = sipy_state_of_type(type);
    pool_object *self = state == NULL ? NULL : (pool_object *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static void
pool_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    sipy_pool *pool = as_pool(op)->pool;
    if (pool != NULL) {
        if (sipy_pool_usable(pool)) {
            sipy_pool_close(pool);
        }
        sipy_pool_drop(pool);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

/* The pool in a state to be asked, or NULL with an exception. */
static sipy_pool *
usable(pool_object *self)
{
    if (self->pool == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the pool was not initialized");
        return NULL;
    }
    if (!sipy_pool_usable(self->pool)) {
        PyErr_SetString(self->state->BrokenInterpreterPool,
                        "the pool belongs to the process that this one was forked from");
        return NULL;
    }
    return self->pool;
}

/* --- opening ------------------------------------------------------------------------- */

/* initializer(*initargs) and the names to preload, as images of the pool. */
static int
encode_start(sipy_pool *pool, sipy_home *home, PyObject *initializer, PyObject *initargs,
             PyObject *preload)
{
    if (PyList_GET_SIZE(preload) > 0 &&
        sipy_encode(home->transfer, preload, SIPY_ASYNC, &pool->preload) < 0) {
        return -1;
    }
    if (initializer == Py_None) {
        return 0;
    }
    return sipy_encode_call(home->transfer, initializer, &PyTuple_GET_ITEM(initargs, 0),
                            (size_t)PyTuple_GET_SIZE(initargs), NULL, SIPY_ASYNC,
                            &pool->initializer);
}

/* _open(name, max_workers, initializer, initargs, preload, max_tasks, idle_ns,
 *       max_pending) */
static PyObject *
pool_open(PyObject *op, PyObject *args)
{
    pool_object *self = as_pool(op);
    const char *name;
    unsigned int max_workers;
    unsigned long long max_tasks, max_pending;
    long long idle_ns;
    PyObject *initializer, *initargs, *preload;
    if (!PyArg_ParseTuple(args, "sIOO!O!KLK:_open", &name, &max_workers, &initializer,
                          &PyTuple_Type, &initargs, &PyList_Type, &preload, &max_tasks,
                          &idle_ns, &max_pending)) {
        return NULL;
    }
    sipy_home *home = sipy_home_of(self->state);
    if (home == NULL) {
        return NULL;
    }
    if (self->pool != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the pool was initialized before");
        return NULL;
    }
    sipy_pool *pool = sipy_pool_new(name, self->state->interp);
    if (pool == NULL) {
        return PyErr_NoMemory();
    }
    si_store_relaxed(&pool->max_workers, max_workers);
    si_store_relaxed(&pool->max_alive, max_workers);
    if (max_tasks != 0) { /* each worker may have a follower, which waits for its place */
        si_store_relaxed(&pool->max_alive, 2 * (uint64_t)max_workers);
        pool->queue.most = max_workers;
        pool->spare_cpu = max_workers < (unsigned int)si_cpu_count();
    }
    pool->max_tasks = max_tasks;
    pool->idle_ns = idle_ns;
    pool->queue.limit = max_pending;
    if (encode_start(pool, home, initializer, initargs, preload) < 0) {
        sipy_pool_drop(pool);
        return NULL;
    }
    self->pool = pool;
    Py_RETURN_NONE;
}

/* --- submitting ---------------------------------------------------------------------- */

static int
refuse(sipy_state *state, sipy_pool *pool)
{
    if (si_load_acquire(&pool->broken) != 0) {
        PyErr_SetRaisedException(sipy_pool_broken(pool, state));
    }
    else {
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
    }
    return -1;
}

/* Waits for room in the queue. -> 0 try again | -1 with an exception */
static int
wait_for_room(const sipy_state *state, sipy_pool *pool)
{
    sipy_interp *here = state->interp;
    si_status status = SI_INTERRUPTED;
    si_waiter waiter;
    si_waiter_arm(&waiter);
    if (sipy_interrupt_publish(here, &waiter)) {
        Py_BEGIN_ALLOW_THREADS
        status = si_task_queue_wait_put(&pool->queue, &waiter, SI_FOREVER);
        Py_END_ALLOW_THREADS
        sipy_interrupt_retract(here, &waiter);
    }
    return status == SI_INTERRUPTED &&
                   (sipy_interrupt_deliver(here) < 0 || PyErr_CheckSignals() < 0)
               ? -1
               : 0;
}

/* -> -1 with an exception */
static int
no_thread(si_status status)
{
    if (status == SI_NOMEM) {
        PyErr_NoMemory();
    }
    else {
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
    }
    return -1;
}

/* Gets job a worker, or takes it back. -> 0 | -1 with an exception */
static int
find_worker(sipy_pool *pool, sipy_job *job)
{
    si_status status = sipy_pool_grow(pool);
    if (SI_LIKELY(status == SI_OK) || !sipy_pool_retract(pool, job)) {
        return 0;
    }
    return no_thread(status);
}

/* An event loop must not wait for room (awaited): its calls are queued beyond the limit. */
static int
enqueue(sipy_state *state, sipy_pool *pool, sipy_job *job, bool awaited)
{
    si_status kept = job->timeout_ns == 0 ? SI_OK : sipy_keeper_start(pool);
    if (kept != SI_OK) {
        return no_thread(kept);
    }
    for (;;) {
        job->submitted_ns = si_now_ns();
        switch (awaited ? si_task_queue_put_over(&pool->queue, &job->task)
                        : si_task_queue_put(&pool->queue, &job->task)) {
            case SI_OK:
                return find_worker(pool, job);
            case SI_FULL:
                if (wait_for_room(state, pool) < 0) {
                    return -1;
                }
                break;
            default:
                return refuse(state, pool);
        }
    }
}

/* Sends a job and returns its future, whose reference this takes over. */
static PyObject *
send(sipy_state *state, sipy_pool *pool, PyObject *future, sipy_job *job,
     const sipy_order *order)
{
    job->timeout_ns = order->timeout_ns;
    job->retries = order->retries;
    job->number = si_add_relaxed(&pool->jobs, 1);
    if (enqueue(state, pool, job, order->box != NULL) == 0) {
        return future;
    }
    si_task_hold(&job->task);
    sipy_job_end_unrun(job, SIPY_NO_OUTCOME); /* or its Call would wait for its end */
    Py_DECREF(future);
    return NULL;
}

PyObject *
sipy_submit(sipy_state *state, sipy_pool *pool, const sipy_order *order)
{
    if (si_task_queue_is_closed(&pool->queue)) {
        refuse(state, pool);
        return NULL;
    }
    if (PyUnicode_Check(order->func)) {
        PyErr_SetString(PyExc_TypeError, "scripts not supported");
        return NULL;
    }
    sipy_home *home = sipy_home_of(state);
    if (home == NULL) {
        return NULL;
    }
    sipy_job *job =
        sipy_job_new(home, order->func, order->args, order->nargs, order->kwnames);
    if (job == NULL && (!PyErr_ExceptionMatches(PyExc_Exception) ||
                        PyErr_ExceptionMatches(PyExc_MemoryError))) {
        return NULL;
    }
    PyObject *future = order->box == NULL ? sipy_future_new(state, pool, job)
                                          : sipy_call_new(state, pool, job, order->box);
    return future == NULL || job == NULL ? future : send(state, pool, future, job, order);
}

static PyObject *
submit(pool_object *self, const sipy_order *order)
{
    sipy_pool *pool = usable(self);
    return pool == NULL ? NULL : sipy_submit(self->state, pool, order);
}

static PyObject *
pool_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "submit() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    const sipy_order order = {
        .func = args[0], .args = args + 1, .nargs = (size_t)nargs - 1, .kwnames = kwnames};
    return submit(as_pool(op), &order);
}

/* Parses what _submit and _run begin with: timeout_ns, retries, fn. -> 0 | -1 */
static int
parse_order(sipy_order *order, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 3) {
        PyErr_SetString(PyExc_TypeError, "missing 1 required positional argument: 'fn'");
        return -1;
    }
    *order = (sipy_order){
        .func = args[2], .args = args + 3, .nargs = (size_t)nargs - 3, .kwnames = kwnames};
    order->timeout_ns = PyLong_AsLongLong(args[0]);
    unsigned long retries = PyLong_AsUnsignedLong(args[1]);
    order->retries = retries > UINT32_MAX ? UINT32_MAX : (uint32_t)retries;
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *
pool_submit_with(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    sipy_order order;
    return parse_order(&order, args, nargs, kwnames) < 0 ? NULL
                                                         : submit(as_pool(op), &order);
}

static PyObject *
run(pool_object *self, sipy_order *order)
{
    sipy_pool *pool = usable(self);
    return pool == NULL ? NULL : sipy_submit_awaited(self->state, pool, order);
}

static PyObject *
pool_run_with(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    sipy_order order;
    return parse_order(&order, args, nargs, kwnames) < 0 ? NULL : run(as_pool(op), &order);
}

static PyObject *
pool_run(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "run() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    sipy_order order = {
        .func = args[0], .args = args + 1, .nargs = (size_t)nargs - 1, .kwnames = kwnames};
    return run(as_pool(op), &order);
}

/* --- the end, and the rest ------------------------------------------------------------ */

/* Waits for all workers to be gone. -> 0 | -1 with an exception */
static int
join(const sipy_state *state, sipy_pool *pool)
{
    return sipy_wait_for_task(&pool->gone, state->interp, SI_FOREVER) < 0 ? -1 : 0;
}

/* _close(wait, cancel_futures, interrupt): the last one cancels, too */
static PyObject *
pool_close(PyObject *op, PyObject *args)
{
    pool_object *self = as_pool(op);
    int wait, cancel, interrupt;
    if (!PyArg_ParseTuple(args, "ppp:_close", &wait, &cancel, &interrupt)) {
        return NULL;
    }
    sipy_pool *pool = self->pool;
    if (pool == NULL || !sipy_pool_usable(pool)) {
        Py_RETURN_NONE;
    }
    sipy_pool_hold(pool);
    int result = 0;
    Py_BEGIN_ALLOW_THREADS
    sipy_pool_close(pool);
    if (cancel || interrupt) {
        sipy_pool_stop(pool, interrupt, PyExc_KeyboardInterrupt);
    }
    Py_END_ALLOW_THREADS
    if (wait) {
        result = join(self->state, pool);
    }
    sipy_pool_drop(pool);
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Closes all pools of this interpreter, also those that no object stands for any more,
 * and waits for their work. */
static PyObject *
shutdown_all(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sipy_state *state = sipy_state_of_module(module);
    sipy_pool **list;
    size_t count;
    int result = 0;
    if (!sipy_pools_of(state->interp, &list, &count)) {
        return PyErr_NoMemory();
    }
    for (size_t i = 0; i < count; i++) {
        Py_BEGIN_ALLOW_THREADS
        sipy_pool_close(list[i]);
        Py_END_ALLOW_THREADS
    }
    for (size_t i = 0; i < count; i++) {
        if (result == 0) {
            result = join(state, list[i]);
        }
        sipy_pool_drop(list[i]);
    }
    si_free(list);
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
pool_stats(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_pool *pool = usable(as_pool(op));
    return pool == NULL ? NULL : sipy_pool_stats(pool);
}

static PyObject *
pool_workers(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_pool *pool = usable(as_pool(op));
    return pool == NULL ? NULL : PyLong_FromUnsignedLong(si_load_acquire(&pool->alive));
}

/* [fn(item) for item in items], or fn(*item). On failure the worker keeps what there is
 * of the list. */
PyObject *
sipy_map_chunk(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3 || !PyList_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "_map_chunk(fn, list, star)");
        return NULL;
    }
    bool star = args[2] == Py_True;
    PyObject *results = PyList_New(0);
    for (Py_ssize_t i = 0; results != NULL && i < PyList_GET_SIZE(args[1]); i++) {
        PyObject *item = Py_NewRef(PyList_GET_ITEM(args[1], i));
        PyObject *result =
            star ? PyObject_CallObject(args[0], item) : PyObject_CallOneArg(args[0], item);
        Py_DECREF(item);
        if (result == NULL || PyList_Append(results, result) < 0) {
            sipy_worker *worker = sipy_worker_here();
            if (worker != NULL) {
                worker->partial = Py_NewRef(results);
            }
            Py_CLEAR(results);
        }
        Py_XDECREF(result);
    }
    return results;
}

/* For a task that has found its interpreter broken: the worker ends after it. */
static PyObject *
retire_worker(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    sipy_worker *worker = sipy_worker_here();
    if (worker != NULL) {
        worker->retired = true;
    }
    return PyBool_FromLong(worker != NULL);
}

/* The executor's classes, which are written in Python. */
static PyObject *
use_classes(PyObject *module, PyObject *args)
{
    sipy_state *state = sipy_state_of_module(module);
    PyObject *future, *cancelled, *broken;
    if (!PyArg_ParseTuple(args, "OOO:_use_pool_classes", &future, &cancelled, &broken)) {
        return NULL;
    }
    if (!PyType_Check(future) ||
        !PyType_IsSubtype((PyTypeObject *)future, (PyTypeObject *)state->TaskFuture)) {
        PyErr_SetString(PyExc_TypeError, "Future must be a subclass of _TaskFuture");
        return NULL;
    }
    Py_XSETREF(state->Future, Py_NewRef(future));
    Py_XSETREF(state->CancelledError, Py_NewRef(cancelled));
    Py_XSETREF(state->BrokenInterpreterPool, Py_NewRef(broken));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(submit_doc,
             "submit($self, fn, /, *args, **kwargs)\n--\n\n"
             "Have fn(*args, **kwargs) called by a worker and return its Future.\n\n"
             "Function and arguments are copied now. What cannot be copied is raised by\n"
             "the future. Waits while max_pending tasks are queued.");

PyDoc_STRVAR(run_doc,
             "run($self, fn, /, *args, **kwargs)\n--\n\n"
             "Return an asyncio.Future of the call, for the running event loop.\n\n"
             "Cancelling it takes the task out of the queue, or interrupts it. Does not\n"
             "wait: max_pending does not count for it.");

static PyMethodDef pool_methods[] = {
    {"submit", _PyCFunction_CAST(pool_submit), METH_FASTCALL | METH_KEYWORDS, submit_doc},
    {"_submit", _PyCFunction_CAST(pool_submit_with), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"run", _PyCFunction_CAST(pool_run), METH_FASTCALL | METH_KEYWORDS, run_doc},
    {"_run", _PyCFunction_CAST(pool_run_with), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_open", pool_open, METH_VARARGS, NULL},
    {"_close", pool_close, METH_VARARGS, NULL},
    {"_worker_count", pool_workers, METH_NOARGS, NULL},
    {"stats", pool_stats, METH_NOARGS,
     "stats($self, /)\n--\n\n"
     "What the pool has done and does: a dict. Times are in seconds, quantiles right to\n"
     "19 %. A task of map() is a chunk."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, "A pool of native workers; see InterpreterPoolExecutor."},
    {Py_tp_new, pool_new},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_methods, pool_methods},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "subinterpreters._core.Pool",
    .basicsize = sizeof(pool_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = pool_slots,
};

static PyMethodDef pool_functions[] = {
    {"_map_chunk", _PyCFunction_CAST(sipy_map_chunk), METH_FASTCALL, NULL},
    {"_retire_worker", retire_worker, METH_NOARGS, NULL},
    {"_shutdown_pools", shutdown_all, METH_NOARGS, NULL},
    {"_use_pool_classes", use_classes, METH_VARARGS, NULL},
    {"_call_type", sipy_call_type, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
sipy_pool_types_add(PyObject *module, sipy_state *state)
{
    state->Pool = PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    if (state->Pool == NULL || PyModule_AddObjectRef(module, "_Pool", state->Pool) < 0 ||
        PyModule_AddFunctions(module, pool_functions) < 0) {
        return -1;
    }
    return sipy_future_type_add(module, state) < 0 ||
                   sipy_outbox_type_add(module, state) < 0
               ? -1
               : 0;
}
