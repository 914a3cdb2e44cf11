/* copy.c — makes a private copy of a library and loads it.
 *
 * The copy is an anonymous file: nothing on disk, gone with the process however that
 * ends. Once loaded, its code and constants are mapped from the original file again
 * and their memory is given back, so a copy costs its variables and little else.
 *
 * Names      The dynamic linker takes a library for loaded if one of that name or inode
 *            is. Descriptors are used again, so the path has a serial number in it, spelt
 *            in "/" and "/." between the folder and the descriptor.
 * Locking    The serial is the only process-wide state. No lock is held while loading;
 *            the dynamic linker has its own.
 */
#include "binding/loader/copy.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "binding/compat/compat_module.h"
#include "binding/loader/batch.h"
#include "binding/loader/names.h"
#include "binding/loader/needed.h"
#include "core/base/alloc.h"
#include "core/elf/check.h"
#include "core/elf/patch.h"
#include "core/elf/ranges.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; before, it is refused */
#endif

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* glibc keeps 1,664 bytes of static thread-local memory for libraries that are loaded
 * late, for the whole process. Copies may use this much of it, all interpreters
 * together, so that others still find some. */
#define STATIC_TLS_BUDGET 1024

static si_atomic_u32 next_serial;
static si_atomic_i64 static_tls_used;

sipy_copy *
sipy_copy_find(sipy_loader *loader, const sipy_file_id *file)
{
    sipy_copy *copy = loader->copies;
    while (copy != NULL && !sipy_file_same(&copy->file, file)) {
        copy = copy->next;
    }
    return copy;
}

static void
copy_free(sipy_copy *copy)
{
    if (copy != NULL) {
        si_add_seq_cst(&static_tls_used, -copy->static_tls);
        si_free(copy->path);
        si_free(copy->image_path);
        si_free(copy->label);
        si_free(copy->soname);
        si_free(copy);
    }
}

/* A path of fd that no library has been loaded under before. */
static char *
unique_path(int fd)
{
    char spelt[2 * 32 + 1] = ""; /* the serial, a bit at a time */
    size_t length = 0;
    uint32_t serial = si_add_relaxed(&next_serial, 1);
    for (; serial != 0; serial >>= 1) {
        spelt[length++] = '/';
        if (serial & 1) {
            spelt[length++] = '.';
        }
    }
    size_t room = sizeof "/proc/self/fd" + length + sizeof "/2147483647";
    char *path = si_alloc(room);
    if (path != NULL) {
        (void)snprintf(path, room, "/proc/self/fd%.*s/%d", (int)length, spelt, fd);
    }
    return path;
}

/* An anonymous, executable file. -> fd | -1 with errno */
static int
anonymous_file(const char *label)
{
    char name[200];
    snprintf(name, sizeof name, "subinterpreters:%s", label);
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_CLOEXEC); /* Linux before 6.3 knows no MFD_EXEC */
    }
    return fd;
}

static int
write_all(int fd, const uint8_t *bytes, size_t size, uint64_t offset)
{
    while (size != 0) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        bytes += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int
copy_range(int to, int from, const si_elf_range *range)
{
    off_t offset = (off_t)range->offset;
    off_t end = (off_t)(range->offset + range->size);
    if (lseek(to, offset, SEEK_SET) != offset) {
        return -1;
    }
    while (offset < end) {
        ssize_t n = sendfile(to, from, &offset, (size_t)(end - offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* it became shorter meanwhile */
            return -1;
        }
    }
    return 0;
}

/* What is loaded of the original (symbols for debuggers are not), then the edits.
 * -> 0 | -1 with errno */
static int
fill(int to, int from, const si_elf_image *image, const si_elf_patch *patch)
{
    uint64_t index = 0;
    si_elf_range range;
    while (si_elf_next_loaded(image, &index, &range)) {
        if (copy_range(to, from, &range) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < patch->edit_count; i++) {
        const si_elf_edit *edit = &patch->edits[i];
        if (write_all(to, edit->bytes, edit->size, edit->offset) != 0) {
            return -1;
        }
    }
    return 0;
}

uintptr_t
sipy_load_address(void *handle)
{
    struct link_map *map;
    return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 ? map->l_addr : 0;
}

/* Maps what the copy never writes from the original and frees the copy's memory of it.
 * Where that is refused the copy just stays larger. */
static void
share_with_original(const sipy_copy *copy, int original, int image_fd,
                    const si_elf_image *image, const si_elf_patch *patch)
{
    uint64_t cursor = 0;
    si_elf_range range;
    uintptr_t base = sipy_load_address(copy->handle);
    if (base == 0) {
        return;
    }
    while (si_elf_next_shared(image, patch, &cursor, &range)) {
        void *at = (void *)(base + range.address);
        int protection = PROT_READ | (range.executable ? PROT_EXEC : 0);
        if (mmap(at, range.size, protection, MAP_PRIVATE | MAP_FIXED, original,
                 (off_t)range.offset) == at) {
            (void)fallocate(image_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)range.offset, (off_t)range.size);
        }
    }
}

/* The dynamic linker has written to most pages of the variables, which made them this
 * mapping's own; the file's pages behind them are memory too. Makes all of them own and
 * frees those. Where that is refused the copy just stays larger. */
static void
drop_initial_values(const sipy_copy *copy, int image_fd, const si_elf_image *image)
{
    uint64_t cursor = 0;
    si_elf_range range;
    uintptr_t base = sipy_load_address(copy->handle);
    if (base == 0) {
        return;
    }
    void *fixed = (void *)(base + image->relro[0]);
    size_t fixed_size = (size_t)(image->relro[1] - image->relro[0]);
    if (fixed_size != 0 && mprotect(fixed, fixed_size, PROT_READ | PROT_WRITE) != 0) {
        return;
    }
    while (si_elf_next_writable(image, &cursor, &range)) {
        void *at = (void *)(base + range.address);
        if (madvise(at, (size_t)range.size, MADV_POPULATE_WRITE) == 0) {
            (void)fallocate(image_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)range.offset, (off_t)range.size);
        }
    }
    if (fixed_size != 0) {
        (void)mprotect(fixed, fixed_size, PROT_READ);
    }
}

static int
open_flags(sipy_copy *copy, int flags)
{
    copy->global = (flags & RTLD_GLOBAL) != 0;
    return (flags & ~(RTLD_GLOBAL | RTLD_LAZY)) | RTLD_NOW;
}

static int
reserve_static_tls(sipy_copy *copy, const si_elf_image *image, char reason[SIPY_MAX_REASON])
{
    int64_t size = image->static_tls ? (int64_t)image->tls_size : 0;
    if (si_add_seq_cst(&static_tls_used, size) + size > STATIC_TLS_BUDGET) {
        si_add_seq_cst(&static_tls_used, -size);
        snprintf(reason, SIPY_MAX_REASON,
                 "it needs %lld bytes of static thread-local memory, of which a process "
                 "has little: use fewer interpreters with it",
                 (long long)size);
        return -1;
    }
    copy->static_tls = size;
    return 0;
}

static si_status
plan_copy(const sipy_batch *batch, sipy_prepared *p, const sipy_needed *needed,
          const char **why)
{
    size_t globals = 0;
    size_t all = 1;
    sipy_copy *copies = batch->loader->copies;
    for (sipy_copy *c = copies; c != NULL; c = c->next) {
        globals += c->global;
        all++;
    }
    for (const sipy_prepared *other = batch->first; other != NULL; other = other->next) {
        all++;
    }
    const char **extra = si_alloc((globals + 1) * sizeof *extra);
    sipy_definers unique = {batch, si_alloc(all * sizeof *unique.names), 0};
    char *origin = sipy_folder_of(p->copy->path);
    si_status status = SI_NOMEM;
    if (extra != NULL && unique.names != NULL && origin != NULL) {
        size_t count = 0;
        for (sipy_copy *c = copies; c != NULL; c = c->next) {
            if (c->global) {
                extra[globals - ++count] = c->image_path; /* oldest first */
            }
        }
        si_elf_plan plan = {.owner = p->copy,
                            .renames = needed->renames,
                            .rename_count = needed->count,
                            .extra_needed = extra,
                            .extra_needed_count = count,
                            .is_elsewhere = sipy_is_elsewhere,
                            .is_elsewhere_data = &unique,
                            .late_needed = unique.names,
                            .late_needed_count = &unique.count,
                            .origin = origin};
        plan.redirects = sipy_redirects(p->copy, &plan.redirect_count);
        plan.finder = SIPY_FINDER;
        status = si_elf_patch_init(&p->patch, &p->image, &plan, why);
        p->planned = status == SI_OK;
        p->copy->stubs = p->patch.stubs;
    }
    si_free(unique.names);
    si_free(extra);
    si_free(origin);
    return status;
}

/* Reads the original, prepares the libraries that it needs, and writes the image. */
static int
prepare(sipy_batch *batch, sipy_prepared *p, char reason[SIPY_MAX_REASON])
{
    sipy_copy *copy = p->copy;
    sipy_needed needed;
    const char *why = "no memory";
    if (copy->file.size == 0) {
        snprintf(reason, SIPY_MAX_REASON, "the file is empty");
        return -1;
    }
    p->bytes = mmap(NULL, (size_t)copy->file.size, PROT_READ, MAP_PRIVATE, p->original, 0);
    if (p->bytes == MAP_FAILED) {
        snprintf(reason, SIPY_MAX_REASON, "cannot read it: %s", strerror(errno));
        return -1;
    }
    if (si_elf_open(&p->image, p->bytes, (size_t)copy->file.size, &why) != SI_OK ||
        si_elf_check(&p->image, &why) != SI_OK) {
        snprintf(reason, SIPY_MAX_REASON, "the file %s", why);
        return -1;
    }
    uint64_t cursor = 0;
    const char *soname = si_elf_next_string(&p->image, DT_SONAME, &cursor);
    copy->soname = soname != NULL ? sipy_duplicate(soname) : NULL;
    if (soname != NULL && copy->soname == NULL) {
        snprintf(reason, SIPY_MAX_REASON, "no memory");
        return -1;
    }
    if (sipy_needed_init(&needed, batch, copy, &p->image, reason) != 0) {
        return -1;
    }
    si_status status = plan_copy(batch, p, &needed, &why);
    sipy_needed_fini(&needed);
    if (status != SI_OK) {
        snprintf(reason, SIPY_MAX_REASON, "%s%s", status == SI_INVALID ? "the file " : "",
                 status == SI_INVALID ? why : "no memory");
        return -1;
    }
    if (reserve_static_tls(copy, &p->image, reason) != 0) {
        return -1;
    }
    if (fill(p->image_fd, p->original, &p->image, &p->patch) != 0) {
        snprintf(reason, SIPY_MAX_REASON, "cannot write its private copy: %s",
                 strerror(errno));
        return -1;
    }
    return 0;
}

/* A new entry of the batch with its name, so that libraries in a circle find it. */
static sipy_prepared *
new_entry(sipy_batch *batch, int fd, const sipy_file_id *file, const char *path,
          const char *label, char reason[SIPY_MAX_REASON])
{
    sipy_prepared *p = si_calloc(sizeof *p);
    sipy_copy *copy = si_calloc(sizeof *copy);
    if (p == NULL || copy == NULL) {
        si_free(p);
        si_free(copy);
        snprintf(reason, SIPY_MAX_REASON, "no memory");
        return NULL;
    }
    copy->loader = batch->loader;
    copy->file = *file;
    copy->path = sipy_duplicate(path);
    copy->label = sipy_duplicate(label);
    p->copy = copy;
    p->bytes = MAP_FAILED;
    p->original = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    p->image_fd = anonymous_file(label);
    if (p->image_fd < 0 || p->original < 0) {
        snprintf(reason, SIPY_MAX_REASON, "no anonymous file for its private copy: %s",
                 strerror(errno));
    }
    copy->image_path = p->image_fd >= 0 ? unique_path(p->image_fd) : NULL;
    p->next = batch->first;
    batch->first = p;
    if (copy->path == NULL || copy->label == NULL ||
        (p->image_fd >= 0 && copy->image_path == NULL)) {
        snprintf(reason, SIPY_MAX_REASON, "no memory");
        return NULL;
    }
    return copy->image_path != NULL && p->original >= 0 ? p : NULL;
}

sipy_copy *
sipy_batch_add(sipy_batch *batch, int fd, const sipy_file_id *file, const char *path,
               const char *label, char reason[SIPY_MAX_REASON])
{
    sipy_copy *known = sipy_copy_find(batch->loader, file);
    for (sipy_prepared *p = batch->first; p != NULL && known == NULL; p = p->next) {
        known = sipy_file_same(&p->copy->file, file) ? p->copy : NULL;
    }
    if (known != NULL) {
        return known;
    }
    sipy_prepared *p = new_entry(batch, fd, file, path, label, reason);
    return p != NULL && prepare(batch, p, reason) == 0 ? p->copy : NULL;
}

/* dlerror's text with the path of the original for the name of its copy. */
static void
explain_dlerror(const sipy_batch *batch, const sipy_copy *top, char reason[SIPY_MAX_REASON])
{
    const char *text = dlerror();
    text = text != NULL ? text : "the dynamic linker gave no reason";
    for (sipy_prepared *p = batch->first; p != NULL; p = p->next) {
        size_t prefix = strlen(p->copy->image_path);
        if (strncmp(text, p->copy->image_path, prefix) == 0) {
            const char *rest = text + prefix + strspn(text + prefix, ": ");
            if (p->copy == top) {
                snprintf(reason, SIPY_MAX_REASON, "%s", rest);
            }
            else {
                snprintf(reason, SIPY_MAX_REASON, "%s: %s", p->copy->path, rest);
            }
            return;
        }
    }
    snprintf(reason, SIPY_MAX_REASON, "%s", text);
}

void *
sipy_copy_handle(const sipy_copy *copy, char reason[SIPY_MAX_REASON])
{
    void *handle = dlopen(copy->image_path, RTLD_NOW | RTLD_NOLOAD);
    if (handle == NULL) {
        snprintf(reason, SIPY_MAX_REASON, "no memory to look into its private copy");
    }
    return handle;
}

int
sipy_copy_open(sipy_copy *copy, char reason[SIPY_MAX_REASON])
{
    copy->handle = copy->handle != NULL ? copy->handle : sipy_copy_handle(copy, reason);
    return copy->handle != NULL ? 0 : -1;
}

/* Loads the one whose descriptor all others hang on; the linker follows the names. */
static int
load_batch(sipy_batch *batch, sipy_copy *top, int flags, char reason[SIPY_MAX_REASON])
{
    top->handle = dlopen(top->image_path, open_flags(top, flags));
    if (top->handle == NULL) {
        explain_dlerror(batch, top, reason);
        return -1;
    }
    for (sipy_prepared *p = batch->first; p != NULL; p = p->next) {
        /* Where that fails, the copy stays larger, and whoever imports it tries again. */
        if (sipy_copy_open(p->copy, reason) == 0) {
            share_with_original(p->copy, p->original, p->image_fd, &p->image, &p->patch);
            drop_initial_values(p->copy, p->image_fd, &p->image);
        }
        p->copy->unique = p->patch.unique_symbols != 0;
        p->copy->span = p->image.top;
        p->copy->next = batch->loader->copies;
        batch->loader->copies = p->copy;
        p->copy = NULL; /* the loader's now */
    }
    return 0;
}

static void
batch_fini(sipy_batch *batch)
{
    while (batch->first != NULL) {
        sipy_prepared *p = batch->first;
        batch->first = p->next;
        if (p->bytes != MAP_FAILED) {
            munmap(p->bytes, (size_t)p->image.size);
        }
        if (p->image_fd >= 0) {
            close(p->image_fd); /* mappings keep the file */
        }
        if (p->original >= 0) {
            close(p->original);
        }
        si_elf_patch_fini(&p->patch);
        copy_free(p->copy);
        si_free(p);
    }
}

sipy_copy *
sipy_copy_load(sipy_loader *loader, int fd, const sipy_file_id *file, const char *path,
               const char *label, int flags, char reason[SIPY_MAX_REASON])
{
    sipy_batch batch = {.loader = loader};
    sipy_copy *copy = sipy_batch_add(&batch, fd, file, path, label, reason);
    if (copy != NULL && load_batch(&batch, copy, flags, reason) != 0) {
        copy = NULL;
    }
    batch_fini(&batch);
    return copy;
}
