/* run.c — see run.h. */
#include "binding/run.h"

#include "binding/errand.h"
#include "binding/interrupt.h"
#include "binding/meter.h"

int
sipy_raise_not_found(const sipy_state *state, int64_t id)
{
    PyErr_Format(state->InterpreterNotFoundError, "unrecognized interpreter ID %lld",
                 (long long)id);
    return -1;
}

int
sipy_check_ours(const sipy_state *state, const sipy_interp *interp, const char *what)
{
    if (interp->origin == SIPY_OURS) {
        return 0;
    }
    PyErr_Format(state->InterpreterError, "cannot %s unrecognized interpreter %lld", what,
                 (long long)interp->entry.id);
    return -1;
}

int
sipy_run_begin(sipy_run *run, const sipy_state *state, sipy_interp *interp,
               const char *what)
{
    if (SI_UNLIKELY(interp->origin != SIPY_OURS)) {
        return sipy_check_ours(state, interp, what);
    }
    si_status status = SI_UNLIKELY(sipy_errand_visits(interp))
                           ? SI_BUSY
                           : si_gate_enter_exclusive(&interp->gate);
    if (SI_UNLIKELY(status != SI_OK)) {
        if (status == SI_BUSY) {
            PyErr_SetString(state->InterpreterError, "interpreter already running");
            return -1;
        }
        return sipy_raise_not_found(state, interp->entry.id);
    }
    sipy_interrupt_expect(interp);
    run->interp = interp;
    sipy_home *home = state->interp->home;
    /* What was written before comes before. */
    if (SI_LIKELY(home != NULL) && SI_UNLIKELY(sipy_home_flush_stdout(home) < 0)) {
        sipy_run_end(run);
        return -1;
    }
    run->outer = state->interp->origin == SIPY_OURS ? state->interp : NULL;
    run->caller = NULL;
    run->ctrl_c = SIPY_CTRL_C_NONE;
    run->slot = sipy_slot_get(interp);
    if (SI_UNLIKELY(run->slot == NULL)) {
        sipy_run_end(run);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
sipy_run_attach(sipy_run *run)
{
    sipy_interp *interp = run->interp;
    run->caller = sipy_slot_enter(run->slot);
    sipy_interrupt_open(interp);
    if (run->outer != NULL) {
        sipy_interrupt_pass_on(run->outer, run->caller);
    }
    sipy_meter_begin(interp);
    sipy_ctrl_c_enter(&run->scope, run->slot->ts);
    run->marked = sipy_compat_set_running(interp->native) == 0;
    if (!run->marked) {
        PyErr_Clear(); /* 3.12's own module runs something there: we share the GIL */
    }
    sipy_slots_reap(interp);
    sipy_errands_run(interp);
    sipy_home_apply_hooks(interp->home);
}

void
sipy_run_detach(sipy_run *run)
{
    sipy_interp *interp = run->interp;
    sipy_home_flush(interp->home);
    sipy_errands_run(interp);
    run->ctrl_c |= sipy_ctrl_c_leave(&run->scope);
    (void)sipy_meter_end(interp);
    sipy_interrupt_shut(interp);
    sipy_compat_reset_thread(run->slot->ts);
    if (run->marked) {
        sipy_compat_unset_running(interp->native);
    }
    sipy_slot_leave(run->caller);
    run->caller = NULL;
}

void
sipy_run_end(sipy_run *run)
{
    if (SI_UNLIKELY(si_load_relaxed(&run->interp->coming) != 0)) {
        sipy_interrupt_unexpect(run->interp);
    }
    si_gate_leave_exclusive(&run->interp->gate);
}

/* What ended the run may have been asked of the caller, which has come to no bytecode. */
static void
raise_what_is_due(sipy_interp *outer)
{
    PyObject *failure = PyErr_GetRaisedException();
    if (sipy_interrupt_deliver(outer) < 0) {
        PyObject *due = PyErr_GetRaisedException();
        PyException_SetCause(due, failure); /* takes the reference */
        failure = due;
    }
    PyErr_SetRaisedException(failure);
}

PyObject *
sipy_run_conclude(const sipy_run *run, const sipy_state *state, PyObject *result)
{
    if (result == NULL && run->outer != NULL) {
        raise_what_is_due(run->outer);
    }
    if (SI_LIKELY(run->ctrl_c == SIPY_CTRL_C_NONE)) {
        return result;
    }
    sipy_ctrl_c_conclude(state, run->ctrl_c);
    if (PyErr_Occurred()) {
        Py_CLEAR(result);
    }
    return result;
}
