/* pages.c — see pages.h. */
#include "core/platform/pages.h"

#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* From here on a large page pays; smaller memory rarely contains a whole one. */
#define WORTH ((size_t)4 << 20)
#define PAGE ((uintptr_t)4096)

void
si_pages_expect(void *data, size_t size)
{
    if (size < WORTH) {
        return;
    }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t start = ((uintptr_t)data + PAGE - 1) & ~(PAGE - 1);
    uintptr_t end = ((uintptr_t)data + size) & ~(PAGE - 1);
    (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
#else
    (void)data;
#endif
}

void
si_pages_forget(void *data, size_t size)
{
#if defined(__linux__)
    if (size != 0) {
        (void)madvise(data, size, MADV_DONTNEED);
    }
#else
    (void)data;
    (void)size;
#endif
}

bool
si_pages_available(size_t size)
{
#if defined(__linux__)
    void *data =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return false;
    }
    (void)munmap(data, size);
#else
    (void)size;
#endif
    return true;
}
