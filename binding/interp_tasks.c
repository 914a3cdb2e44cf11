/* interp_tasks.c — Interpreter.submit and call_async: a pool of one worker each. */
#include "binding/interp_extras.h"
#include "binding/pool/pool.h"
#include "binding/run.h"

void
sipy_tasks_drop(sipy_pool *tasks)
{
    if (sipy_pool_usable(tasks)) {
        sipy_pool_close(tasks);
    }
    sipy_pool_drop(tasks);
}

/* The pool behind self, made at the first call; borrowed | NULL with an exception. */
static sipy_pool *
tasks_of(sipy_interpreter *self)
{
    sipy_state *state = self->state;
    sipy_interp *interp = sipy_interpreter_driven(self, "make a call in");
    if (interp == NULL || sipy_check_ours(state, interp, "make a call in") < 0) {
        return NULL;
    }
    if (si_gate_is_closed(&interp->gate)) {
        sipy_raise_not_found(state, self->id);
        return NULL;
    }
    if (state->Future == NULL) { /* the executor's classes are not there yet */
        PyObject *executor = PyImport_ImportModule("subinterpreters.executor");
        if (executor == NULL) {
            return NULL;
        }
        Py_DECREF(executor);
    }
    if (self->tasks == NULL) {
        self->tasks = sipy_bound_new(state->interp, interp);
        if (self->tasks == NULL) {
            PyErr_NoMemory();
        }
    }
    else if (!sipy_pool_usable(self->tasks)) {
        sipy_raise_not_found(state, self->id); /* in the child of a fork */
        return NULL;
    }
    return self->tasks;
}

/* As tasks_of, with the function looked at. */
static sipy_pool *
tasks_for(sipy_interpreter *self, const sipy_order *order)
{
    sipy_pool *tasks = tasks_of(self);
    if (tasks != NULL && !PyCallable_Check(order->func)) {
        PyErr_Format(PyExc_TypeError, "expected a callable, got %R", order->func);
        return NULL;
    }
    return tasks;
}

/* The call that the arguments of name() ask for. -> 0 | -1 with TypeError */
static int
parse_order(sipy_order *order, const char *name, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: 'fn'",
                     name);
        return -1;
    }
    *order = (sipy_order){
        .func = args[0], .args = args + 1, .nargs = (size_t)nargs - 1, .kwnames = kwnames};
    return 0;
}

PyObject *
sipy_interpreter_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    sipy_order order;
    sipy_interpreter *self = sipy_interpreter_of(op);
    if (parse_order(&order, "submit", args, nargs, kwnames) < 0) {
        return NULL;
    }
    sipy_pool *tasks = tasks_for(self, &order);
    return tasks == NULL ? NULL : sipy_submit(self->state, tasks, &order);
}

PyObject *
sipy_interpreter_call_async(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    sipy_order order;
    sipy_interpreter *self = sipy_interpreter_of(op);
    if (parse_order(&order, "call_async", args, nargs, kwnames) < 0) {
        return NULL;
    }
    sipy_pool *tasks = tasks_for(self, &order);
    return tasks == NULL ? NULL : sipy_submit_awaited(self->state, tasks, &order);
}
