/* image.h — reads a shared library's file: what it needs, defines and leaves open.
 *
 * Model      A view of bytes that the caller keeps (usually a mapped file): nothing is
 *            copied, nothing is loaded, no code runs. si_elf_open checks every table
 *            once; the functions below check every string and index they follow, so a
 *            damaged file gives SI_INVALID or "absent", never an access outside.
 * Threads    A si_elf_image is immutable after si_elf_open: any number may read it.
 */
#ifndef SI_ELF_IMAGE_H
#define SI_ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/status.h"

typedef struct si_elf_table {
    uint64_t offset; /* in the file; 0 with count 0: the library has no such table */
    uint64_t count;  /* entries; for strings: bytes */
} si_elf_table;

typedef struct si_elf_image {
    const uint8_t *bytes;
    uint64_t size;
    si_elf_table segments; /* program headers */
    si_elf_table dynamic;  /* without the closing DT_NULL */
    si_elf_table strings;  /* ends with a NUL byte */
    si_elf_table symbols;
    si_elf_table verneed; /* count: number of records, offset: of the first */
    si_elf_table rela[2]; /* DT_RELA, DT_JMPREL */
    uint64_t gnu_hash;    /* address of its table of definitions; 0: it has none */
    uint64_t top;         /* first address behind every loadable segment */
    uint64_t relro[2];    /* first page that becomes read-only when loaded, end of them */
    uint64_t tls_size;    /* of its thread-local block */
    bool static_tls;      /* wants it in the block that is fixed at program start */
    bool text_relocations;
    bool symbolic;  /* was linked to find its own definitions first */
    bool versioned; /* its definitions have versions */
} si_elf_image;

typedef struct si_elf_symbol {
    const char *name;
    uint64_t value;
    uint64_t size;
    bool defined;
    bool unique;        /* STB_GNU_UNIQUE: one per process by the linker's rules */
    bool weak_variable; /* one for all that are loaded together: weak, and writable */
} si_elf_symbol;

/* A range of the file and where it is mapped. */
typedef struct si_elf_range {
    uint64_t offset;  /* page-aligned, as the others */
    uint64_t address; /* relative to where the library is loaded */
    uint64_t size;
    bool executable;
} si_elf_range;

/* Checks the file and fills *image, which points into bytes. On SI_INVALID *why is a
 * constant sentence fragment ("is truncated", "is built for another machine").
 * Never blocks. Any thread. -> SI_OK | SI_INVALID */
SI_NODISCARD si_status
si_elf_open(si_elf_image *image, const void *bytes, size_t size, const char **why);

/* The index-th dynamic symbol into *symbol; false where it is damaged. */
bool
si_elf_symbol_at(const si_elf_image *image, uint64_t index, si_elf_symbol *symbol);

/* The definition of name into *symbol; false if the library defines no such symbol. */
bool
si_elf_find_definition(const si_elf_image *image, const char *name, si_elf_symbol *symbol);

/* The string of the next dynamic entry with that tag (DT_NEEDED, DT_SONAME, DT_RUNPATH,
 * DT_RPATH) at or behind *cursor, which starts at 0 and moves on; NULL: no more. */
const char *
si_elf_next_string(const si_elf_image *image, int64_t tag, uint64_t *cursor);

/* The index-th range of whole pages of the file that is loaded, in any order; *index starts
 * at 0 and moves on. false: no more. */
bool
si_elf_next_loaded(const si_elf_image *image, uint64_t *index, si_elf_range *range);

/* Whether the library calls into or refers to CPython: it leaves a symbol open whose
 * name starts as CPython's do. */
bool
si_elf_uses_python(const si_elf_image *image);

/* Whether the library is CPython itself. */
bool
si_elf_is_python(const si_elf_image *image);

/* The file's bytes for length bytes at a loaded address, or NULL if they are not all
 * in the file. */
const uint8_t *
si_elf_at(const si_elf_image *image, uint64_t address, uint64_t length);

/* The pointer that will stand at a loaded address, as an address of this library:
 * what the file or a relative relocation puts there. *value 0 is a NULL pointer.
 * false: something else, such as another library's symbol, is put there. */
bool
si_elf_pointer_at(const si_elf_image *image, uint64_t address, uint64_t *value);

#endif /* SI_ELF_IMAGE_H */
