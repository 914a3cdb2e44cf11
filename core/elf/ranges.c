/* ranges.c — see ranges.h. */
#include "core/elf/ranges.h"

#include <elf.h>
#include <string.h>

/* Cuts what an edit touches off the front of range, or off its end if it begins later.
 */
static void
avoid_edits(const si_elf_patch *patch, si_elf_range *range)
{
    for (size_t i = 0; i < patch->edit_count && range->size != 0; i++) {
        uint64_t from = si_elf_page_down(patch->edits[i].offset);
        uint64_t to = si_elf_page_up(patch->edits[i].offset + patch->edits[i].size);
        uint64_t end = range->offset + range->size;
        if (to <= range->offset || from >= end) {
            continue;
        }
        if (from > range->offset) {
            range->size = from - range->offset;
            i = SIZE_MAX; /* an earlier edit may lie in what is left: look again */
            continue;
        }
        uint64_t cut = to < end ? to - range->offset : range->size;
        range->offset += cut;
        range->address += cut;
        range->size -= cut;
        i = SIZE_MAX;
    }
}

bool
si_elf_next_shared(const si_elf_image *image, const si_elf_patch *patch, uint64_t *cursor,
                   si_elf_range *range)
{
    if (image->text_relocations) {
        return false;
    }
    for (uint64_t i = 0; i < image->segments.count; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, image->bytes + image->segments.offset + i * sizeof segment,
               sizeof segment);
        uint64_t from = si_elf_page_down(segment.p_offset);
        uint64_t to = si_elf_page_down(segment.p_offset + segment.p_filesz);
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0 || to <= from ||
            to <= *cursor || (segment.p_vaddr - segment.p_offset) % SI_ELF_PAGE_SIZE) {
            continue;
        }
        range->offset = from > *cursor ? from : si_elf_page_up(*cursor);
        range->address = segment.p_vaddr - segment.p_offset + range->offset;
        range->size = to - range->offset;
        range->executable = (segment.p_flags & PF_X) != 0;
        avoid_edits(patch, range);
        if (range->size != 0) {
            *cursor = range->offset + range->size;
            return true;
        }
        *cursor = to;
        i = UINT64_MAX; /* from the first segment again, behind the cursor */
    }
    return false;
}

/* Whether another segment than the one at index is loaded from the page at offset. */
static bool
is_mapped_twice(const si_elf_image *image, uint64_t index, uint64_t offset)
{
    for (uint64_t i = 0; i < image->segments.count; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, image->bytes + image->segments.offset + i * sizeof segment,
               sizeof segment);
        if (i != index && segment.p_type == PT_LOAD &&
            si_elf_page_down(segment.p_offset) <= offset &&
            offset < si_elf_page_up(segment.p_offset + segment.p_filesz)) {
            return true;
        }
    }
    return false;
}

bool
si_elf_next_writable(const si_elf_image *image, uint64_t *cursor, si_elf_range *range)
{
    for (uint64_t i = 0; i < image->segments.count; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, image->bytes + image->segments.offset + i * sizeof segment,
               sizeof segment);
        uint64_t from = si_elf_page_down(segment.p_offset);
        uint64_t to = si_elf_page_up(segment.p_offset + segment.p_filesz);
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) == 0 ||
            segment.p_filesz == 0 || to <= *cursor ||
            (segment.p_vaddr - segment.p_offset) % SI_ELF_PAGE_SIZE) {
            continue;
        }
        from += is_mapped_twice(image, i, from) ? SI_ELF_PAGE_SIZE : 0;
        to -= is_mapped_twice(image, i, to - SI_ELF_PAGE_SIZE) ? SI_ELF_PAGE_SIZE : 0;
        if (from < to && from >= *cursor) {
            range->offset = from;
            range->address = segment.p_vaddr - segment.p_offset + from;
            range->size = to - from;
            range->executable = (segment.p_flags & PF_X) != 0;
            *cursor = to;
            return true;
        }
    }
    return false;
}
