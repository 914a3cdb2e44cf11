/* interp_inspect.c — looking at an interpreter while it runs: stats() and stack().
 *
 * To read a stack one needs the GIL of the interpreter, and code in C may keep it for ever.
 * So a thread of its own waits for it, inside a plain gate entry, with a thread state that
 * is nobody's slot; who asked waits for that thread for LOOK_NS and then goes on without.
 */
#include "binding/attach.h"
#include "binding/interp_extras.h"
#include "binding/meter.h"
#include "binding/pool/pool.h"
#include "binding/run.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"
#include "core/platform/thread.h"

#define LOOK_NS 1000000000
#define TEXT_SIZE 16384 /* deeper stacks are cut at the far end */

/* --- stats --------------------------------------------------------------------------- */

static const char *
state_of(const sipy_interp *interp)
{
    if (si_gate_is_closed(&interp->gate)) {
        return "closed";
    }
    return si_gate_is_running(&interp->gate) ? "running" : "idle";
}

PyObject *
sipy_interpreter_stats(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    const sipy_interp *interp = sipy_interpreter_driven(self, "look into");
    if (interp == NULL || sipy_check_ours(self->state, interp, "look into") < 0) {
        return NULL;
    }
    const sipy_meter *meter = interp->meter;
    uint64_t since = si_load_acquire(&meter->since);
    PyObject *running =
        since == 0
            ? Py_NewRef(Py_None)
            : PyFloat_FromDouble((double)sipy_meter_ns(meter, si_ticks() - since) * 1e-9);
    if (running == NULL) {
        return NULL;
    }
    int64_t cpu_ns = si_load_relaxed(&meter->cpu_ns) +
                     sipy_meter_ns(meter, si_load_relaxed(&meter->brief_ticks));
    int64_t busy_ns = sipy_meter_ns(meter, si_load_relaxed(&meter->busy_ticks));
    return Py_BuildValue("{sssNsKsdsdsKsK}", "state", state_of(interp), "running_for",
                         running, "runs", (unsigned long long)si_load_relaxed(&meter->runs),
                         "busy", (double)busy_ns * 1e-9, "cpu", (double)cpu_ns * 1e-9,
                         "bytes_in", (unsigned long long)si_load_relaxed(&meter->bytes_in),
                         "bytes_out",
                         (unsigned long long)si_load_relaxed(&meter->bytes_out));
}

/* --- stack --------------------------------------------------------------------------- */

typedef struct look {
    si_task task;        /* first; ends when the text is there */
    sipy_interp *interp; /* a reference and a plain entry, which the thread gives back */
    size_t size;
    char text[TEXT_SIZE];
} look;

static void
destroy_look(si_task *task)
{
    look *l = (look *)task;
    sipy_interp_drop(l->interp);
    si_free(l);
}

/* One line of the text, which grows from its end: the innermost frame comes first here and
 * last there. -> false: no more room */
static bool
add_frame(look *l, PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *line =
        PyUnicode_FromFormat("  File \"%U\", line %d, in %U\n", code->co_filename,
                             PyFrame_GetLineNumber(frame), code->co_qualname);
    PyObject *bytes =
        line == NULL ? NULL : PyUnicode_AsEncodedString(line, "utf-8", "backslashreplace");
    bool fits = bytes != NULL && (size_t)PyBytes_GET_SIZE(bytes) <= TEXT_SIZE - l->size;
    if (fits) {
        l->size += (size_t)PyBytes_GET_SIZE(bytes);
        memcpy(l->text + TEXT_SIZE - l->size, PyBytes_AS_STRING(bytes),
               (size_t)PyBytes_GET_SIZE(bytes));
    }
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(line);
    Py_DECREF(code);
    return fits;
}

typedef struct runner {
    uint64_t thread;
    PyThreadState *ts;
} runner;

static bool
is_runner(PyThreadState *ts, void *arg)
{
    runner *r = arg;
    if (ts->thread_id == r->thread) {
        r->ts = ts;
    }
    return r->ts == NULL;
}

/* Attached to the interpreter: no frame of it moves. */
static void
read_stack(look *l)
{
    runner r = {si_load_relaxed(&l->interp->run_thread), NULL};
    if (r.thread != 0) {
        sipy_compat_each_state(l->interp->native, is_runner, &r);
    }
    PyFrameObject *frame = r.ts == NULL ? NULL : PyThreadState_GetFrame(r.ts);
    while (frame != NULL) {
        bool more = add_frame(l, frame);
        PyFrameObject *back = more ? PyFrame_GetBack(frame) : NULL;
        Py_DECREF(frame);
        frame = back;
    }
}

static void
look_main(void *arg)
{
    look *l = arg;
    PyThreadState *ts = sipy_brief_enter(l->interp);
    if (ts != NULL) {
        read_stack(l);
        sipy_brief_leave(ts);
    }
    si_gate_leave(&l->interp->gate);
    if (si_task_claim(&l->task)) {
        si_task_finish(&l->task, SI_TASK_DONE);
    }
    si_task_drop(&l->task);
}

/* Starts the look. -> a reference | NULL: no memory, no thread, or the gate is shut */
static look *
begin_look(sipy_interp *interp)
{
    look *l = si_calloc(sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    si_task_init(&l->task, destroy_look);
    si_entry_hold(&interp->entry);
    l->interp = interp;
    if (si_gate_enter(&interp->gate) == SI_OK) {
        si_task_hold(&l->task);
        if (si_thread_start(look_main, l, "stack") == SI_OK) {
            return l;
        }
        si_task_drop(&l->task);
        si_gate_leave(&interp->gate);
    }
    si_task_drop(&l->task);
    return NULL;
}

PyObject *
sipy_interpreter_stack(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    sipy_interp *interp = sipy_interpreter_driven(self, "look into");
    if (interp == NULL || sipy_check_ours(self->state, interp, "look into") < 0) {
        return NULL;
    }
    if (interp == self->state->interp || !si_gate_is_running(&interp->gate)) {
        return PyUnicode_FromString("");
    }
    look *l = begin_look(interp);
    if (l == NULL) {
        return si_gate_is_closed(&interp->gate) ? PyUnicode_FromString("")
                                                : PyErr_NoMemory();
    }
    int ended =
        sipy_wait_for_task(&l->task, self->state->interp, si_deadline_after(LOOK_NS));
    PyObject *text = NULL;
    if (ended > 0) {
        text = PyUnicode_DecodeUTF8(l->text + TEXT_SIZE - l->size, (Py_ssize_t)l->size,
                                    "replace");
    }
    else if (ended == 0) {
        text = PyUnicode_FromString("  (in a call into C that keeps the GIL)\n");
    }
    si_task_drop(&l->task);
    return text;
}
