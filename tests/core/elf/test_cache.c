/* test_cache.c — tests of cache. */
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/elf/cache.h"
#include "core/elf/machine.h"
#include "tests/core/support.h"

#define HEADER 48
#define ENTRY 24

static uint32_t
add_text(uint8_t *list, uint32_t at, const char *text)
{
    memcpy(list + at, text, strlen(text) + 1);
    return at + (uint32_t)strlen(text) + 1;
}

/* A list with two libraries, one of them also for another machine and for some models
 * of the processor, behind an older list of `old` entries (less than 0: none). */
static size_t
make_list(uint8_t *bytes, int old)
{
    static const struct {
        int32_t foreign;
        uint64_t models;
        const char *name, *path;
    } given[] = {
        {1, 0, "liba.so.1", "/foreign/liba.so.1"},
        {0, 4, "liba.so.1", "/v3/liba.so.1"},
        {0, 0, "liba.so.1", "/lib/liba.so.1"},
        {0, 0, "libb.so.2", "/opt/libb.so.2"},
    };
    uint32_t count = COUNT_OF(given);
    size_t begin = 0;
    if (old >= 0) {
        uint32_t number = (uint32_t)old;
        memcpy(bytes, "ld.so-1.7.0", 11);
        memcpy(bytes + 12, &number, 4);
        begin = (16 + 12 * (size_t)old + 7) & ~(size_t)7;
    }
    uint8_t *list = bytes + begin;
    memcpy(list, "glibc-ld.so.cache1.1", 20);
    memcpy(list + 20, &count, 4);
    uint32_t text = HEADER + count * ENTRY;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = list + HEADER + (size_t)i * ENTRY;
        int32_t flags = si_elf_cache_flags + given[i].foreign;
        memcpy(entry, &flags, 4);
        memcpy(entry + 4, &text, 4);
        text = add_text(list, text, given[i].name);
        memcpy(entry + 8, &text, 4);
        text = add_text(list, text, given[i].path);
        memcpy(entry + 16, &given[i].models, 8);
    }
    return begin + text;
}

static void
test_finds_what_any_processor_of_this_machine_runs(void **state)
{
    (void)state;
    for (int old = -1; old < 4; old++) {
        uint8_t bytes[1024] = {0};
        size_t size = make_list(bytes, old);
        assert_string_equal(si_elf_cache_find(bytes, size, "liba.so.1"), "/lib/liba.so.1");
        assert_string_equal(si_elf_cache_find(bytes, size, "libb.so.2"), "/opt/libb.so.2");
        assert_null(si_elf_cache_find(bytes, size, "libb.so"));
        assert_null(si_elf_cache_find(bytes, size, ""));
    }
}

/* Each shorter list, and each with one byte changed, is read within its bounds: the list
 * is the whole of an allocation, which the sanitizers watch. */
static void
test_a_damaged_list(void **state)
{
    (void)state;
    uint8_t whole[1024] = {0};
    size_t size = make_list(whole, 2);
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *bytes = malloc(cut + 1);
        assert_non_null(bytes);
        memcpy(bytes, whole, cut);
        const char *found = si_elf_cache_find(bytes, cut, "libb.so.2");
        assert_true((found != NULL) == (cut == size));
        free(bytes);
    }
    for (size_t at = 0; at < size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *bytes = malloc(size);
            assert_non_null(bytes);
            memcpy(bytes, whole, size);
            bytes[at] ^= (uint8_t)(1 << bit);
            const char *found = si_elf_cache_find(bytes, size, "libb.so.2");
            if (found != NULL) {
                assert_true(strlen(found) < size);
            }
            free(bytes);
        }
    }
}

static void
test_the_list_of_this_machine(void **state)
{
    (void)state;
    int fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (size <= 0 || si_elf_machine == EM_NONE) {
        skip();
    }
    uint8_t *bytes = malloc((size_t)size);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, (size_t)size, 0), size);
    close(fd);
    const char *path = si_elf_cache_find(bytes, (size_t)size, "libc.so.6");
    assert_non_null(path);
    assert_int_equal(access(path, R_OK), 0);
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_list_of_this_machine),
        cmocka_unit_test(test_finds_what_any_processor_of_this_machine_runs),
        cmocka_unit_test(test_a_damaged_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
