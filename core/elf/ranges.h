/* ranges.h — which pages of a copy need memory of their own. */
#ifndef SI_ELF_RANGES_H
#define SI_ELF_RANGES_H

#include "core/elf/machine.h"
#include "core/elf/patch.h"

static inline uint64_t
si_elf_page_up(uint64_t n)
{
    return (n + SI_ELF_PAGE_SIZE - 1) & ~(uint64_t)(SI_ELF_PAGE_SIZE - 1);
}

static inline uint64_t
si_elf_page_down(uint64_t n)
{
    return n & ~(uint64_t)(SI_ELF_PAGE_SIZE - 1);
}

/* The next range that the copy maps without writing to it and that no edit touches, at or
 * behind *cursor, which starts at 0: it may be mapped from the original file instead.
 * false: no more. */
bool
si_elf_next_shared(const si_elf_image *image, const si_elf_patch *patch, uint64_t *cursor,
                   si_elf_range *range);

/* The next range of the file that only a writable segment maps, at or behind *cursor, which
 * starts at 0: once its pages have been written to, the file's own are of no use. Part of
 * it may be read-only by then (image->relro). false: no more. */
bool
si_elf_next_writable(const si_elf_image *image, uint64_t *cursor, si_elf_range *range);

#endif /* SI_ELF_RANGES_H */
