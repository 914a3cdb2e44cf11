/* explorer.h — runs a few model threads in every order that could make a difference.
 *
 * Model      The code under test is the real one, compiled against shadow headers in
 *            which each atomic operation, futex call and lock is a step. Model threads
 *            are coroutines of one OS thread. Before each step the explorer chooses who
 *            goes on; it runs the scenario again and again until every choice was made.
 * Reduction  Two steps commute unless they touch the same word and one of them writes.
 *            Of the orders that differ only in commuting steps one is run (sleep sets).
 *            Whatever threads share must therefore be an atomic or guarded by a lock.
 * Limits     Orders are sequentially consistent; weaker ones are ThreadSanitizer's
 *            part. A scenario must end in every order: no polling.
 */
#ifndef SI_TESTS_CORE_MODEL_EXPLORER_H
#define SI_TESTS_CORE_MODEL_EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_MAX_THREADS 6

typedef enum model_kind {
    MODEL_READ,
    MODEL_WRITE, /* and whatever else does not commute with itself */
    MODEL_LOCK,  /* possible while the 32-bit word is 0 */
    MODEL_SLEEP, /* possible once the thread was woken, or when it may time out */
} model_kind;

typedef struct model_scenario {
    void (*setup)(void);                      /* before each run */
    void (*threads[MODEL_MAX_THREADS])(void); /* up to the first NULL */
    void (*finished)(void);                   /* after all threads have ended */
} model_scenario;

/* Explores the scenario. Returns how many orders it ran, or 0 when in one of them an
 * expectation failed or threads slept forever; that order is then printed. */
uint64_t
model_explore(const char *name, const model_scenario *scenario);

/* A step of the running model thread; the operation follows right after it. */
void
model_step(const volatile void *address, model_kind kind);

/* What must be true in every order. Does not return if it is not. */
void
model_expect(bool condition, const char *what);

/* From here on any step on this memory is a failure; futex wake-ups are not steps on
 * memory. setup forgets it. */
void
model_free(const void *memory, size_t size);

#endif /* SI_TESTS_CORE_MODEL_EXPLORER_H */
