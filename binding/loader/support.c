/* support.c — what a module declares, read from its file without running it.
 *
 * Compilers turn the usual "return PyModuleDef_Init(&def)" into two instructions, so the
 * definition and its slots can be read where they lie. Where that fails, the copy's
 * PyInit_ function is asked (module.c), and the answer is remembered.
 *
 * State      One table of verdicts for the process, guarded by its own leaf lock.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "binding/compat/compat_module.h"
#include "binding/loader/copy.h"
#include "core/base/alloc.h"
#include "core/elf/check.h"
#include "core/elf/machine.h"

#define MAX_SLOTS 64

typedef struct verdict {
    struct verdict *next;
    sipy_file_id file;
    sipy_support support;
} verdict;

#define BUCKETS 256
static struct {
    si_mutex mu;
    verdict *buckets[BUCKETS] SI_GUARDED_BY(mu);
} verdicts;

static size_t
bucket_of(const sipy_file_id *file)
{
    return ((size_t)file->inode * 31 + (size_t)file->device) % BUCKETS;
}

void
sipy_support_lock(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&verdicts.mu);
}

void
sipy_support_unlock(void) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&verdicts.mu);
}

sipy_support
sipy_support_recall(const sipy_file_id *file)
{
    sipy_support support = SIPY_SUPPORT_UNKNOWN;
    si_mutex_lock(&verdicts.mu);
    verdict *v = verdicts.buckets[bucket_of(file)];
    while (v != NULL && !sipy_file_same(&v->file, file)) {
        v = v->next;
    }
    if (v != NULL) {
        support = v->support;
    }
    si_mutex_unlock(&verdicts.mu);
    return support;
}

void
sipy_support_remember(const sipy_file_id *file, sipy_support support)
{
    verdict *v = si_alloc(sizeof *v);
    if (v == NULL) {
        return; /* it will be found out again */
    }
    v->file = *file;
    v->support = support;
    si_mutex_lock(&verdicts.mu);
    v->next = verdicts.buckets[bucket_of(file)];
    verdicts.buckets[bucket_of(file)] = v;
    si_mutex_unlock(&verdicts.mu);
}

static sipy_support
read_slots(const si_elf_image *image, uint64_t address)
{
    for (int i = 0; i < MAX_SLOTS; i++) {
        int id;
        uint64_t value;
        const uint8_t *slot = si_elf_at(image, address + (uint64_t)i * 16, 16);
        if (slot == NULL) {
            return SIPY_SUPPORT_UNKNOWN;
        }
        memcpy(&id, slot, sizeof id);
        memcpy(&value, slot + 8, sizeof value);
        switch (sipy_compat_slot_kind(id)) {
            case SIPY_SLOT_END:
                return SIPY_SUPPORT_NONE;
            case SIPY_SLOT_INTERPRETERS:
                return value == (uintptr_t)Py_MOD_PER_INTERPRETER_GIL_SUPPORTED
                           ? SIPY_SUPPORT_DECLARED
                           : SIPY_SUPPORT_NONE;
            case SIPY_SLOT_NESTED:
            case SIPY_SLOT_INVALID:
                return SIPY_SUPPORT_UNKNOWN;
            case SIPY_SLOT_OTHER:
                break;
        }
    }
    return SIPY_SUPPORT_UNKNOWN;
}

static sipy_support
read_function(const si_elf_image *image, const char *prefix, const char *init_name,
              bool is_export)
{
    char name[256];
    si_elf_symbol symbol;
    uint64_t object;
    bool jumps;
    int n = snprintf(name, sizeof name, "%s%s", prefix, init_name);
    if (n < 0 || (size_t)n >= sizeof name ||
        !si_elf_find_definition(image, name, &symbol)) {
        return SIPY_SUPPORT_UNKNOWN;
    }
    const uint8_t *code = si_elf_at(image, symbol.value, symbol.size);
    if (code == NULL ||
        !si_elf_read_getter(code, symbol.size, symbol.value, &object, &jumps) ||
        jumps == is_export) {
        return SIPY_SUPPORT_UNKNOWN;
    }
    if (!is_export &&
        (!si_elf_pointer_at(image, object + offsetof(PyModuleDef, m_slots), &object) ||
         object == 0)) {
        return SIPY_SUPPORT_UNKNOWN;
    }
    return read_slots(image, object);
}

/* Libraries that keep one state for the process, of which there is no private copy. */
static bool
needs_system_state(const si_elf_image *image)
{
    static const char *const names[] = {"libreadline.so", "libedit.so", "libncurses",
                                        "libpanel",       "libtcl",     "libtk"};
    uint64_t cursor = 0;
    const char *needed;
    while ((needed = si_elf_next_string(image, DT_NEEDED, &cursor)) != NULL) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (strncmp(needed, names[i], strlen(names[i])) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the library does what a module must not do that is shared by interpreters,
 * whatever it declares. With the C API of another module it does: it keeps what it gets
 * in C variables, and that module may be a private copy. With calls that CPython ties to
 * the main interpreter it does: a callback in a thread of the library's own lands there,
 * with objects of this interpreter. */
static bool
needs_a_copy(const si_elf_image *image)
{
    static const char *const names[] = {"PyCapsule_GetPointer", "PyCapsule_Import",
                                        "PyGILState_Ensure", "Py_AddPendingCall",
                                        "PyInterpreterState_Main"};
    si_elf_symbol symbol;
    for (uint64_t i = 0; i < image->symbols.count; i++) {
        if (!si_elf_symbol_at(image, i, &symbol) || symbol.defined) {
            continue;
        }
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            if (strcmp(symbol.name, names[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static sipy_support
read_support(const si_elf_image *image, const char *init_name, bool trusted)
{
    sipy_support support = SIPY_SUPPORT_UNKNOWN;
    if (!trusted && needs_a_copy(image)) {
        return SIPY_SUPPORT_NONE;
    }
    if (sipy_compat_has_exports()) {
        support = read_function(image, "PyModExport", init_name, true);
    }
    if (support == SIPY_SUPPORT_UNKNOWN) {
        support = read_function(image, "PyInit", init_name, false);
    }
    if (support != SIPY_SUPPORT_DECLARED && needs_system_state(image)) {
        support = SIPY_SUPPORT_SYSTEM;
    }
    return support;
}

/* Whether the file is this extension itself, which all interpreters share.
 * -> 1 | 0 | -1 with errno */
static int
is_this_library(const sipy_file_id *file)
{
    static const char here;
    Dl_info info;
    sipy_file_id own;
    if (!dladdr(&here, &info)) {
        return 0;
    }
    if (sipy_file_identify_path(info.dli_fname, &own) != 0) {
        return sipy_file_is_absent(errno) ? 0 : -1;
    }
    return sipy_file_same(&own, file);
}

/* Modules of the standard library get only its own C APIs, which are static, and are called
 * back in Python's own threads: but for ctypes, whose callbacks any thread may call. */
static bool
is_standard(const char *path, const char *init_name)
{
    static const char folder[] = "/lib-dynload";
    const char *slash = strrchr(path, '/');
    size_t length = sizeof folder - 1;
    return slash != NULL && (size_t)(slash - path) >= length &&
           strcmp(init_name, "__ctypes") != 0 &&
           strncmp(slash - length, folder, length) == 0;
}

int
sipy_support_of(int fd, const sipy_file_id *file, const char *path, const char *init_name,
                char reason[SIPY_MAX_REASON])
{
    sipy_support support = sipy_support_recall(file);
    if (support != SIPY_SUPPORT_UNKNOWN) {
        return (int)support;
    }
    if (file->size == 0) {
        snprintf(reason, SIPY_MAX_REASON, "the file is empty");
        return -1;
    }
    int own = is_this_library(file);
    void *bytes = own < 0 ? MAP_FAILED
                          : mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        snprintf(reason, SIPY_MAX_REASON, "cannot read it: %s", strerror(errno));
        return -1;
    }
    si_elf_image image;
    const char *why;
    if (si_elf_open(&image, bytes, (size_t)file->size, &why) != SI_OK) {
        snprintf(reason, SIPY_MAX_REASON, "the file %s", why);
        munmap(bytes, (size_t)file->size);
        return -1;
    }
    support = read_support(&image, init_name, own != 0 || is_standard(path, init_name));
    /* The dynamic linker gets this one as it is; a copy is checked when it is made. */
    if (support == SIPY_SUPPORT_DECLARED && si_elf_check(&image, &why) != SI_OK) {
        snprintf(reason, SIPY_MAX_REASON, "the file %s", why);
        munmap(bytes, (size_t)file->size);
        return -1;
    }
    munmap(bytes, (size_t)file->size);
    if (support != SIPY_SUPPORT_UNKNOWN) {
        sipy_support_remember(file, support);
    }
    return (int)support;
}
