/* check_relocations.c — see check.h: what is written where when the library is loaded. */
#include <elf.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/elf/checker.h"
#include "core/elf/machine.h"

static const char bad_relocation[] = "is damaged: a relocation is not valid";
static const char bad_place[] = "is damaged: a relocation lies outside of its variables";
static const char bad_target[] = "is damaged: a relocation points outside of it";

/* A table of functions that run when the library is loaded or unloaded. */
typedef struct functions {
    uint64_t address, size;
    uint64_t found; /* bytes of it that a relocation fills */
} functions;

typedef struct walk {
    si_elf_checker *c;
    functions functions[2];
    bool is_lazy;        /* in the table of those that could wait for the first call */
    uint8_t *seen;       /* a bit per symbol: it has a slot. NULL: they are not counted */
    uint64_t last;       /* place of the relative one before */
    uint64_t first_slot; /* of the lazy ones: lowest and highest place, their number */
    uint64_t last_slot;
    uint64_t slots;
    uint64_t slot_sum; /* of their places, modulo 2^64 */
    bool has_others;   /* lazy ones that are larger */
} walk;

/* Whether both tables have an entry, which would run at the beginning and at the end. */
static bool
do_overlap(const functions *a, const functions *b)
{
    return a->size != 0 && b->size != 0 && a->address < b->address + b->size &&
           b->address < a->address + a->size;
}

/* What is put there must be code if it is in a table of functions. */
static const char *
check_function(walk *w, uint64_t place, uint64_t target)
{
    for (int i = 0; i < 2; i++) {
        functions *f = &w->functions[i];
        if (place - f->address < f->size) {
            if ((place - f->address) % sizeof(uint64_t) != 0 ||
                !si_elf_is_code(w->c, target)) {
                return "is damaged: an initialiser is no code";
            }
            f->found += sizeof(uint64_t);
        }
    }
    return NULL;
}

/* Whether bytes of a variable may be written there. */
static bool
is_variable(si_elf_checker *c, uint64_t place, uint64_t size)
{
    const si_elf_load *load = si_elf_load_of(c, place, size);
    return size != 0 && load != NULL &&
           ((load->flags & PF_W) != 0 || c->image->text_relocations) &&
           (place + size <= c->dynamic[0] || place >= c->dynamic[1]);
}

/* What the file has at a place that is written to. Linkers leave 0 there, or what will be
 * there but for the load address; anything else is a variable that stays as it is. */
static uint64_t
word_at(si_elf_checker *c, uint64_t place)
{
    uint64_t word = 0;
    const uint8_t *bytes = si_elf_bytes_of(c, place, sizeof word);
    if (bytes != NULL) {
        memcpy(&word, bytes, sizeof word);
    }
    return word;
}

/* A symbol has one slot, which for calls lies in a row with all others. */
static const char *
check_slot(walk *w, const Elf64_Rela *entry)
{
    const uint64_t word = word_at(w->c, entry->r_offset);
    const uint64_t index = ELF64_R_SYM(entry->r_info);
    if (word != 0 && !(w->is_lazy && si_elf_is_code(w->c, word))) {
        return bad_place;
    }
    /* Some linkers note there where the calls through the slot come from. */
    if (entry->r_addend != 0 && !si_elf_is_code(w->c, (uint64_t)entry->r_addend)) {
        return bad_relocation;
    }
    if (w->seen != NULL) {
        const uint8_t bit = (uint8_t)(1u << (index % 8));
        if ((w->seen[index / 8] & bit) != 0) {
            return "is damaged: two relocations are of one symbol";
        }
        w->seen[index / 8] |= bit;
    }
    return NULL;
}

static void
count_slot(walk *w, uint64_t place)
{
    w->first_slot = w->slots == 0 || place < w->first_slot ? place : w->first_slot;
    w->last_slot = place > w->last_slot ? place : w->last_slot;
    w->slot_sum += place;
    w->slots++;
}

/* Whether the slots for calls are neighbours, each there once: one that is elsewhere
 * changes the first, the last or the sum. */
static bool
is_row(const walk *w)
{
    const uint64_t distance = w->last_slot - w->first_slot;
    return w->slots == 0 || w->has_others ||
           (distance == (w->slots - 1) * sizeof(uint64_t) &&
            2 * w->slot_sum == w->slots * (w->first_slot + w->last_slot));
}

/* One that refers to a symbol, or to this library itself if the index is 0. */
static const char *
check_named(walk *w, const Elf64_Rela *entry, si_elf_relocation kind)
{
    si_elf_checker *c = w->c;
    const uint64_t index = ELF64_R_SYM(entry->r_info);
    const bool local_block = kind == SI_ELF_RELOCATION_THREAD && index == 0;
    Elf64_Sym symbol = {.st_shndx = SHN_UNDEF};
    if (local_block) {
        return c->has_tls && (uint64_t)entry->r_addend <= c->tls[1] - c->tls[0]
                   ? NULL
                   : bad_target;
    }
    if (index == 0) {
        return bad_relocation;
    }
    const char *why = si_elf_check_symbol(c, index, &symbol);
    if (why != NULL) {
        return why;
    }
    const bool is_thread = ELF64_ST_TYPE(symbol.st_info) == STT_TLS;
    if (is_thread != (kind == SI_ELF_RELOCATION_THREAD) ||
        entry->r_addend != (int32_t)entry->r_addend) {
        return bad_relocation;
    }
    if (kind == SI_ELF_RELOCATION_SLOT && (why = check_slot(w, entry)) != NULL) {
        return why;
    }
    const uint64_t addend = kind == SI_ELF_RELOCATION_SLOT ? 0 : (uint64_t)entry->r_addend;
    const uint64_t target = symbol.st_value + addend;
    if (symbol.st_shndx == SHN_UNDEF) {
        return NULL;
    }
    if (target > c->image->top && !is_thread && symbol.st_shndx != SHN_ABS) {
        return bad_target;
    }
    return check_function(w, entry->r_offset, target);
}

/* One whose addend is an address of this library. */
static const char *
check_unnamed(walk *w, const Elf64_Rela *entry, si_elf_relocation kind)
{
    si_elf_checker *c = w->c;
    const uint64_t target = (uint64_t)entry->r_addend;
    const uint64_t word = word_at(c, entry->r_offset);
    if (ELF64_R_SYM(entry->r_info) != 0 || target > c->image->top) {
        return bad_target;
    }
    if (kind == SI_ELF_RELOCATION_CALLED) {
        return si_elf_is_code(c, target) ? NULL
                                         : "is damaged: a relocation calls what is no code";
    }
    return word == 0 || word == target ? check_function(w, entry->r_offset, target)
                                       : bad_place;
}

/* is_first: it is one of those that the linker takes for relative without looking. */
static const char *
check_entry(walk *w, const Elf64_Rela *entry, bool is_first)
{
    unsigned size;
    const uint64_t place = entry->r_offset;
    const si_elf_relocation kind =
        si_elf_relocation_of((uint32_t)ELF64_R_TYPE(entry->r_info), &size, w->is_lazy);
    if (kind == SI_ELF_RELOCATION_UNKNOWN) {
        return "is damaged: a relocation is of an unknown kind";
    }
    if (is_first && (kind != SI_ELF_RELOCATION_RELATIVE || place <= w->last)) {
        return bad_relocation; /* they are sorted */
    }
    w->last = place;
    if (kind == SI_ELF_RELOCATION_NONE) {
        return (place | entry->r_info | (uint64_t)entry->r_addend) == 0 ? NULL
                                                                        : bad_relocation;
    }
    const bool is_slot = kind == SI_ELF_RELOCATION_SLOT || kind == SI_ELF_RELOCATION_CALLED;
    if (!is_variable(w->c, place, size) ||
        ((is_slot || kind == SI_ELF_RELOCATION_THREAD) && place % sizeof(uint64_t) != 0)) {
        return bad_place;
    }
    if (w->is_lazy && is_slot) {
        count_slot(w, place);
    }
    w->has_others |= !is_slot;
    return kind == SI_ELF_RELOCATION_RELATIVE || kind == SI_ELF_RELOCATION_CALLED
               ? check_unnamed(w, entry, kind)
               : check_named(w, entry, kind);
}

static const char *
check_table(walk *w, int table)
{
    const si_elf_image *image = w->c->image;
    const uint64_t relative = table == 0 ? w->c->values[SI_ELF_RELACOUNT] : 0;
    const char *why = relative <= image->rela[table].count ? NULL : bad_relocation;
    w->is_lazy = table == 1;
    w->has_others = false;
    if (w->seen != NULL) {
        memset(w->seen, 0, image->symbols.count / 8 + 1);
    }
    for (uint64_t i = 0; why == NULL && i < image->rela[table].count; i++) {
        Elf64_Rela entry;
        memcpy(&entry, image->bytes + image->rela[table].offset + i * sizeof entry,
               sizeof entry);
        why = check_entry(w, &entry, i < relative);
    }
    return why == NULL && !is_row(w) ? bad_place : why;
}

/* A relative relocation of the compact table: the file has the address at its place. */
static const char *
check_compact(walk *w, uint64_t place)
{
    uint64_t target;
    const uint8_t *bytes = si_elf_bytes_of(w->c, place, sizeof target);
    if (bytes == NULL || !is_variable(w->c, place, sizeof target)) {
        return bad_place;
    }
    memcpy(&target, bytes, sizeof target);
    return target > w->c->image->top ? bad_target : check_function(w, place, target);
}

/* Even words are an address; odd ones have a bit for each of the 63 words behind. */
static const char *
check_compact_table(walk *w)
{
    const uint64_t count = w->c->values[SI_ELF_RELRSZ] / sizeof(uint64_t);
    const char *why = NULL;
    uint64_t next = 0;
    for (uint64_t i = 0; why == NULL && i < count; i++) {
        uint64_t word;
        const uint8_t *bytes =
            si_elf_bytes_of(w->c, w->c->values[SI_ELF_RELR] + i * sizeof word, sizeof word);
        if (bytes == NULL) {
            return bad_relocation;
        }
        memcpy(&word, bytes, sizeof word);
        if ((word & 1) == 0) {
            why = word % sizeof word == 0 ? check_compact(w, word) : bad_place;
            next = word + sizeof word;
            continue;
        }
        for (uint64_t bit = 0; why == NULL && (word >>= 1) != 0; bit++) {
            if (word & 1) {
                why = check_compact(w, next + bit * sizeof word);
            }
        }
        next += 63 * sizeof word;
    }
    return why;
}

/* The linker calls what is in each place of the table. */
static bool
is_filled(si_elf_checker *c, const functions *f)
{
    return f->size == 0 || (f->size % sizeof(uint64_t) == 0 && f->found == f->size &&
                            si_elf_load_of(c, f->address, f->size) != NULL);
}

const char *
si_elf_check_relocations(si_elf_checker *c)
{
    walk w = {.c = c};
    w.functions[0] = (functions){.address = c->values[SI_ELF_INIT_ARRAY],
                                 .size = c->values[SI_ELF_INIT_ARRAYSZ]};
    w.functions[1] = (functions){.address = c->values[SI_ELF_FINI_ARRAY],
                                 .size = c->values[SI_ELF_FINI_ARRAYSZ]};
    if (c->counted) {
        w.seen = si_alloc(c->image->symbols.count / 8 + 1);
        c->no_memory = w.seen == NULL;
    }
    if (c->no_memory) {
        return "cannot be checked: no memory";
    }
    const char *why = check_table(&w, 0);
    if (why == NULL) {
        why = check_table(&w, 1);
    }
    if (why == NULL) {
        why = check_compact_table(&w);
    }
    si_free(w.seen);
    if (why == NULL && (do_overlap(&w.functions[0], &w.functions[1]) ||
                        !is_filled(c, &w.functions[0]) || !is_filled(c, &w.functions[1]))) {
        why = "is damaged: its table of initialisers is not valid";
    }
    return why;
}
