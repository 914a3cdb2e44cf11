/* failing.c — preloaded into a test's process: makes the n-th of the calls that fail for
 * want of resources fail, among those that come from our extension module.
 *
 * Failed are allocations, mappings, threads, what opens, reads or writes files, and dlopen;
 * what CPython itself asks for is granted, since it does not survive everything that we
 * must. Apart from that, the n-th allocation by CPython's allocators can be failed, whoever
 * asks for it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
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
static _Atomic int no_threads;        /* 1: no call of pthread_create succeeds */
static void (*_Atomic refusal)(void); /* called once, before the next of those fails */

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

/* Has function called by the next start of a thread that fails because all do. */
void
call_at_refusal(void (*function)(void))
{
    atomic_store(&refusal, function);
}

static int
is_ours(const void *caller)
{
    return (uintptr_t)caller >= first && (uintptr_t)caller < last;
}

static int
fails_with(const void *caller, int reason)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) <= 0 || !is_ours(caller) ||
        atomic_fetch_sub(&countdown, 1) != 1) {
        return 0;
    }
    atomic_store(&has_failed, 1);
    errno = reason;
    return 1;
}

static int
fails(const void *caller)
{
    return fails_with(caller, ENOMEM);
}

/* --- memory and threads -------------------------------------------------------------- */

void *
malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

static _Thread_local int in_creation; /* this thread is inside of CPython's */

void *
calloc(size_t count, size_t size)
{
    const void *caller = __builtin_return_address(0);
    if (in_creation && is_ours(caller)) {
        in_creation = 0; /* the record of the interpreter, right after */
    }
    return fails(caller) ? NULL : __libc_calloc(count, size);
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

void *
mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fails(__builtin_return_address(0))) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

int
mprotect(void *at, size_t size, int protection)
{
    return fails(__builtin_return_address(0))
               ? -1
               : (int)syscall(SYS_mprotect, at, size, protection);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Only the advice that wants memory fails. */
int
madvise(void *at, size_t size, int advice)
{
    return advice == MADV_POPULATE_WRITE && fails(__builtin_return_address(0))
               ? -1
               : (int)syscall(SYS_madvise, at, size, advice);
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
               void *arg)
{
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static create *real;
    const void *caller = __builtin_return_address(0);
    if (fails(caller)) {
        return EAGAIN;
    }
    if (atomic_load(&no_threads) && is_ours(caller)) {
        void (*function)(void) = atomic_exchange(&refusal, NULL);
        if (function != NULL) {
            function();
        }
        return EAGAIN;
    }
    if (real == NULL) {
        real = (create *)(uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
    }
    return real(thread, attributes, run, arg);
}

/* --- files --------------------------------------------------------------------------- */

int
open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (fails_with(__builtin_return_address(0), EMFILE)) {
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
fcntl64(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    if (command == F_DUPFD_CLOEXEC && fails_with(__builtin_return_address(0), EMFILE)) {
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int
fstat64(int fd, struct stat64 *found)
{
    if (fails_with(__builtin_return_address(0), EIO)) {
        return -1;
    }
    return (int)syscall(SYS_newfstatat, fd, "", found, AT_EMPTY_PATH);
}

int
stat64(const char *path, struct stat64 *found)
{
    if (fails(__builtin_return_address(0))) {
        return -1;
    }
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, found, 0);
}

off64_t
lseek64(int fd, off64_t offset, int whence)
{
    return fails_with(__builtin_return_address(0), EIO)
               ? -1
               : (off64_t)syscall(SYS_lseek, fd, offset, whence);
}

ssize_t
pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return fails_with(__builtin_return_address(0), ENOSPC)
               ? -1
               : (ssize_t)syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t
sendfile64(int to, int from, off64_t *offset, size_t size)
{
    return fails_with(__builtin_return_address(0), ENOSPC)
               ? -1
               : (ssize_t)syscall(SYS_sendfile, to, from, offset, size);
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return fails_with(__builtin_return_address(0), ENOSPC)
               ? -1
               : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int
memfd_create(const char *name, unsigned flags)
{
    return fails_with(__builtin_return_address(0), EMFILE)
               ? -1
               : (int)syscall(SYS_memfd_create, name, flags);
}

int
eventfd(unsigned count, int flags)
{
    return fails_with(__builtin_return_address(0), EMFILE)
               ? -1
               : (int)syscall(SYS_eventfd2, count, flags);
}

/* Fails inside of the dynamic linker, where it maps the library. */
void *
dlopen(const char *path, int flags)
{
    typedef void *open_library(const char *, int);
    static open_library *real;
    struct rlimit before;
    int limited = fails(__builtin_return_address(0));
    if (real == NULL) {
        real = (open_library *)(uintptr_t)dlsym(RTLD_NEXT, "dlopen");
    }
    if (limited && (flags & RTLD_NOLOAD) != 0) {
        return NULL;
    }
    if (limited && getrlimit(RLIMIT_AS, &before) == 0) {
        setrlimit(RLIMIT_AS, &(struct rlimit){1, before.rlim_max});
    }
    void *handle = real(path, flags);
    if (limited) {
        setrlimit(RLIMIT_AS, &before);
    }
    return handle;
}

/* --- CPython's allocators ------------------------------------------------------------ */

enum { RAW, MEM, OBJ, DOMAINS };

/* PyMemAllocatorEx */
typedef struct allocator {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t count, size_t size);
    void *(*realloc)(void *context, void *ptr, size_t size);
    void (*free)(void *context, void *ptr);
} allocator;

static allocator originals[DOMAINS];
static _Atomic long objects_left; /* fails on the step from 1 to 0 */
static _Atomic int object_failed;
static _Atomic int creation_spared;
static void *spared_functions[4];

/* Whether this thread is inside of a function that is exported. */
static int
is_inside(const void *function)
{
    void *frames[128];
    Dl_info info;
    int count = backtrace(frames, 128);
    for (int i = 0; i < count; i++) {
        if (dladdr(frames[i], &info) && info.dli_saddr == function) {
            return 1;
        }
    }
    return 0;
}

/* What this function asks for is granted from now on; at most four. */
void
spare(const char *name)
{
    int i = 0;
    while (spared_functions[i] != NULL) {
        i++;
    }
    spared_functions[i] = dlsym(RTLD_DEFAULT, name);
}

static int
object_fails(void)
{
    if (atomic_load_explicit(&objects_left, memory_order_relaxed) <= 0 ||
        (in_creation && atomic_load_explicit(&creation_spared, memory_order_relaxed)) ||
        atomic_fetch_sub(&objects_left, 1) != 1) {
        return 0;
    }
    atomic_store(&object_failed, 1);
    for (int i = 0; i < 4 && spared_functions[i] != NULL; i++) {
        if (is_inside(spared_functions[i])) {
            return 0;
        }
    }
    return 1;
}

static void *
object_malloc(void *original, size_t size)
{
    allocator *a = original;
    return object_fails() ? NULL : a->malloc(a->context, size);
}

static void *
object_calloc(void *original, size_t count, size_t size)
{
    allocator *a = original;
    return object_fails() ? NULL : a->calloc(a->context, count, size);
}

static void *
object_realloc(void *original, void *ptr, size_t size)
{
    allocator *a = original;
    return object_fails() ? NULL : a->realloc(a->context, ptr, size);
}

static void
object_free(void *original, void *ptr)
{
    allocator *a = original;
    a->free(a->context, ptr);
}

static int
audit(const char *event, void *args, void *unused)
{
    (void)args;
    (void)unused;
    if (strcmp(event, "cpython.PyInterpreterState_New") == 0) {
        in_creation = 1;
    }
    return 0;
}

static void
hook_allocators(void)
{
    typedef void access(int domain, allocator *functions);
    typedef int hook(const char *event, void *args, void *data);
    typedef int add_hook(hook * added, void *data);
    access *get = (access *)(uintptr_t)dlsym(RTLD_DEFAULT, "PyMem_GetAllocator");
    access *set = (access *)(uintptr_t)dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
    add_hook *add = (add_hook *)(uintptr_t)dlsym(RTLD_DEFAULT, "PySys_AddAuditHook");
    add(audit, NULL);
    for (int domain = RAW; domain < DOMAINS; domain++) {
        get(domain, &originals[domain]);
        set(domain, &(allocator){&originals[domain], object_malloc, object_calloc,
                                 object_realloc, object_free});
    }
}

/* As fail_nth, for the n-th allocation from now by CPython's allocators, in any thread.
 * With spared, those of Py_NewInterpreterFromConfig are granted and not counted. */
int
fail_nth_object(long n, int spared)
{
    atomic_store(&objects_left, 0);
    if (originals[RAW].malloc == NULL) {
        (void)fail_nth(0); /* finds the module */
        hook_allocators();
    }
    int failed = atomic_exchange(&object_failed, 0);
    in_creation = 0;
    atomic_store(&creation_spared, spared);
    atomic_store(&objects_left, n);
    return failed;
}

/* --- crashes ------------------------------------------------------------------------- */

static void *creation;  /* Py_NewInterpreterFromConfig */
static void *importing; /* PyImport_ImportModuleLevelObject; NULL: it is no excuse */

/* A crash inside of them is CPython's own, and the process says so by its status. */
static void
crashed(int number)
{
    if (is_inside(creation) || (importing != NULL && is_inside(importing))) {
        _exit(77);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void
tell_crashes(int of_imports)
{
    void *frames[1];
    (void)backtrace(frames, 1); /* loads what it needs */
    creation = dlsym(RTLD_DEFAULT, "Py_NewInterpreterFromConfig");
    importing = of_imports ? dlsym(RTLD_DEFAULT, "PyImport_ImportModuleLevelObject") : NULL;
    signal(SIGSEGV, crashed);
    signal(SIGABRT, crashed);
    signal(SIGBUS, crashed);
}
