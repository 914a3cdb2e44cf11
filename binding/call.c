/* call.c — Interpreter.call(); see execute.h.
 *
 * The caller stays in the call until it is over, so what it sends may be read in place
 * (SIPY_SYNC). Of the result, whose interpreter goes on, large bytes and text are read in
 * place too: then the visit lasts until they are decoded (SIPY_STAY).
 */
#include "binding/execute.h"
#include "binding/failure.h"
#include "binding/fork.h"
#include "binding/meter.h"
#include "binding/run.h"

/* Images are swapped out of the home and back in, so that a call inside a call (from a
 * destructor, say) finds none there and makes its own. */
static void
take_spare(sipy_image *spare, sipy_image *out)
{
    *out = *spare;
    sipy_image_init(spare);
}

/* Attached to the caller's interpreter, whose home may be gone by now. */
static void
give_spare(sipy_image *spare, sipy_image *image)
{
    sipy_image_reset(image);
    if (spare != NULL && spare->data == NULL) {
        *spare = *image;
        return;
    }
    sipy_image_fini(image);
}

/* How a visit ended. */
typedef enum visit_end {
    VISIT_OK,           /* the result is in the image */
    VISIT_RAISED,       /* the function raised, or the visit was interrupted */
    VISIT_NOT_DECODED,  /* function or arguments could not be built there */
    VISIT_NOT_RETURNED, /* the result cannot cross */
} visit_end;

/* Attached to the target: makes the call and packs its result. */
static visit_end
visit(sipy_run *run, const sipy_image *request, sipy_image *reply, sipy_failure *failure)
{
    sipy_home *home = run->interp->home;
    sipy_stage stage = SIPY_DECODING;
    sipy_meter_add(&home->interp->meter->bytes_in, request->len);
    PyObject *result = sipy_run_call(home->transfer, request, &stage);
    visit_end end = stage == SIPY_DECODING ? VISIT_NOT_DECODED : VISIT_RAISED;
    if (end == VISIT_RAISED || result != NULL) {
        sipy_run_returned(run);
    }
    if (result != NULL) {
        end = sipy_encode(home->transfer, result, SIPY_STAY, reply) == 0
                  ? VISIT_OK
                  : VISIT_NOT_RETURNED;
        sipy_meter_add(&home->interp->meter->bytes_out, reply->len);
        Py_DECREF(result);
    }
    if (end != VISIT_OK) {
        /* What interrupts the visit interrupts it, wherever it strikes. */
        bool stopped = !PyErr_ExceptionMatches(PyExc_Exception);
        end = stopped ? VISIT_RAISED : end;
        sipy_failure_capture(failure, home);
    }
    return end;
}

static PyObject *
conclude(sipy_state *state, visit_end end, const sipy_image *reply,
         const sipy_failure *failure)
{
    sipy_home *home = sipy_home_of(state);
    if (home == NULL) {
        return NULL;
    }
    switch (end) {
        case VISIT_OK:
            return sipy_decode(home->transfer, reply);
        case VISIT_RAISED:
            return sipy_failure_raise_to_caller(failure, home, state);
        case VISIT_NOT_DECODED:
            return sipy_failure_raise_not_crossed(
                failure, state, "the call could not be rebuilt in the other interpreter");
        case VISIT_NOT_RETURNED:
            break;
    }
    return sipy_failure_raise_not_crossed(failure, state, "the result cannot be sent back");
}

/* The end of a visit whose reply holds memory of interp's: it is decoded before, and given
 * back there. */
static PyObject *
conclude_in_place(sipy_state *state, sipy_run *run, visit_end end, sipy_image *reply,
                  const sipy_failure *failure)
{
    uint32_t forks = sipy_forks();
    PyObject *result = conclude(state, end, reply, failure);
    if (forks == sipy_forks()) {
        sipy_run_attach(run);
        sipy_image_reset(reply);
        sipy_run_detach(run);
        sipy_run_end(run);
    }
    else { /* decoding forked, and interp is not in this process */
        reply->hold_count = 0;
    }
    return result;
}

/* Runs the request in interp. The image is the caller's. */
static PyObject *
make_call(sipy_state *state, sipy_home *home, sipy_interp *interp,
          const sipy_image *request)
{
    sipy_run run;
    sipy_failure failure = {0};
    sipy_image reply;
    if (sipy_run_begin(&run, state, interp, "make a call in") < 0) {
        return NULL;
    }
    take_spare(&home->spare_reply, &reply);
    sipy_run_attach(&run);
    visit_end end = visit(&run, request, &reply, &failure);
    sipy_run_detach(&run);
    PyObject *result;
    if (SI_UNLIKELY(reply.hold_count > 0)) {
        result = conclude_in_place(state, &run, end, &reply, &failure);
    }
    else {
        sipy_run_end(&run);
        result = conclude(state, end, &reply, &failure);
    }
    home = state->interp->home;
    give_spare(home == NULL ? NULL : &home->spare_reply, &reply);
    sipy_failure_fini(&failure);
    return sipy_run_conclude(&run, state, result);
}

PyObject *
sipy_call(sipy_state *state, sipy_interp *interp, PyObject *func, PyObject *const *args,
          Py_ssize_t nargs, PyObject *kwnames)
{
    sipy_home *home = sipy_home_of(state);
    if (home == NULL) {
        return NULL;
    }
    if (!PyCallable_Check(func)) {
        PyErr_Format(PyExc_TypeError, "expected a callable, got %R", func);
        return NULL;
    }
    PyObject *result = NULL;
    sipy_image request;
    take_spare(&home->spare_request, &request);
    if (sipy_encode_call(home->transfer, func, args, (size_t)nargs, kwnames, SIPY_SYNC,
                         &request) == 0) {
        result = make_call(state, home, interp, &request);
    }
    home = state->interp->home;
    give_spare(home == NULL ? NULL : &home->spare_request, &request);
    return result;
}
