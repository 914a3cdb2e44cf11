/* stats.c — what a pool knows about its own work; see pool.h.
 *
 * Each worker counts for itself, so counting costs two stores and no lock. Times go into
 * buckets that are a quarter of a power of two wide: a quantile is right to 19 %.
 */
#include "binding/pool/pool.h"
#include "core/platform/clock.h"

static unsigned
bucket_of(int64_t ns)
{
    uint64_t value = ns < 4 ? 4 : (uint64_t)ns;
    unsigned top = 63 - (unsigned)__builtin_clzll(value);
    unsigned bucket = (top - 2) * 4 + (unsigned)((value >> (top - 2)) & 3);
    return bucket < SIPY_BUCKETS ? bucket : SIPY_BUCKETS - 1;
}

/* The middle of a bucket, in seconds. */
static double
seconds_of(unsigned bucket)
{
    double low = (double)(UINT64_C(4) + bucket % 4) * (double)(UINT64_C(1) << (bucket / 4));
    return low * (1.0 + 0.5 / (double)(4 + bucket % 4)) * 1e-9;
}

void
sipy_histogram_add(sipy_histogram *h, int64_t ns)
{
    si_atomic_u32 *count = &h->counts[bucket_of(ns)];
    si_store_relaxed(count, si_load_relaxed(count) + 1);
}

void
sipy_histogram_merge(sipy_histogram *into, const sipy_histogram *from)
{
    for (unsigned i = 0; i < SIPY_BUCKETS; i++) {
        si_store_relaxed(&into->counts[i], si_load_relaxed(&into->counts[i]) +
                                               si_load_relaxed(&from->counts[i]));
    }
}

static double
quantile(const sipy_histogram *h, double q)
{
    uint64_t total = 0;
    uint64_t seen = 0;
    for (unsigned i = 0; i < SIPY_BUCKETS; i++) {
        total += si_load_relaxed(&h->counts[i]);
    }
    for (unsigned i = 0; total > 0 && i < SIPY_BUCKETS; i++) {
        seen += si_load_relaxed(&h->counts[i]);
        if ((double)seen >= q * (double)total) {
            return seconds_of(i);
        }
    }
    return 0.0;
}

typedef struct totals {
    sipy_histogram run_times;
    sipy_histogram wait_times;
    uint64_t tasks;
    uint64_t busy_ns;
    uint64_t cpu_ns;
    uint32_t alive;
    uint32_t running;
    uint32_t replaced;
} totals;

static void
add_up(sipy_pool *pool, totals *sum)
{
    si_mutex_lock(&pool->mu);
    sipy_histogram_merge(&sum->run_times, &pool->past_run_times);
    sipy_histogram_merge(&sum->wait_times, &pool->past_wait_times);
    sum->tasks = pool->past_tasks;
    sum->busy_ns = pool->past_busy_ns;
    sum->cpu_ns = pool->past_cpu_ns;
    sum->replaced = pool->replaced;
    for (sipy_worker *w = pool->workers; w != NULL; w = w->next) {
        sipy_histogram_merge(&sum->run_times, &w->run_times);
        sipy_histogram_merge(&sum->wait_times, &w->wait_times);
        sum->tasks += si_load_relaxed(&w->tasks);
        sum->busy_ns += si_load_relaxed(&w->busy_ns);
        sum->cpu_ns += si_load_relaxed(&w->cpu_ns);
        sum->running += si_load_acquire(&w->current) != 0;
        sum->alive++;
    }
    si_mutex_unlock(&pool->mu);
}

PyObject *
sipy_pool_stats(sipy_pool *pool)
{
    totals sum = {0};
    add_up(pool, &sum);
    double busy = (double)sum.busy_ns * 1e-9;
    double open = (double)(si_now_ns() - pool->opened_ns) * 1e-9;
    double capacity = open * (double)si_load_relaxed(&pool->max_workers);
    return Py_BuildValue(
        "{sIsIsIsKsKsdsdsds{sdsd}s{sdsd}}", "workers", sum.alive, "running", sum.running,
        "replaced", sum.replaced, "queued",
        (unsigned long long)si_task_queue_count(&pool->queue), "done",
        (unsigned long long)sum.tasks, "busy", busy, "cpu", (double)sum.cpu_ns * 1e-9,
        "utilisation", capacity > 0 ? busy / capacity : 0.0, "run_time", "p50",
        quantile(&sum.run_times, 0.5), "p99", quantile(&sum.run_times, 0.99), "wait_time",
        "p50", quantile(&sum.wait_times, 0.5), "p99", quantile(&sum.wait_times, 0.99));
}
