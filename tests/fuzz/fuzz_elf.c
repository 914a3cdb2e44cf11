/* fuzz_elf.c — libFuzzer on what reads, checks and patches libraries. See tools/fuzz.
 *
 * Whatever bytes come: an error, or answers that stay inside of them. What was patched is
 * read once more, and nothing may be left allocated.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/elf/check.h"
#include "core/elf/machine.h"
#include "core/elf/patch.h"
#include "core/elf/ranges.h"

#define check(condition) ((condition) ? (void)0 : abort())

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
redirected(void)
{
}

static void
read_names(const si_elf_image *image)
{
    static const int64_t tags[] = {DT_NEEDED, DT_SONAME, DT_RUNPATH, DT_RPATH};
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        uint64_t cursor = 0;
        const char *text;
        while ((text = si_elf_next_string(image, tags[i], &cursor)) != NULL) {
            char *expanded = si_elf_expand_origin(text, "/a/folder");
            check(expanded != NULL && strlen(expanded) + 1 > 0);
            si_free(expanded);
        }
    }
}

static void
follow_symbols(const si_elf_image *image)
{
    si_elf_symbol found;
    for (uint64_t i = 0; i < image->symbols.count; i++) {
        if (!si_elf_symbol_at(image, i, &found)) {
            continue;
        }
        uint64_t object = 0;
        bool jumps;
        const uint8_t *code = si_elf_at(image, found.value, 16);
        if (code != NULL) {
            (void)si_elf_read_getter(code, 16, found.value, &object, &jumps);
        }
        (void)si_elf_pointer_at(image, found.value, &object);
        (void)si_elf_find_definition(image, found.name, &found);
    }
    (void)si_elf_uses_python(image);
    (void)si_elf_is_python(image);
}

static void
walk_ranges(const si_elf_image *image, const si_elf_patch *patch, size_t size)
{
    si_elf_range range;
    uint64_t cursor = 0;
    while (si_elf_next_shared(image, patch, &cursor, &range)) {
        check(range.size <= size && range.offset <= size - range.size);
    }
    cursor = 0;
    while (si_elf_next_loaded(image, &cursor, &range)) {
        check(range.size <= size && range.offset <= size - range.size);
    }
    cursor = 0;
    while (si_elf_next_writable(image, &cursor, &range)) {
        check(range.size % SI_ELF_PAGE_SIZE == 0);
    }
}

/* What the copy would be, if it is of a size that fits into memory. */
static void
read_patched(const uint8_t *data, size_t size, const si_elf_patch *patch)
{
    const si_elf_edit *last = &patch->edits[patch->edit_count - 1];
    if (last->offset > 2 * size + (1u << 20)) {
        return;
    }
    size_t total = (size_t)last->offset + last->size;
    uint8_t *bytes = calloc(1, total);
    check(bytes != NULL && total >= size);
    memcpy(bytes, data, size);
    for (size_t i = 0; i < patch->edit_count; i++) {
        const si_elf_edit *edit = &patch->edits[i];
        check(edit->offset <= total && edit->size <= total - edit->offset);
        memcpy(bytes + edit->offset, edit->bytes, edit->size);
    }
    si_elf_image patched;
    const char *why;
    if (si_elf_open(&patched, bytes, total, &why) == SI_OK) {
        read_names(&patched);
        follow_symbols(&patched);
    }
    free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const si_elf_redirect redirects[] = {
        {"host_sum", (uintptr_t)redirected, 2},
        {"host_keep", (uintptr_t)redirected, 1},
    };
    const si_elf_rename rename = {"libm.so.6", "/another/place"};
    const char *extra = "/first/of/all";
    si_elf_plan plan = {
        .owner = &plan,
        .redirects = redirects,
        .redirect_count = sizeof(redirects) / sizeof(redirects[0]),
        .finder = "host_sum",
        .renames = &rename,
        .rename_count = 1,
        .extra_needed = &extra,
        .extra_needed_count = 1,
        .origin = "/a/folder",
    };
    si_elf_image image;
    si_elf_patch patch;
    const char *why = NULL;
    si_status status = si_elf_open(&image, data, size, &why);
    check((status == SI_OK) == (why == NULL));
    if (status != SI_OK) {
        return 0;
    }
    status = si_elf_check(&image, &why);
    check((status == SI_OK) == (why == NULL));
    read_names(&image);
    follow_symbols(&image);
    status = si_elf_patch_init(&patch, &image, &plan, &why);
    check(status == SI_OK || (status == SI_INVALID && why != NULL));
    if (status == SI_OK) {
        walk_ranges(&image, &patch, size);
        read_patched(data, size, &patch);
        si_elf_patch_fini(&patch);
    }
    return 0;
}
