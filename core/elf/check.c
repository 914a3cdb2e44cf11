/* check.c — see check.h: segments and the dynamic section. */
#include "core/elf/check.h"

#include <elf.h>
#include <string.h>

#include "core/elf/checker.h"
#include "core/elf/machine.h"

/* A thread-local block is made for each thread and cannot be refused any more then. */
#define MAX_TLS_SIZE (UINT64_C(1) << 30)
#define MAX_TLS_ALIGNMENT (UINT64_C(1) << 16)

static const char bad_segment[] = "is damaged: a segment is not valid";
static const char bad_entry[] = "is damaged: an entry of its dynamic section is not valid";

static bool
is_within(const si_elf_load *load, uint64_t address, uint64_t length)
{
    return address >= load->start && address <= load->end && length <= load->end - address;
}

const si_elf_load *
si_elf_load_of(si_elf_checker *c, uint64_t address, uint64_t length)
{
    if (is_within(&c->loads[c->last], address, length)) {
        return &c->loads[c->last];
    }
    for (size_t i = 0; i < c->load_count; i++) {
        if (is_within(&c->loads[i], address, length)) {
            c->last = i;
            return &c->loads[i];
        }
    }
    return NULL;
}

bool
si_elf_is_code(si_elf_checker *c, uint64_t address)
{
    const si_elf_load *load = si_elf_load_of(c, address, 1);
    return load != NULL && (load->flags & PF_X) != 0 && address < load->file_end;
}

const uint8_t *
si_elf_bytes_of(si_elf_checker *c, uint64_t address, uint64_t length)
{
    const si_elf_load *load = si_elf_load_of(c, address, length);
    if (load == NULL || address > load->file_end || length > load->file_end - address) {
        return NULL;
    }
    return c->image->bytes + load->offset + (address - load->start);
}

/* --- segments ------------------------------------------------------------------------ */

static void
read_segment(const si_elf_checker *c, uint64_t index, Elf64_Phdr *segment)
{
    memcpy(segment, c->image->bytes + c->image->segments.offset + index * sizeof *segment,
           sizeof *segment);
}

/* Each lies behind the one before, in pages of its own. */
static const char *
add_load(si_elf_checker *c, const Elf64_Phdr *segment)
{
    const uint64_t in_page = SI_ELF_PAGE_SIZE - 1;
    const uint64_t align = segment->p_align;
    if (align % SI_ELF_PAGE_SIZE != 0 || (align & (align - 1)) != 0 || align == 0 ||
        ((segment->p_vaddr - segment->p_offset) & (align - 1)) != 0 ||
        (segment->p_flags & PF_R) == 0 || c->load_count == SI_ELF_MAX_LOADS) {
        return bad_segment;
    }
    si_elf_load *load = &c->loads[c->load_count];
    load->start = segment->p_vaddr;
    load->end = segment->p_vaddr + segment->p_memsz; /* si_elf_open saw that it fits */
    load->file_end = segment->p_vaddr + segment->p_filesz;
    load->offset = segment->p_offset;
    load->flags = segment->p_flags;
    if (c->load_count != 0 &&
        (load->start & ~in_page) < ((load[-1].end + in_page) & ~in_page)) {
        return bad_segment;
    }
    c->load_count++;
    return NULL;
}

/* Notes that the linker walks through in memory; only those of this alignment. */
static const char *
check_notes(si_elf_checker *c, const Elf64_Phdr *segment)
{
    const uint64_t align = 8;
    if (segment->p_align != align) {
        return NULL;
    }
    const uint8_t *bytes = si_elf_bytes_of(c, segment->p_vaddr, segment->p_memsz);
    if (bytes == NULL || segment->p_filesz != segment->p_memsz) {
        return "is damaged: its notes lie outside of its segments";
    }
    uint64_t at = 0;
    while (segment->p_memsz - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, bytes + at, sizeof note);
        uint64_t text = at + sizeof note + note.n_namesz;
        uint64_t end = ((text + align - 1) & ~(align - 1)) + note.n_descsz;
        if (end > segment->p_memsz) {
            return "is damaged: a note is longer than its segment";
        }
        at = (end + align - 1) & ~(align - 1);
        if (at > segment->p_memsz) {
            break;
        }
    }
    return NULL;
}

static const char *
check_tls(si_elf_checker *c, const Elf64_Phdr *segment)
{
    const uint64_t align = segment->p_align;
    if (segment->p_filesz > segment->p_memsz || segment->p_memsz > MAX_TLS_SIZE ||
        (align & (align - 1)) != 0 || align > MAX_TLS_ALIGNMENT || c->has_tls ||
        (segment->p_filesz != 0 &&
         si_elf_bytes_of(c, segment->p_vaddr, segment->p_filesz) == NULL)) {
        return "is damaged: its thread-local block is not valid";
    }
    c->has_tls = segment->p_memsz != 0;
    c->tls[0] = segment->p_vaddr;
    c->tls[1] = segment->p_vaddr + segment->p_memsz;
    return NULL;
}

static const char *
check_dynamic_segment(si_elf_checker *c, const Elf64_Phdr *segment)
{
    const si_elf_load *load = si_elf_load_of(c, segment->p_vaddr, segment->p_memsz);
    if (si_elf_bytes_of(c, segment->p_vaddr, segment->p_filesz) !=
            c->image->bytes + segment->p_offset ||
        load == NULL || segment->p_memsz != segment->p_filesz || c->dynamic[1] != 0 ||
        segment->p_vaddr % sizeof(uint64_t) != 0 ||
        ((segment->p_flags & PF_W) != 0 && (load->flags & PF_W) == 0)) {
        return "is damaged: its dynamic section lies outside of its segments";
    }
    c->dynamic[0] = segment->p_vaddr;
    c->dynamic[1] = segment->p_vaddr + segment->p_memsz;
    return NULL;
}

static const char *
check_fixed(si_elf_checker *c, const Elf64_Phdr *segment)
{
    const si_elf_load *load = si_elf_load_of(c, segment->p_vaddr, 0);
    if (load == NULL || (load->flags & PF_W) == 0 || c->fixed[1] != 0 ||
        segment->p_memsz > load->end + SI_ELF_PAGE_SIZE - segment->p_vaddr) {
        return "is damaged: what becomes read-only is not variables";
    }
    c->fixed[0] = segment->p_vaddr;
    c->fixed[1] = segment->p_vaddr + segment->p_memsz;
    return NULL;
}

static const char *
check_other(si_elf_checker *c, const Elf64_Phdr *segment)
{
    const uint8_t *bytes;
    switch (segment->p_type) {
        case PT_DYNAMIC:
            return check_dynamic_segment(c, segment);
        case PT_TLS:
            return check_tls(c, segment);
        case PT_NOTE:
        case PT_GNU_PROPERTY:
            return check_notes(c, segment);
        case PT_PHDR: /* others read the table where it is loaded */
            return si_elf_bytes_of(c, segment->p_vaddr,
                                   c->image->segments.count * sizeof *segment) ==
                           c->image->bytes + c->image->segments.offset
                       ? NULL
                       : bad_segment;
        case PT_GNU_EH_FRAME: /* the unwinder follows it; its first byte is a version */
            bytes = si_elf_bytes_of(c, segment->p_vaddr, segment->p_filesz);
            return bytes != NULL && segment->p_filesz >= 4 && bytes[0] == 1
                       ? NULL
                       : "is damaged: its unwinding table is not valid";
        case PT_GNU_RELRO:
            return check_fixed(c, segment);
        default:
            return NULL;
    }
}

const char *
si_elf_check_segments(si_elf_checker *c)
{
    const char *why = NULL;
    Elf64_Phdr segment;
    for (uint64_t i = 0; why == NULL && i < c->image->segments.count; i++) {
        read_segment(c, i, &segment);
        if (segment.p_type == PT_LOAD && segment.p_memsz != 0) {
            why = add_load(c, &segment);
        }
    }
    for (uint64_t i = 0; why == NULL && i < c->image->segments.count; i++) {
        read_segment(c, i, &segment);
        if (segment.p_type != PT_LOAD) {
            why = check_other(c, &segment);
        }
    }
    return why;
}

/* --- the dynamic section ------------------------------------------------------------- */

static const int64_t tags[SI_ELF_ENTRIES] = {
    [SI_ELF_STRTAB] = DT_STRTAB,
    [SI_ELF_STRSZ] = DT_STRSZ,
    [SI_ELF_SYMTAB] = DT_SYMTAB,
    [SI_ELF_SYMENT] = DT_SYMENT,
    [SI_ELF_HASH] = DT_HASH,
    [SI_ELF_GNU_HASH] = DT_GNU_HASH,
    [SI_ELF_RELA] = DT_RELA,
    [SI_ELF_RELASZ] = DT_RELASZ,
    [SI_ELF_RELAENT] = DT_RELAENT,
    [SI_ELF_RELACOUNT] = DT_RELACOUNT,
    [SI_ELF_JMPREL] = DT_JMPREL,
    [SI_ELF_PLTRELSZ] = DT_PLTRELSZ,
    [SI_ELF_PLTREL] = DT_PLTREL,
    [SI_ELF_PLTGOT] = DT_PLTGOT,
    [SI_ELF_RELR] = DT_RELR,
    [SI_ELF_RELRSZ] = DT_RELRSZ,
    [SI_ELF_RELRENT] = DT_RELRENT,
    [SI_ELF_INIT] = DT_INIT,
    [SI_ELF_FINI] = DT_FINI,
    [SI_ELF_INIT_ARRAY] = DT_INIT_ARRAY,
    [SI_ELF_INIT_ARRAYSZ] = DT_INIT_ARRAYSZ,
    [SI_ELF_FINI_ARRAY] = DT_FINI_ARRAY,
    [SI_ELF_FINI_ARRAYSZ] = DT_FINI_ARRAYSZ,
    [SI_ELF_VERSYM] = DT_VERSYM,
    [SI_ELF_VERNEED] = DT_VERNEED,
    [SI_ELF_VERNEEDNUM] = DT_VERNEEDNUM,
    [SI_ELF_VERDEF] = DT_VERDEF,
    [SI_ELF_VERDEFNUM] = DT_VERDEFNUM,
    [SI_ELF_TLSDESC_GOT] = DT_TLSDESC_GOT,
    [SI_ELF_TLSDESC_PLT] = DT_TLSDESC_PLT,
};

static bool
is_string(int64_t tag)
{
    return tag == DT_NEEDED || tag == DT_SONAME || tag == DT_RPATH || tag == DT_RUNPATH ||
           tag == DT_AUXILIARY || tag == DT_FILTER || tag == DT_CONFIG ||
           tag == DT_DEPAUDIT || tag == DT_AUDIT;
}

static const char *
read_entries(si_elf_checker *c)
{
    const si_elf_image *image = c->image;
    Elf64_Dyn entry;
    for (uint64_t i = 0; i < image->dynamic.count; i++) {
        memcpy(&entry, image->bytes + image->dynamic.offset + i * sizeof entry,
               sizeof entry);
        if (is_string(entry.d_tag) && entry.d_un.d_val >= image->strings.count) {
            return bad_entry;
        }
        for (size_t k = 0; k < SI_ELF_ENTRIES; k++) {
            if (tags[k] == entry.d_tag) {
                if (c->has[k]) {
                    return bad_entry;
                }
                c->has[k] = true;
                c->values[k] = entry.d_un.d_val;
            }
        }
    }
    return NULL;
}

/* The linker looks for an entry that marks the end; there is nothing behind it. */
static const char *
check_end(const si_elf_checker *c)
{
    const si_elf_image *image = c->image;
    const uint64_t size = c->dynamic[1] - c->dynamic[0];
    uint64_t at = image->dynamic.count * sizeof(Elf64_Dyn);
    if (at >= size) {
        return "is damaged: its dynamic section has no end";
    }
    for (; size - at >= sizeof(Elf64_Dyn); at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, image->bytes + image->dynamic.offset + at, sizeof entry);
        if (entry.d_tag != DT_NULL) {
            return "is damaged: its dynamic section ends too early";
        }
    }
    return NULL;
}

/* Entries without which another one means nothing to the linker. */
static bool
are_together(const si_elf_checker *c)
{
    const bool *has = c->has;
    return has[SI_ELF_SYMTAB] && has[SI_ELF_STRTAB] && has[SI_ELF_STRSZ] &&
           has[SI_ELF_RELA] == has[SI_ELF_RELASZ] &&
           has[SI_ELF_RELA] == has[SI_ELF_RELAENT] &&
           (!has[SI_ELF_RELACOUNT] || has[SI_ELF_RELA]) &&
           has[SI_ELF_JMPREL] == has[SI_ELF_PLTRELSZ] &&
           has[SI_ELF_JMPREL] == has[SI_ELF_PLTREL] &&
           has[SI_ELF_RELR] == has[SI_ELF_RELRSZ] &&
           has[SI_ELF_RELR] == has[SI_ELF_RELRENT] &&
           has[SI_ELF_INIT_ARRAY] == has[SI_ELF_INIT_ARRAYSZ] &&
           has[SI_ELF_FINI_ARRAY] == has[SI_ELF_FINI_ARRAYSZ] &&
           has[SI_ELF_VERNEED] == has[SI_ELF_VERNEEDNUM] &&
           has[SI_ELF_VERDEF] == has[SI_ELF_VERDEFNUM] &&
           (has[SI_ELF_VERSYM] || !has[SI_ELF_VERNEED]) &&
           has[SI_ELF_TLSDESC_GOT] == has[SI_ELF_TLSDESC_PLT];
}

static bool
is_or_absent(const si_elf_checker *c, si_elf_entry entry, uint64_t value)
{
    return !c->has[entry] || c->values[entry] == value;
}

static bool
is_table(si_elf_checker *c, si_elf_entry address, si_elf_entry size, uint64_t entry_size)
{
    return !c->has[address] ||
           (c->values[size] % entry_size == 0 && c->values[address] % 4 == 0 &&
            si_elf_bytes_of(c, c->values[address], c->values[size]) != NULL);
}

static bool
is_writable_or_absent(si_elf_checker *c, si_elf_entry entry, uint64_t length)
{
    const si_elf_load *load =
        c->has[entry] ? si_elf_load_of(c, c->values[entry], length) : NULL;
    return !c->has[entry] || (load != NULL && (load->flags & PF_W) != 0);
}

const char *
si_elf_check_dynamic(si_elf_checker *c)
{
    const char *why = read_entries(c);
    if (why == NULL) {
        why = check_end(c);
    }
    if (why != NULL) {
        return why;
    }
    if (!are_together(c)) {
        return "is damaged: an entry of its dynamic section is missing";
    }
    if (!is_or_absent(c, SI_ELF_SYMENT, sizeof(Elf64_Sym)) ||
        !is_or_absent(c, SI_ELF_RELAENT, sizeof(Elf64_Rela)) ||
        !is_or_absent(c, SI_ELF_PLTREL, DT_RELA) ||
        !is_or_absent(c, SI_ELF_RELRENT, sizeof(uint64_t)) ||
        !is_table(c, SI_ELF_RELA, SI_ELF_RELASZ, sizeof(Elf64_Rela)) ||
        !is_table(c, SI_ELF_JMPREL, SI_ELF_PLTRELSZ, sizeof(Elf64_Rela)) ||
        !is_table(c, SI_ELF_RELR, SI_ELF_RELRSZ, sizeof(uint64_t)) ||
        !is_writable_or_absent(c, SI_ELF_PLTGOT, 0) ||
        !is_writable_or_absent(c, SI_ELF_TLSDESC_GOT, sizeof(uint64_t))) {
        return bad_entry;
    }
    if ((c->has[SI_ELF_INIT] && !si_elf_is_code(c, c->values[SI_ELF_INIT])) ||
        (c->has[SI_ELF_FINI] && !si_elf_is_code(c, c->values[SI_ELF_FINI]))) {
        return "is damaged: a function that is called when it is loaded is no code";
    }
    return NULL;
}

si_status
si_elf_check(const si_elf_image *image, const char **why)
{
    static const char *(*const parts[])(si_elf_checker *) = {
        si_elf_check_segments, si_elf_check_dynamic,     si_elf_check_symbols,
        si_elf_check_versions, si_elf_check_relocations, si_elf_check_sections,
    };
    si_elf_checker c = {.image = image};
    *why = NULL;
    for (size_t i = 0; *why == NULL && i < sizeof parts / sizeof *parts; i++) {
        *why = parts[i](&c);
    }
    if (c.no_memory) {
        return SI_NOMEM;
    }
    return *why == NULL ? SI_OK : SI_INVALID;
}
