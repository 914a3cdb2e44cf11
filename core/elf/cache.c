/* cache.c — see cache.h.
 *
 * The list may stand behind one of an older form, aligned to 8. Offsets of its texts count
 * from its own beginning.
 */
#include "core/elf/cache.h"

#include <stdbool.h>
#include <string.h>

#include "core/elf/machine.h"

static const char old_magic[] = "ld.so-1.7.0";
static const char magic[] = "glibc-ld.so.cache1.1";

#define OLD_HEADER_SIZE 16
#define OLD_COUNT_AT 12
#define OLD_ENTRY_SIZE 12
#define HEADER_SIZE 48
#define COUNT_AT 20

typedef struct entry {
    int32_t flags; /* which machine */
    uint32_t name;
    uint32_t path;
    uint32_t system;
    uint64_t models; /* of the processor; 0: any */
} entry;

static uint32_t
number_at(const uint8_t *bytes)
{
    uint32_t number;
    memcpy(&number, bytes, sizeof number);
    return number;
}

/* The text at that offset, or NULL if it is not one. */
static const char *
text_at(const uint8_t *bytes, size_t size, uint32_t offset)
{
    bool whole = offset < size && memchr(bytes + offset, '\0', size - offset) != NULL;
    return whole ? (const char *)bytes + offset : NULL;
}

/* Where the list begins; size if there is none. */
static size_t
beginning(const uint8_t *bytes, size_t size)
{
    if (size < OLD_HEADER_SIZE || memcmp(bytes, old_magic, sizeof old_magic - 1) != 0) {
        return 0;
    }
    uint64_t count = number_at(bytes + OLD_COUNT_AT);
    uint64_t end = (OLD_HEADER_SIZE + count * OLD_ENTRY_SIZE + 7) & ~UINT64_C(7);
    return end < size ? (size_t)end : size;
}

const char *
si_elf_cache_find(const uint8_t *bytes, size_t size, const char *name)
{
    size_t begin = beginning(bytes, size);
    bytes += begin;
    size -= begin;
    if (size < HEADER_SIZE || memcmp(bytes, magic, sizeof magic - 1) != 0) {
        return NULL;
    }
    uint32_t count = number_at(bytes + COUNT_AT);
    for (size_t i = 0; i < count && (size - HEADER_SIZE) / sizeof(entry) > i; i++) {
        entry e;
        memcpy(&e, bytes + HEADER_SIZE + i * sizeof e, sizeof e);
        const char *found = e.flags == si_elf_cache_flags && e.models == 0
                                ? text_at(bytes, size, e.name)
                                : NULL;
        if (found != NULL && strcmp(found, name) == 0) {
            return text_at(bytes, size, e.path);
        }
    }
    return NULL;
}
