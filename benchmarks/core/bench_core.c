/* bench_core.c — what the parts of core cost, without any Python.
 *
 * Rounds as in the Python benchmarks: each case gets one turn per round, and a case's
 * ratio to its reference is the median over the rounds. The last lines are sizes.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/channel/channel.h"
#include "core/memory/block.h"
#include "core/platform/clock.h"
#include "core/platform/mutex.h"
#include "core/registry/gate.h"
#include "core/registry/registry.h"

#define ROUNDS 11
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NAP_NS 100000 /* long enough for a thread to stop spinning and sleep */

/* Does its work `loops` times; returns the nanoseconds that count. */
typedef int64_t (*turn)(int64_t loops);

typedef struct bench_case {
    const char *name;
    turn run;
    int64_t loops;
    size_t reference; /* index of the case that it is compared with */
    double values[ROUNDS];
} bench_case;

static void
must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "bench_core: %s failed\n", what);
        exit(1);
    }
}

/* --- one thread -------------------------------------------------------------------- */

static pthread_mutex_t system_mutex = PTHREAD_MUTEX_INITIALIZER;
static si_mutex small_mutex = SI_MUTEX_INIT;
static si_gate gate = SI_GATE_INIT;
static si_registry registry = SI_REGISTRY_INIT;
static si_channel *channel;
static int64_t id_to_find;

static int64_t
turn_system_mutex(int64_t loops)
{
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        pthread_mutex_lock(&system_mutex);
        pthread_mutex_unlock(&system_mutex);
    }
    return si_now_ns() - start;
}

static int64_t
turn_mutex(int64_t loops)
{
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        si_mutex_lock(&small_mutex);
        si_mutex_unlock(&small_mutex);
    }
    return si_now_ns() - start;
}

static int64_t
turn_gate(int64_t loops)
{
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        must(si_gate_enter_exclusive(&gate) == SI_OK, "si_gate_enter_exclusive");
        si_gate_leave_exclusive(&gate);
    }
    return si_now_ns() - start;
}

static int64_t
turn_registry(int64_t loops)
{
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        si_entry_drop(si_registry_find(&registry, id_to_find));
    }
    return si_now_ns() - start;
}

static int64_t
turn_channel(int64_t loops)
{
    si_item item = {.policy = SI_UNBOUND_KEEP};
    si_item *got;
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        must(si_channel_try_put(channel, &item) == SI_OK, "si_channel_try_put");
        must(si_channel_try_get(channel, &got) == SI_OK, "si_channel_try_get");
    }
    return si_now_ns() - start;
}

static int64_t
turn_malloc(int64_t loops)
{
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        void *volatile memory = malloc(200); /* or the compiler drops the pair */
        free(memory);
    }
    return si_now_ns() - start;
}

static int64_t
turn_block(int64_t loops)
{
    int64_t start = si_now_ns();
    for (int64_t i = 0; i < loops; i++) {
        si_block_drop(si_block_new(100));
    }
    return si_now_ns() - start;
}

/* --- two threads ------------------------------------------------------------------- */

typedef struct ends {
    si_channel *there;
    si_channel *back;
    int64_t loops;
} ends;

static si_item *
take(si_channel *ch)
{
    si_item *item;
    while (si_channel_try_get(ch, &item) != SI_OK) {
        si_waiter waiter;
        si_waiter_arm(&waiter);
        must(si_channel_wait(ch, SI_SIDE_GET, &waiter, SI_FOREVER) == SI_OK,
             "si_channel_wait");
    }
    return item;
}

static void
give(si_channel *ch, si_item *item)
{
    must(si_channel_try_put(ch, item) == SI_OK, "si_channel_try_put");
}

static void *
echo(void *arg)
{
    ends *e = arg;
    for (int64_t i = 0; i < e->loops; i++) {
        give(e->back, take(e->there));
    }
    return NULL;
}

static void
nap(int64_t ns)
{
    int64_t end = si_now_ns() + ns;
    while (si_now_ns() < end) {
        si_cpu_relax();
    }
}

static int64_t
round_trips(int64_t loops, int64_t nap_ns)
{
    ends e = {.loops = loops};
    pthread_t thread;
    si_item item = {.policy = SI_UNBOUND_KEEP};
    int64_t total = 0;
    must(si_channel_new(0, 0, &e.there) == SI_OK, "si_channel_new");
    must(si_channel_new(0, 0, &e.back) == SI_OK, "si_channel_new");
    must(pthread_create(&thread, NULL, echo, &e) == 0, "pthread_create");
    for (int64_t i = 0; i < loops; i++) {
        nap(nap_ns);
        int64_t start = si_now_ns();
        give(e.there, &item);
        must(take(e.back) == &item, "round trip");
        total += si_now_ns() - start;
    }
    pthread_join(thread, NULL);
    si_channel_destroy(&e.there->entry);
    si_channel_destroy(&e.back->entry);
    return total;
}

static int64_t
turn_round_trip(int64_t loops)
{
    return round_trips(loops, 0);
}

static int64_t
turn_sleepy_round_trip(int64_t loops)
{
    return round_trips(loops, NAP_NS);
}

/* --- rounds and output -------------------------------------------------------------- */

static bench_case cases[] = {
    {"pthread mutex, lock + unlock", turn_system_mutex, 1000000, 0, {0}},
    {"si_mutex, lock + unlock", turn_mutex, 1000000, 0, {0}},
    {"si_gate, exclusive enter + leave", turn_gate, 1000000, 0, {0}},
    {"si_registry, find + drop", turn_registry, 1000000, 0, {0}},
    {"si_channel, put + get", turn_channel, 1000000, 0, {0}},
    {"malloc + free of 200 bytes", turn_malloc, 1000000, 5, {0}},
    {"si_block, new + drop of 100 bytes", turn_block, 1000000, 5, {0}},
    {"round trip of two threads, spinning", turn_round_trip, 20000, 7, {0}},
    {"round trip of two threads, asleep", turn_sleepy_round_trip, 500, 8, {0}},
};

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(double *values)
{
    qsort(values, ROUNDS, sizeof(*values), compare);
    return values[ROUNDS / 2];
}

static void
print_case(bench_case *c)
{
    double against[ROUNDS];
    double sorted[ROUNDS];
    for (size_t i = 0; i < ROUNDS; i++) {
        against[i] = c->values[i] / cases[c->reference].values[i];
        sorted[i] = c->values[i];
    }
    double ratio = median(against);
    double ns = median(sorted);
    printf("%-36s %9.1f ns (%.1f .. %.1f)   %.2f x %s\n", c->name, ns, sorted[0],
           sorted[ROUNDS - 1], ratio, cases[c->reference].name);
}

static void
add_to_registry(void)
{
    /* Neighbours, as in a program with many queues. */
    for (int i = 0; i < 1000; i++) {
        si_channel *ch;
        must(si_channel_new(0, 0, &ch) == SI_OK, "si_channel_new");
        ch->entry.id = -1;
        must(si_registry_add(&registry, &ch->entry, si_channel_destroy) == SI_OK,
             "si_registry_add");
        id_to_find = ch->entry.id;
    }
}

int
main(void)
{
    must(si_channel_new(0, 0, &channel) == SI_OK, "si_channel_new");
    add_to_registry();
    for (int round = -1; round < ROUNDS; round++) { /* -1 warms up */
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            double ns = (double)cases[i].run(cases[i].loops) / (double)cases[i].loops;
            if (round >= 0) {
                cases[i].values[round] = ns;
            }
        }
    }
    printf("medians of %d rounds (least .. greatest)\n", ROUNDS);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        print_case(&cases[i]);
    }
    printf(
        "bytes: si_item %zu, si_channel %zu, si_waiter %zu, si_gate %zu, si_mutex "
        "%zu\n",
        sizeof(si_item), sizeof(si_channel), sizeof(si_waiter), sizeof(si_gate),
        sizeof(si_mutex));
    return 0;
}
