/* meter.h — what the runs of an interpreter cost; see Interpreter.stats().
 *
 * A run is a visit of exec, call and the like, or one task. Counting must cost next to
 * nothing, since a run may take a tenth of a microsecond: it reads a counter of the
 * processor, and the thread's processor time, which takes half a microsecond, only where
 * the interpreter's last run was long. So processor time is an estimate: of the first long
 * run after short ones, it may be too high.
 */
#ifndef SIPY_METER_H
#define SIPY_METER_H

#include "binding/interp.h"

struct sipy_meter {
    int64_t opened_ns; /* when the record was made; never changes, nor does the next */
    uint64_t opened_ticks;
    si_atomic_u64 runs;  /* that ended; this and the rest: written by the run's thread */
    si_atomic_u64 since; /* ticks at the start of the run that goes on, or 0 */
    si_atomic_u64 busy_ticks;  /* of all runs */
    si_atomic_i64 cpu_ns;      /* of the long ones */
    si_atomic_u64 brief_ticks; /* of the others */
    si_atomic_u64 bytes_in;    /* of images that were built there */
    si_atomic_u64 bytes_out;
    bool brief;           /* the last run was short; only attached to the interpreter */
    int64_t start_cpu_ns; /* or -1; likewise */
};

/* -> meter | NULL: no memory */
sipy_meter *
sipy_meter_new(void);

/* Frame a run. Attached to interp, by the run's thread. */
void
sipy_meter_begin(sipy_interp *interp);

/* -> its processor time in nanoseconds | -1: as long as it took, which was not long */
int64_t
sipy_meter_end(sipy_interp *interp);

/* Ticks as nanoseconds, as far as the meter has found out. */
int64_t
sipy_meter_ns(const sipy_meter *meter, uint64_t ticks);

static inline void
sipy_meter_add(si_atomic_u64 *sum, uint64_t more)
{
    si_store_relaxed(sum, si_load_relaxed(sum) + more);
}

#endif /* SIPY_METER_H */
