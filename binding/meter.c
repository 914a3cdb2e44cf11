/* meter.c — see meter.h. */
#include "binding/meter.h"

#include "core/base/alloc.h"
#include "core/platform/clock.h"
#include "core/platform/thread.h"

#define BRIEF_TICKS (UINT64_C(1) << 17) /* some 50 us: a hundred times what reading costs */

static _Thread_local int64_t last_cpu_ns; /* of this thread, when it was read last */

sipy_meter *
sipy_meter_new(void)
{
    sipy_meter *meter = si_calloc(sizeof(*meter));
    if (meter != NULL) {
        meter->opened_ns = si_now_ns();
        meter->opened_ticks = si_ticks();
    }
    return meter;
}

int64_t
sipy_meter_ns(const sipy_meter *meter, uint64_t ticks)
{
    uint64_t all_ticks = si_ticks() - meter->opened_ticks;
    int64_t all_ns = si_now_ns() - meter->opened_ns;
    return all_ticks == 0 ? 0
                          : (int64_t)((double)ticks * (double)all_ns / (double)all_ticks);
}

void
sipy_meter_begin(sipy_interp *interp)
{
    sipy_meter *meter = interp->meter;
    meter->start_cpu_ns = -1;
    if (!meter->brief) {
        meter->start_cpu_ns = last_cpu_ns = si_thread_cpu_ns();
    }
    si_store_release(&meter->since, si_ticks());
}

int64_t
sipy_meter_end(sipy_interp *interp)
{
    sipy_meter *meter = interp->meter;
    uint64_t ticks = si_ticks() - si_load_relaxed(&meter->since);
    si_store_release(&meter->since, 0);
    sipy_meter_add(&meter->runs, 1);
    sipy_meter_add(&meter->busy_ticks, ticks);
    bool brief = ticks < BRIEF_TICKS;
    meter->brief = brief;
    if (brief && meter->start_cpu_ns < 0) {
        sipy_meter_add(&meter->brief_ticks, ticks);
        return -1;
    }
    /* Nothing was read at the start: what the thread has used since it was read before is
     * too much, and so is the time that has passed. */
    int64_t now_cpu_ns = si_thread_cpu_ns();
    int64_t used_ns = now_cpu_ns - meter->start_cpu_ns;
    if (meter->start_cpu_ns < 0) {
        used_ns = now_cpu_ns - last_cpu_ns;
        int64_t passed_ns = sipy_meter_ns(meter, ticks);
        used_ns = used_ns < passed_ns ? used_ns : passed_ns;
    }
    last_cpu_ns = now_cpu_ns;
    si_store_relaxed(&meter->cpu_ns, si_load_relaxed(&meter->cpu_ns) + used_ns);
    return used_ns;
}
