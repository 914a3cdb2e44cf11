/* test_elf.c — tests of elf. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/elf/machine.h"
#include "core/elf/patch.h"
#include "core/elf/ranges.h"
#include "tests/core/elf/sample_file.h"

/* --- loading a copy ------------------------------------------------------------------ */

typedef struct copy {
    int calls; /* the owner that its stubs carry */
    void *handle;
    si_elf_patch patch;
    int fd;
} copy;

static int
redirected_sum(int a, int b, copy *owner)
{
    owner->calls++;
    return a + b;
}

static void *
redirected_keep(void *definition, copy *owner)
{
    owner->calls++;
    return definition;
}

static int
owner_number(const copy *owner)
{
    return (int)(uintptr_t)owner;
}

static const si_elf_redirect redirects[] = {
    {"host_sum", (uintptr_t)redirected_sum, 2},
    {"host_keep", (uintptr_t)redirected_keep, 1},
    {"not_used_by_the_sample", (uintptr_t)owner_number, 0},
};

static si_elf_plan
plan_for(const void *owner)
{
    si_elf_plan plan = {.owner = owner,
                        .redirects = redirects,
                        .redirect_count = COUNT_OF(redirects),
                        .origin = "/a/folder"};
    return plan;
}

static void
load_with(copy *c, const char *finder)
{
    si_elf_image image = open_sample();
    si_elf_plan plan = plan_for(c);
    plan.finder = finder;
    const char *why;
    char path[64];
    c->calls = 0;
    assert_int_equal(si_elf_patch_init(&c->patch, &image, &plan, &why), SI_OK);
    c->fd = memfd_create("sample", 0);
    assert_true(c->fd >= 0);
    assert_int_equal(pwrite(c->fd, sample.bytes, sample.size, 0), sample.size);
    for (size_t i = 0; i < c->patch.edit_count; i++) {
        const si_elf_edit *edit = &c->patch.edits[i];
        assert_int_equal(pwrite(c->fd, edit->bytes, edit->size, (off_t)edit->offset),
                         edit->size);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", c->fd);
    c->handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (c->handle == NULL) {
        fail_msg("%s", dlerror());
    }
}

static void
load(copy *c)
{
    load_with(c, NULL);
}

static void
unload(copy *c)
{
    dlclose(c->handle);
    si_elf_patch_fini(&c->patch);
    close(c->fd);
}

static void *
symbol(const copy *c, const char *name)
{
    void *found = dlsym(c->handle, name);
    assert_non_null(found);
    return found;
}

static int
bump(const copy *c)
{
    int (*function)(void);
    *(void **)&function = symbol(c, "sample_bump");
    return function();
}

static void
test_copies_have_their_own_variables(void **state)
{
    copy a, b;
    load(&a);
    load(&b);
    assert_true(a.patch.unique_symbols >= 1);
    assert_ptr_not_equal(symbol(&a, "sample_unique"), symbol(&b, "sample_unique"));
    assert_int_equal(bump(&a), 7 + 5 + 3 + 11 + 4);
    assert_int_equal(bump(&a), 7 + 5 + 3 + 11 + 8);
    assert_int_equal(bump(&b), 7 + 5 + 3 + 11 + 4);
    double (*power)(double);
    *(void **)&power = symbol(&a, "sample_power");
    assert_true(power(2.0) == 32.0); /* a library of the system, shared */
    unload(&a);
    unload(&b);
}

/* Where the linker has put the file. */
static uintptr_t
base_of(const copy *c)
{
    struct link_map *map;
    assert_int_equal(dlinfo(c->handle, RTLD_DI_LINKMAP, &map), 0);
    return map->l_addr;
}

static void
test_a_finder_gets_a_stub_for_each_redirect(void **state)
{
    copy c;
    int (*unused)(void);
    load_with(&c, "not_used_by_the_sample");
    assert_int_equal(c.patch.stubs, 0);
    unload(&c);
    load_with(&c, "host_keep");
    assert_int_not_equal(c.patch.stubs, 0);
    *(void **)&unused = (void *)(base_of(&c) + c.patch.stubs + 2 * SI_ELF_STUB_SIZE);
    assert_int_equal(unused(), (int)(uintptr_t)&c);
    assert_int_equal(bump(&c), 7 + 5 + 3 + 11 + 4);
    unload(&c);
    (void)state;
}

static void
test_redirected_calls_carry_their_owner(void **state)
{
    copy a, b;
    int (*call)(int, int);
    void *(*getter)(void);
    load(&a);
    load(&b);
    assert_int_equal(a.patch.redirected, 2);
    *(void **)&call = symbol(&a, "sample_call");
    assert_int_equal(call(3, 4), 7007); /* directly, and through data */
    assert_int_equal(a.calls, 2);
    *(void **)&getter = symbol(&b, "sample_getter");
    assert_ptr_equal(getter(), *(void **)symbol(&b, "sample_definition"));
    assert_int_equal(b.calls, 1);
    assert_int_equal(a.calls, 2);
    unload(&a);
    unload(&b);
}

static void
test_shared_ranges_equal_the_original(void **state)
{
    copy c;
    load(&c);
    si_elf_image image = open_sample();
    struct link_map *map;
    assert_int_equal(dlinfo(c.handle, RTLD_DI_LINKMAP, &map), 0);
    uint64_t cursor = 0;
    uint64_t total = 0;
    si_elf_range range;
    bool code = false;
    while (si_elf_next_shared(&image, &c.patch, &cursor, &range)) {
        assert_int_equal(range.offset % SI_ELF_PAGE_SIZE, 0);
        assert_int_equal(range.address % SI_ELF_PAGE_SIZE, 0);
        assert_int_equal(range.size % SI_ELF_PAGE_SIZE, 0);
        assert_memory_equal((void *)(map->l_addr + range.address),
                            sample.bytes + range.offset, range.size);
        total += range.size;
        code |= range.executable;
    }
    assert_true(total >= 2 * SI_ELF_PAGE_SIZE); /* the constants span four pages */
    (void)code;
    unload(&c);
}

static void
test_variables_need_no_file(void **state)
{
    copy c;
    load(&c);
    si_elf_image image = open_sample();
    struct link_map *map;
    assert_int_equal(dlinfo(c.handle, RTLD_DI_LINKMAP, &map), 0);
    uint64_t cursor = 0;
    uint64_t total = 0;
    si_elf_range range;
    while (si_elf_next_writable(&image, &cursor, &range)) {
        assert_int_equal(range.offset % SI_ELF_PAGE_SIZE, 0);
        assert_int_equal((map->l_addr + range.address) % SI_ELF_PAGE_SIZE, 0);
        for (uint64_t at = range.address; at < range.address + range.size;
             at += SI_ELF_PAGE_SIZE) {
            volatile uint8_t *byte = (volatile uint8_t *)(map->l_addr + at);
            /* The linker has written to the few pages that are read-only now. */
            if (at < image.relro[0] || at >= image.relro[1]) {
                *byte = *byte;
            }
        }
        assert_int_equal(fallocate(c.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   (off_t)range.offset, (off_t)range.size),
                         0);
        total += range.size;
    }
    assert_true(total >= 3 * SI_ELF_PAGE_SIZE);
    assert_string_equal(symbol(&c, "sample_values"), "variables of some pages");
    assert_string_equal(symbol(&c, "sample_constant"),
                        "constants of some pages, the same in all copies");
    assert_int_equal(bump(&c), 7 + 5 + 3 + 11 + 4);
    unload(&c);
}

/* --- reading ------------------------------------------------------------------------- */

static void
test_reads_what_is_there(void **state)
{
    si_elf_image image = open_sample();
    si_elf_symbol found;
    uint64_t cursor = 0;
    assert_true(si_elf_find_definition(&image, "sample_global", &found));
    const uint8_t *at = si_elf_at(&image, found.value, 4);
    assert_non_null(at);
    assert_int_equal(at[0], 5);
    assert_false(si_elf_find_definition(&image, "host_sum", &found));
    assert_true(si_elf_find_definition(&image, "sample_unique", &found));
    assert_true(found.unique);
    const char *path = si_elf_next_string(&image, DT_RUNPATH, &cursor);
    if (path == NULL) {
        cursor = 0;
        path = si_elf_next_string(&image, DT_RPATH, &cursor);
    }
    assert_non_null(path);
    assert_non_null(strstr(path, "$ORIGIN/beside"));
    bool math = false;
    const char *needed;
    cursor = 0;
    while ((needed = si_elf_next_string(&image, DT_NEEDED, &cursor)) != NULL) {
        math |= strncmp(needed, "libm.", 5) == 0;
    }
    assert_true(math);
    assert_false(si_elf_uses_python(&image));
    assert_false(si_elf_is_python(&image));
    assert_int_equal(image.tls_size, 4);
}

/* The definition behind a getter, without running it. */
static void
test_follows_a_getter(void **state)
{
    si_elf_image image = open_sample();
    si_elf_symbol getter, definition;
    uint64_t object, slots;
    bool jumps;
    assert_true(si_elf_find_definition(&image, "sample_getter", &getter));
    assert_true(si_elf_find_definition(&image, "sample_definition", &definition));
    const uint8_t *code = si_elf_at(&image, getter.value, getter.size);
    assert_non_null(code);
    if (!si_elf_read_getter(code, getter.size, getter.value, &object, &jumps)) {
        skip(); /* compiled without optimisation or with instrumentation */
    }
    assert_true(jumps);
    uint64_t where;
    assert_true(si_elf_pointer_at(&image, definition.value, &where));
    assert_int_equal(object, where);
    assert_true(si_elf_pointer_at(&image, object + 8, &slots));
    const uint8_t *slot = si_elf_at(&image, slots, 32);
    assert_non_null(slot);
    assert_int_equal(slot[0], 3);
    assert_int_equal(slot[8], 2);
    assert_int_equal(slot[16], 0);
}

#if defined(__x86_64__)
/* Getters as compilers write them, and where their call leads. */
static void
test_reads_getters_in_memory(void **state)
{
    struct {
        uint8_t code[80];
        uintptr_t slot; /* the table of addresses */
    } m = {.code = {
               [0] = 0xbf,  0x78, 0x56, 0x34, 0x12,       /* mov $0x12345678, %edi */
               0xe9,        14,   0,    0,    0,          /* jmp 24 */
               [24] = 0xf3, 0x0f, 0x1e, 0xfa, 0xf2,       /* endbr64, bnd */
               0xff,        0x25, 45,   0,    0,    0,    /* jmp *slot(%rip) */
               [40] = 0x48, 0x8d, 0x3d, 1,    0,    0, 0, /* lea 48(%rip), %rdi */
               0xff,        0x25, 27,   0,    0,    0,    /* jmp *slot(%rip) */
               [56] = 0x55, 0x48, 0x89, 0xe5,             /* push %rbp; mov %rsp, %rbp */
               0x48,        0x8d, 0x3d, 1,    0,    0, 0, /* lea 68(%rip), %rdi */
               0x5d,                                      /* pop %rbp */
               0xe9,        207,  255,  255,  255,        /* jmp 24 */
           }};
    uintptr_t function = (uintptr_t)test_reads_getters_in_memory;
    uint64_t object;
    bool jumps;
    (void)state;
    m.slot = function;
    assert_true(si_elf_read_getter(m.code, 24, 0, &object, &jumps));
    assert_true(jumps);
    assert_int_equal(object, 0x12345678);
    assert_true(si_elf_getter_calls(m.code, 24, function));
    assert_true(si_elf_getter_calls(m.code, 24, (uintptr_t)(m.code + 24)));
    assert_false(si_elf_getter_calls(m.code, 24, function + 1));
    assert_true(si_elf_read_getter(m.code + 40, 16, 40, &object, &jumps));
    assert_int_equal(object, 48);
    assert_true(si_elf_getter_calls(m.code + 40, 16, function));
    assert_false(si_elf_getter_calls(m.code + 40, 16, (uintptr_t)(m.code + 24)));
    assert_true(si_elf_read_getter(m.code + 56, 24, 56, &object, &jumps));
    assert_int_equal(object, 68);
    assert_true(si_elf_getter_calls(m.code + 56, 24, function));
    assert_true(si_elf_getter_calls(m.code + 56, 24, (uintptr_t)(m.code + 24)));
    assert_false(si_elf_read_getter(m.code + 24, 16, 0, &object, &jumps));
    m.code[67] = 0x90; /* the frame is still there */
    assert_false(si_elf_read_getter(m.code + 56, 24, 56, &object, &jumps));
}
#endif

static void
test_writes_out_origin(void **state)
{
    static const char *const cases[][2] = {
        {"$ORIGIN", "/x y"},
        {"${ORIGIN}/../l:$ORIGIN/m", "/x y/../l:/x y/m"},
        {"/usr/lib", "/usr/lib"},
        {"$LIB/$", "$LIB/$"},
        {"", ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *text = si_elf_expand_origin(cases[i][0], "/x y");
        assert_string_equal(text, cases[i][1]);
        si_free(text);
    }
}

static void
test_renames_and_adds_needed_libraries(void **state)
{
    si_elf_image image = open_sample(), patched;
    const char *needed = NULL;
    const char *why;
    uint64_t cursor = 0;
    do {
        needed = si_elf_next_string(&image, DT_NEEDED, &cursor);
    } while (needed != NULL && strncmp(needed, "libm.", 5) != 0);
    assert_non_null(needed);
    si_elf_rename rename = {needed, "/another/place"};
    const char *extra = "/first/of/all";
    si_elf_plan plan = plan_for(NULL);
    plan.renames = &rename;
    plan.rename_count = 1;
    plan.extra_needed = &extra;
    plan.extra_needed_count = 1;
    si_elf_patch patch;
    assert_int_equal(si_elf_patch_init(&patch, &image, &plan, &why), SI_OK);
    const si_elf_edit *last = &patch.edits[patch.edit_count - 1];
    size_t size = (size_t)last->offset + last->size;
    uint8_t *bytes = calloc(1, size);
    memcpy(bytes, sample.bytes, sample.size);
    for (size_t i = 0; i < patch.edit_count; i++) {
        memcpy(bytes + patch.edits[i].offset, patch.edits[i].bytes, patch.edits[i].size);
    }
    assert_int_equal(si_elf_open(&patched, bytes, size, &why), SI_OK);
    cursor = 0;
    assert_string_equal(si_elf_next_string(&patched, DT_NEEDED, &cursor), extra);
    bool renamed = false;
    while ((needed = si_elf_next_string(&patched, DT_NEEDED, &cursor)) != NULL) {
        renamed |= strcmp(needed, "/another/place") == 0;
        assert_true(strncmp(needed, "libm.", 5) != 0);
    }
    assert_true(renamed);
    cursor = 0;
    assert_null(si_elf_next_string(&patched, DT_SONAME, &cursor));
    free(bytes);
    si_elf_patch_fini(&patch);
}

/* --- bad input ----------------------------------------------------------------------- */

/* Reads and patches whatever bytes are there: must not touch memory outside of them. */
static si_status
use_everything(const uint8_t *bytes, size_t size)
{
    si_elf_image image;
    si_elf_patch patch;
    si_elf_symbol found;
    si_elf_range range;
    const char *why = NULL;
    si_status status = si_elf_open(&image, bytes, size, &why);
    check((status == SI_OK) == (why == NULL));
    if (status != SI_OK) {
        return status;
    }
    uint64_t cursor = 0;
    (void)si_elf_find_definition(&image, "sample_getter", &found);
    (void)si_elf_uses_python(&image);
    while (si_elf_next_string(&image, DT_NEEDED, &cursor) != NULL) {
    }
    uint64_t value;
    (void)si_elf_pointer_at(&image, found.value, &value);
    si_elf_rename rename = {"libm.so.6", "/x"};
    si_elf_plan plan = plan_for(NULL);
    plan.renames = &rename;
    plan.rename_count = 1;
    status = si_elf_patch_init(&patch, &image, &plan, &why);
    if (status == SI_OK) {
        cursor = 0;
        while (si_elf_next_shared(&image, &patch, &cursor, &range)) {
            check(range.offset + range.size <= size);
        }
        cursor = 0;
        while (si_elf_next_loaded(&image, &cursor, &range)) {
            check(range.offset + range.size <= size);
        }
        cursor = 0;
        while (si_elf_next_writable(&image, &cursor, &range)) {
            check(range.size % SI_ELF_PAGE_SIZE == 0);
        }
        si_elf_patch_fini(&patch);
    }
    return status;
}

static void
test_every_truncation_is_refused(void **state)
{
    si_elf_image image = open_sample();
    uint64_t needed = 0;
    for (uint64_t i = 0; i < image.segments.count; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, sample.bytes + image.segments.offset + i * sizeof segment,
               sizeof segment);
        uint64_t end = segment.p_offset + segment.p_filesz;
        needed = segment.p_type == PT_LOAD && end > needed ? end : needed;
    }
    for (size_t size = 0; size < needed; size += size < 4096 ? 1 : 97) {
        uint8_t *bytes = malloc(size != 0 ? size : 1); /* exact, for AddressSanitizer */
        memcpy(bytes, sample.bytes, size);
        assert_int_equal(use_everything(bytes, size), SI_INVALID);
        free(bytes);
    }
}

static void
test_wrong_kinds_are_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *part;
    } cases[] = {
        {0, 'x', "not an ELF"},
        {EI_CLASS, ELFCLASS32, "another machine"},
        {EI_DATA, ELFDATA2MSB, "another machine"},
        {18, EM_AARCH64, "another machine"},
        {16, ET_EXEC, "not a shared library"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        si_elf_image image;
        const char *why;
        uint8_t *bytes = malloc(sample.size);
        memcpy(bytes, sample.bytes, sample.size);
        bytes[cases[i].at] = cases[i].value;
        assert_int_equal(si_elf_open(&image, bytes, sample.size, &why), SI_INVALID);
        assert_non_null(strstr(why, cases[i].part));
        free(bytes);
    }
}

static uint32_t
next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Flips bytes of what the reader looks at: headers, tables and the dynamic section. */
static void
test_damage_is_survived(void **state)
{
    si_elf_image image = open_sample();
    uint32_t seed = 0x51e55ed;
    size_t refused = 0;
    const si_elf_table targets[] = {
        {0, sizeof(Elf64_Ehdr)},
        {image.segments.offset, image.segments.count * sizeof(Elf64_Phdr)},
        {image.dynamic.offset, image.dynamic.count * sizeof(Elf64_Dyn)},
        {image.symbols.offset, image.symbols.count * sizeof(Elf64_Sym)},
        {image.strings.offset, image.strings.count},
        {image.verneed.offset, 64},
        {image.rela[0].offset, image.rela[0].count * sizeof(Elf64_Rela)},
        {0, 4096},
    };
    uint8_t *bytes = malloc(sample.size);
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes, sample.bytes, sample.size);
        const si_elf_table *target = &targets[next_random(&seed) % COUNT_OF(targets)];
        for (uint32_t flips = 1 + next_random(&seed) % 4; flips > 0; flips--) {
            uint64_t at = target->offset + next_random(&seed) % (target->count + 1);
            uint32_t kind = next_random(&seed) % 3;
            bytes[at % sample.size] = kind == 0   ? 0xff
                                      : kind == 1 ? 0
                                                  : (uint8_t)next_random(&seed);
        }
        refused += use_everything(bytes, sample.size) == SI_INVALID;
    }
    free(bytes);
    assert_true(refused > 1000); /* the damage was seen, and not only stepped over */
}

static void
test_every_allocation_may_fail(void **state)
{
    si_elf_image image = open_sample();
    si_elf_plan plan = plan_for(NULL);
    si_elf_rename rename = {"libm.so.6", "/x"};
    plan.renames = &rename;
    plan.rename_count = 1;
    for (int64_t n = 1;; n++) {
        si_elf_patch patch;
        const char *why;
        si_alloc_fail_nth(n);
        si_status status = si_elf_patch_init(&patch, &image, &plan, &why);
        bool failed = si_alloc_failed();
        si_alloc_fail_nth(0);
        if (!failed) {
            assert_int_equal(status, SI_OK);
            si_elf_patch_fini(&patch);
            assert_true(n > 4);
            return;
        }
        assert_int_equal(status, SI_NOMEM);
        assert_int_equal(patch.edit_count, 0);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_have_their_own_variables),
        cmocka_unit_test(test_redirected_calls_carry_their_owner),
        cmocka_unit_test(test_a_finder_gets_a_stub_for_each_redirect),
        cmocka_unit_test(test_shared_ranges_equal_the_original),
        cmocka_unit_test(test_variables_need_no_file),
        cmocka_unit_test(test_reads_what_is_there),
        cmocka_unit_test(test_follows_a_getter),
#if defined(__x86_64__)
        cmocka_unit_test(test_reads_getters_in_memory),
#endif
        cmocka_unit_test(test_writes_out_origin),
        cmocka_unit_test(test_renames_and_adds_needed_libraries),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_wrong_kinds_are_refused),
        cmocka_unit_test(test_damage_is_survived),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    sample = read_file(argc > 1 ? argv[1] : ELF_SAMPLE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
