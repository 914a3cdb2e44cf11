/* pool.h — a pool of native workers, each with an interpreter of its own.
 *
 * Model      Whoever submits encodes a call and appends it to one queue of core. A worker
 *            is an OS thread that made an interpreter and stays attached to it while there
 *            is work. It leaves the encoded result in the task; who asks for it decodes it.
 * Owner      The interpreter whose code made the pool. Only the type_*.c files, attached to
 *            it, touch Python objects of it. Everything else here is raw memory.
 * Ownership  Pools and tasks are reference-counted. A pool lives as long as its object, one
 *            of its futures or one of its workers does.
 * Locking    mu guards the fields marked so; a leaf: nothing is called under it.
 * Fork       In a child no worker exists: everything first asks sipy_pool_usable.
 */
#ifndef SIPY_POOL_POOL_H
#define SIPY_POOL_POOL_H

#include "binding/failure.h"
#include "binding/fork.h"
#include "binding/home.h"
#include "core/task/queue.h"

typedef struct sipy_pool sipy_pool;
typedef struct sipy_worker sipy_worker;

typedef enum sipy_outcome {
    SIPY_NO_OUTCOME = 0,
    SIPY_RETURNED,     /* reply holds the result */
    SIPY_RAISED,       /* failure holds what the function raised */
    SIPY_NOT_REBUILT,  /* failure: function or arguments could not be built there */
    SIPY_NOT_RETURNED, /* failure: the result cannot cross */
    SIPY_TIMED_OUT,    /* the time was over; failure, unless the worker is stuck */
    SIPY_BROKEN,       /* the pool's failure or text says why nobody ran it */
} sipy_outcome;

typedef struct sipy_job {
    si_task task;         /* first */
    int64_t timeout_ns;   /* 0: none */
    int64_t submitted_ns; /* when it was put */
    int64_t run_ns;       /* how long it ran */
    int64_t cpu_ns;       /* how much processor time that took */
    uint32_t retries;     /* tries that are left after a failure; the worker's */
    bool request_gone;    /* the call's packet was given back; the worker's */
    si_atomic_u32 stop;   /* 1: interrupt() was called; it is not begun any more */
    si_atomic_u32 late;   /* 1: the keeper interrupts this try */
    uint64_t number;      /* of the task in its pool */
    uint32_t worker;      /* number of the worker that ran it last */
    int64_t interp_id;    /* of that worker's interpreter */
    sipy_outcome outcome; /* this and the next two: written between claim and finish */
    void *reply;          /* a packet without header, or NULL */
    sipy_failure *failure;
} sipy_job; /* the packet of the call stands behind it */

#define SIPY_JOB_HEADER ((sizeof(sipy_job) + 15) & ~(size_t)15)

#define SIPY_BUCKETS 176 /* of a histogram: four to each power of two nanoseconds */

typedef struct sipy_histogram {
    si_atomic_u32 counts[SIPY_BUCKETS]; /* written by one worker, read by anybody */
} sipy_histogram;

struct sipy_worker {
    sipy_pool *pool;     /* a reference */
    sipy_worker *next;   /* in pool->workers; guarded by pool->mu */
    sipy_interp *interp; /* a reference and a handle; set under pool->mu */
    sipy_slot *slot;     /* only its own thread */
    PyObject *partial;   /* results of the chunk that runs; only its own thread */
    uint32_t number;
    bool retired;             /* shall run no other task; only its own thread */
    bool placed;              /* has a place of the queue; likewise */
    uint64_t left;            /* tasks that it may still begin; likewise */
    int64_t opening_ns;       /* how long its start took; likewise */
    si_atomic_u32 leaving;    /* counted in pool->leaving; written under pool->mu */
    si_atomic_u32 listed;     /* in pool->workers and counted; written under pool->mu */
    si_atomic_u64 current;    /* the job that runs (an address), or 0 */
    si_atomic_u64 run;        /* the run of interp that it is */
    si_atomic_u32 starting;   /* 1: that run is its preload and initializer */
    si_atomic_i64 started_ns; /* of that job */
    si_atomic_i64 due_ns;     /* when the keeper shall look at it; 0: never */
    si_atomic_u64 tasks;      /* that it has run */
    si_atomic_u64 busy_ns;
    si_atomic_u64 cpu_ns;
    sipy_histogram run_times;
    sipy_histogram wait_times;
};

struct sipy_pool {
    si_atomic_u32 refs;
    si_atomic_u32 max_workers;
    uint32_t generation; /* of forks, when it was made */
    int64_t idle_ns;     /* a worker without work for so long ends; 0: never */
    uint64_t max_tasks;  /* a worker ends after so many; 0: never */
    char *name;
    sipy_interp *owner;     /* a reference */
    sipy_interp *bound;     /* a reference; NULL: workers make their own */
    si_atomic_u32 handle;   /* 1: a handle of bound, which its worker gives back */
    sipy_image preload;     /* a list of module names; empty: none */
    sipy_image initializer; /* a call; empty: none */
    si_task_queue queue;
    si_atomic_u32 idle;      /* workers that have no job, those that start included */
    si_atomic_u32 alive;     /* workers that count; written under mu */
    si_atomic_u32 max_alive; /* with those that are made ready to follow others */
    si_atomic_u32 leaving;   /* of the alive ones those that soon end; written under mu */
    si_atomic_u32 brief;     /* 1: the last one to end ran for less than it took to start */
    bool spare_cpu;          /* there are more processors than max_workers */
    si_atomic_u64 jobs;      /* numbers the jobs */
    si_atomic_u32 broken;    /* 1: failure and text below are set, for good */
    si_atomic_u32 no_starts; /* 1: no worker starts, no job is begun or tried again */
    si_atomic_u32 no_runs;   /* 1: so are jobs */
    si_task gone;            /* ends when the pool is closed and no worker is left */
    si_mutex mu;
    sipy_pool *next SI_GUARDED_BY(pools_mu); /* all pools of the process */
    sipy_pool *prev SI_GUARDED_BY(pools_mu);
    sipy_worker *workers SI_GUARDED_BY(mu);
    uint32_t numbers SI_GUARDED_BY(mu);  /* workers so far */
    uint32_t replaced SI_GUARDED_BY(mu); /* of which stuck ones */
    sipy_failure broken_failure;         /* written before broken */
    char broken_text[256];
    bool reported; /* somebody was told in the log; only attached to the owner */
    bool keeper_runs SI_GUARDED_BY(mu);
    si_atomic_i64 keeper_next_ns; /* when the keeper looks again; SI_FOREVER: never */
    si_waiter *keeper SI_GUARDED_BY(mu);
    sipy_histogram past_run_times SI_GUARDED_BY(mu); /* of workers that ended */
    sipy_histogram past_wait_times SI_GUARDED_BY(mu);
    uint64_t past_tasks SI_GUARDED_BY(mu);
    uint64_t past_busy_ns SI_GUARDED_BY(mu);
    uint64_t past_cpu_ns SI_GUARDED_BY(mu);
    int64_t opened_ns;
};

/* --- pool.c -------------------------------------------------------------------------- */

/* A new pool without workers, and one reference. name is copied. -> pool | NULL */
sipy_pool *
sipy_pool_new(const char *name, sipy_interp *owner);

void
sipy_pool_hold(sipy_pool *pool);
void
sipy_pool_drop(sipy_pool *pool);

/* Whether this process made the pool (and not one that forked this one). Any thread. */
bool
sipy_pool_usable(const sipy_pool *pool);

/* Starts a worker if there are more jobs than idle workers. Any thread.
 * -> SI_OK, also if there are other workers | SI_NOMEM, SI_SYSTEM: there is no worker */
si_status
sipy_pool_grow(sipy_pool *pool);

/* sipy_pool_grow has failed: takes the job that it was for out of the queue, if it is
 * still there, and sees to those that counted on the same worker. Any thread.
 * -> whether it was there */
bool
sipy_pool_retract(sipy_pool *pool, sipy_job *job);

/* A listed worker could not start. If there are others the pool has no more than those
 * from now on, and none in advance, so that it does not try again and again. Any thread.
 * -> false: there is no other */
bool
sipy_pool_go_without(sipy_pool *pool);

/* No more jobs; workers end when none is left. Idempotent. Any thread. */
void
sipy_pool_close(sipy_pool *pool);

/* Marks the pool as broken, if it is not; takes failure over (zeroed afterwards) and ends
 * all jobs. Any thread. */
void
sipy_pool_break(sipy_pool *pool, sipy_failure *failure, const char *text);

/* The worker ends once it has run a task or a few more: another one may start already. Any
 * thread; sipy_pool_grow comes after it. */
void
sipy_pool_expect_end(sipy_pool *pool, sipy_worker *worker);

/* A worker is not to be counted any more: it ends, or is stuck. Any thread. */
void
sipy_pool_unlist(sipy_pool *pool, sipy_worker *worker);

/* Ends job for a worker that does not stop that run of it, and takes the worker off the
 * pool. -> false: it has stopped */
bool
sipy_pool_give_up(sipy_pool *pool, sipy_job *job, const sipy_interp *interp, uint64_t run);

/* Interrupts job with KeyboardInterrupt if a worker runs it. -> whether it ran */
bool
sipy_pool_interrupt(sipy_pool *pool, sipy_job *job);

/* Interrupts that run of interp, whose reference it takes, with exc. Any thread; never
 * waits. -> whether it went on */
bool
sipy_pool_interrupt_run(sipy_interp *interp, uint64_t run, PyObject *exc);

/* Cancels every job that no worker has begun, and interrupts with exc the workers that
 * start and with jobs those that run one: no worker starts after this, no job is tried
 * again, and with jobs none begins. For a pool that is closed. Any thread; never waits. */
void
sipy_pool_stop(sipy_pool *pool, bool jobs, PyObject *exc);

/* Closes and stops all pools of owner, as sipy_pool_stop with jobs. Any thread;
 * never waits. Without memory it does not. */
void
sipy_pools_stop(const sipy_interp *owner, PyObject *exc);

/* Waits for all pools of owner to be gone. Attached to an interpreter with our module.
 * -> 1 | 0 time over | -1 with an exception */
int
sipy_pools_await(const sipy_interp *owner, int64_t deadline_ns);

/* References to all pools of owner: an array to free with si_free. -> false: no memory */
bool
sipy_pools_of(const sipy_interp *owner, sipy_pool ***out, size_t *count);

/* For fork handlers: the lock is held while the process is copied. */
void
sipy_pools_fork_prepare(void);
void
sipy_pools_fork_done(bool child);

/* --- worker.c, keeper.c -------------------------------------------------------------- */

/* Starts the thread of a listed worker. -> SI_OK | SI_NOMEM | SI_SYSTEM: it refused */
SI_NODISCARD si_status
sipy_worker_start(sipy_worker *worker);

/* The worker that the calling thread is, or NULL. */
sipy_worker *
sipy_worker_here(void);

/* Takes the exclusive entry of the worker's interpreter and attaches, as only inside an
 * entry one may: the exit or a close() may be ending it. Its thread, attached nowhere.
 * -> true | false: it ends, or no memory; there is no entry */
bool
sipy_worker_enter(sipy_worker *worker);

/* Starts the keeper unless it runs: before a job with a timeout is queued. Any thread that
 * holds a reference to the pool. -> SI_OK | SI_NOMEM | SI_SYSTEM: no thread */
SI_NODISCARD si_status
sipy_keeper_start(sipy_pool *pool);

/* Has the keeper, which runs, look at the workers at due_ns at the latest. */
void
sipy_keeper_expect(sipy_pool *pool, int64_t due_ns);

/* --- outcome.c ----------------------------------------------------------------------- */

/* A job for the call, PENDING, one reference. Attached to the owner.
 * -> job | NULL with an exception as sipy_encode_call */
sipy_job *
sipy_job_new(sipy_home *home, PyObject *func, PyObject *const *args, size_t nargs,
             PyObject *kwnames);

/* Takes a job that no worker has begun out of the queue and ends it as cancelled; what its
 * call holds goes at once. Any thread. -> whether it was inside */
bool
sipy_job_cancel(sipy_pool *pool, sipy_job *job);

/* Ends a job that nobody will run: as broken, or else as cancelled. Takes its reference.
 * Any thread. */
void
sipy_job_end_unrun(sipy_job *job, sipy_outcome outcome);

/* future.interrupt(): takes job out of the queue, interrupts the run, or has the worker
 * that is between the two, or about to try it again, leave it. Any thread; never waits.
 * -> false: it has ended with an outcome */
bool
sipy_job_stop(sipy_pool *pool, sipy_job *job);

/* What one try of a job came to. */
typedef struct sipy_attempt {
    sipy_outcome outcome;
    void *reply;
    sipy_failure *failure;
    bool stopped; /* it ended by the exception that interrupt() asked for */
} sipy_attempt;

/* Runs job in the worker's interpreter, to which the thread is attached. The caller goes
 * on with sipy_job_conclude. */
void
sipy_job_run(sipy_worker *worker, sipy_job *job, sipy_attempt *tried);

/* Ends the job, or puts it back if it is to be tried again; takes tried over. The worker's
 * thread, attached or not. */
void
sipy_job_conclude(sipy_pool *pool, sipy_job *job, sipy_attempt *tried);

/* What an ended job says, in the owner: a new reference to its result, or NULL with
 * *exception set to a new reference, or NULL with an exception set (no memory; the result
 * cannot be rebuilt here). */
PyObject *
sipy_job_result(sipy_pool *pool, const sipy_job *job, sipy_state *state,
                PyObject **exception);

/* Why the pool is broken: a new BrokenInterpreterPool; logged the first time. Attached to
 * the owner. */
PyObject *
sipy_pool_broken(sipy_pool *pool, sipy_state *state);

/* --- stats.c ------------------------------------------------------------------------- */

void
sipy_histogram_add(sipy_histogram *h, int64_t ns);
void
sipy_histogram_merge(sipy_histogram *into, const sipy_histogram *from);

/* What pool.stats() returns: a new dict. Attached. */
PyObject *
sipy_pool_stats(sipy_pool *pool);

/* --- bound.c ------------------------------------------------------------------------- */

/* A pool whose one worker makes its calls in interp, between other uses of it, instead of
 * in an interpreter of its own; see Interpreter.submit. -> pool | NULL: no memory */
sipy_pool *
sipy_bound_new(sipy_interp *owner, sipy_interp *interp);

/* The life of its worker, on the worker's thread. */
void
sipy_bound_work(sipy_worker *worker);

/* --- the types ----------------------------------------------------------------------- */

/* A call to be made. */
typedef struct sipy_order {
    PyObject *func;
    PyObject *const *args;
    size_t nargs;
    PyObject *kwnames;
    int64_t timeout_ns; /* 0: none */
    uint32_t retries;
    PyObject *box; /* the Outbox of the event loop that awaits it, or NULL; who awaits does
                    * not wait for room */
} sipy_order;

/* submit() of a pool that is usable: its future, or its Call if there is a box, or NULL
 * with an exception. Waits for room in the queue unless it is awaited. Attached to the
 * owner. */
PyObject *
sipy_submit(sipy_state *state, sipy_pool *pool, const sipy_order *order);

/* As sipy_submit, for the running event loop, whose box it fills in. */
PyObject *
sipy_submit_awaited(sipy_state *state, sipy_pool *pool, sipy_order *order);

/* A future for job, whose reference it takes over; NULL job: one that has failed with the
 * exception that is set. */
PyObject *
sipy_future_new(sipy_state *state, sipy_pool *pool, sipy_job *job);

/* Likewise a Call, for the loop of box (an Outbox). */
PyObject *
sipy_call_new(sipy_state *state, sipy_pool *pool, sipy_job *job, PyObject *box);

/* The loop's box says that the task of op, a Call, has ended: schedules its callbacks.
 * Attached, in the loop's thread. -> 0 | -1 with an exception that is no Exception */
int
sipy_call_tell(PyObject *op);

/* _core._call_type(CancelledError, InvalidStateError): the type of calls, for aio. */
PyObject *
sipy_call_type(PyObject *module, PyObject *args);

/* Waits for task as Future.result does. -> 1 ended | 0 time over | -1 with an exception */
int
sipy_wait_for_task(si_task *task, sipy_interp *here, int64_t deadline_ns);

/* The box behind an object of our type Outbox, or NULL with TypeError set. */
si_outbox *
sipy_outbox_of(const sipy_state *state, PyObject *obj);

/* The weak reference of obj, an Outbox, to its event loop: borrowed, or NULL: none. */
PyObject *
sipy_outbox_loop(PyObject *obj);

/* A future was subscribed to obj, an Outbox. */
void
sipy_outbox_expect(PyObject *obj);

/* Whether this process made obj, an Outbox (and not one that forked this one). */
bool
sipy_outbox_usable(PyObject *obj);

/* A deadline from a timeout in seconds or None. -> 0 | -1 with an exception */
int
sipy_deadline_from(PyObject *timeout, int64_t *deadline_ns);

int
sipy_pool_types_add(PyObject *module, sipy_state *state);
int
sipy_future_type_add(PyObject *module, sipy_state *state);
int
sipy_outbox_type_add(PyObject *module, sipy_state *state);

/* _map_chunk(fn, items, star): [fn(*x) or fn(x) for x in items], for workers. */
PyObject *
sipy_map_chunk(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif /* SIPY_POOL_POOL_H */
