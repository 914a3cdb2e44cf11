/* patch.c — see patch.h. */
/* Layout of the appended part, all of it page-aligned in file and memory alike:
 *   segment 1 (read, execute)  program headers | stubs | strings
 *   segment 2 (read, write)    dynamic section
 * Offsets into the old string table stay valid: the new one begins with it.
 */
#include "core/elf/patch.h"

#include <elf.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/elf/machine.h"
#include "core/elf/ranges.h"

#define NEW_SEGMENTS 2

typedef struct string_buffer {
    char *bytes;
    size_t size, capacity;
} string_buffer;

typedef struct builder {
    const si_elf_image *image;
    const si_elf_plan *plan;
    si_elf_patch *patch;
    string_buffer strings;
    Elf64_Dyn *dynamic;
    size_t dynamic_count;
    uint64_t code_address;    /* of segment 1 */
    uint64_t stub_offset;     /* in segment 1 */
    uint64_t string_offset;   /* in segment 1 */
    uint64_t code_file;       /* file offset of segment 1 */
    uint64_t dynamic_address; /* of segment 2 */
    uint64_t dynamic_file;
    uint8_t stub_of[SI_ELF_MAX_REDIRECTS]; /* 1 + number of its stub, 0: none needed */
    size_t stub_count;
} builder;

/* Adds text with its NUL; *offset says where. */
static si_status
add_string(string_buffer *buffer, const char *text, uint64_t *offset)
{
    size_t length = strlen(text) + 1;
    if (buffer->capacity - buffer->size < length) {
        size_t capacity = (buffer->size + length) * 2;
        char *bytes = si_realloc(buffer->bytes, capacity);
        if (bytes == NULL) {
            return SI_NOMEM;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    memcpy(buffer->bytes + buffer->size, text, length);
    *offset = buffer->size;
    buffer->size += length;
    return SI_OK;
}

char *
si_elf_expand_origin(const char *text, const char *origin)
{
    static const char *const tokens[2] = {"$ORIGIN", "${ORIGIN}"};
    size_t origin_length = strlen(origin);
    size_t most = strlen(text) + 1;
    for (const char *p = strchr(text, '$'); p != NULL; p = strchr(p + 1, '$')) {
        most += origin_length;
    }
    char *result = si_alloc(most);
    char *out = result;
    while (result != NULL && *text != '\0') {
        size_t token = 0;
        for (int i = 0; i < 2; i++) {
            size_t length = strlen(tokens[i]);
            if (strncmp(text, tokens[i], length) == 0) {
                token = length;
            }
        }
        if (token == 0) {
            *out++ = *text++;
            continue;
        }
        memcpy(out, origin, origin_length);
        out += origin_length;
        text += token;
    }
    if (result != NULL) {
        *out = '\0';
    }
    return result;
}

static const char *
new_name(const si_elf_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->rename_count; i++) {
        if (strcmp(plan->renames[i].from, name) == 0) {
            return plan->renames[i].to;
        }
    }
    return NULL;
}

static const char *
old_string(const builder *b, uint64_t offset)
{
    if (offset >= b->image->strings.count) {
        return NULL;
    }
    return (const char *)b->image->bytes + b->image->strings.offset + offset;
}

/* The string of a dynamic entry as the copy needs it, if it differs. */
static si_status
rewrite_string(builder *b, Elf64_Dyn *entry)
{
    const char *text = old_string(b, entry->d_un.d_val);
    if (text == NULL) {
        return SI_INVALID;
    }
    const char *renamed = entry->d_tag == DT_NEEDED ? new_name(b->plan, text) : NULL;
    char *expanded = NULL;
    if (renamed == NULL && strchr(text, '$') != NULL) {
        expanded = si_elf_expand_origin(text, b->plan->origin);
        if (expanded == NULL) {
            return SI_NOMEM;
        }
        renamed = expanded;
    }
    si_status status = SI_OK;
    if (renamed != NULL) {
        status = add_string(&b->strings, renamed, &entry->d_un.d_val);
    }
    si_free(expanded);
    return status;
}

static void
put(builder *b, int64_t tag, uint64_t value)
{
    Elf64_Dyn *entry = &b->dynamic[b->dynamic_count++];
    entry->d_tag = tag;
    entry->d_un.d_val = value;
}

static si_status
put_needed(builder *b, const char *const *names, size_t count)
{
    si_status status = SI_OK;
    for (size_t i = 0; status == SI_OK && i < count; i++) {
        uint64_t offset = 0;
        status = add_string(&b->strings, names[i], &offset);
        put(b, DT_NEEDED, offset);
    }
    return status;
}

/* Builds the new dynamic section; the string table's place is filled in later. */
static si_status
build_dynamic(builder *b)
{
    bool flags_seen = false;
    size_t late = b->plan->is_elsewhere != NULL ? *b->plan->late_needed_count : 0;
    size_t most = b->image->dynamic.count + b->plan->extra_needed_count + late + 2;
    b->dynamic = si_calloc(most * sizeof *b->dynamic);
    if (b->dynamic == NULL) {
        return SI_NOMEM;
    }
    si_status status = put_needed(b, b->plan->extra_needed, b->plan->extra_needed_count);
    for (uint64_t i = 0; status == SI_OK && i < b->image->dynamic.count; i++) {
        Elf64_Dyn entry;
        memcpy(&entry, b->image->bytes + b->image->dynamic.offset + i * sizeof entry,
               sizeof entry);
        if (entry.d_tag == DT_SONAME) {
            continue;
        }
        if (entry.d_tag == DT_NEEDED || entry.d_tag == DT_RPATH ||
            entry.d_tag == DT_RUNPATH) {
            status = rewrite_string(b, &entry);
        }
        if (entry.d_tag == DT_FLAGS) {
            entry.d_un.d_val |= DF_SYMBOLIC;
            flags_seen = true;
        }
        put(b, entry.d_tag, entry.d_un.d_val);
    }
    if (!flags_seen) {
        put(b, DT_FLAGS, DF_SYMBOLIC);
    }
    if (status == SI_OK) {
        status = put_needed(b, b->plan->late_needed, late);
    }
    put(b, DT_NULL, 0);
    return status;
}

static si_status
add_edit(builder *b, uint64_t offset, size_t size, uint8_t **bytes)
{
    *bytes = si_alloc(size);
    if (*bytes == NULL) {
        return SI_NOMEM;
    }
    si_elf_edit *edit = &b->patch->edits[b->patch->edit_count++];
    edit->offset = offset;
    edit->bytes = *bytes;
    edit->size = size;
    return SI_OK;
}

static si_status
copy_edit(builder *b, uint64_t offset, size_t size, uint8_t **bytes)
{
    si_status status = add_edit(b, offset, size, bytes);
    if (status == SI_OK) {
        memcpy(*bytes, b->image->bytes + offset, size);
    }
    return status;
}

/* Version requirements name the library they are met by; follow the renames. */
static si_status
edit_versions(builder *b)
{
    const si_elf_image *image = b->image;
    if (image->verneed.count == 0 || b->plan->rename_count == 0) {
        return SI_OK;
    }
    uint64_t end = image->verneed.offset;
    uint64_t at = end;
    for (uint64_t i = 0; i < image->verneed.count; i++) {
        Elf64_Verneed record;
        if (at > image->size || image->size - at < sizeof record) {
            return SI_INVALID;
        }
        memcpy(&record, image->bytes + at, sizeof record);
        end = at + sizeof record;
        at += record.vn_next;
    }
    uint8_t *bytes;
    si_status status =
        copy_edit(b, image->verneed.offset, end - image->verneed.offset, &bytes);
    at = 0;
    for (uint64_t i = 0; status == SI_OK && i < image->verneed.count; i++) {
        Elf64_Verneed record;
        uint64_t offset;
        memcpy(&record, bytes + at, sizeof record);
        const char *name = old_string(b, record.vn_file);
        const char *renamed = name == NULL ? NULL : new_name(b->plan, name);
        if (renamed != NULL) {
            status = add_string(&b->strings, renamed, &offset);
            if (status == SI_OK) {
                record.vn_file = (Elf64_Word)offset;
                memcpy(bytes + at, &record, sizeof record);
            }
        }
        at += record.vn_next;
    }
    return status;
}

static size_t
find_redirect(const si_elf_plan *plan, const char *name)
{
    size_t i = 0;
    while (i < plan->redirect_count && strcmp(plan->redirects[i].symbol, name) != 0) {
        i++;
    }
    return i;
}

/* Whether the library may come by redirected symbols that it does not leave open. */
static bool
has_finder(const builder *b)
{
    size_t r = b->plan->finder != NULL ? find_redirect(b->plan, b->plan->finder) : SIZE_MAX;
    return r < b->plan->redirect_count && b->stub_of[r] != 0;
}

/* Which redirected symbols the library leaves open: each gets one stub. */
static void
number_stubs(builder *b)
{
    si_elf_symbol symbol;
    for (uint64_t i = 0; i < b->image->symbols.count; i++) {
        if (!si_elf_symbol_at(b->image, i, &symbol) || symbol.defined) {
            continue;
        }
        size_t r = find_redirect(b->plan, symbol.name);
        if (r < b->plan->redirect_count && b->stub_of[r] == 0) {
            b->stub_of[r] = (uint8_t)++b->stub_count;
        }
    }
    if (has_finder(b)) {
        b->stub_count = b->plan->redirect_count;
        for (size_t r = 0; r < b->stub_count; r++) {
            b->stub_of[r] = (uint8_t)(r + 1);
        }
    }
}

static void
merge(builder *b, Elf64_Sym *raw, const si_elf_symbol *symbol)
{
    b->patch->unique_symbols += symbol->unique;
    b->patch->weak_variables += symbol->weak_variable;
    if (symbol->unique) {
        raw->st_info = ELF64_ST_INFO(STB_GLOBAL, ELF64_ST_TYPE(raw->st_info));
    }
    /* Left open, a symbol with a version would ask for that version elsewhere. */
    if (b->plan->is_elsewhere != NULL && !b->image->versioned &&
        b->plan->is_elsewhere(b->plan->is_elsewhere_data, symbol->name, symbol->unique)) {
        raw->st_shndx = SHN_UNDEF;
        raw->st_value = 0;
    }
}

static si_status
edit_symbols(builder *b)
{
    const si_elf_image *image = b->image;
    size_t size = image->symbols.count * sizeof(Elf64_Sym);
    if (size == 0) {
        return SI_OK;
    }
    uint8_t *bytes;
    si_status status = copy_edit(b, image->symbols.offset, size, &bytes);
    for (uint64_t i = 0; status == SI_OK && i < image->symbols.count; i++) {
        Elf64_Sym raw;
        si_elf_symbol symbol;
        if (!si_elf_symbol_at(image, i, &symbol)) {
            continue;
        }
        memcpy(&raw, bytes + i * sizeof raw, sizeof raw);
        size_t r = symbol.defined ? SIZE_MAX : find_redirect(b->plan, symbol.name);
        if (symbol.unique || symbol.weak_variable) {
            merge(b, &raw, &symbol);
        }
        if (r < b->plan->redirect_count) {
            /* A local, hidden symbol is resolved inside the library itself. */
            raw.st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC);
            raw.st_other = STV_HIDDEN;
            raw.st_shndx = 1; /* any section: only "defined" matters */
            raw.st_value = b->code_address + b->stub_offset +
                           (uint64_t)(b->stub_of[r] - 1) * SI_ELF_STUB_SIZE;
            raw.st_size = SI_ELF_STUB_SIZE;
            b->patch->redirected++;
        }
        memcpy(bytes + i * sizeof raw, &raw, sizeof raw);
    }
    return status;
}

/* Places the appended part; only the strings may still grow, they come last. */
static void
place(builder *b)
{
    uint64_t headers = (b->image->segments.count + NEW_SEGMENTS) * sizeof(Elf64_Phdr);
    b->code_file = si_elf_page_up(b->image->size);
    b->code_address = si_elf_page_up(b->image->top);
    b->stub_offset = (headers + SI_ELF_STUB_SIZE - 1) / SI_ELF_STUB_SIZE * SI_ELF_STUB_SIZE;
    b->string_offset = b->stub_offset + b->stub_count * SI_ELF_STUB_SIZE;
}

static void
write_headers(const builder *b, uint8_t *to)
{
    size_t dynamic_size = b->dynamic_count * sizeof *b->dynamic;
    Elf64_Phdr segment;
    for (uint64_t i = 0; i < b->image->segments.count; i++) {
        memcpy(&segment, b->image->bytes + b->image->segments.offset + i * sizeof segment,
               sizeof segment);
        if (segment.p_type == PT_PHDR) {
            segment.p_type = PT_NULL;
        }
        if (segment.p_type == PT_DYNAMIC) {
            segment.p_offset = b->dynamic_file;
            segment.p_vaddr = segment.p_paddr = b->dynamic_address;
            segment.p_filesz = segment.p_memsz = dynamic_size;
        }
        memcpy(to + i * sizeof segment, &segment, sizeof segment);
    }
    to += b->image->segments.count * sizeof segment;
    memset(&segment, 0, sizeof segment);
    segment.p_type = PT_LOAD;
    segment.p_flags = PF_R | PF_X;
    segment.p_offset = b->code_file;
    segment.p_vaddr = segment.p_paddr = b->code_address;
    segment.p_filesz = segment.p_memsz = b->string_offset + b->strings.size;
    segment.p_align = SI_ELF_PAGE_SIZE;
    memcpy(to, &segment, sizeof segment);
    segment.p_flags = PF_R | PF_W;
    segment.p_offset = b->dynamic_file;
    segment.p_vaddr = segment.p_paddr = b->dynamic_address;
    segment.p_filesz = segment.p_memsz = dynamic_size;
    memcpy(to + sizeof segment, &segment, sizeof segment);
}

static si_status
append(builder *b)
{
    size_t code_size = b->string_offset + b->strings.size;
    b->dynamic_file = b->code_file + si_elf_page_up(code_size);
    b->dynamic_address = b->code_address + si_elf_page_up(code_size);
    size_t dynamic_size = b->dynamic_count * sizeof *b->dynamic;
    size_t size = si_elf_page_up(code_size) + dynamic_size;
    uint8_t *bytes;
    si_status status = add_edit(b, b->code_file, size, &bytes);
    if (status != SI_OK) {
        return status;
    }
    memset(bytes, 0, size);
    write_headers(b, bytes);
    for (size_t i = 0; i < b->plan->redirect_count; i++) {
        const si_elf_redirect *redirect = &b->plan->redirects[i];
        if (b->stub_of[i] != 0) {
            si_elf_write_stub(
                bytes + b->stub_offset + (size_t)(b->stub_of[i] - 1) * SI_ELF_STUB_SIZE,
                b->plan->owner, redirect->argument, redirect->target);
        }
    }
    memcpy(bytes + b->string_offset, b->strings.bytes, b->strings.size);
    for (size_t i = 0; i < b->dynamic_count; i++) {
        if (b->dynamic[i].d_tag == DT_STRTAB) {
            b->dynamic[i].d_un.d_val = b->code_address + b->string_offset;
        }
        if (b->dynamic[i].d_tag == DT_STRSZ) {
            b->dynamic[i].d_un.d_val = b->strings.size;
        }
    }
    memcpy(bytes + si_elf_page_up(code_size), b->dynamic, dynamic_size);
    return SI_OK;
}

static si_status
edit_header(builder *b)
{
    uint8_t *bytes;
    Elf64_Ehdr header;
    si_status status = copy_edit(b, 0, sizeof header, &bytes);
    if (status == SI_OK) {
        memcpy(&header, bytes, sizeof header);
        header.e_phoff = b->code_file;
        header.e_phnum = (Elf64_Half)(b->image->segments.count + NEW_SEGMENTS);
        memcpy(bytes, &header, sizeof header);
    }
    return status;
}

static si_status
build(builder *b)
{
    size_t old = b->image->strings.count;
    b->strings.bytes = si_alloc(old);
    if (b->strings.bytes == NULL) {
        return SI_NOMEM;
    }
    memcpy(b->strings.bytes, b->image->bytes + b->image->strings.offset, old);
    b->strings.size = b->strings.capacity = old;
    number_stubs(b);
    place(b);
    b->patch->stubs = has_finder(b) ? b->code_address + b->stub_offset : 0;
    si_status status = edit_header(b);
    if (status == SI_OK) {
        status = edit_symbols(b);
    }
    if (status == SI_OK) {
        status = edit_versions(b);
    }
    if (status == SI_OK) {
        status = build_dynamic(b);
    }
    if (status == SI_OK) {
        status = append(b); /* the last edit: it is behind all others */
    }
    return status;
}

si_status
si_elf_patch_init(si_elf_patch *patch, const si_elf_image *image, const si_elf_plan *plan,
                  const char **why)
{
    builder b = {.image = image, .plan = plan, .patch = patch};
    memset(patch, 0, sizeof *patch);
    *why = "is damaged: a string or version lies outside of its table";
    si_status status = plan->redirect_count > SI_ELF_MAX_REDIRECTS ? SI_INVALID : build(&b);
    si_free(b.strings.bytes);
    si_free(b.dynamic);
    if (status != SI_OK) {
        si_elf_patch_fini(patch);
    }
    return status;
}

void
si_elf_patch_fini(si_elf_patch *patch)
{
    for (size_t i = 0; i < patch->edit_count; i++) {
        si_free(patch->edits[i].bytes);
    }
    memset(patch, 0, sizeof *patch);
}
