/* spares.c — see spares.h.
 *
 * Lock order: spares_mu is a leaf; interpreters are made, ended and handed out without it.
 */
#include "binding/pool/spares.h"

#include <limits.h>

#include "binding/args.h"
#include "binding/attach.h"
#include "binding/interrupt.h"
#include "binding/lifecycle.h"
#include "binding/listing.h"
#include "binding/run.h"
#include "core/base/alloc.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"
#include "core/platform/thread.h"
#include "core/wait/waiter.h"

#define MOST 64

/* What keep_ready() was told to import, for the thread and for those who change it. */
typedef struct module_names {
    si_atomic_u32 refs;
    sipy_image image;
} module_names;

static si_mutex spares_mu = SI_MUTEX_INIT;
static sipy_interp *ready[MOST] SI_GUARDED_BY(spares_mu); /* reference and handle each */
static size_t ready_count SI_GUARDED_BY(spares_mu);
static size_t wanted SI_GUARDED_BY(spares_mu);
static bool thread_runs SI_GUARDED_BY(spares_mu);
static bool failing SI_GUARDED_BY(spares_mu);     /* the last one could not be made */
static uint64_t edition SI_GUARDED_BY(spares_mu); /* counts sipy_spares_renew */
static si_waiter *maker SI_GUARDED_BY(spares_mu); /* the thread sleeps, or NULL */
static si_atomic_u32 turns; /* the thread ended, or is wanted again; a futex */
static module_names *preload SI_GUARDED_BY(spares_mu); /* a reference, or NULL: none */
static _Thread_local bool making;                      /* this thread makes a spare */
static si_atomic_i64 hidden_from =
    INT64_MAX; /* ids from here on may be one in the making */

static void
kick(si_waiter *w, bool sleeps)
{
    if (w != NULL && sleeps) {
        si_waiter_kick(w);
    }
}

static void
wake_maker(void)
{
    si_mutex_lock(&spares_mu);
    si_waiter *w = maker;
    bool sleeps = w != NULL && si_waiter_signal(w);
    si_mutex_unlock(&spares_mu);
    kick(w, sleeps);
}

static void
drop_names(module_names *names)
{
    if (names != NULL && si_sub_acq_rel(&names->refs, 1) == 1) {
        sipy_image_fini(&names->image);
        si_free(names);
    }
}

/* --- throwing away ------------------------------------------------------------------- */

/* Ends an interpreter that nobody has seen. Attached to another one, or to none. */
static void
throw_away(sipy_interp *interp)
{
    if (si_gate_close(&interp->gate, true) == SI_OK) {
        PyThreadState *caller = sipy_detach();
        sipy_interp_end_detached(interp);
        sipy_reattach(caller);
    }
    (void)si_sub_acq_rel(&interp->handles, 1);
    sipy_interp_drop(interp);
}

/* Takes the newest spare off the list, or returns NULL. */
static sipy_interp *
take_one(size_t keep)
{
    si_mutex_lock(&spares_mu);
    sipy_interp *interp = ready_count > keep ? ready[--ready_count] : NULL;
    si_mutex_unlock(&spares_mu);
    return interp;
}

static void
throw_all_away(size_t keep)
{
    sipy_interp *interp;
    while ((interp = take_one(keep)) != NULL) {
        throw_away(interp);
    }
}

/* --- the thread ----------------------------------------------------------------------- */

/* Imports the modules in names; what cannot be imported is left out: the import that
 * needs it will say why. Attached to the spare. */
static void
import_all(sipy_home *home, const sipy_image *names)
{
    PyObject *list = sipy_decode(home->transfer, names);
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *module = PyImport_Import(PyList_GET_ITEM(list, i));
        if (module == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(module);
    }
    Py_XDECREF(list);
    PyErr_Clear();
}

bool
sipy_spare_in_the_making(void)
{
    return making;
}

/* Until a spare has its record, an unknown interpreter that is newer than all others may
 * be it. -> false: no memory */
static bool
hide_from_newest(void)
{
    int64_t *ids;
    size_t count;
    if (sipy_list_ids(&ids, &count) < 0) {
        return false;
    }
    si_store_release(&hidden_from, count == 0 ? 1 : ids[count - 1] + 1);
    si_free(ids);
    return true;
}

bool
sipy_spare_is_hidden(int64_t id)
{
    sipy_interp *interp = sipy_interp_find(id);
    if (interp == NULL) {
        return id >= si_load_acquire(&hidden_from);
    }
    bool hidden = si_load_acquire(&interp->spare) != 0;
    sipy_interp_drop(interp);
    return hidden;
}

/* Visits the new interpreter to import names. Attached to main, also afterwards. */
static void
warm_up(sipy_interp *interp, const module_names *names)
{
    if (names == NULL || names->image.len == 0 ||
        si_gate_enter_exclusive(&interp->gate) != SI_OK) {
        return;
    }
    sipy_slot *slot = sipy_slot_get(interp);
    if (slot != NULL) {
        PyThreadState *caller = sipy_slot_enter(slot);
        sipy_interrupt_open(interp);
        import_all(interp->home, &names->image);
        sipy_interrupt_shut(interp);
        sipy_compat_reset_thread(slot->ts);
        sipy_slot_leave(caller);
    }
    si_gate_leave_exclusive(&interp->gate);
}

/* Attached to main inside an entry. -> interpreter with reference and handle | NULL */
static sipy_interp *
make_spare(sipy_interp *owner, const module_names *names)
{
    PyThreadState *ts = sipy_brief_enter(owner);
    if (ts == NULL) {
        return NULL;
    }
    sipy_home *home = owner->home;
    sipy_interp *interp = NULL;
    if (home != NULL && home->state != NULL && hide_from_newest()) {
        making = true;
        interp = sipy_interp_create(home->state, true);
        making = false;
        si_store_release(&hidden_from, INT64_MAX);
    }
    PyErr_Clear(); /* create() itself will say why there is none */
    if (interp != NULL) {
        warm_up(interp, names);
    }
    sipy_brief_leave(ts);
    return interp;
}

/* Makes one more and puts it on the list, or throws it away if it came too late. */
static void
add_spare(void)
{
    si_mutex_lock(&spares_mu);
    uint64_t mine = edition;
    module_names *names = preload;
    if (names != NULL) {
        (void)si_add_relaxed(&names->refs, 1);
    }
    si_mutex_unlock(&spares_mu);
    sipy_interp *owner = sipy_interp_find(0);
    sipy_interp *made = NULL;
    if (owner != NULL && si_gate_enter(&owner->gate) == SI_OK) {
        if (!sipy_process_exiting() && !sipy_compat_runtime_finalizing()) {
            made = make_spare(owner, names);
        }
        si_gate_leave(&owner->gate);
    }
    sipy_interp_drop(owner);
    drop_names(names);
    si_mutex_lock(&spares_mu);
    bool keep = made != NULL && mine == edition && ready_count < wanted;
    failing = made == NULL;
    if (keep) {
        ready[ready_count++] = made;
    }
    si_mutex_unlock(&spares_mu);
    if (made != NULL && !keep) {
        throw_away(made);
    }
}

/* What the thread is to do. */
typedef enum chore {
    MAKE,
    SLEEP,
    LEAVE,
} chore;

static chore
next_chore(si_waiter *w)
{
    chore next = SLEEP;
    si_waiter_arm(w);
    si_mutex_lock(&spares_mu);
    maker = NULL;
    if (wanted == 0 || failing) {
        next = LEAVE; /* the next create() starts it again */
        thread_runs = false;
    }
    else if (ready_count < wanted) {
        next = MAKE;
    }
    else {
        maker = w;
    }
    si_mutex_unlock(&spares_mu);
    return next;
}

/* Has those who wait for the end of the thread look again. */
static void
turn(void)
{
    (void)si_add_seq_cst(&turns, 1);
    si_futex_wake(&turns, INT_MAX);
}

static void
maker_main(void *Py_UNUSED(arg))
{
    si_waiter waiter;
    chore next;
    while ((next = next_chore(&waiter)) != LEAVE) {
        if (next == MAKE) {
            add_spare();
        }
        else {
            si_status status = si_waiter_park(&waiter, SI_FOREVER);
            (void)status; /* whatever ended the sleep: it looks again */
        }
    }
    turn();
}

/* Starts the thread if it is wanted and not there. */
static void
start_maker(void)
{
    si_mutex_lock(&spares_mu);
    bool start = wanted > 0 && !thread_runs;
    thread_runs |= start;
    failing = false;
    si_mutex_unlock(&spares_mu);
    if (!start) {
        wake_maker();
        return;
    }
    if (si_thread_start(maker_main, NULL, "spares") != SI_OK) {
        si_mutex_lock(&spares_mu);
        thread_runs = false; /* create() makes its own; it will be tried again */
        si_mutex_unlock(&spares_mu);
    }
}

/* --- handing out ---------------------------------------------------------------------- */

/* Gives the spare the caller's sys.path. -> 0 | -1 with an exception */
static int
give_path(sipy_state *state, sipy_interp *interp)
{
    sipy_run run;
    sipy_home *home = sipy_home_of(state);
    PyObject *path = PySys_GetObject("path");
    PyObject *copy = path == NULL || home == NULL ? NULL : PySequence_List(path);
    sipy_image image;
    sipy_image_init(&image);
    int result = -1;
    if (copy != NULL && sipy_encode(home->transfer, copy, SIPY_ASYNC, &image) == 0 &&
        sipy_run_begin(&run, state, interp, "create") == 0) {
        sipy_run_attach(&run);
        PyObject *list = sipy_decode(interp->home->transfer, &image);
        if (list == NULL || PySys_SetObject("path", list) < 0) {
            PyErr_Clear(); /* no memory: it keeps the one of the main interpreter */
        }
        Py_XDECREF(list);
        sipy_run_detach(&run);
        sipy_run_end(&run);
        result = 0;
    }
    sipy_image_fini(&image);
    Py_XDECREF(copy);
    return result;
}

sipy_interp *
sipy_spare_take(sipy_state *state)
{
    sipy_interp *interp = take_one(0);
    si_mutex_lock(&spares_mu);
    bool refill = wanted > 0;
    si_mutex_unlock(&spares_mu);
    if (refill) {
        start_maker();
    }
    if (interp == NULL) {
        return NULL;
    }
    si_store_release(&interp->spare, 0);
    if (give_path(state, interp) < 0) {
        PyErr_Clear(); /* then a fresh one, which finds the same trouble and reports it */
        throw_away(interp);
        return NULL;
    }
    return interp;
}

void
sipy_spares_renew(void)
{
    si_mutex_lock(&spares_mu);
    edition++;
    si_mutex_unlock(&spares_mu);
    throw_all_away(0);
    wake_maker();
}

/* Waits, attached, until the thread has ended, or somebody wants spares again. */
static void
let_go(void)
{
    bool runs;
    wake_maker();
    do {
        si_mutex_lock(&spares_mu);
        runs = thread_runs && wanted == 0; /* else somebody wants it again */
        uint32_t seen = si_load_relaxed(&turns);
        si_mutex_unlock(&spares_mu);
        if (runs) {
            Py_BEGIN_ALLOW_THREADS
            si_status status = si_futex_wait(&turns, seen, SI_FOREVER);
            (void)status; /* it looks again; signals wait for the end of this */
            Py_END_ALLOW_THREADS
        }
    } while (runs);
    throw_all_away(0);
    wake_maker(); /* what was thrown away may be what somebody wants by now */
}

void
sipy_spares_stop(void)
{
    si_mutex_lock(&spares_mu);
    wanted = 0;
    si_mutex_unlock(&spares_mu);
    let_go();
}

void
sipy_spares_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&spares_mu);
}

void
sipy_spares_fork_done(bool child) SI_NO_THREAD_SAFETY
{
    if (child) {
        ready_count = 0;
        wanted = 0;
        thread_runs = false;
        maker = NULL;
        si_store_release(&hidden_from, INT64_MAX);
    }
    si_mutex_unlock(&spares_mu);
}

/* --- keep_ready ----------------------------------------------------------------------- */

int
sipy_module_names(const sipy_state *state, PyObject *names, sipy_image *out)
{
    sipy_home *home = sipy_home_of(state);
    if (names != NULL && PyUnicode_Check(names)) {
        PyErr_SetString(PyExc_TypeError, "preload must be an iterable of module names");
        return -1;
    }
    PyObject *list = names == NULL ? PyList_New(0) : PySequence_List(names);
    int result = list == NULL || home == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(list); i++) {
        if (!PyUnicode_CheckExact(PyList_GET_ITEM(list, i))) {
            PyErr_SetString(PyExc_TypeError, "preload must be an iterable of module names");
            result = -1;
        }
    }
    if (result == 0 && PyList_GET_SIZE(list) > 0) {
        result = sipy_encode(home->transfer, list, SIPY_ASYNC, out);
    }
    Py_XDECREF(list);
    return result;
}

PyObject *
sipy_keep_ready(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    static const char *const names[] = {"n", "preload", NULL};
    static const sipy_signature signature = {"keep_ready", names, 0, 1, 0};
    sipy_state *state = sipy_state_of_module(module);
    PyObject *given[2];
    sipy_image image;
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    long n = given[0] == NULL ? 1 : PyLong_AsLong(given[0]);
    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (n < 0 || n > MOST) {
        PyErr_Format(PyExc_ValueError, "n must be between 0 and %d", MOST);
        return NULL;
    }
    if (sipy_exit_hook_register() < 0) {
        return NULL;
    }
    sipy_image_init(&image);
    if (sipy_module_names(state, given[1], &image) < 0) {
        return NULL;
    }
    module_names *fresh = si_calloc(sizeof(*fresh));
    if (fresh == NULL) {
        sipy_image_fini(&image);
        return PyErr_NoMemory();
    }
    si_store_relaxed(&fresh->refs, 1);
    fresh->image = image;
    si_mutex_lock(&spares_mu);
    module_names *old = preload;
    preload = fresh;
    wanted = sipy_process_exiting() ? 0 : (size_t)n;
    edition++; /* what is being made has the old names */
    si_mutex_unlock(&spares_mu);
    drop_names(old);
    if (n == 0) {
        let_go();
    }
    else {
        turn();
        throw_all_away(0);
        start_maker();
    }
    Py_RETURN_NONE;
}
