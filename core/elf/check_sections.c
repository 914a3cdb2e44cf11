/* check_sections.c — see check.h: the section table, a second opinion.
 *
 * Nothing that runs a library reads it, so a file without one, or with one that is none,
 * is not refused. It is what tells that a segment begins or ends at the wrong place.
 */
#include <elf.h>
#include <string.h>

#include "core/elf/checker.h"

#define FIXED_ENTRIES 24 /* bytes of the table of addresses that the linker fills first */

static const char disagree[] =
    "is damaged: its sections and what is loaded do not fit together";

static bool
is_part(const Elf64_Shdr *section, uint64_t address, uint64_t size)
{
    return section->sh_addr >= address && section->sh_addr - address <= size &&
           section->sh_size <= size - (section->sh_addr - address);
}

/* Whether the dynamic section leads to the table that this section is. */
static bool
is_used(const si_elf_checker *c, const Elf64_Shdr *section)
{
    const uint64_t *values = c->values;
    switch (section->sh_type) {
        case SHT_DYNAMIC:
            return section->sh_addr == c->dynamic[0];
        case SHT_DYNSYM:
            return section->sh_addr == values[SI_ELF_SYMTAB] &&
                   (!c->counted ||
                    section->sh_size / sizeof(Elf64_Sym) == c->image->symbols.count);
        case SHT_HASH:
            return section->sh_addr == values[SI_ELF_HASH] || c->has[SI_ELF_GNU_HASH];
        case SHT_GNU_HASH:
            return section->sh_addr == values[SI_ELF_GNU_HASH];
        case SHT_GNU_versym:
            return section->sh_addr == values[SI_ELF_VERSYM];
        case SHT_GNU_verneed:
            return section->sh_addr == values[SI_ELF_VERNEED];
        case SHT_GNU_verdef:
            return section->sh_addr == values[SI_ELF_VERDEF];
        case SHT_RELA:
            return is_part(section, values[SI_ELF_RELA], values[SI_ELF_RELASZ]) ||
                   is_part(section, values[SI_ELF_JMPREL], values[SI_ELF_PLTRELSZ]);
        case SHT_INIT_ARRAY:
            return is_part(section, values[SI_ELF_INIT_ARRAY], values[SI_ELF_INIT_ARRAYSZ]);
        case SHT_FINI_ARRAY:
            return is_part(section, values[SI_ELF_FINI_ARRAY], values[SI_ELF_FINI_ARRAYSZ]);
        default:
            return true;
    }
}

/* Whether it is loaded from where it is in the file, with the access it needs. */
static bool
is_loaded(si_elf_checker *c, const Elf64_Shdr *section)
{
    const si_elf_load *load = si_elf_load_of(c, section->sh_addr, section->sh_size);
    if ((section->sh_flags & SHF_TLS) != 0 &&
        (!c->has_tls || !is_part(section, c->tls[0], c->tls[1] - c->tls[0]))) {
        return false;
    }
    if ((section->sh_flags & SHF_TLS) != 0 && section->sh_type == SHT_NOBITS) {
        return true; /* it has no place of its own */
    }
    if (load == NULL ||
        ((section->sh_flags & SHF_WRITE) != 0 && (load->flags & PF_W) == 0) ||
        ((section->sh_flags & SHF_EXECINSTR) != 0 && (load->flags & PF_X) == 0)) {
        return false;
    }
    if (section->sh_type == SHT_NOBITS) {
        return section->sh_addr >= load->file_end;
    }
    return section->sh_addr + section->sh_size <= load->file_end &&
           section->sh_offset == load->offset + (section->sh_addr - load->start);
}

/* Whether all of it becomes read-only or nothing. Linkers let that end behind the first
 * entries of a table. */
static bool
is_fixed(const si_elf_checker *c, const Elf64_Shdr *section)
{
    const uint64_t end = section->sh_addr + section->sh_size;
    return section->sh_type == SHT_NOBITS || end <= c->fixed[0] ||
           section->sh_addr >= c->fixed[1] ||
           (section->sh_addr >= c->fixed[0] &&
            (end <= c->fixed[1] || c->fixed[1] - section->sh_addr <= FIXED_ENTRIES));
}

const char *
si_elf_check_sections(si_elf_checker *c)
{
    const si_elf_image *image = c->image;
    Elf64_Ehdr header;
    memcpy(&header, image->bytes, sizeof header);
    if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > image->size ||
        header.e_shoff < sizeof header ||
        header.e_shnum > (image->size - header.e_shoff) / sizeof(Elf64_Shdr)) {
        return NULL;
    }
    for (uint64_t i = 1; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, image->bytes + header.e_shoff + i * sizeof section,
               sizeof section);
        if ((section.sh_flags & SHF_ALLOC) != 0 && section.sh_size != 0 &&
            (!is_loaded(c, &section) || !is_used(c, &section) || !is_fixed(c, &section))) {
            return disagree;
        }
    }
    return NULL;
}
