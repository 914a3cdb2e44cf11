/* patch.h — what to change in a library's file so that its copy shares no state.
 *
 * Model      The result is a list of edits (replace bytes at an offset; the last one
 *            appends) that the caller applies to a copy of the file. Nothing moves: new
 *            tables go behind the old end, into two new segments, and the header, the
 *            symbols and the version table are edited where they are.
 * What       - STB_GNU_UNIQUE symbols become STB_GLOBAL: the linker would merge them
 *              across copies, and C++ statics with them. Within one interpreter
 *              they are merged as ever: all copies but one leave the symbol open.
 *              So do those that are loaded together with weak variables, which is what
 *              other compilers make of C++ statics.
 *            - The copy resolves its own definitions first (DF_SYMBOLIC) and has no
 *              DT_SONAME, so nothing else can be bound to it by accident.
 *            - $ORIGIN in search paths is written out: the copy has no folder.
 *            - Needed libraries may be renamed, and further ones added.
 *            - An open symbol that is redirected is bound, inside the copy, to a stub of
 *              a few instructions that passes one more argument, the owner. Every kind
 *              of relocation, lazy or not, in code or data, follows the symbol.
 */
#ifndef SI_ELF_PATCH_H
#define SI_ELF_PATCH_H

#include "core/elf/image.h"

typedef struct si_elf_redirect {
    const char *symbol;
    uintptr_t target;  /* the function that is called instead */
    unsigned argument; /* which integer argument of target is the owner, at most 5 */
} si_elf_redirect;

typedef struct si_elf_rename {
    const char *from; /* a DT_NEEDED of the library */
    const char *to;   /* what the copy needs instead */
} si_elf_rename;

typedef struct si_elf_plan {
    const void *owner;
    const si_elf_redirect *redirects;
    size_t redirect_count;
    /* One of them that finds symbols by name: a library that leaves it open gets a stub for
     * each redirect. NULL: none. */
    const char *finder;
    const si_elf_rename *renames;
    size_t rename_count;
    const char *const *extra_needed; /* further libraries, searched right after it */
    size_t extra_needed_count;
    /* Whether a library of late_needed defines that symbol, a unique one or a weak
     * variable, so that the copy leaves its own open. Asked before late_needed is read,
     * which it may add to. NULL: none. */
    bool (*is_elsewhere)(void *data, const char *name, bool unique);
    void *is_elsewhere_data;
    const char *const *late_needed; /* searched behind all others */
    const size_t *late_needed_count;
    const char *origin; /* folder of the original, for $ORIGIN; not NULL */
} si_elf_plan;

typedef struct si_elf_edit {
    uint64_t offset;
    uint8_t *bytes;
    size_t size;
} si_elf_edit;

#define SI_ELF_MAX_EDITS 4
#define SI_ELF_MAX_REDIRECTS 64

typedef struct si_elf_patch {
    si_elf_edit edits[SI_ELF_MAX_EDITS];
    size_t edit_count;
    size_t unique_symbols; /* how many were made global */
    size_t weak_variables; /* how many it has, defined or left open */
    size_t redirected;     /* how many were bound to stubs */
    /* Where it has a stub for each redirect, in their order and SI_ELF_STUB_SIZE apart,
     * counted from where it is loaded. 0: it leaves the finder alone. */
    uint64_t stubs;
} si_elf_patch;

/* Plans the copy. On SI_OK *patch owns memory: si_elf_patch_fini. On failure it owns
 * none; on SI_INVALID *why is set as by si_elf_open. Never blocks. Any thread.
 * -> SI_OK | SI_NOMEM | SI_INVALID */
SI_NODISCARD si_status
si_elf_patch_init(si_elf_patch *patch, const si_elf_image *image, const si_elf_plan *plan,
                  const char **why);

void
si_elf_patch_fini(si_elf_patch *patch);

/* text with $ORIGIN and ${ORIGIN} replaced; NULL: no memory. Free with si_free. */
char *
si_elf_expand_origin(const char *text, const char *origin);

#endif /* SI_ELF_PATCH_H */
