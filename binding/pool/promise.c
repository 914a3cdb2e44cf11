/* promise.c — see promise.h. */
#include "binding/pool/promise.h"

sipy_promise
sipy_promise_of(sipy_state *state, sipy_pool *pool, sipy_job *job)
{
    sipy_pool_hold(pool);
    return (sipy_promise){.state = state,
                          .pool = pool,
                          .job = job,
                          .exception = job == NULL ? PyErr_GetRaisedException() : NULL};
}

int
sipy_promise_traverse(sipy_promise *promise, visitproc visit, void *arg)
{
    Py_VISIT(promise->result);
    Py_VISIT(promise->exception);
    return 0;
}

void
sipy_promise_clear(sipy_promise *promise)
{
    Py_CLEAR(promise->result);
    Py_CLEAR(promise->exception);
}

void
sipy_promise_fini(sipy_promise *promise)
{
    sipy_promise_clear(promise);
    if (promise->job != NULL) {
        si_task_drop(&promise->job->task);
    }
    if (promise->pool != NULL) {
        sipy_pool_drop(promise->pool);
    }
}

bool
sipy_promise_ended(const sipy_promise *promise)
{
    return promise->job == NULL || si_task_ended(&promise->job->task);
}

bool
sipy_promise_cancelled(const sipy_promise *promise)
{
    return promise->job != NULL &&
           (si_load_acquire(&promise->job->task.word) & SI_TASK_CANCELLED) != 0;
}

bool
sipy_promise_failed(const sipy_promise *promise)
{
    return sipy_promise_ended(promise) && !sipy_promise_cancelled(promise) &&
           (promise->exception != NULL || promise->job == NULL ||
            promise->job->outcome != SIPY_RETURNED);
}

int
sipy_promise_can_end(const sipy_promise *promise)
{
    if (sipy_promise_ended(promise) || sipy_pool_usable(promise->pool)) {
        return 0;
    }
    PyErr_SetString(promise->state->BrokenInterpreterPool,
                    "the task runs in the process that this one was forked from");
    return -1;
}

int
sipy_promise_decode(sipy_promise *promise)
{
    if (promise->result != NULL || promise->exception != NULL) {
        return 0;
    }
    PyObject *exception = NULL;
    PyObject *result =
        sipy_job_result(promise->pool, promise->job, promise->state, &exception);
    if (result == NULL && exception == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return -1;
        }
        exception = PyErr_GetRaisedException();
    }
    if (promise->result != NULL || promise->exception != NULL) {
        Py_XDECREF(result); /* another thread was faster while Python code ran */
        Py_XDECREF(exception);
        return 0;
    }
    promise->result = result;
    promise->exception = exception;
    return 0;
}

bool
sipy_promise_subscribe(const sipy_promise *promise, si_outbox *box, PyObject *note)
{
    if (promise->job == NULL) {
        return false;
    }
    /* In place before the reader can see it. */
    promise->job->task.note = Py_NewRef(note);
    if (!si_task_subscribe(&promise->job->task, box)) {
        promise->job->task.note = NULL;
        Py_DECREF(note);
        return false;
    }
    return true;
}
