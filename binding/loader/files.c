/* files.c — which file a library is, and its names. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "binding/loader/copy.h"
#include "core/base/alloc.h"

static int
identify(const struct stat *st, sipy_file_id *file)
{
    if (!S_ISREG(st->st_mode)) {
        errno = S_ISDIR(st->st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    file->device = st->st_dev;
    file->inode = st->st_ino;
    file->size = st->st_size;
    file->changed_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
    return 0;
}

int
sipy_file_identify(int fd, sipy_file_id *file)
{
    struct stat st;
    return fstat(fd, &st) != 0 ? -1 : identify(&st, file);
}

int
sipy_file_identify_path(const char *path, sipy_file_id *file)
{
    struct stat st;
    return stat(path, &st) != 0 ? -1 : identify(&st, file);
}

bool
sipy_file_is_absent(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ELOOP ||
           error == ENAMETOOLONG;
}

bool
sipy_file_same(const sipy_file_id *a, const sipy_file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns;
}

char *
sipy_duplicate(const char *text)
{
    size_t size = strlen(text) + 1;
    char *result = si_alloc(size);
    return result == NULL ? NULL : memcpy(result, text, size);
}

char *
sipy_folder_of(const char *path)
{
    char *folder = sipy_duplicate(path);
    char *slash = folder != NULL ? strrchr(folder, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
    }
    return folder;
}
