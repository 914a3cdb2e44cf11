/* failing.c — preloaded into a test's process: makes the n-th of the calls that fail for
 * want of resources fail, among those that come from our extension module.
 *
 * Failed are malloc, calloc, realloc, mmap and pthread_create; what CPython itself asks
 * for is always granted, since it does not survive everything that we must.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *
__libc_malloc(size_t size);
extern void *
__libc_calloc(size_t count, size_t size);
extern void *
__libc_realloc(void *ptr, size_t size);

static uintptr_t first, last;  /* where the module is; written before the countdown */
static _Atomic long countdown; /* fails on the step from 1 to 0 */
static _Atomic int has_failed;
static _Atomic int no_threads; /* 1: no call of pthread_create succeeds */

static int
find_module(struct dl_phdr_info *info, size_t size, void *prefix)
{
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    if (slash == NULL || strncmp(slash, prefix, strlen(prefix)) != 0) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0) {
            first = info->dlpi_addr + header->p_vaddr;
            last = first + header->p_memsz;
        }
    }
    return 1;
}

/* Arms the failure of the n-th call from now; 0 disarms. -> whether one has failed since
 * the last time, or -1 if the module is not there. */
int
fail_nth(long n)
{
    atomic_store(&countdown, 0);
    if (last == 0 && dl_iterate_phdr(find_module, "/_core.") == 0) {
        return -1;
    }
    int failed = atomic_exchange(&has_failed, 0);
    atomic_store(&countdown, n);
    return failed;
}

/* Has every start of a thread fail, or none. -> 0, or -1 if the module is not there */
int
fail_all_threads(int all)
{
    int known = fail_nth(0);
    atomic_store(&no_threads, all);
    return known < 0 ? -1 : 0;
}

static int
is_ours(const void *caller)
{
    return (uintptr_t)caller >= first && (uintptr_t)caller < last;
}

static int
fails(const void *caller)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) <= 0 || !is_ours(caller) ||
        atomic_fetch_sub(&countdown, 1) != 1) {
        return 0;
    }
    atomic_store(&has_failed, 1);
    errno = ENOMEM;
    return 1;
}

void *
malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *ptr, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(ptr, size);
}

void *
mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fails(__builtin_return_address(0))) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
               void *arg)
{
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static create *real;
    const void *caller = __builtin_return_address(0);
    if (fails(caller) || (atomic_load(&no_threads) && is_ours(caller))) {
        return EAGAIN;
    }
    if (real == NULL) {
        real = (create *)(uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
    }
    return real(thread, attributes, run, arg);
}
