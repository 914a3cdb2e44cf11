/* outcome.c — jobs: made in the owner, run in a worker, read in the owner; see pool.h.
 *
 * The outcome is written by whoever claims the job, before the finish that publishes it;
 * from then on it does not change and any thread may read it. The call's own packet is
 * the worker's alone.
 */
#include <string.h>

#include "binding/attach.h"
#include "binding/interrupt.h"
#include "binding/meter.h"
#include "binding/pool/pool.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"

/* --- in the owner --------------------------------------------------------------------- */

static sipy_packet *
request_of(sipy_job *job)
{
    return sipy_packet_behind(job, SIPY_JOB_HEADER);
}

static void
drop_request(sipy_job *job)
{
    if (!job->request_gone) {
        job->request_gone = true;
        sipy_packet_fini(request_of(job));
    }
}

static void
drop_reply(void *reply)
{
    if (reply != NULL) {
        sipy_packet_fini(sipy_packet_behind(reply, 0));
        si_free(reply);
    }
}

static void
destroy_job(si_task *task)
{
    sipy_job *job = (sipy_job *)task;
    drop_request(job);
    drop_reply(job->reply);
    if (job->failure != NULL) {
        sipy_failure_fini(job->failure);
        si_free(job->failure);
    }
    si_free(job);
}

bool
sipy_job_cancel(sipy_pool *pool, sipy_job *job)
{
    bool mine = si_task_queue_cancel(&pool->queue, &job->task);
    if (mine) {
        drop_request(job);
    }
    return mine;
}

void
sipy_job_end_unrun(sipy_job *job, sipy_outcome outcome)
{
    if (si_task_claim(&job->task)) {
        drop_request(job);
        job->outcome = outcome;
        si_task_finish(&job->task,
                       outcome == SIPY_BROKEN ? SI_TASK_DONE : SI_TASK_CANCELLED);
    }
    si_task_drop(&job->task);
}

sipy_job *
sipy_job_new(sipy_home *home, PyObject *func, PyObject *const *args, size_t nargs,
             PyObject *kwnames)
{
    sipy_job *job = sipy_encode_call_packet(home->transfer, func, args, nargs, kwnames,
                                            SIPY_ASYNC, SIPY_JOB_HEADER);
    if (job != NULL) {
        si_task_init(&job->task, destroy_job);
    }
    return job;
}

/* --- in the worker -------------------------------------------------------------------- */

/* Notes that the task was ended by what was asked for, if what ended it may be that. */
static void
note_end(const sipy_job *job, sipy_attempt *out, bool keyboard, bool timeout)
{
    if (keyboard && si_load_acquire(&job->stop) != 0) {
        out->stopped = true;
    }
    if (timeout && si_load_acquire(&job->late) != 0) {
        out->outcome = SIPY_TIMED_OUT;
    }
}

static uint32_t
interrupts_of(const sipy_worker *worker)
{
    return si_load_relaxed(&worker->interp->interrupts);
}

/* Makes the call and packs what it returns. An exception may be set afterwards. */
static void
make_call(sipy_worker *worker, sipy_job *job, sipy_attempt *out)
{
    sipy_home *home = worker->interp->home;
    sipy_meter *meter = worker->interp->meter;
    sipy_stage stage = SIPY_DECODING;
    uint32_t interrupts = interrupts_of(worker);
    sipy_meter_add(&meter->bytes_in, request_of(job)->len);
    PyObject *result = sipy_run_call_packet(home->transfer, request_of(job), &stage);
    if (result == NULL) {
        out->outcome = stage == SIPY_DECODING ? SIPY_NOT_REBUILT : SIPY_RAISED;
    }
    else {
        interrupts = interrupts_of(worker);
        out->reply = sipy_encode_packet(home->transfer, result, SIPY_ASYNC, 0);
        out->outcome = out->reply != NULL ? SIPY_RETURNED : SIPY_NOT_RETURNED;
        if (out->reply != NULL) {
            sipy_meter_add(&meter->bytes_out, sipy_packet_behind(out->reply, 0)->len);
        }
        Py_DECREF(result);
    }
    if ((out->outcome == SIPY_NOT_REBUILT || out->outcome == SIPY_NOT_RETURNED) &&
        interrupts_of(worker) != interrupts) {
        note_end(job, out, true, true); /* no fault of the values */
    }
    if (out->outcome == SIPY_RETURNED) {
        sipy_home_flush(home); /* inside the run: a stream may be code of anybody */
    }
}

/* Takes the exception that is set. Inside the run: to describe it is code of anybody. */
static void
capture(sipy_worker *worker, const sipy_job *job, sipy_attempt *out)
{
    sipy_home *home = worker->interp->home;
    uint32_t interrupts = interrupts_of(worker);
    note_end(job, out, PyErr_ExceptionMatches(PyExc_KeyboardInterrupt),
             PyErr_ExceptionMatches(PyExc_TimeoutError));
    /* An interrupt that came too late must not hit what runs now. */
    PyObject *exc = PyErr_GetRaisedException();
    sipy_compat_reset_thread(worker->slot->ts);
    PyErr_SetRaisedException(exc);
    out->failure = si_calloc(sizeof(*out->failure));
    if (out->failure == NULL) {
        PyErr_Clear();
        return;
    }
    sipy_failure_capture(out->failure, home);
    if (worker->partial != NULL) {
        out->reply = sipy_encode_packet(home->transfer, worker->partial, SIPY_ASYNC, 0);
        PyErr_Clear(); /* then the results in front of the failure are lost, not it */
    }
    sipy_home_flush(home);
    if (interrupts_of(worker) != interrupts) {
        note_end(job, out, true, true); /* it has struck the description */
    }
}

bool
sipy_job_stop(sipy_pool *pool, sipy_job *job)
{
    /* Either this finds the run, or the worker, which shows it first, finds the mark. */
    si_store_seq_cst(&job->stop, 1);
    return sipy_job_cancel(pool, job) || sipy_pool_interrupt(pool, job) ||
           (si_load_acquire(&job->task.word) & SI_TASK_DONE) == 0;
}

/* From here on the job can be interrupted, and the keeper sees it. */
static int64_t
begin_run(sipy_worker *worker, sipy_job *job)
{
    sipy_interp *interp = worker->interp;
    int64_t now_ns = si_now_ns();
    si_store_release(&job->late, 0);
    job->worker = worker->number;
    job->interp_id = interp->entry.id;
    sipy_interrupt_open(interp);
    sipy_meter_begin(interp);
    si_store_release(&worker->run, si_load_relaxed(&interp->run));
    si_store_release(&worker->started_ns, now_ns);
    si_store_seq_cst(&worker->current, (uint64_t)(uintptr_t)job);
    if (job->timeout_ns != 0) {
        int64_t due_ns = now_ns + job->timeout_ns;
        si_store_seq_cst(&worker->due_ns, due_ns);
        sipy_keeper_expect(worker->pool, due_ns);
    }
    return now_ns;
}

static void
end_run(sipy_worker *worker, sipy_job *job)
{
    sipy_pool *pool = worker->pool;
    job->cpu_ns = sipy_meter_end(worker->interp);
    if (job->timeout_ns != 0) {
        si_mutex_lock(&pool->mu);
        si_store_release(&worker->due_ns, 0);
        si_store_release(&worker->current, 0);
        si_mutex_unlock(&pool->mu);
    }
    else {
        si_store_release(&worker->current, 0);
    }
    sipy_interrupt_shut(worker->interp);
}

static void
count_run(sipy_worker *worker, sipy_job *job, int64_t started_ns)
{
    int64_t run_ns = si_now_ns() - started_ns;
    job->run_ns = run_ns;
    if (job->cpu_ns < 0) {
        job->cpu_ns = run_ns;
    }
    sipy_histogram_add(&worker->run_times, run_ns);
    sipy_histogram_add(&worker->wait_times, started_ns - job->submitted_ns);
    sipy_meter_add(&worker->tasks, 1);
    sipy_meter_add(&worker->busy_ns, (uint64_t)run_ns);
    sipy_meter_add(&worker->cpu_ns, (uint64_t)job->cpu_ns);
}

static void
drop_attempt(sipy_attempt *tried)
{
    drop_reply(tried->reply);
    if (tried->failure != NULL) {
        sipy_failure_fini(tried->failure);
        si_free(tried->failure);
    }
}

void
sipy_job_run(sipy_worker *worker, sipy_job *job, sipy_attempt *tried)
{
    *tried = (sipy_attempt){SIPY_NO_OUTCOME, NULL, NULL, false};
    int64_t started_ns = begin_run(worker, job);
    if (si_load_seq_cst(&job->stop) == 0 && si_load_seq_cst(&worker->pool->no_runs) == 0) {
        make_call(worker, job, tried);
    }
    else {
        tried->stopped = true;
    }
    if (PyErr_Occurred()) {
        capture(worker, job, tried);
    }
    Py_CLEAR(worker->partial);
    end_run(worker, job);
    sipy_compat_reset_thread(worker->slot->ts);
    count_run(worker, job, started_ns);
}

void
sipy_job_conclude(sipy_pool *pool, sipy_job *job, sipy_attempt *tried)
{
    bool again = tried->outcome != SIPY_RETURNED && !tried->stopped && job->retries > 0 &&
                 si_load_acquire(&job->stop) == 0 && si_load_acquire(&pool->no_starts) == 0;
    bool mine = si_task_claim(&job->task);
    (void)si_add_seq_cst(&pool->idle, 1);
    if (!mine) {
        drop_attempt(tried); /* the keeper gave the job up in the meantime */
        return;
    }
    if (again) {
        drop_attempt(tried);
        job->retries--;
        job->submitted_ns = si_now_ns();
        si_task_queue_put_back(&pool->queue, &job->task);
        if (si_load_seq_cst(&pool->no_starts) != 0) {
            (void)sipy_job_cancel(pool, job); /* or another one did */
        }
        return;
    }
    drop_request(job);
    job->outcome = tried->outcome;
    job->reply = tried->reply;
    job->failure = tried->failure;
    si_task_finish(&job->task, tried->stopped ? SI_TASK_CANCELLED : SI_TASK_DONE);
}

/* --- in the owner again --------------------------------------------------------------- */

/* The exception that is set, as an object. */
static PyObject *
take_exception(void)
{
    return PyErr_GetRaisedException();
}

/* Adds a note to error that says where it happened. -> 0 | -1 with an error */
static int
add_place(const sipy_pool *pool, const sipy_job *job, PyObject *error)
{
    PyObject *note = PyUnicode_FromFormat(
        "task %llu of %s, in worker %u (interpreter %lld)", (unsigned long long)job->number,
        pool->name, job->worker, (long long)job->interp_id);
    PyObject *done = note == NULL ? NULL : sipy_compat_method(error, "add_note", note);
    Py_XDECREF(note);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The failure as an ExecutionFailed that says where it happened, or NULL with an error. */
static PyObject *
execution_failed(const sipy_pool *pool, const sipy_job *job, sipy_home *home,
                 sipy_state *state)
{
    sipy_failure_raise(job->failure, home, state);
    if (!PyErr_ExceptionMatches(state->ExecutionFailed)) {
        return NULL;
    }
    PyObject *error = take_exception();
    if (add_place(pool, job, error) < 0) {
        Py_CLEAR(error);
    }
    return error;
}

/* A new exception of class error, caused by cause (stolen, may be NULL). The text may be
 * cut in the middle of a character. */
static PyObject *
caused_by(PyObject *error, const char *text, PyObject *cause)
{
    PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (message != NULL) {
        PyErr_SetObject(error, message);
        Py_DECREF(message);
    }
    PyObject *exc = take_exception();
    PyException_SetCause(exc, cause);
    return exc;
}

/* What did not cross, with the reason in its text: programs log that without the causes. */
static PyObject *
not_crossed(const sipy_job *job, sipy_state *state, const char *text, PyObject *cause)
{
    if (job->failure == NULL) {
        return caused_by(state->NotShareableError, text, cause);
    }
    sipy_failure_raise_not_crossed(job->failure, state, text);
    PyObject *exc = take_exception();
    PyException_SetCause(exc, cause);
    return exc;
}

/* The exception itself where it could cross, else the ExecutionFailed (stolen), which is
 * its cause. With another cause it says itself where it happened. */
static PyObject *
original_of(const sipy_pool *pool, const sipy_job *job, PyObject *failed)
{
    PyObject *original = PyObject_GetAttrString(failed, "original");
    if (original == NULL || !PyExceptionInstance_Check(original)) {
        PyErr_Clear();
        Py_XDECREF(original);
        return failed;
    }
    /* Each would keep the other, and what the traceback refers to, until a collection. */
    if (PyObject_SetAttrString(failed, "original", Py_None) < 0) {
        PyErr_Clear();
    }
    PyObject *cause = PyException_GetCause(original);
    if (cause != failed && add_place(pool, job, original) < 0) {
        PyErr_Clear(); /* it refuses notes */
    }
    Py_XDECREF(cause);
    Py_DECREF(failed);
    return original;
}

static PyObject *
timed_out(const sipy_pool *pool, const sipy_job *job, PyObject *failed)
{
    char text[256];
    (void)snprintf(text, sizeof(text),
                   failed != NULL ? "task %llu of %.80s exceeded its timeout of %g s"
                                  : "task %llu of %.80s exceeded its timeout of %g s and "
                                    "did not stop: worker %u was replaced",
                   (unsigned long long)job->number, pool->name,
                   (double)job->timeout_ns / 1e9, job->worker);
    return caused_by(PyExc_TimeoutError, text, failed);
}

PyObject *
sipy_pool_broken(sipy_pool *pool, sipy_state *state)
{
    PyObject *cause = NULL;
    sipy_home *home = state->interp->home;
    if (pool->broken_failure.name.data != NULL && home != NULL) {
        sipy_failure_raise(&pool->broken_failure, home, state);
        cause = take_exception();
        if (!pool->reported) {
            pool->reported = true;
            PyObject *done =
                PyObject_CallMethod(state->BrokenInterpreterPool, "_report", "O", cause);
            if (done == NULL) {
                PyErr_WriteUnraisable(state->BrokenInterpreterPool);
            }
            Py_XDECREF(done);
        }
    }
    return caused_by(pool->bound == NULL ? state->BrokenInterpreterPool
                                         : state->InterpreterNotFoundError,
                     pool->broken_text, cause);
}

/* What a job without a result raises; NULL with an exception set (no memory). */
static PyObject *
exception_of(sipy_pool *pool, const sipy_job *job, sipy_home *home, sipy_state *state)
{
    if (job->outcome == SIPY_BROKEN) {
        return sipy_pool_broken(pool, state);
    }
    PyObject *failed = NULL;
    if (job->failure != NULL) {
        failed = execution_failed(pool, job, home, state);
        if (failed == NULL) {
            return NULL;
        }
    }
    switch (job->outcome) {
        case SIPY_TIMED_OUT:
            return timed_out(pool, job, failed);
        case SIPY_NOT_REBUILT:
            failed = caused_by(state->NotShareableError,
                               "the call could not be unpickled in the worker", failed);
            return not_crossed(job, state, "args not shareable", failed);
        case SIPY_NOT_RETURNED:
            return not_crossed(job, state, "the result cannot be sent back", failed);
        default:
            break;
    }
    return failed == NULL ? caused_by(PyExc_MemoryError, "in the worker", NULL)
                          : original_of(pool, job, failed);
}

PyObject *
sipy_job_result(sipy_pool *pool, const sipy_job *job, sipy_state *state,
                PyObject **exception)
{
    sipy_home *home = sipy_home_of(state);
    *exception = NULL;
    if (home == NULL) {
        return NULL;
    }
    if (job->outcome == SIPY_RETURNED) {
        return sipy_decode_packet(home->transfer, sipy_packet_behind(job->reply, 0));
    }
    *exception = exception_of(pool, job, home, state);
    return NULL;
}
