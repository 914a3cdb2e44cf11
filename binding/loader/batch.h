/* batch.h — inside copy.c and names.c: copies on their way.
 *
 * Threads    [home], as all that makes copies.
 */
#ifndef SIPY_LOADER_BATCH_H
#define SIPY_LOADER_BATCH_H

#include "binding/loader/copy.h"
#include "core/elf/patch.h"

/* A copy on its way: what is needed until the linker has loaded it. */
typedef struct sipy_prepared {
    struct sipy_prepared *next;
    sipy_copy *copy;
    int image_fd; /* the name that the linker opens stands for it */
    int original;
    void *bytes; /* of the original, or MAP_FAILED */
    si_elf_image image;
    si_elf_patch patch;
    bool planned;
} sipy_prepared;

struct sipy_batch {
    sipy_loader *loader;
    sipy_prepared *first;
};

#endif /* SIPY_LOADER_BATCH_H */
