/* image.c — see image.h. */
#include "core/elf/image.h"

#include <elf.h>
#include <string.h>

#include "core/elf/machine.h"

/* No table of a real library comes near these; they bound loops over damaged ones. */
#define MAX_SEGMENTS 512
#define MAX_DYNAMIC 4096
#define MAX_VERNEED 4096

static bool
in_file(const si_elf_image *image, uint64_t offset, uint64_t length)
{
    return offset <= image->size && length <= image->size - offset;
}

static void
read_bytes(const si_elf_image *image, uint64_t offset, void *to, size_t length)
{
    memcpy(to, image->bytes + offset, length);
}

static bool
segment_at(const si_elf_image *image, uint64_t index, Elf64_Phdr *segment)
{
    if (index >= image->segments.count) {
        return false;
    }
    read_bytes(image, image->segments.offset + index * sizeof *segment, segment,
               sizeof *segment);
    return true;
}

/* The file offset of length bytes at a loaded address. */
static bool
offset_of(const si_elf_image *image, uint64_t address, uint64_t length, uint64_t *offset)
{
    Elf64_Phdr segment;
    for (uint64_t i = 0; segment_at(image, i, &segment); i++) {
        if (segment.p_type != PT_LOAD || address < segment.p_vaddr) {
            continue;
        }
        uint64_t inside = address - segment.p_vaddr;
        if (inside <= segment.p_filesz && length <= segment.p_filesz - inside) {
            *offset = segment.p_offset + inside;
            return in_file(image, *offset, length);
        }
    }
    return false;
}

const uint8_t *
si_elf_at(const si_elf_image *image, uint64_t address, uint64_t length)
{
    uint64_t offset;
    return offset_of(image, address, length, &offset) ? image->bytes + offset : NULL;
}

static const char *
check_header(si_elf_image *image)
{
    Elf64_Ehdr header;
    if (image->size < sizeof header) {
        return "is truncated: it has no complete ELF header";
    }
    read_bytes(image, 0, &header, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        return "is not an ELF file";
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != si_elf_machine) {
        return "is built for another machine";
    }
    if (header.e_type != ET_DYN) {
        return "is not a shared library";
    }
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
        header.e_phnum > MAX_SEGMENTS) {
        return "is damaged: its segment table is not valid";
    }
    if (!in_file(image, header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr))) {
        return "is truncated: its segment table lies outside of the file";
    }
    image->segments.offset = header.e_phoff;
    image->segments.count = header.e_phnum;
    return NULL;
}

static const char *
check_segments(si_elf_image *image)
{
    Elf64_Phdr segment;
    for (uint64_t i = 0; segment_at(image, i, &segment); i++) {
        if (segment.p_type == PT_TLS) {
            image->tls_size = segment.p_memsz;
        }
        if (segment.p_type == PT_GNU_RELRO) {
            const uint64_t in_page = SI_ELF_PAGE_SIZE - 1;
            image->relro[0] = segment.p_vaddr & ~in_page;
            image->relro[1] = (segment.p_vaddr + segment.p_memsz) & ~in_page;
        }
        if (segment.p_type == PT_DYNAMIC) {
            image->dynamic.offset = segment.p_offset;
            image->dynamic.count = segment.p_filesz / sizeof(Elf64_Dyn);
        }
        if (segment.p_type != PT_LOAD) {
            continue;
        }
        uint64_t end;
        if (!in_file(image, segment.p_offset, segment.p_filesz)) {
            return "is truncated: a segment lies outside of the file";
        }
        if (segment.p_filesz > segment.p_memsz ||
            __builtin_add_overflow(segment.p_vaddr, segment.p_memsz, &end) ||
            end > INT64_MAX / 2) {
            return "is damaged: a segment is not valid";
        }
        if (end > image->top) {
            image->top = end;
        }
    }
    if (image->relro[0] > image->relro[1] || image->relro[1] > image->top) {
        return "is damaged: what becomes read-only lies outside of it";
    }
    if (image->top == 0 || image->dynamic.count == 0 ||
        image->dynamic.count > MAX_DYNAMIC) {
        return "is damaged: it has no valid dynamic section";
    }
    if (!in_file(image, image->dynamic.offset, image->dynamic.count * sizeof(Elf64_Dyn))) {
        return "is truncated: its dynamic section lies outside of the file";
    }
    return NULL;
}

typedef struct dynamic_values {
    uint64_t strtab, strsz, symtab, hash, gnu_hash, verneed, verneednum;
    uint64_t rela, relasz, jmprel, pltrelsz, flags, textrel, verdef;
} dynamic_values;

static uint64_t *
value_slot(dynamic_values *values, int64_t tag)
{
    switch (tag) {
        case DT_STRTAB:
            return &values->strtab;
        case DT_STRSZ:
            return &values->strsz;
        case DT_SYMTAB:
            return &values->symtab;
        case DT_HASH:
            return &values->hash;
        case DT_GNU_HASH:
            return &values->gnu_hash;
        case DT_VERNEED:
            return &values->verneed;
        case DT_VERNEEDNUM:
            return &values->verneednum;
        case DT_RELA:
            return &values->rela;
        case DT_RELASZ:
            return &values->relasz;
        case DT_JMPREL:
            return &values->jmprel;
        case DT_PLTRELSZ:
            return &values->pltrelsz;
        case DT_FLAGS:
            return &values->flags;
        case DT_TEXTREL:
            return &values->textrel;
        case DT_VERDEF:
            return &values->verdef;
        default:
            return NULL;
    }
}

static void
read_dynamic(si_elf_image *image, dynamic_values *values)
{
    memset(values, 0, sizeof *values);
    for (uint64_t i = 0; i < image->dynamic.count; i++) {
        Elf64_Dyn entry;
        read_bytes(image, image->dynamic.offset + i * sizeof entry, &entry, sizeof entry);
        if (entry.d_tag == DT_NULL) {
            image->dynamic.count = i;
            return;
        }
        if (entry.d_tag == DT_TEXTREL) {
            image->text_relocations = true;
        }
        if (entry.d_tag == DT_SYMBOLIC) {
            image->symbolic = true;
        }
        uint64_t *slot = value_slot(values, entry.d_tag);
        if (slot != NULL) {
            *slot = entry.d_un.d_val;
        }
    }
}

/* Both hash tables say how many symbols there are; nothing else reliably does. */
static bool
count_by_gnu_hash(const si_elf_image *image, uint64_t address, uint64_t *count)
{
    uint32_t head[4]; /* buckets, first hashed symbol, Bloom words, Bloom shift */
    const uint8_t *at = si_elf_at(image, address, sizeof head);
    if (at == NULL) {
        return false;
    }
    memcpy(head, at, sizeof head);
    uint64_t buckets = address + sizeof head + (uint64_t)head[2] * 8;
    at = si_elf_at(image, buckets, (uint64_t)head[0] * 4);
    if (at == NULL) {
        return false;
    }
    uint32_t last = 0;
    for (uint32_t i = 0; i < head[0]; i++) {
        uint32_t symbol;
        memcpy(&symbol, at + (size_t)i * 4, 4);
        last = symbol > last ? symbol : last;
    }
    if (last == 0) {
        *count = head[1]; /* nothing is defined: all symbols come before the first */
        return true;
    }
    if (last < head[1]) {
        return false;
    }
    uint64_t chain = buckets + (uint64_t)head[0] * 4;
    for (uint64_t i = last;; i++) {
        uint32_t hash;
        at = si_elf_at(image, chain + (i - head[1]) * 4, 4);
        if (at == NULL) {
            return false;
        }
        memcpy(&hash, at, 4);
        if (hash & 1) { /* the last of its chain */
            *count = i + 1;
            return true;
        }
    }
}

static bool
count_by_hash(const si_elf_image *image, uint64_t address, uint64_t *count)
{
    uint32_t head[2]; /* buckets, chains: one per symbol */
    const uint8_t *at = si_elf_at(image, address, sizeof head);
    if (at == NULL) {
        return false;
    }
    memcpy(head, at, sizeof head);
    *count = head[1];
    return true;
}

static const char *
check_symbols(si_elf_image *image, const dynamic_values *values)
{
    uint64_t count = 0;
    if (values->strsz == 0 ||
        !offset_of(image, values->strtab, values->strsz, &image->strings.offset) ||
        image->bytes[image->strings.offset + values->strsz - 1] != 0) {
        return "is damaged: its string table is not valid";
    }
    image->strings.count = values->strsz;
    if (values->hash != 0 ? !count_by_hash(image, values->hash, &count)
                          : !count_by_gnu_hash(image, values->gnu_hash, &count)) {
        return "is damaged: it has no valid symbol hash table";
    }
    if (count > image->size / sizeof(Elf64_Sym) ||
        !offset_of(image, values->symtab, count * sizeof(Elf64_Sym),
                   &image->symbols.offset)) {
        return "is damaged: its symbol table is not valid";
    }
    image->symbols.count = count;
    return NULL;
}

static const char *
check_rest(si_elf_image *image, const dynamic_values *values)
{
    const uint64_t tables[2][2] = {{values->rela, values->relasz},
                                   {values->jmprel, values->pltrelsz}};
    for (int i = 0; i < 2; i++) {
        if (tables[i][1] == 0) {
            continue;
        }
        if (!offset_of(image, tables[i][0], tables[i][1], &image->rela[i].offset)) {
            return "is damaged: its relocations are not valid";
        }
        image->rela[i].count = tables[i][1] / sizeof(Elf64_Rela);
    }
    if (values->verneednum > MAX_VERNEED ||
        (values->verneednum != 0 &&
         !offset_of(image, values->verneed, sizeof(Elf64_Verneed),
                    &image->verneed.offset))) {
        return "is damaged: its version table is not valid";
    }
    image->verneed.count = values->verneednum;
    image->static_tls = (values->flags & DF_STATIC_TLS) != 0;
    image->text_relocations |= (values->flags & DF_TEXTREL) != 0;
    image->symbolic |= (values->flags & DF_SYMBOLIC) != 0;
    image->versioned = values->verdef != 0;
    image->gnu_hash = values->gnu_hash;
    return NULL;
}

si_status
si_elf_open(si_elf_image *image, const void *bytes, size_t size, const char **why)
{
    dynamic_values values;
    memset(image, 0, sizeof *image);
    image->bytes = bytes;
    image->size = size;
    *why = check_header(image);
    if (*why == NULL) {
        *why = check_segments(image);
    }
    if (*why == NULL) {
        read_dynamic(image, &values);
        *why = check_symbols(image, &values);
    }
    if (*why == NULL) {
        *why = check_rest(image, &values);
    }
    return *why == NULL ? SI_OK : SI_INVALID;
}

static const char *
string_at(const si_elf_image *image, uint64_t offset)
{
    if (offset >= image->strings.count) {
        return NULL; /* the table ends with NUL, so any start inside ends inside */
    }
    return (const char *)image->bytes + image->strings.offset + offset;
}

/* Whether that address is in memory that stays writable. */
static bool
is_writable(const si_elf_image *image, uint64_t address)
{
    if (address >= image->relro[0] && address < image->relro[1]) {
        return false;
    }
    Elf64_Phdr segment;
    for (uint64_t i = 0; segment_at(image, i, &segment); i++) {
        if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_memsz) {
            return (segment.p_flags & PF_W) != 0;
        }
    }
    return false;
}

bool
si_elf_symbol_at(const si_elf_image *image, uint64_t index, si_elf_symbol *symbol)
{
    Elf64_Sym raw;
    if (index >= image->symbols.count) {
        return false;
    }
    read_bytes(image, image->symbols.offset + index * sizeof raw, &raw, sizeof raw);
    symbol->name = string_at(image, raw.st_name);
    symbol->value = raw.st_value;
    symbol->size = raw.st_size;
    symbol->defined = raw.st_shndx != SHN_UNDEF;
    symbol->unique = ELF64_ST_BIND(raw.st_info) == STB_GNU_UNIQUE;
    symbol->weak_variable = ELF64_ST_BIND(raw.st_info) == STB_WEAK &&
                            ELF64_ST_TYPE(raw.st_info) == STT_OBJECT && symbol->defined &&
                            !image->symbolic && is_writable(image, raw.st_value);
    return symbol->name != NULL;
}

static bool
is_definition(const si_elf_image *image, uint64_t index, const char *name,
              si_elf_symbol *symbol)
{
    return si_elf_symbol_at(image, index, symbol) && symbol->defined &&
           strcmp(symbol->name, name) == 0;
}

static uint32_t
gnu_hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (uint8_t)*name;
    }
    return hash;
}

/* By the table that the linker itself uses: a bucket says where its chain of symbols
 * begins, and beside them are their hashes, of which the last is odd and the others are
 * even. */
static bool
find_by_gnu_hash(const si_elf_image *image, const char *name, si_elf_symbol *symbol)
{
    uint32_t head[4]; /* buckets, first hashed symbol, Bloom words, Bloom shift */
    uint32_t index;
    uint32_t entry = 0;
    uint32_t hash = gnu_hash_of(name);
    const uint8_t *at = si_elf_at(image, image->gnu_hash, sizeof head);
    if (at == NULL) {
        return false;
    }
    memcpy(head, at, sizeof head);
    uint64_t buckets = image->gnu_hash + sizeof head + (uint64_t)head[2] * 8;
    at = head[0] == 0
             ? NULL
             : si_elf_at(image, buckets + (uint64_t)(hash % head[0]) * 4, sizeof index);
    if (at == NULL) {
        return false;
    }
    memcpy(&index, at, sizeof index);
    for (; index >= head[1] && index < image->symbols.count && !(entry & 1); index++) {
        at = si_elf_at(image, buckets + ((uint64_t)head[0] + index - head[1]) * 4, 4);
        if (at == NULL) {
            return false;
        }
        memcpy(&entry, at, sizeof entry);
        if ((entry | 1) == (hash | 1) && is_definition(image, index, name, symbol)) {
            return true;
        }
    }
    return false;
}

bool
si_elf_find_definition(const si_elf_image *image, const char *name, si_elf_symbol *symbol)
{
    if (image->gnu_hash != 0) {
        return find_by_gnu_hash(image, name, symbol);
    }
    for (uint64_t i = 0; i < image->symbols.count; i++) {
        if (is_definition(image, i, name, symbol)) {
            return true;
        }
    }
    return false;
}

const char *
si_elf_next_string(const si_elf_image *image, int64_t tag, uint64_t *cursor)
{
    while (*cursor < image->dynamic.count) {
        Elf64_Dyn entry;
        read_bytes(image, image->dynamic.offset + *cursor * sizeof entry, &entry,
                   sizeof entry);
        ++*cursor;
        if (entry.d_tag == tag) {
            const char *string = string_at(image, entry.d_un.d_val);
            if (string != NULL) {
                return string;
            }
        }
    }
    return NULL;
}

bool
si_elf_next_loaded(const si_elf_image *image, uint64_t *index, si_elf_range *range)
{
    const uint64_t in_page = SI_ELF_PAGE_SIZE - 1;
    Elf64_Phdr segment;
    while (segment_at(image, (*index)++, &segment)) {
        if (segment.p_type == PT_LOAD && segment.p_filesz != 0) {
            uint64_t end = (segment.p_offset + segment.p_filesz + in_page) & ~in_page;
            range->offset = segment.p_offset & ~in_page;
            range->address = segment.p_vaddr & ~in_page;
            range->size = (end < image->size ? end : image->size) - range->offset;
            range->executable = (segment.p_flags & PF_X) != 0;
            return true;
        }
    }
    return false;
}

bool
si_elf_is_python(const si_elf_image *image)
{
    si_elf_symbol symbol;
    return si_elf_find_definition(image, "_PyRuntime", &symbol);
}

bool
si_elf_uses_python(const si_elf_image *image)
{
    si_elf_symbol symbol;
    for (uint64_t i = 0; i < image->symbols.count; i++) {
        if (!si_elf_symbol_at(image, i, &symbol) || symbol.defined) {
            continue;
        }
        const char *name = symbol.name + (symbol.name[0] == '_');
        if (name[0] == 'P' && name[1] == 'y' &&
            ((name[2] >= 'A' && name[2] <= 'Z') || name[2] == '_')) {
            return true;
        }
    }
    return false;
}

bool
si_elf_pointer_at(const si_elf_image *image, uint64_t address, uint64_t *value)
{
    for (int table = 0; table < 2; table++) {
        for (uint64_t i = 0; i < image->rela[table].count; i++) {
            Elf64_Rela entry;
            read_bytes(image, image->rela[table].offset + i * sizeof entry, &entry,
                       sizeof entry);
            if (entry.r_offset != address) {
                continue;
            }
            uint32_t type = (uint32_t)ELF64_R_TYPE(entry.r_info);
            *value = (uint64_t)entry.r_addend;
            if (si_elf_is_relative(type)) {
                return true;
            }
            si_elf_symbol symbol;
            if (!si_elf_is_absolute(type) ||
                !si_elf_symbol_at(image, ELF64_R_SYM(entry.r_info), &symbol) ||
                !symbol.defined) {
                return false;
            }
            *value += symbol.value;
            return true;
        }
    }
    /* No relocation with an addend: a compact relative one leaves it in the file. */
    const uint8_t *at = si_elf_at(image, address, 8);
    if (at == NULL) {
        return false;
    }
    memcpy(value, at, 8);
    return true;
}
