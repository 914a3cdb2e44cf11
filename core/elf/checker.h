/* checker.h — what the parts of si_elf_check share. For core/elf/check*.c only.
 *
 * Each part returns NULL, or why the file is refused. A checker lives on the stack of one
 * si_elf_check and owns nothing; nothing here blocks.
 */
#ifndef SI_ELF_CHECKER_H
#define SI_ELF_CHECKER_H

#include "core/elf/image.h"

#define SI_ELF_MAX_LOADS 64 /* real libraries have four to eight */

/* A PT_LOAD segment; addresses are relative to where the library is loaded. */
typedef struct si_elf_load {
    uint64_t start, end; /* in memory */
    uint64_t file_end;   /* the address behind what comes from the file */
    uint64_t offset;     /* of start, in the file */
    uint32_t flags;
} si_elf_load;

/* The dynamic entries that are followed; each at most once in a file. */
typedef enum si_elf_entry {
    SI_ELF_STRTAB,
    SI_ELF_STRSZ,
    SI_ELF_SYMTAB,
    SI_ELF_SYMENT,
    SI_ELF_HASH,
    SI_ELF_GNU_HASH,
    SI_ELF_RELA,
    SI_ELF_RELASZ,
    SI_ELF_RELAENT,
    SI_ELF_RELACOUNT,
    SI_ELF_JMPREL,
    SI_ELF_PLTRELSZ,
    SI_ELF_PLTREL,
    SI_ELF_PLTGOT,
    SI_ELF_RELR,
    SI_ELF_RELRSZ,
    SI_ELF_RELRENT,
    SI_ELF_INIT,
    SI_ELF_FINI,
    SI_ELF_INIT_ARRAY,
    SI_ELF_INIT_ARRAYSZ,
    SI_ELF_FINI_ARRAY,
    SI_ELF_FINI_ARRAYSZ,
    SI_ELF_VERSYM,
    SI_ELF_VERNEED,
    SI_ELF_VERNEEDNUM,
    SI_ELF_VERDEF,
    SI_ELF_VERDEFNUM,
    SI_ELF_TLSDESC_GOT,
    SI_ELF_TLSDESC_PLT,
    SI_ELF_ENTRIES
} si_elf_entry;

typedef struct si_elf_checker {
    const si_elf_image *image;
    si_elf_load loads[SI_ELF_MAX_LOADS];
    size_t load_count;
    size_t last;         /* the load that was found last */
    uint64_t dynamic[2]; /* where the dynamic section is loaded, and its end */
    uint64_t tls[2];     /* likewise the initial thread-local block, in memory */
    bool has_tls;
    uint64_t fixed[2]; /* what becomes read-only */
    uint64_t values[SI_ELF_ENTRIES];
    bool has[SI_ELF_ENTRIES];
    bool counted;   /* the image knows how many symbols there are */
    bool no_memory; /* the check could not be done */
} si_elf_checker;

/* The segment that has all of these bytes in memory, or NULL. */
const si_elf_load *
si_elf_load_of(si_elf_checker *c, uint64_t address, uint64_t length);

/* Whether the address is of code. */
bool
si_elf_is_code(si_elf_checker *c, uint64_t address);

/* The file's bytes for that range of addresses, or NULL if they are not all in it. */
const uint8_t *
si_elf_bytes_of(si_elf_checker *c, uint64_t address, uint64_t length);

/* Fills loads, dynamic and tls. */
const char *
si_elf_check_segments(si_elf_checker *c);

/* Fills values and has. */
const char *
si_elf_check_dynamic(si_elf_checker *c);

/* Symbols and both hash tables; fills counted. */
const char *
si_elf_check_symbols(si_elf_checker *c);

const char *
si_elf_check_versions(si_elf_checker *c);

/* The index-th symbol as a relocation may refer to it; *raw is an Elf64_Sym. */
const char *
si_elf_check_symbol(si_elf_checker *c, uint64_t index, void *raw);

/* All relocations, and the tables of initialisers that they fill. */
const char *
si_elf_check_relocations(si_elf_checker *c);

/* Whether the section table, if there is one, tells the same. */
const char *
si_elf_check_sections(si_elf_checker *c);

#endif /* SI_ELF_CHECKER_H */
