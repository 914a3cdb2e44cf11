/* thread.c — see thread.h. */
#include "core/platform/thread.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "core/base/alloc.h"

#define NS_PER_S 1000000000
#define NAME_SIZE 16 /* what Linux holds, the final NUL included */

typedef struct start {
    void (*run)(void *arg);
    void *arg;
    char name[NAME_SIZE];
} start;

static void
name_myself(const char *name)
{
#if defined(__linux__)
    (void)pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
    (void)pthread_setname_np(name);
#else
    (void)name;
#endif
}

static void *
begin(void *arg)
{
    start mine = *(start *)arg;
    si_free(arg);
    name_myself(mine.name);
    mine.run(mine.arg);
    return NULL;
}

si_status
si_thread_start(void (*run)(void *arg), void *arg, const char *name)
{
    start *given = si_alloc(sizeof(*given));
    if (given == NULL) {
        return SI_NOMEM;
    }
    given->run = run;
    given->arg = arg;
    (void)snprintf(given->name, sizeof(given->name), "%s", name);
    pthread_attr_t attributes;
    pthread_t thread;
    bool started = false;
    if (pthread_attr_init(&attributes) == 0) {
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        started = pthread_create(&thread, &attributes, begin, given) == 0;
        (void)pthread_attr_destroy(&attributes);
    }
    if (!started) {
        si_free(given);
    }
    return started ? SI_OK : SI_SYSTEM;
}

#if defined(__linux__)
/* Takes every key's value from this thread, without calling the destructor. glibc leaves
 * that to its own way out of a thread, and gives the memory of the values to a later one:
 * that would begin with them, among them CPython's pointer to a thread state. */
static void
forget_values(void)
{
    for (pthread_key_t key = 0; key < PTHREAD_KEYS_MAX; key++) {
        if (pthread_getspecific(key) != NULL) { /* of no such key: it is NULL */
            (void)pthread_setspecific(key, NULL);
        }
    }
}
#endif

_Noreturn void
si_thread_stop(void)
{
#if defined(__linux__)
    /* pthread_exit would unwind the stack, through code that is not written for it, and
     * come back if this is a destructor of the thread's. */
    if (syscall(SYS_gettid) != getpid()) {
        forget_values();
        syscall(SYS_exit, 0);
    }
#endif
    for (;;) {
        pause();
    }
}

/* The stack of this thread, or size 0: not asked for yet, or unknown. */
static _Thread_local struct {
    uintptr_t low;
    size_t size;
    bool asked;
} stack;

static void
ask_for_stack(void)
{
    stack.asked = true;
#if defined(__GLIBC__)
    pthread_attr_t attributes;
    void *low;
    size_t size;
    size_t guard;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return;
    }
    if (pthread_attr_getstack(&attributes, &low, &size) == 0 &&
        pthread_attr_getguardsize(&attributes, &guard) == 0 && guard < size) {
        stack.low = (uintptr_t)low + guard;
        stack.size = size - guard;
    }
    (void)pthread_attr_destroy(&attributes);
#endif
}

bool
si_thread_stack(void **low, size_t *size)
{
    if (!stack.asked) {
        ask_for_stack();
    }
    *low = (void *)stack.low; /* NOLINT(performance-no-int-to-ptr): never followed */
    *size = stack.size;
    return (uintptr_t)__builtin_frame_address(0) - stack.low < stack.size;
}

int64_t
si_thread_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * NS_PER_S + used.tv_nsec;
}
