/* needed.c — where the dynamic linker would look, and which of it must be copied.
 *
 * A library that uses Python must be. One that a package brings along is too: modules
 * call it with the GIL held, and few say whether it would stand being called without. The
 * exceptions are those that are known to stand it and cost much memory or many threads.
 */
#include "binding/loader/needed.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "binding/loader/names.h"
#include "core/base/alloc.h"
#include "core/elf/cache.h"
#include "core/elf/machine.h"

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

typedef struct library {
    char *path;
    int fd;
    bool bundled; /* found relative to the library that needs it */
    bool named;   /* opened by its path: no other is meant */
    bool listed;  /* found where the system keeps libraries */
} library;

static void
library_fini(library *found)
{
    if (found->fd >= 0) {
        close(found->fd);
    }
    si_free(found->path);
}

/* What the search for a file has come to. UNCLEAR: the cause is in a reason, and whatever
 * would be said of the library might be wrong. */
typedef enum search {
    ABSENT = 0, /* not here, the dynamic linker will say why */
    FOUND,
    UNCLEAR,
} search;

static search
no_memory(char reason[SIPY_MAX_REASON])
{
    snprintf(reason, SIPY_MAX_REASON, "no memory");
    return UNCLEAR;
}

static search
cannot(const char *what, const char *path, char reason[SIPY_MAX_REASON])
{
    snprintf(reason, SIPY_MAX_REASON, "cannot %s %.700s: %s", what, path, strerror(errno));
    return UNCLEAR;
}

static search
open_library(const char *path, library *found, char reason[SIPY_MAX_REASON])
{
    found->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (found->fd < 0) {
        return sipy_file_is_absent(errno) ? ABSENT : cannot("open", path, reason);
    }
    found->path = sipy_duplicate(path);
    return found->path != NULL ? FOUND : no_memory(reason);
}

static search
find_in(const char *folders, const char *name, library *found, char reason[SIPY_MAX_REASON])
{
    char path[SIPY_MAX_PATH];
    search result = ABSENT;
    while (*folders != '\0' && result == ABSENT) {
        size_t part = strcspn(folders, ":");
        int n = snprintf(path, sizeof path, "%.*s/%s", (int)part, folders, name);
        if (part != 0 && n > 0 && (size_t)n < sizeof path) {
            result = open_library(path, found, reason);
        }
        folders += part + (folders[part] == ':');
    }
    return result;
}

/* As the dynamic linker's list has it. */
static search
find_in_cache(const char *name, library *found, char reason[SIPY_MAX_REASON])
{
    int cache = open(cache_path, O_RDONLY | O_CLOEXEC);
    if (cache < 0) {
        return sipy_file_is_absent(errno) ? ABSENT : cannot("open", cache_path, reason);
    }
    off_t size = lseek(cache, 0, SEEK_END);
    void *bytes =
        size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, cache, 0) : MAP_FAILED;
    search result = ABSENT;
    if (bytes != MAP_FAILED) {
        const char *listed = si_elf_cache_find(bytes, (size_t)size, name);
        result = listed != NULL ? open_library(listed, found, reason) : ABSENT;
        munmap(bytes, (size_t)size);
    }
    else if (size != 0) {
        result = cannot("read", cache_path, reason);
    }
    close(cache);
    return result;
}

/* The folders of LD_LIBRARY_PATH, as the dynamic linker read it when the process began:
 * what scripts have made of the environment since is nothing to it, and may be changing. ->
 * between ":", to be freed with si_free | NULL with a cause in reason */
static char *
environment_folders(char reason[SIPY_MAX_REASON])
{
    Dl_serinfo sizes;
    Dl_serinfo *all = NULL;
    char *folders = NULL;
    size_t length = 0;
    void *program = dlopen(NULL, RTLD_LAZY);
    if (program != NULL && dlinfo(program, RTLD_DI_SERINFOSIZE, &sizes) == 0) {
        all = si_calloc(sizes.dls_size);
        folders = si_calloc(sizes.dls_size);
    }
    if (all != NULL && folders != NULL) {
        *all = sizes;
        unsigned count = dlinfo(program, RTLD_DI_SERINFO, all) == 0 ? all->dls_cnt : 0;
        for (unsigned i = 0; i < count; i++) {
            if (all->dls_serpath[i].dls_flags & LA_SER_LIBPATH) {
                length += (size_t)snprintf(folders + length, sizes.dls_size - length,
                                           "%s:", all->dls_serpath[i].dls_name);
            }
        }
    }
    else {
        no_memory(reason);
        si_free(folders);
        folders = NULL;
    }
    si_free(all);
    if (program != NULL) {
        dlclose(program);
    }
    return folders;
}

/* In the folders that the library with that image names, and the environment. */
static search
find_in_paths(const si_elf_image *image, const char *origin, const char *name,
              library *found, char reason[SIPY_MAX_REASON])
{
    uint64_t cursor = 0;
    const char *runpath = si_elf_next_string(image, DT_RUNPATH, &cursor);
    cursor = 0;
    const char *rpath =
        runpath == NULL ? si_elf_next_string(image, DT_RPATH, &cursor) : NULL;
    char *environment = environment_folders(reason);
    const char *paths[3] = {rpath, environment, runpath};
    search result = environment != NULL ? ABSENT : UNCLEAR;
    for (int i = 0; i < 3 && result == ABSENT; i++) {
        if (paths[i] != NULL) {
            char *folders = si_elf_expand_origin(paths[i], origin);
            result =
                folders != NULL ? find_in(folders, name, found, reason) : no_memory(reason);
            found->bundled = strchr(paths[i], '$') != NULL;
            si_free(folders);
        }
    }
    si_free(environment);
    return result;
}

/* The file that name stands for in a library with that image, in folder origin. FOUND:
 * *found is to be given to library_fini. */
static search
find_library(const si_elf_image *image, const char *origin, const char *name,
             library *found, char reason[SIPY_MAX_REASON])
{
    search result;
    *found = (library){.fd = -1};
    if (strchr(name, '/') != NULL) {
        char *path = si_elf_expand_origin(name, origin);
        result = path != NULL ? open_library(path, found, reason) : no_memory(reason);
        found->bundled = strchr(name, '$') != NULL;
        si_free(path);
    }
    else {
        result = find_in_paths(image, origin, name, found, reason);
        if (result == ABSENT) {
            found->bundled = false;
            found->listed = true;
            result = find_in_cache(name, found, reason);
        }
        if (result == ABSENT) {
            result = find_in(si_elf_folders, name, found, reason);
        }
    }
    if (result != FOUND) {
        library_fini(found);
    }
    return result;
}

#define MAX_DEPTH 16 /* libraries may need each other in a circle */

/* FOUND: it needs a copy; ABSENT: it does not. */
static search
needs_copy(const library *found, int depth, char reason[SIPY_MAX_REASON]);

/* Whether the library behind image does, or one that it needs. */
static search
image_needs_copy(const si_elf_image *image, const library *self, int depth,
                 char reason[SIPY_MAX_REASON])
{
    const char *base = strrchr(self->path, '/');
    base = base != NULL ? base + 1 : self->path;
    if (si_elf_uses_python(image) ||
        (self->bundled && !is_listed(base, thread_safe, COUNT(thread_safe))) ||
        is_listed(base, thread_unsafe, COUNT(thread_unsafe))) {
        return si_elf_is_python(image) ? ABSENT : FOUND;
    }
    char *origin = sipy_folder_of(self->path);
    search result = origin != NULL ? ABSENT : no_memory(reason);
    uint64_t cursor = 0;
    const char *name;
    while (result == ABSENT &&
           (name = si_elf_next_string(image, DT_NEEDED, &cursor)) != NULL) {
        library found;
        result = find_library(image, origin, name, &found, reason);
        if (result == FOUND) {
            result = needs_copy(&found, depth + 1, reason);
            library_fini(&found);
        }
    }
    si_free(origin);
    return result;
}

static search
needs_copy(const library *found, int depth, char reason[SIPY_MAX_REASON])
{
    sipy_file_id file;
    if (sipy_file_identify(found->fd, &file) != 0) {
        bool is_file = errno != EISDIR && errno != EINVAL;
        return is_file ? cannot("read", found->path, reason) : ABSENT;
    }
    int known = recall(&file);
    if (known >= 0 || depth > MAX_DEPTH || file.size <= 0) {
        return known > 0 ? FOUND : ABSENT;
    }
    void *bytes = mmap(NULL, (size_t)file.size, PROT_READ, MAP_PRIVATE, found->fd, 0);
    if (bytes == MAP_FAILED) {
        return cannot("read", found->path, reason);
    }
    si_elf_image image;
    const char *why;
    search result = found->named ? FOUND : ABSENT; /* the attempt says what it is */
    if (si_elf_open(&image, bytes, (size_t)file.size, &why) == SI_OK) {
        result = image_needs_copy(&image, found, depth, reason);
    }
    munmap(bytes, (size_t)file.size);
    if (result != UNCLEAR) {
        remember(&file, result == FOUND);
    }
    return result;
}

/* The copy that stands for one needed library, or NULL with *result saying whether that
 * is an error. */
static sipy_copy *
copy_for(sipy_batch *batch, const library *found, search *result,
         char reason[SIPY_MAX_REASON])
{
    char inner[SIPY_MAX_REASON];
    sipy_file_id file;
    sipy_copy *copy = NULL;
    *result = needs_copy(found, 0, inner);
    if (*result == FOUND) {
        const char *slash = strrchr(found->path, '/');
        if (sipy_file_identify(found->fd, &file) != 0) {
            (void)cannot("read", found->path, inner);
        }
        else {
            copy = sipy_batch_add(batch, found->fd, &file, found->path, slash + 1, inner);
        }
        *result = copy == NULL ? UNCLEAR : FOUND;
    }
    if (*result == UNCLEAR) {
        snprintf(reason, SIPY_MAX_REASON, "it needs %.300s: %.600s", found->path, inner);
    }
    return copy;
}

int
sipy_needed_init(sipy_needed *needed, sipy_batch *batch, const sipy_copy *copy,
                 const si_elf_image *image, char reason[SIPY_MAX_REASON])
{
    search result = ABSENT;
    uint64_t cursor = 0;
    const char *name;
    needed->count = 0;
    needed->renames = si_calloc(MAX_NEEDED * sizeof *needed->renames);
    char *origin = sipy_folder_of(copy->path);
    if (needed->renames == NULL || origin == NULL) {
        result = no_memory(reason);
    }
    while (result != UNCLEAR && needed->count < MAX_NEEDED &&
           (name = si_elf_next_string(image, DT_NEEDED, &cursor)) != NULL) {
        library found;
        sipy_copy *other = NULL;
        result = find_library(image, origin, name, &found, reason);
        if (result == ABSENT || found.listed) {
            other = sipy_batch_named(batch, name, result == FOUND);
        }
        if (result == FOUND) {
            other = other != NULL ? other : copy_for(batch, &found, &result, reason);
            library_fini(&found);
        }
        if (other != NULL) {
            needed->renames[needed->count].from = name;
            needed->renames[needed->count++].to = other->image_path;
        }
    }
    si_free(origin);
    if (result == UNCLEAR) {
        sipy_needed_fini(needed);
    }
    return result == UNCLEAR ? -1 : 0;
}

void
sipy_needed_fini(sipy_needed *needed)
{
    si_free(needed->renames);
    needed->renames = NULL;
    needed->count = 0;
}

/* The same question as sipy_needed_init's, of one name and of copies that there are.
 * FOUND: there is one */
static search
is_copied(sipy_loader *loader, const si_elf_image *image, const char *origin,
          const char *name, char reason[SIPY_MAX_REASON])
{
    library found;
    sipy_file_id file;
    if (sipy_copy_named(loader, name, false) == NULL) {
        return ABSENT;
    }
    search result = find_library(image, origin, name, &found, reason);
    bool is_any = result == ABSENT;
    if (result == FOUND) {
        is_any = (found.listed && sipy_copy_named(loader, name, true) != NULL) ||
                 (sipy_file_identify(found.fd, &file) == 0 &&
                  sipy_copy_find(loader, &file) != NULL);
        library_fini(&found);
    }
    return result == UNCLEAR ? UNCLEAR : is_any ? FOUND : ABSENT;
}

int
sipy_needed_from_copies(sipy_loader *loader, int fd, const sipy_file_id *file,
                        const char *path, char reason[SIPY_MAX_REASON])
{
    si_elf_image image;
    const char *why;
    const char *name;
    uint64_t cursor = 0;
    if (loader->copies == NULL) {
        return 0;
    }
    char *origin = sipy_folder_of(path);
    void *bytes = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    search result = ABSENT;
    if (origin == NULL || bytes == MAP_FAILED) {
        result = origin == NULL ? no_memory(reason) : cannot("read", path, reason);
    }
    else if (si_elf_open(&image, bytes, (size_t)file->size, &why) == SI_OK) {
        result = sipy_uses_globals(loader, &image) ? FOUND : ABSENT;
        while (result == ABSENT &&
               (name = si_elf_next_string(&image, DT_NEEDED, &cursor)) != NULL) {
            result = is_copied(loader, &image, origin, name, reason);
        }
    }
    if (bytes != MAP_FAILED) {
        munmap(bytes, (size_t)file->size);
    }
    si_free(origin);
    return result == UNCLEAR ? -1 : result == FOUND;
}

/* Whether the dynamic linker would find that very file by its name alone. */
static search
is_of_the_system(int fd, const char *path, char reason[SIPY_MAX_REASON])
{
    const char *base = strrchr(path, '/') + 1;
    library other = {.fd = -1};
    sipy_file_id here, there;
    search result = find_in_cache(base, &other, reason);
    if (result == ABSENT) {
        result = find_in(si_elf_folders, base, &other, reason);
    }
    if (result == FOUND &&
        (sipy_file_identify(fd, &here) != 0 || sipy_file_identify(other.fd, &there) != 0 ||
         !sipy_file_same(&here, &there))) {
        result = ABSENT;
    }
    library_fini(&other);
    return result;
}

int
sipy_needed_when_opened(int fd, const char *path, char reason[SIPY_MAX_REASON])
{
    char *own = sipy_duplicate(path);
    if (own == NULL) {
        (void)no_memory(reason);
        return -1;
    }
    search result = is_of_the_system(fd, path, reason);
    library found = {
        .path = own, .fd = fd, .bundled = result == ABSENT, .named = result == ABSENT};
    if (result != UNCLEAR) {
        result = needs_copy(&found, 0, reason);
    }
    si_free(own);
    return result == UNCLEAR ? -1 : result == FOUND;
}
