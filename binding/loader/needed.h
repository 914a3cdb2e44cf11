/* needed.h — inside the loader: the libraries that a library needs.
 *
 * A library that uses Python itself (a helper that a package's modules share, or a module
 * that another one is linked to) and one that a package brings along are copied too, once
 * per interpreter, and the copy is needed instead. Those of the system, and the few that
 * are known to be safe, are shared by the whole process, as always.
 */
#ifndef SIPY_LOADER_NEEDED_H
#define SIPY_LOADER_NEEDED_H

#include "binding/loader/copy.h"
#include "core/elf/patch.h"

typedef struct sipy_needed {
    si_elf_rename *renames; /* `from` points into the image, `to` into a copy */
    size_t count;
} sipy_needed;

/* Finds them for `copy`, whose original image is, and adds copies to the batch. [home]
 * -> 0 | -1 with the cause in reason */
int
sipy_needed_init(sipy_needed *needed, sipy_batch *batch, const sipy_copy *copy,
                 const si_elf_image *image, char reason[SIPY_MAX_REASON]);

/* Whether the library at that absolute path, which is open on fd, is to be copied where
 * code opens it by the path. One that the dynamic linker finds by its name is not, unless
 * it uses Python. Any thread. -> 1, 0 | -1 with the cause in reason */
int
sipy_needed_when_opened(int fd, const char *path, char reason[SIPY_MAX_REASON]);

/* Whether a module that declares support, whose file fd is open on, is bound to copies of
 * this interpreter: it needs a library of which there is one, or leaves a symbol open that
 * one with RTLD_GLOBAL defines. [home] -> 1, 0 | -1 with the cause in reason */
int
sipy_needed_from_copies(sipy_loader *loader, int fd, const sipy_file_id *file,
                        const char *path, char reason[SIPY_MAX_REASON]);

void
sipy_needed_fini(sipy_needed *needed);

/* What is remembered of libraries, while the process is copied by a fork. */
void
sipy_needed_lock(void);
void
sipy_needed_unlock(void);

#endif /* SIPY_LOADER_NEEDED_H */
