/* check_symbols.c — see check.h: symbols, and the tables by which they are found. */
#include <elf.h>
#include <string.h>

#include "core/elf/checker.h"

static const char bad_symbol[] = "is damaged: a symbol is not valid";
static const char bad_hash[] = "is damaged: its symbol hash table is not valid";
static const char bad_version[] = "is damaged: its version table is not valid";

static uint32_t
word_at(const uint8_t *bytes, uint64_t index)
{
    uint32_t word;
    memcpy(&word, bytes + index * sizeof word, sizeof word);
    return word;
}

/* --- symbols ------------------------------------------------------------------------- */

static bool
is_place(si_elf_checker *c, const Elf64_Sym *symbol)
{
    const unsigned type = ELF64_ST_TYPE(symbol->st_info);
    if (type == STT_TLS) {
        return c->has_tls && symbol->st_value <= c->tls[1] - c->tls[0];
    }
    if (symbol->st_shndx == SHN_ABS) {
        return type != STT_FUNC && type != STT_GNU_IFUNC;
    }
    if ((type == STT_FUNC || type == STT_GNU_IFUNC) &&
        !si_elf_is_code(c, symbol->st_value)) {
        return false;
    }
    if (type != STT_NOTYPE) {
        return si_elf_load_of(c, symbol->st_value, symbol->st_size) != NULL;
    }
    /* Linkers put names of their own behind the last variable. */
    return symbol->st_value <= c->image->top;
}

static bool
is_symbol(si_elf_checker *c, const Elf64_Sym *symbol)
{
    const unsigned type = ELF64_ST_TYPE(symbol->st_info);
    const unsigned bind = ELF64_ST_BIND(symbol->st_info);
    if (symbol->st_name >= c->image->strings.count ||
        (type > STT_TLS && type != STT_GNU_IFUNC) ||
        (bind > STB_WEAK && bind != STB_GNU_UNIQUE) || symbol->st_other > STV_PROTECTED) {
        return false;
    }
    if (symbol->st_shndx == SHN_UNDEF) {
        return bind != STB_LOCAL && symbol->st_other == STV_DEFAULT;
    }
    return is_place(c, symbol);
}

const char *
si_elf_check_symbol(si_elf_checker *c, uint64_t index, void *raw)
{
    const uint64_t size = sizeof(Elf64_Sym);
    if (c->counted && index >= c->image->symbols.count) {
        return "is damaged: a relocation names a symbol that it does not have";
    }
    const uint8_t *bytes =
        si_elf_bytes_of(c, c->values[SI_ELF_SYMTAB] + index * size, size);
    if (bytes == NULL) {
        return bad_symbol;
    }
    memcpy(raw, bytes, size);
    return is_symbol(c, raw) ? NULL : bad_symbol;
}

/* --- hash tables --------------------------------------------------------------------- */

/* Symbols to be found come behind those that are only asked for. */
static bool
is_sorted(const si_elf_checker *c, uint64_t first)
{
    const si_elf_image *image = c->image;
    for (uint64_t i = 1; i < image->symbols.count; i++) {
        Elf64_Sym symbol;
        memcpy(&symbol, image->bytes + image->symbols.offset + i * sizeof symbol,
               sizeof symbol);
        const bool is_found =
            symbol.st_shndx != SHN_UNDEF && ELF64_ST_BIND(symbol.st_info) != STB_LOCAL;
        if (is_found != (i >= first)) {
            return false;
        }
    }
    return true;
}

/* The linker follows each chain to the symbol that is marked as its last. */
static const char *
check_gnu_hash(si_elf_checker *c)
{
    const uint64_t address = c->values[SI_ELF_GNU_HASH];
    const uint8_t *head = si_elf_bytes_of(c, address, 16);
    if (head == NULL) {
        return bad_hash;
    }
    const uint64_t buckets = word_at(head, 0), first = word_at(head, 1);
    const uint64_t words = word_at(head, 2), shift = word_at(head, 3);
    const uint8_t *table = si_elf_bytes_of(c, address, 16 + words * 8 + buckets * 4);
    if (table == NULL || (words & (words - 1)) != 0 || shift >= 64 ||
        (words == 0 && buckets != 0)) {
        return bad_hash;
    }
    table += 16 + words * 8;
    uint64_t last = 0;
    for (uint64_t i = 0; i < buckets; i++) {
        uint64_t symbol = word_at(table, i);
        if (symbol != 0 && symbol < first) {
            return bad_hash;
        }
        last = symbol > last ? symbol : last;
    }
    if (last == 0) {
        return NULL; /* it has no symbols to be found */
    }
    c->counted = true;
    const uint64_t count = c->image->symbols.count;
    const uint8_t *chains = si_elf_bytes_of(c, address + 16 + words * 8 + buckets * 4,
                                            count > first ? (count - first) * 4 : 0);
    if (chains == NULL || last >= count) {
        return bad_hash;
    }
    while ((word_at(chains, last - first) & 1) == 0) {
        if (++last == count) {
            return bad_hash;
        }
    }
    return last + 1 == count && is_sorted(c, first) ? NULL : bad_hash;
}

/* Each symbol is in one chain at most, or there is a circle. */
static const char *
check_hash(si_elf_checker *c)
{
    const uint64_t address = c->values[SI_ELF_HASH];
    const uint8_t *head = si_elf_bytes_of(c, address, 8);
    if (head == NULL) {
        return bad_hash;
    }
    const uint64_t buckets = word_at(head, 0), count = word_at(head, 1);
    const uint8_t *table = si_elf_bytes_of(c, address, 8 + (buckets + count) * 4);
    if (table == NULL || buckets == 0 || count != c->image->symbols.count) {
        return bad_hash;
    }
    uint64_t seen = 0;
    for (uint64_t i = 0; i < buckets; i++) {
        uint64_t symbol = word_at(table + 8, i);
        while (symbol != 0) {
            if (symbol >= count || ++seen > count) {
                return bad_hash;
            }
            symbol = word_at(table + 8 + buckets * 4, symbol);
        }
    }
    c->counted = true;
    return NULL;
}

const char *
si_elf_check_symbols(si_elf_checker *c)
{
    const char *why = NULL;
    if (!c->has[SI_ELF_HASH] && !c->has[SI_ELF_GNU_HASH]) {
        return bad_hash;
    }
    if (c->has[SI_ELF_GNU_HASH]) {
        why = check_gnu_hash(c);
    }
    if (why == NULL && c->has[SI_ELF_HASH]) {
        why = check_hash(c);
    }
    for (uint64_t i = 1; why == NULL && i < c->image->symbols.count; i++) {
        Elf64_Sym raw;
        why = si_elf_check_symbol(c, i, &raw);
    }
    return why;
}

/* --- versions ------------------------------------------------------------------------ */

/* Whether the linker will find the library that a version is asked of. */
static bool
is_needed(const si_elf_checker *c, uint64_t name)
{
    const si_elf_image *image = c->image;
    const char *needed;
    uint64_t cursor = 0;
    if (name >= image->strings.count) {
        return false;
    }
    const char *text = (const char *)image->bytes + image->strings.offset + name;
    while ((needed = si_elf_next_string(image, DT_NEEDED, &cursor)) != NULL) {
        if (strcmp(needed, text) == 0) {
            return true;
        }
    }
    return false;
}

/* Versions that are asked of other libraries; *highest grows to the highest number. The
 * links lead forward only, but records may share what they link to. */
static bool
read_needs(si_elf_checker *c, uint32_t *highest)
{
    uint64_t at = c->values[SI_ELF_VERNEED];
    uint64_t left = c->image->size / sizeof(Elf64_Vernaux);
    for (;;) {
        Elf64_Verneed need;
        const uint8_t *bytes = si_elf_bytes_of(c, at, sizeof need);
        if (bytes == NULL || at % 4 != 0) {
            return false;
        }
        memcpy(&need, bytes, sizeof need);
        if (need.vn_version != VER_NEED_CURRENT || !is_needed(c, need.vn_file)) {
            return false;
        }
        for (uint64_t name = at + need.vn_aux;;) {
            Elf64_Vernaux aux;
            bytes = si_elf_bytes_of(c, name, sizeof aux);
            if (bytes == NULL || left-- == 0) {
                return false;
            }
            memcpy(&aux, bytes, sizeof aux);
            const uint32_t number = aux.vna_other & 0x7fff;
            *highest = number > *highest ? number : *highest;
            if (aux.vna_name >= c->image->strings.count) {
                return false;
            }
            if (aux.vna_next == 0) {
                break;
            }
            name += aux.vna_next;
        }
        if (need.vn_next == 0) {
            return true;
        }
        at += need.vn_next;
    }
}

/* Versions of its own. */
static bool
read_definitions(si_elf_checker *c, uint32_t *highest)
{
    uint64_t at = c->values[SI_ELF_VERDEF];
    for (;;) {
        Elf64_Verdef own;
        Elf64_Verdaux aux;
        const uint8_t *bytes = si_elf_bytes_of(c, at, sizeof own);
        if (bytes == NULL || at % 4 != 0) {
            return false;
        }
        memcpy(&own, bytes, sizeof own);
        const uint32_t number = own.vd_ndx & 0x7fff;
        *highest = number > *highest ? number : *highest;
        bytes = si_elf_bytes_of(c, at + own.vd_aux, sizeof aux);
        if (bytes == NULL || own.vd_version != VER_DEF_CURRENT) {
            return false;
        }
        memcpy(&aux, bytes, sizeof aux);
        if (aux.vda_name >= c->image->strings.count) {
            return false;
        }
        if (own.vd_next == 0) {
            return true;
        }
        at += own.vd_next;
    }
}

const char *
si_elf_check_versions(si_elf_checker *c)
{
    uint32_t highest = 1; /* local and global need no record */
    if (!c->has[SI_ELF_VERSYM]) {
        return NULL;
    }
    if ((c->has[SI_ELF_VERNEED] && !read_needs(c, &highest)) ||
        (c->has[SI_ELF_VERDEF] && !read_definitions(c, &highest))) {
        return bad_version;
    }
    const uint64_t count = c->image->symbols.count;
    const uint8_t *numbers =
        si_elf_bytes_of(c, c->values[SI_ELF_VERSYM], count * sizeof(Elf64_Half));
    if (numbers == NULL || c->values[SI_ELF_VERSYM] % sizeof(Elf64_Half) != 0) {
        return bad_version;
    }
    for (uint64_t i = 0; i < count; i++) {
        Elf64_Half number;
        memcpy(&number, numbers + i * sizeof number, sizeof number);
        if ((number & 0x7fff) > highest) {
            return bad_version;
        }
    }
    return NULL;
}
