/* explorer.c — see explorer.h. */
#include "tests/core/model/explorer.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "core/platform/clock.h"
#include "core/platform/futex.h"

#define STACK_SIZE (64 * 1024)
#define MAX_DEPTH 4096
#define MAX_FREED 8

typedef struct step {
    const volatile void *address;
    model_kind kind;
} step;

typedef struct model_thread {
    ucontext_t context;
    jmp_buf place;
    char *stack;
    void (*run)(void);
    bool started;
    bool ended;
    step next; /* what it does when it is scheduled */
    /* While it sleeps on a futex: */
    bool woken;
    bool may_time_out;
} model_thread;

/* One choice. done: threads that were tried here; asleep: threads whose next step leads
 * only to orders that were run from an earlier choice. */
typedef struct choice {
    uint8_t chosen;
    uint8_t possible;
    uint8_t done;
    uint8_t asleep;
} choice;

typedef struct freed {
    const char *start;
    size_t size;
} freed;

static model_thread threads[MODEL_MAX_THREADS];
static size_t thread_count;
static model_thread *running;
static jmp_buf explorer_place;
static choice path[MAX_DEPTH];
static size_t path_length;
static freed freed_memory[MAX_FREED];
static size_t freed_count;
static const char *failure;

/* --- Model threads --- */

/* swapcontext asks the kernel for the signal mask each time; only the first entry into
 * a stack needs it, later switches jump. */
static void
yield(void)
{
    if (_setjmp(running->place) == 0) {
        _longjmp(explorer_place, 1);
    }
}

static void
thread_main(void)
{
    running->run();
    running->ended = true;
    _longjmp(explorer_place, 1);
}

static void
resume(model_thread *t)
{
    running = t;
    if (_setjmp(explorer_place) == 0) {
        if (t->started) {
            _longjmp(t->place, 1);
        }
        t->started = true;
        setcontext(&t->context);
        abort();
    }
    running = NULL;
}

static void
start(model_thread *t, void (*run)(void))
{
    char *stack = t->stack != NULL ? t->stack : malloc(STACK_SIZE);
    *t = (model_thread){.stack = stack, .run = run};
    if (t->stack == NULL || getcontext(&t->context) != 0) {
        abort();
    }
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK_SIZE;
    t->context.uc_link = NULL;
    makecontext(&t->context, thread_main, 0);
    resume(t);
}

static void
fail(const char *what)
{
    failure = what;
    if (running != NULL) {
        running->ended = true;
        _longjmp(explorer_place, 1);
    }
}

void
model_expect(bool condition, const char *what)
{
    if (!condition) {
        fail(what);
    }
}

static void
expect_not_freed(const volatile void *address)
{
    for (size_t i = 0; i < freed_count; i++) {
        const volatile char *p = address;
        if (p >= freed_memory[i].start &&
            p < freed_memory[i].start + freed_memory[i].size) {
            fail("memory is used after it was freed");
        }
    }
}

void
model_step(const volatile void *address, model_kind kind)
{
    if (running == NULL) {
        return; /* setup and finished run alone */
    }
    running->next = (step){address, kind};
    yield();
    expect_not_freed(address);
}

void
model_free(const void *memory, size_t size)
{
    freed_memory[freed_count++] = (freed){memory, size};
}

/* --- What core needs from the platform --- */

si_status
si_futex_wait(si_atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
    model_step(word, MODEL_WRITE);
    if (*word != expected) {
        return SI_OK;
    }
    running->woken = false;
    running->may_time_out = deadline_ns != SI_FOREVER;
    running->next = (step){word, MODEL_SLEEP};
    yield();
    return running->woken ? SI_OK : SI_TIMEOUT;
}

void
si_futex_wake(si_atomic_u32 *word, int count)
{
    if (running == NULL) {
        return;
    }
    /* Not model_step: the memory may be gone. */
    running->next = (step){word, MODEL_WRITE};
    yield();
    for (size_t i = 0; i < thread_count && count > 0; i++) {
        model_thread *t = &threads[i];
        if (!t->ended && !t->woken && t->next.kind == MODEL_SLEEP &&
            t->next.address == word) {
            t->woken = true;
            count--;
        }
    }
}

int
si_cpu_count(void)
{
    return 1; /* nobody spins: a spin only looks, and then does what all do */
}

int64_t
si_now_ns(void)
{
    return 0;
}

int64_t
si_deadline_after(int64_t timeout_ns)
{
    return timeout_ns;
}

/* --- The explorer --- */

static bool
is_possible(const model_thread *t)
{
    if (t->ended) {
        return false;
    }
    switch (t->next.kind) {
        case MODEL_LOCK:
            return *(const volatile uint32_t *)t->next.address == 0;
        case MODEL_SLEEP:
            return t->woken || t->may_time_out;
        default:
            return true;
    }
}

static bool
commute(const step *a, const step *b)
{
    return a->address != b->address || (a->kind == MODEL_READ && b->kind == MODEL_READ);
}

static uint8_t
possible_threads(void)
{
    uint8_t possible = 0;
    for (size_t i = 0; i < thread_count; i++) {
        if (is_possible(&threads[i])) {
            possible |= (uint8_t)(1u << i);
        }
    }
    return possible;
}

static uint8_t
still_asleep(uint8_t asleep, const step *taken)
{
    for (size_t i = 0; i < thread_count; i++) {
        if ((asleep & 1u << i) && !commute(&threads[i].next, taken)) {
            asleep &= (uint8_t)~(1u << i);
        }
    }
    return asleep;
}

static void
start_all(const model_scenario *scenario)
{
    freed_count = 0;
    failure = NULL;
    thread_count = 0;
    scenario->setup();
    while (thread_count < MODEL_MAX_THREADS && scenario->threads[thread_count] != NULL) {
        thread_count++;
    }
    for (size_t i = 0; i < thread_count; i++) {
        start(&threads[i], scenario->threads[i]);
    }
}

/* Runs the scenario once: along path as far as it goes, and then on with the first
 * choice each time. False if the rest is known from another order. */
static bool
run_once(const model_scenario *scenario)
{
    start_all(scenario);
    uint8_t asleep = 0;
    for (size_t depth = 0; failure == NULL; depth++) {
        uint8_t possible = possible_threads();
        if (possible == 0) {
            path_length = depth;
            break;
        }
        if (depth == MAX_DEPTH) {
            fail("too many steps");
            break;
        }
        if (depth >= path_length) {
            uint8_t candidates = possible & (uint8_t)~asleep;
            if (candidates == 0) {
                path_length = depth;
                return false;
            }
            path[depth] = (choice){.chosen = (uint8_t)__builtin_ctz(candidates),
                                   .possible = possible,
                                   .asleep = asleep};
            path_length = depth + 1;
        }
        const choice *c = &path[depth];
        model_thread *t = &threads[c->chosen];
        step taken = t->next;
        asleep = still_asleep((uint8_t)(c->asleep | c->done), &taken);
        resume(t);
    }
    for (size_t i = 0; i < thread_count && failure == NULL; i++) {
        if (!threads[i].ended) {
            fail("a thread sleeps forever");
        }
    }
    if (failure == NULL) {
        scenario->finished();
    }
    return true;
}

/* Moves path on to the next order that was not run; false if there is none. */
static bool
next_path(void)
{
    while (path_length > 0) {
        choice *c = &path[path_length - 1];
        c->done |= (uint8_t)(1u << c->chosen);
        uint8_t candidates = c->possible & (uint8_t)~(c->asleep | c->done);
        if (candidates != 0) {
            c->chosen = (uint8_t)__builtin_ctz(candidates);
            return true;
        }
        path_length--;
    }
    return false;
}

static void
print_failure(const char *name)
{
    fprintf(stderr, "%s: %s; threads in order:", name, failure);
    for (size_t i = 0; i < path_length; i++) {
        fprintf(stderr, " %d", path[i].chosen);
    }
    fprintf(stderr, "\n");
}

uint64_t
model_explore(const char *name, const model_scenario *scenario)
{
    uint64_t orders = 0;
    path_length = 0;
    do {
        if (run_once(scenario)) {
            orders++;
        }
        if (failure != NULL) {
            print_failure(name);
            orders = 0;
            break;
        }
    } while (next_path());
    for (size_t i = 0; i < MODEL_MAX_THREADS; i++) {
        free(threads[i].stack);
        threads[i].stack = NULL;
    }
    if (failure == NULL) {
        printf("%s: %llu orders\n", name, (unsigned long long)orders);
    }
    return orders;
}
