/* needed.c — where the dynamic linker would look, and which of it must be copied.
 *
 * A library that uses Python must be. One that a package brings along is too: modules
 * call it with the GIL held, and few say whether it would stand being called without. The
 * exceptions are those that are known to stand it and cost much memory or many threads.
 */
#include "binding/loader/needed.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/elf/cache.h"
#include "core/elf/machine.h"

#define MAX_PATH 4096
#define MAX_NEEDED 256
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The dynamic linker's list of libraries in folders of the system. */
static const char cache_path[] = "/etc/ld.so.cache";

/* Bundled libraries that are safe to call from several threads at once. */
static const char *const thread_safe[] = {
    "libopenblas", "libscipy_openblas", "libblas",  "liblapack", "libgomp",
    "libomp",      "libiomp",           "libmkl",   "libtbb",    "libgfortran",
    "libquadmath", "libstdc++",         "libgcc_s", "libcrypto", "libssl",
    "libarrow",    "libparquet",        "libcu",    "libnv",
};

/* Libraries of the system that are not, though packages rely on them. */
static const char *const thread_unsafe[] = {"libhdf5"};

/* Verdicts on files that many modules need, for the process; a leaf lock. */
#define MAX_REMEMBERED 512
static struct {
    si_mutex mu;
    size_t count SI_GUARDED_BY(mu);
    struct {
        sipy_file_id file;
        bool copied;
    } entries[MAX_REMEMBERED] SI_GUARDED_BY(mu);
} remembered;

void
sipy_needed_lock(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&remembered.mu);
}

void
sipy_needed_unlock(void) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&remembered.mu);
}

static int
recall(const sipy_file_id *file)
{
    int result = -1;
    si_mutex_lock(&remembered.mu);
    for (size_t i = 0; i < remembered.count && result < 0; i++) {
        if (sipy_file_same(&remembered.entries[i].file, file)) {
            result = remembered.entries[i].copied;
        }
    }
    si_mutex_unlock(&remembered.mu);
    return result;
}

static void
remember(const sipy_file_id *file, bool copied)
{
    si_mutex_lock(&remembered.mu);
    if (remembered.count < MAX_REMEMBERED) {
        remembered.entries[remembered.count].file = *file;
        remembered.entries[remembered.count].copied = copied;
        remembered.count++;
    }
    si_mutex_unlock(&remembered.mu);
}

static bool
is_listed(const char *name, const char *const *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static char *
find_in(const char *folders, size_t length, const char *name, int *fd)
{
    char path[MAX_PATH];
    while (length != 0) {
        const char *colon = memchr(folders, ':', length);
        size_t part = colon != NULL ? (size_t)(colon - folders) : length;
        int n = snprintf(path, sizeof path, "%.*s/%s", (int)part, folders, name);
        if (part != 0 && n > 0 && (size_t)n < sizeof path) {
            *fd = open(path, O_RDONLY | O_CLOEXEC);
            if (*fd >= 0) {
                char *found = si_alloc((size_t)n + 1);
                return found == NULL ? NULL : memcpy(found, path, (size_t)n + 1);
            }
        }
        folders += part + (colon != NULL);
        length -= part + (colon != NULL);
    }
    return NULL;
}

/* As the dynamic linker's list has it. -> path, with *fd open on it | NULL */
static char *
find_in_cache(const char *name, int *fd)
{
    int cache = open(cache_path, O_RDONLY | O_CLOEXEC);
    off_t size = cache >= 0 ? lseek(cache, 0, SEEK_END) : 0;
    void *bytes =
        size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, cache, 0) : MAP_FAILED;
    char *path = NULL;
    if (bytes != MAP_FAILED) {
        const char *listed = si_elf_cache_find(bytes, (size_t)size, name);
        *fd = listed != NULL ? open(listed, O_RDONLY | O_CLOEXEC) : -1;
        path = *fd >= 0 ? sipy_duplicate(listed) : NULL;
        munmap(bytes, (size_t)size);
    }
    if (cache >= 0) {
        close(cache);
    }
    return path;
}

typedef struct library {
    char *path;
    int fd;
    bool bundled; /* found relative to the library that needs it */
} library;

static void
library_fini(library *found)
{
    if (found->fd >= 0) {
        close(found->fd);
    }
    si_free(found->path);
}

/* The file that name stands for in a library with that image, in folder origin. false:
 * not found here, the dynamic linker will say why. */
static bool
find_library(const si_elf_image *image, const char *origin, const char *name,
             library *found)
{
    uint64_t cursor = 0;
    const char *runpath = si_elf_next_string(image, DT_RUNPATH, &cursor);
    cursor = 0;
    const char *rpath =
        runpath == NULL ? si_elf_next_string(image, DT_RPATH, &cursor) : NULL;
    const char *search[3] = {rpath, getenv("LD_LIBRARY_PATH"), runpath};
    *found = (library){.fd = -1};
    if (strchr(name, '/') != NULL) {
        found->path = si_elf_expand_origin(name, origin);
        found->fd = found->path != NULL ? open(found->path, O_RDONLY | O_CLOEXEC) : -1;
        found->bundled = strchr(name, '$') != NULL;
    }
    bool is_path = found->path != NULL;
    for (int i = 0; i < 3 && found->path == NULL; i++) {
        char *folders = search[i] != NULL ? si_elf_expand_origin(search[i], origin) : NULL;
        if (folders != NULL) {
            found->path = find_in(folders, strlen(folders), name, &found->fd);
            found->bundled = found->path != NULL && strchr(search[i], '$') != NULL;
        }
        si_free(folders);
    }
    if (!is_path && found->fd < 0) {
        found->path = find_in_cache(name, &found->fd);
    }
    if (!is_path && found->fd < 0) {
        found->path = find_in(si_elf_folders, strlen(si_elf_folders), name, &found->fd);
    }
    if (found->fd < 0 || found->path == NULL) {
        library_fini(found);
        return false;
    }
    return true;
}

#define MAX_DEPTH 16 /* libraries may need each other in a circle */

static bool
needs_copy(const library *found, const sipy_file_id *file, int depth);

/* Whether the library behind image does, or one that it needs. */
static bool
image_needs_copy(const si_elf_image *image, const library *self, int depth)
{
    const char *base = strrchr(self->path, '/');
    base = base != NULL ? base + 1 : self->path;
    if (si_elf_uses_python(image) ||
        (self->bundled && !is_listed(base, thread_safe, COUNT(thread_safe))) ||
        is_listed(base, thread_unsafe, COUNT(thread_unsafe))) {
        return !si_elf_is_python(image);
    }
    char *origin = sipy_folder_of(self->path);
    bool result = false;
    uint64_t cursor = 0;
    const char *name;
    while (origin != NULL && !result &&
           (name = si_elf_next_string(image, DT_NEEDED, &cursor)) != NULL) {
        library found;
        sipy_file_id file;
        if (find_library(image, origin, name, &found)) {
            result = sipy_file_identify(found.fd, &file) == 0 &&
                     needs_copy(&found, &file, depth + 1);
            library_fini(&found);
        }
    }
    si_free(origin);
    return result;
}

static bool
needs_copy(const library *found, const sipy_file_id *file, int depth)
{
    int known = recall(file);
    if (known >= 0 || depth > MAX_DEPTH || file->size <= 0) {
        return known > 0;
    }
    void *bytes = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, found->fd, 0);
    if (bytes == MAP_FAILED) {
        return false;
    }
    si_elf_image image;
    const char *why;
    bool result = si_elf_open(&image, bytes, (size_t)file->size, &why) == SI_OK &&
                  image_needs_copy(&image, found, depth);
    munmap(bytes, (size_t)file->size);
    remember(file, result);
    return result;
}

/* The copy that stands for one needed library, or NULL with *failed saying whether that
 * is an error. */
static sipy_copy *
copy_for(sipy_batch *batch, const library *found, bool *failed,
         char reason[SIPY_MAX_REASON])
{
    sipy_file_id file;
    if (sipy_file_identify(found->fd, &file) != 0 || !needs_copy(found, &file, 0)) {
        return NULL;
    }
    char inner[SIPY_MAX_REASON];
    const char *slash = strrchr(found->path, '/');
    sipy_copy *copy =
        sipy_batch_add(batch, found->fd, &file, found->path, slash + 1, inner);
    if (copy == NULL) {
        *failed = true;
        snprintf(reason, SIPY_MAX_REASON, "it needs %.300s: %.600s", found->path, inner);
    }
    return copy;
}

int
sipy_needed_init(sipy_needed *needed, sipy_batch *batch, const sipy_copy *copy,
                 const si_elf_image *image, char reason[SIPY_MAX_REASON])
{
    bool failed = false;
    uint64_t cursor = 0;
    const char *name;
    needed->count = 0;
    needed->renames = si_calloc(MAX_NEEDED * sizeof *needed->renames);
    char *origin = sipy_folder_of(copy->path);
    if (needed->renames == NULL || origin == NULL) {
        snprintf(reason, SIPY_MAX_REASON, "no memory");
        failed = true;
    }
    while (!failed && needed->count < MAX_NEEDED &&
           (name = si_elf_next_string(image, DT_NEEDED, &cursor)) != NULL) {
        library found;
        if (find_library(image, origin, name, &found)) {
            sipy_copy *other = copy_for(batch, &found, &failed, reason);
            if (other != NULL) {
                needed->renames[needed->count].from = name;
                needed->renames[needed->count++].to = other->image_path;
            }
            library_fini(&found);
        }
    }
    si_free(origin);
    if (failed) {
        sipy_needed_fini(needed);
    }
    return failed ? -1 : 0;
}

void
sipy_needed_fini(sipy_needed *needed)
{
    si_free(needed->renames);
    needed->renames = NULL;
    needed->count = 0;
}
