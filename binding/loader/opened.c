/* opened.c — libraries that an interpreter's code opens by path: ctypes, cffi in ABI mode.
 *
 * Both modules are private copies, and their dlopen comes here. A library that somebody
 * has brought along gets a copy of its own, as it would have in a process of its own
 * (llvmlite's compiler keeps a table of symbols, which are those of numba's private
 * copies). Those of the system, and what needed.h knows to be safe, are shared. A library
 * of which the interpreter has a copy already is that copy.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "binding/loader/copy.h"
#include "binding/loader/names.h"
#include "binding/loader/needed.h"

/* What the thread's next dlerror has to say instead of the dynamic linker's. */
static _Thread_local char refusal[SIPY_MAX_REASON];

bool
sipy_opens_libraries(const sipy_copy *copy)
{
    return strcmp(copy->label, "_ctypes") == 0 || strcmp(copy->label, "_cffi_backend") == 0;
}

/* path from the root on. -> false with errno: it is too long, or there is no current
 * folder */
static bool
make_absolute(const char *path, char whole[SIPY_MAX_PATH])
{
    whole[0] = '\0';
    if (path[0] != '/' && getcwd(whole, SIPY_MAX_PATH) == NULL) {
        return false;
    }
    size_t folder = strlen(whole);
    int size = snprintf(whole + folder, SIPY_MAX_PATH - folder, "%s%s",
                        folder != 0 ? "/" : "", path);
    if (size > 0 && (size_t)size < SIPY_MAX_PATH - folder) {
        return true;
    }
    errno = ENAMETOOLONG;
    return false;
}

/* The interpreter's copy of the library, made if it is to have one. [home]
 * -> copy | NULL: it is shared, or with the cause in reason there is none */
static sipy_copy *
copy_of(sipy_loader *loader, int fd, const char *path, int flags,
        char reason[SIPY_MAX_REASON])
{
    sipy_file_id file;
    if (sipy_file_identify(fd, &file) != 0) {
        return NULL; /* the dynamic linker will say why */
    }
    sipy_copy *known = sipy_copy_find(loader, &file);
    if (known != NULL) {
        return known;
    }
    sipy_support support = sipy_support_recall(&file);
    if (support == SIPY_SUPPORT_DECLARED || support == SIPY_SUPPORT_LATE) {
        return NULL; /* a module that is loaded as it is */
    }
    int copied = sipy_needed_when_opened(fd, path, reason);
    if (copied <= 0 || (flags & RTLD_NOLOAD) != 0) {
        return NULL;
    }
    return sipy_copy_load(loader, fd, &file, path, strrchr(path, '/') + 1, flags, reason);
}

/* -> handle that dlclose takes | NULL: it is shared, or refused with the cause in reason */
static void *
open_copy(sipy_loader *loader, const char *path, int flags, char reason[SIPY_MAX_REASON])
{
    void *handle = NULL;
    char whole[SIPY_MAX_PATH];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    sipy_copy *copy = NULL;
    if (fd >= 0 ? !make_absolute(path, whole) : !sipy_file_is_absent(errno)) {
        /* The dynamic linker might still have it, from another interpreter. */
        snprintf(reason, SIPY_MAX_REASON, "cannot open it: %s", strerror(errno));
    }
    else if (fd >= 0) {
        copy = copy_of(loader, fd, whole, flags, reason);
    }
    if (copy != NULL) {
        copy->global = copy->global || (flags & RTLD_GLOBAL) != 0;
        copy->opened = true;
        handle = sipy_copy_handle(copy, reason);
    }
    if (fd >= 0) {
        close(fd);
    }
    return handle;
}

/* A library that is named without a folder: the interpreter's copy that has the name, as
 * the dynamic linker would take what is loaded. One that is loaded only because a module
 * needs it stands back behind the system's. -> handle | NULL: dlerror tells why */
static void *
open_named(const char *name, int flags, sipy_copy *opener)
{
    char unused[SIPY_MAX_REASON];
    void *handle = NULL;
    for (int any = 0; any < 2 && handle == NULL; any++) {
        int attached = sipy_gilstate_ensure(opener);
        sipy_copy *copy = sipy_copy_named(opener->loader, name, any == 0);
        if (copy != NULL) {
            copy->global = copy->global || (flags & RTLD_GLOBAL) != 0;
            handle = sipy_copy_handle(copy, unused);
        }
        sipy_gilstate_release(attached, opener);
        if (any == 0 && handle == NULL) {
            handle = dlopen(name, flags);
        }
    }
    return handle;
}

void *
sipy_open_symbol(void *handle, const char *name, sipy_copy *opener)
{
    void *symbol = dlsym(handle, name);
    void *whole = symbol == NULL ? dlopen(NULL, RTLD_LAZY) : NULL;
    if (whole != NULL) {
        (void)dlclose(whole); /* of the program itself: it counts nothing */
    }
    if (symbol == NULL && handle == whole) {
        int attached = sipy_gilstate_ensure(opener);
        symbol = sipy_global_symbol(opener->loader, name);
        sipy_gilstate_release(attached, opener);
    }
    /* What dlerror tells is of the last call. */
    return symbol != NULL ? symbol : dlsym(handle, name);
}

void *
sipy_open_library(const char *path, int flags, sipy_copy *opener)
{
    char reason[SIPY_MAX_REASON] = "";
    void *handle = NULL;
    refusal[0] = '\0';
    if (path != NULL && strchr(path, '/') == NULL) {
        return open_named(path, flags, opener);
    }
    if (path != NULL) {
        int attached = sipy_gilstate_ensure(opener);
        handle = open_copy(opener->loader, path, flags, reason);
        sipy_gilstate_release(attached, opener);
    }
    if (reason[0] != '\0' && handle == NULL) {
        snprintf(refusal, sizeof refusal, "%.300s: %.700s", path, reason);
        return NULL;
    }
    return handle != NULL ? handle : dlopen(path, flags);
}

/* text with the path of the original for the name of its copy, where it begins with one.
 * Attached to the loader's interpreter. -> text, or what said points to */
static char *
with_original(const sipy_loader *loader, char *text, char said[SIPY_MAX_REASON])
{
    for (const sipy_copy *copy = loader->copies; copy != NULL; copy = copy->next) {
        size_t prefix = strlen(copy->image_path);
        if (strncmp(text, copy->image_path, prefix) == 0 && text[prefix] == ':') {
            snprintf(said, SIPY_MAX_REASON, "%.500s%.500s", copy->path, text + prefix);
            return said;
        }
    }
    return text;
}

char *
sipy_open_error(sipy_copy *opener)
{
    static _Thread_local char said[SIPY_MAX_REASON];
    if (refusal[0] != '\0') {
        memcpy(said, refusal, sizeof said);
        refusal[0] = '\0';
        return said;
    }
    char *text = dlerror();
    if (text != NULL) {
        int state = sipy_gilstate_ensure(opener);
        text = with_original(opener->loader, text, said);
        sipy_gilstate_release(state, opener);
    }
    return text;
}
