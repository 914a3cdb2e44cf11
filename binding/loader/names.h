/* names.h — inside the loader: an interpreter's copies by the names that others use.
 *
 * The dynamic linker knows a library that is loaded by its DT_SONAME, and finds the symbols
 * of those that are unique or were loaded with RTLD_GLOBAL. It must not find copies so,
 * which are one interpreter's: here is what it would have found, of one interpreter.
 * Everything is [home].
 */
#ifndef SIPY_LOADER_NAMES_H
#define SIPY_LOADER_NAMES_H

#include "binding/loader/copy.h"
#include "core/elf/image.h"

/* The first copy whose library has that DT_SONAME; with `opened` of those that Python code
 * has opened by their path. NULL: none. */
sipy_copy *
sipy_copy_named(const sipy_loader *loader, const char *name, bool opened);

/* The same among all copies of a batch and its loader. */
sipy_copy *
sipy_batch_named(const sipy_batch *batch, const char *name, bool opened);

/* The symbol, of the first copy with RTLD_GLOBAL that defines it itself. NULL: none. */
void *
sipy_global_symbol(const sipy_loader *loader, const char *name);

/* Whether the library leaves a symbol open that a copy with RTLD_GLOBAL defines. */
bool
sipy_uses_globals(const sipy_loader *loader, const si_elf_image *image);

/* The copies that define unique symbols and weak variables of a new one (C++ has them for
 * what it may define in many places, and is one). */
typedef struct sipy_definers {
    const sipy_batch *batch;
    const char **names; /* as the dynamic linker knows them; room for all copies */
    size_t count;
} sipy_definers;

/* For si_elf_plan: data is the sipy_definers, which the copy that defines it is added
 * to. */
bool
sipy_is_elsewhere(void *data, const char *name, bool unique);

#endif /* SIPY_LOADER_NAMES_H */
