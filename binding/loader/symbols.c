/* symbols.c — what a private copy asks the dynamic linker for by name or by address.
 *
 * What is redirected (redirect.c) is so too for code that looks its functions up instead of
 * being linked to them: it gets the copy's own stub. Anything else goes to the dynamic
 * linker as it came, by a jump: glibc takes the library that it returns to for the one that
 * asks, and begins there with RTLD_DEFAULT and RTLD_NEXT.
 */
#include <string.h>

#include "binding/loader/copy.h"
#include "core/elf/machine.h"
#include "core/elf/patch.h"

/* -> load address of the copy | 0: it cannot be told */
static uintptr_t
base_of(sipy_copy *copy)
{
    uint64_t base = si_load_relaxed(&copy->base);
    if (base != 0) {
        return (uintptr_t)base;
    }
    /* Also while it is being loaded: its own initialisation may ask. */
    char unused[SIPY_MAX_REASON];
    void *handle = sipy_copy_handle(copy, unused);
    if (handle != NULL) {
        base = sipy_load_address(handle);
        si_store_relaxed(&copy->base, base);
        dlclose(handle);
    }
    return (uintptr_t)base;
}

/* Whether handle leads to what everybody in the process calls by that name. */
static bool
leads_to_common(void *handle, const char *name)
{
    void *common = dlsym(RTLD_DEFAULT, name);
    return common != NULL && (handle == RTLD_DEFAULT || dlsym(handle, name) == common);
}

/* -> the copy's stub of that name | NULL: the dynamic linker's answer holds */
static __attribute__((noinline)) void *
own_function(void *handle, const char *name, sipy_copy *copy)
{
    size_t count;
    size_t i = 0;
    const si_elf_redirect *redirects = sipy_redirects(copy, &count);
    while (i < count && strcmp(redirects[i].symbol, name) != 0) {
        i++;
    }
    if (i == count || handle == RTLD_NEXT || !leads_to_common(handle, name)) {
        return NULL;
    }
    uintptr_t base = base_of(copy);
    return base == 0 ? NULL : (void *)(base + copy->stubs + i * SI_ELF_STUB_SIZE);
}

void *
sipy_find_symbol(void *handle, const char *name, sipy_copy *copy)
{
    void *own = own_function(handle, name, copy);
    if (own != NULL || sipy_opens_libraries(copy)) {
        return own != NULL ? own : sipy_open_symbol(handle, name, copy);
    }
    return dlsym(handle, name);
}

/* Libraries look for their folder by the address of their own code. */
int
sipy_address_info(const void *address, Dl_info *info, sipy_copy *copy)
{
    int found = dladdr(address, info);
    if (found && info->dli_fname != NULL &&
        strcmp(info->dli_fname, copy->image_path) == 0) {
        info->dli_fname = copy->path;
    }
    return found;
}
