/* names.c — see names.h. */
#include "binding/loader/names.h"

#include <dlfcn.h>
#include <string.h>

#include "binding/loader/batch.h"

static bool
is_named(const sipy_copy *copy, const char *name, bool opened)
{
    return copy != NULL && copy->soname != NULL && strcmp(copy->soname, name) == 0 &&
           (copy->opened || !opened);
}

sipy_copy *
sipy_copy_named(const sipy_loader *loader, const char *name, bool opened)
{
    sipy_copy *first = NULL;
    for (sipy_copy *c = loader->copies; c != NULL; c = c->next) {
        first = is_named(c, name, opened) ? c : first; /* the list begins with the newest */
    }
    return first;
}

sipy_copy *
sipy_batch_named(const sipy_batch *batch, const char *name, bool opened)
{
    sipy_copy *first = sipy_copy_named(batch->loader, name, opened);
    const sipy_prepared *p = batch->first;
    for (; p != NULL && first == NULL; p = p->next) {
        first = is_named(p->copy, name, opened) ? p->copy : NULL;
    }
    return first;
}

/* The symbol, if that copy itself defines it, not a library that it needs; else NULL. */
static void *
own_symbol(const sipy_copy *copy, const char *name)
{
    uintptr_t base = copy->handle != NULL ? sipy_load_address(copy->handle) : 0;
    if (base == 0) {
        return NULL;
    }
    void *symbol = dlsym(copy->handle, name);
    uintptr_t at = (uintptr_t)symbol;
    return at >= base && at - base < copy->span ? symbol : NULL;
}

void *
sipy_global_symbol(const sipy_loader *loader, const char *name)
{
    void *first = NULL;
    for (const sipy_copy *c = loader->copies; c != NULL; c = c->next) {
        void *symbol = c->global ? own_symbol(c, name) : NULL;
        first = symbol != NULL ? symbol : first;
    }
    return first;
}

bool
sipy_uses_globals(const sipy_loader *loader, const si_elf_image *image)
{
    const sipy_copy *copy = loader->copies;
    while (copy != NULL && !copy->global) {
        copy = copy->next;
    }
    bool found = false;
    si_elf_symbol symbol;
    for (uint64_t i = 1; copy != NULL && !found && i < image->symbols.count; i++) {
        found = si_elf_symbol_at(image, i, &symbol) && !symbol.defined &&
                sipy_global_symbol(loader, symbol.name) != NULL;
    }
    return found;
}

static bool
add_definer(sipy_definers *d, const char *name)
{
    size_t i = 0;
    while (i < d->count && d->names[i] != name) {
        i++;
    }
    d->names[i] = name;
    d->count += i == d->count;
    return true;
}

bool
sipy_is_elsewhere(void *data, const char *name, bool unique)
{
    sipy_definers *d = data;
    si_elf_symbol symbol;
    const sipy_copy *c = unique ? d->batch->loader->copies : NULL;
    for (; c != NULL; c = c->next) {
        if (c->unique && own_symbol(c, name) != NULL) {
            return add_definer(d, c->image_path);
        }
    }
    for (sipy_prepared *p = d->batch->first; p != NULL; p = p->next) {
        size_t some = unique ? p->patch.unique_symbols : p->patch.weak_variables;
        if (p->planned && some != 0 && si_elf_find_definition(&p->image, name, &symbol) &&
            (unique ? symbol.unique : symbol.weak_variable)) {
            return add_definer(d, p->copy->image_path);
        }
    }
    return false;
}
