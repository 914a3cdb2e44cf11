/* test_check.c — tests of elf/check. */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "core/elf/check.h"
#include "core/elf/machine.h"
#include "tests/core/elf/sample_file.h"

/* --- what is where in a file --------------------------------------------------------- */

static si_status
verdict(const uint8_t *bytes, size_t size, const char **why)
{
    si_elf_image image;
    si_status status = si_elf_open(&image, bytes, size, why);
    if (status == SI_OK) {
        status = si_elf_check(&image, why);
    }
    check((status == SI_OK) == (*why == NULL));
    return status;
}

/* File offset of the n-th program header of that type; 0: there is none. */
static uint64_t
segment_at(uint32_t type, int n)
{
    si_elf_image image = open_sample();
    for (uint64_t i = 0; i < image.segments.count; i++) {
        Elf64_Phdr segment;
        uint64_t at = image.segments.offset + i * sizeof segment;
        memcpy(&segment, sample.bytes + at, sizeof segment);
        if (segment.p_type == type && n-- == 0) {
            return at;
        }
    }
    return 0;
}

/* The first loaded segment with all of these flags and none of those. */
static uint64_t
load_with(uint32_t flags, uint32_t without)
{
    Elf64_Phdr segment;
    uint64_t at;
    for (int n = 0; (at = segment_at(PT_LOAD, n)) != 0; n++) {
        memcpy(&segment, sample.bytes + at, sizeof segment);
        if ((segment.p_flags & flags) == flags && (segment.p_flags & without) == 0) {
            return at;
        }
    }
    return 0;
}

/* File offset of the dynamic entry of that tag; 0: there is none. */
static uint64_t
entry_at(int64_t tag)
{
    si_elf_image image = open_sample();
    for (uint64_t i = 0; i < image.dynamic.count; i++) {
        Elf64_Dyn entry;
        uint64_t at = image.dynamic.offset + i * sizeof entry;
        memcpy(&entry, sample.bytes + at, sizeof entry);
        if (entry.d_tag == tag) {
            return at;
        }
    }
    return 0;
}

/* File offset of what the dynamic entry of that tag points to; 0: there is none. */
static uint64_t
table_at(int64_t tag)
{
    si_elf_image image = open_sample();
    Elf64_Dyn entry;
    uint64_t at = entry_at(tag);
    if (at == 0) {
        return 0;
    }
    memcpy(&entry, sample.bytes + at, sizeof entry);
    const uint8_t *bytes = si_elf_at(&image, entry.d_un.d_val, 1);
    check(bytes != NULL);
    return (uint64_t)(bytes - sample.bytes);
}

/* File offset of the first relocation of that type; 0: there is none. */
static uint64_t
relocation_at(uint32_t type)
{
    si_elf_image image = open_sample();
    for (int table = 0; table < 2; table++) {
        for (uint64_t i = 0; i < image.rela[table].count; i++) {
            Elf64_Rela entry;
            uint64_t at = image.rela[table].offset + i * sizeof entry;
            memcpy(&entry, sample.bytes + at, sizeof entry);
            if (ELF64_R_TYPE(entry.r_info) == type) {
                return at;
            }
        }
    }
    return 0;
}

/* File offset of a symbol of that name. */
static uint64_t
symbol_at(const char *name)
{
    si_elf_image image = open_sample();
    si_elf_symbol symbol;
    for (uint64_t i = 0; i < image.symbols.count; i++) {
        if (si_elf_symbol_at(&image, i, &symbol) && strcmp(symbol.name, name) == 0) {
            return image.symbols.offset + i * sizeof(Elf64_Sym);
        }
    }
    check(!"it has that symbol");
    return 0;
}

/* --- what is sound ------------------------------------------------------------------- */

static void
test_sample_is_accepted(void **state)
{
    const char *why;
    assert_int_equal(verdict(sample.bytes, sample.size, &why), SI_OK);
}

static int
check_loaded(struct dl_phdr_info *info, size_t size, void *count)
{
    const char *why;
    if (info->dlpi_name[0] != '/') {
        return 0; /* the program itself, and what has no file */
    }
    file f = read_file(info->dlpi_name);
    if (verdict(f.bytes, f.size, &why) != SI_OK) {
        fail_msg("%s %s", info->dlpi_name, why);
    }
    free(f.bytes);
    ++*(int *)count;
    return 0;
}

static void
test_libraries_of_the_system_are_accepted(void **state)
{
    int count = 0;
    (void)dl_iterate_phdr(check_loaded, &count);
    assert_true(count >= 2); /* the C library and cmocka */
}

static void
test_a_file_without_sections_is_accepted(void **state)
{
    const char *why;
    uint8_t *bytes = malloc(sample.size);
    memcpy(bytes, sample.bytes, sample.size);
    memset(bytes + offsetof(Elf64_Ehdr, e_shoff), 0, sizeof(Elf64_Off));
    memset(bytes + offsetof(Elf64_Ehdr, e_shnum), 0, sizeof(Elf64_Half));
    assert_int_equal(verdict(bytes, sample.size, &why), SI_OK);
    free(bytes);
}

/* --- what is damaged ----------------------------------------------------------------- */

#define AT(base, type, field) ((base) != 0 ? (base) + offsetof(type, field) : 0)
#define VALUE(tag) AT(entry_at(tag), Elf64_Dyn, d_un)
#define TAG(tag) entry_at(tag)
#define SEGMENT(type, field) AT(segment_at(type, 0), Elf64_Phdr, field)
#define CODE(field) AT(load_with(PF_X, PF_W), Elf64_Phdr, field)
#define VARIABLES(field) AT(load_with(PF_W, PF_X), Elf64_Phdr, field)
#define RELOCATION(type, field) AT(relocation_at(type), Elf64_Rela, field)
#define SYMBOL(name, field) AT(symbol_at(name), Elf64_Sym, field)

typedef struct damage {
    const char *what;
    uint64_t at; /* within the file's header: this sample has no such thing */
    uint8_t xor[8];
} damage;

static void
expect_refused(const damage *cases, size_t count)
{
    size_t tried = 0;
    uint8_t *bytes = malloc(sample.size);
    for (size_t i = 0; i < count; i++) {
        const char *why;
        if (cases[i].at < sizeof(Elf64_Ehdr)) {
            continue;
        }
        memcpy(bytes, sample.bytes, sample.size);
        for (size_t k = 0; k < sizeof cases[i].xor; k++) {
            bytes[cases[i].at + k] ^= cases[i].xor[k];
        }
        if (verdict(bytes, sample.size, &why) != SI_INVALID) {
            fail_msg("accepted: %s", cases[i].what);
        }
        tried++;
    }
    free(bytes);
    assert_true(tried >= count / 2);
}

static void
test_damaged_segments_are_refused(void **state)
{
    const damage cases[] = {
        {"alignment that is none", CODE(p_align), {1}},
        {"address and offset that differ in the page", CODE(p_vaddr), {16}},
        {"segments that lie upon each other", VARIABLES(p_vaddr) + 2, {0xff, 0xff}},
        {"code that may not run", CODE(p_flags), {PF_X}},
        {"code that may not be read", CODE(p_flags), {PF_R}},
        {"variables that may not be written", VARIABLES(p_flags), {PF_W}},
        {"another part of the file", CODE(p_offset) + 1, {0x10}},
        {"a segment that is none", CODE(p_type), {0x40}},
        {"less in the file", VARIABLES(p_filesz), {0x10}},
        {"a dynamic section elsewhere", SEGMENT(PT_DYNAMIC, p_vaddr), {8}},
        {"a dynamic section of another size", SEGMENT(PT_DYNAMIC, p_memsz), {0, 1}},
        {"thread-local values elsewhere", SEGMENT(PT_TLS, p_vaddr) + 3, {1}},
        {"too many thread-local values", SEGMENT(PT_TLS, p_memsz) + 5, {1}},
        {"too few of them", SEGMENT(PT_TLS, p_memsz), {4}},
        {"a strange alignment of them", SEGMENT(PT_TLS, p_align), {3}},
        {"code that becomes read-only", SEGMENT(PT_GNU_RELRO, p_vaddr) + 2, {1}},
        {"all variables become read-only", SEGMENT(PT_GNU_RELRO, p_memsz) + 1, {0x20}},
        {"an unwinding table elsewhere", SEGMENT(PT_GNU_EH_FRAME, p_vaddr), {8}},
        {"a note that is too long", SEGMENT(PT_GNU_PROPERTY, p_memsz), {8}},
    };
    expect_refused(cases, COUNT_OF(cases));
}

static void
test_damaged_dynamic_entries_are_refused(void **state)
{
    const damage cases[] = {
        {"no size of relocations", TAG(DT_RELASZ), {0x40}},
        {"no size of one", TAG(DT_RELAENT), {0x40}},
        {"no relocations, but their size", TAG(DT_RELA), {0x40}},
        {"no relocations of calls", TAG(DT_JMPREL), {0x40}},
        {"no kind of them", TAG(DT_PLTREL), {0x40}},
        {"no symbols", TAG(DT_SYMTAB), {0x40}},
        {"no names", TAG(DT_STRTAB), {0x40}},
        {"no versions of symbols", TAG(DT_VERSYM), {0, 0, 1}},
        {"no initialisers, but their size", TAG(DT_INIT_ARRAY), {0x40}},
        {"no size of them", TAG(DT_INIT_ARRAYSZ), {0x40}},
        {"an end in the middle", TAG(DT_RELA), {DT_RELA}},
        {"one entry twice", TAG(DT_SYMENT), {DT_SYMENT ^ DT_STRSZ}},
        {"another size of a relocation", VALUE(DT_RELAENT), {1}},
        {"another size of a symbol", VALUE(DT_SYMENT), {1}},
        {"another kind of relocation", VALUE(DT_PLTREL), {1}},
        {"half a relocation", VALUE(DT_RELASZ), {4}},
        {"relocations elsewhere", VALUE(DT_RELA), {8}},
        {"fewer relocations", VALUE(DT_PLTRELSZ), {0x18}},
        {"compact relocations elsewhere", VALUE(DT_RELR), {8}},
        {"more relative ones", VALUE(DT_RELACOUNT), {0x40}},
        {"a table of addresses outside", VALUE(DT_PLTGOT) + 3, {1}},
        {"a first function that is no code", VALUE(DT_INIT) + 3, {1}},
        {"a last function that is no code", VALUE(DT_FINI) + 3, {1}},
        {"initialisers elsewhere", VALUE(DT_INIT_ARRAY), {0x40}},
        {"more initialisers", VALUE(DT_INIT_ARRAYSZ), {0x18}},
        {"a needed library without a name", VALUE(DT_NEEDED) + 3, {1}},
    };
    expect_refused(cases, COUNT_OF(cases));
}

static void
test_a_dynamic_section_without_end_is_refused(void **state)
{
    const si_elf_image image = open_sample();
    const uint64_t size = image.dynamic.count * sizeof(Elf64_Dyn);
    const char *why;
    uint8_t *bytes = malloc(sample.size);
    memcpy(bytes, sample.bytes, sample.size);
    memcpy(bytes + SEGMENT(PT_DYNAMIC, p_filesz), &size, sizeof size);
    memcpy(bytes + SEGMENT(PT_DYNAMIC, p_memsz), &size, sizeof size);
    assert_int_equal(verdict(bytes, sample.size, &why), SI_INVALID);
    assert_non_null(strstr(why, "no end"));
    free(bytes);
}

static void
test_damaged_symbols_are_refused(void **state)
{
    const uint64_t hash = table_at(DT_GNU_HASH), old_hash = table_at(DT_HASH);
    const uint64_t numbers = table_at(DT_VERSYM), needs = table_at(DT_VERNEED);
    const damage cases[] = {
        {"a name outside", SYMBOL("sample_bump", st_name) + 2, {1}},
        {"a function outside", SYMBOL("sample_bump", st_value) + 3, {1}},
        {"a function among variables", SYMBOL("sample_global", st_info), {3}},
        {"a variable that is too large", SYMBOL("sample_values", st_size) + 3, {1}},
        {"an unknown type", SYMBOL("sample_bump", st_info), {8 ^ 2}},
        {"an unknown binding", SYMBOL("sample_bump", st_info), {0x50}},
        {"a local symbol of somebody else", SYMBOL("host_sum", st_info), {0x10}},
        {"a hidden symbol of somebody else", SYMBOL("host_sum", st_other), {2}},
        {"an unknown visibility", SYMBOL("sample_bump", st_other), {0x80}},
        {"a symbol that becomes its own",
         hash != 0 ? SYMBOL("host_sum", st_shndx) : 0,
         {1}},
        {"no buckets", hash, {0xff, 0xff, 0xff}},
        {"another first symbol", hash + 4, {0x40}},
        {"a filter of a strange size", hash + 8, {3}},
        {"buckets elsewhere", hash + 8, {4}},
        {"no old buckets", old_hash, {0xff, 0xff, 0xff}},
        {"another number of symbols", old_hash + 4, {1}},
        {"a version that there is not", numbers + 2, {0, 0x40}},
        {"versions of an unknown kind", needs, {2}},
        {"versions of a library that is not needed", needs + 4, {1}},
        {"names of versions elsewhere", needs + 8 + 3, {1}},
    };
    expect_refused(cases, COUNT_OF(cases));
}

static void
test_a_circle_of_symbols_is_refused(void **state)
{
    uint32_t head[2], symbol = 0;
    const char *why;
    const uint64_t at = table_at(DT_HASH);
    if (at == 0) {
        skip();
    }
    uint8_t *bytes = malloc(sample.size);
    memcpy(bytes, sample.bytes, sample.size);
    memcpy(head, bytes + at, sizeof head);
    for (uint32_t i = 0; symbol == 0 && i < head[0]; i++) {
        memcpy(&symbol, bytes + at + 8 + (uint64_t)i * 4, 4);
    }
    memcpy(bytes + at + 8 + (head[0] + (uint64_t)symbol) * 4, &symbol, 4);
    assert_int_equal(verdict(bytes, sample.size, &why), SI_INVALID);
    assert_non_null(strstr(why, "hash"));
    free(bytes);
}

static void
test_damaged_relocations_are_refused(void **state)
{
#ifdef __x86_64__
    const uint64_t compact = table_at(DT_RELR);
    const damage cases[] = {
        {"an unknown kind", RELOCATION(R_X86_64_64, r_info), {0x40}},
        {"a kind for calls only", RELOCATION(R_X86_64_JUMP_SLOT, r_info), {1}},
        {"none at all", RELOCATION(R_X86_64_JUMP_SLOT, r_info), {7}},
        {"a thread-local one", RELOCATION(R_X86_64_64, r_info), {1 ^ 17}},
        {"one that has no symbol", RELOCATION(R_X86_64_RELATIVE, r_info), {8 ^ 1}},
        {"a symbol for one that has none", RELOCATION(R_X86_64_RELATIVE, r_info) + 4, {1}},
        {"a symbol that there is not", RELOCATION(R_X86_64_64, r_info) + 5, {1}},
        {"a place in the code", RELOCATION(R_X86_64_64, r_offset) + 1, {0xf0}},
        {"a place outside", RELOCATION(R_X86_64_RELATIVE, r_offset) + 3, {1}},
        {"a place of another call", RELOCATION(R_X86_64_JUMP_SLOT, r_offset), {8}},
        {"a place in between", RELOCATION(R_X86_64_GLOB_DAT, r_offset), {4}},
        {"an address outside", RELOCATION(R_X86_64_RELATIVE, r_addend) + 3, {1}},
        {"a distance that is too large", RELOCATION(R_X86_64_64, r_addend) + 5, {1}},
        {"a slot that is none", RELOCATION(R_X86_64_JUMP_SLOT, r_addend) + 2, {0xff}},
        {"compact ones outside", compact + 3, {1}},
        {"compact ones in between", compact, {4}},
    };
    expect_refused(cases, COUNT_OF(cases));
#else
    skip();
#endif
}

static uint32_t
next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Nothing outside of the file is touched, whatever it says. */
static void
test_any_damage_is_survived(void **state)
{
    uint32_t seed = 0xc0ffee;
    size_t refused = 0;
    uint8_t *bytes = malloc(sample.size); /* exact, for AddressSanitizer */
    si_elf_image image = open_sample();
    const si_elf_table targets[] = {
        {image.segments.offset, image.segments.count * sizeof(Elf64_Phdr)},
        {image.dynamic.offset, image.dynamic.count * sizeof(Elf64_Dyn)},
        {image.symbols.offset, image.symbols.count * sizeof(Elf64_Sym)},
        {table_at(DT_GNU_HASH), 64},
        {table_at(DT_HASH), 64},
        {table_at(DT_VERNEED), 64},
        {table_at(DT_VERSYM), 64},
        {table_at(DT_RELR), 32},
        {image.rela[0].offset, image.rela[0].count * sizeof(Elf64_Rela)},
        {image.rela[1].offset, image.rela[1].count * sizeof(Elf64_Rela)},
        {sample.size - 4096, 4096}, /* sections, as a rule */
    };
    for (int round = 0; round < 20000; round++) {
        const char *why;
        memcpy(bytes, sample.bytes, sample.size);
        for (uint32_t flips = 1 + next_random(&seed) % 3; flips > 0; flips--) {
            const si_elf_table *target = &targets[next_random(&seed) % COUNT_OF(targets)];
            uint64_t at = target->offset + next_random(&seed) % (target->count + 1);
            uint32_t kind = next_random(&seed) % 3;
            bytes[at % sample.size] = kind == 0   ? 0xff
                                      : kind == 1 ? 0
                                                  : (uint8_t)next_random(&seed);
        }
        refused += verdict(bytes, sample.size, &why) == SI_INVALID;
    }
    free(bytes);
    assert_true(refused > 10000);
}

static void
test_without_memory_nothing_is_accepted(void **state)
{
    const char *why;
    si_alloc_fail_nth(1);
    si_status status = verdict(sample.bytes, sample.size, &why);
    bool failed = si_alloc_failed();
    si_alloc_fail_nth(0);
    assert_true(failed);
    assert_int_equal(status, SI_NOMEM);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_is_accepted),
        cmocka_unit_test(test_libraries_of_the_system_are_accepted),
        cmocka_unit_test(test_a_file_without_sections_is_accepted),
        cmocka_unit_test(test_damaged_segments_are_refused),
        cmocka_unit_test(test_damaged_dynamic_entries_are_refused),
        cmocka_unit_test(test_a_dynamic_section_without_end_is_refused),
        cmocka_unit_test(test_damaged_symbols_are_refused),
        cmocka_unit_test(test_a_circle_of_symbols_is_refused),
        cmocka_unit_test(test_damaged_relocations_are_refused),
        cmocka_unit_test(test_any_damage_is_survived),
        cmocka_unit_test(test_without_memory_nothing_is_accepted),
    };
    sample = read_file(argc > 1 ? argv[1] : ELF_SAMPLE);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(sample.bytes);
    return failed;
}
