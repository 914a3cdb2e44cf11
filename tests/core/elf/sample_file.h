/* sample_file.h — the sample library, as bytes in memory, for the tests of elf. */
#ifndef SI_TESTS_ELF_SAMPLE_FILE_H
#define SI_TESTS_ELF_SAMPLE_FILE_H

#include <fcntl.h>
#include <unistd.h>

#include "core/elf/image.h"
#include "tests/core/support.h"

typedef struct file {
    uint8_t *bytes; /* of malloc */
    size_t size;
} file;

static file sample;

static inline file
read_file(const char *path)
{
    file f = {NULL, 0};
    int fd = open(path, O_RDONLY);
    check(fd >= 0);
    off_t size = lseek(fd, 0, SEEK_END);
    check(size > 0);
    f.size = (size_t)size;
    f.bytes = malloc(f.size);
    check(pread(fd, f.bytes, f.size, 0) == size);
    close(fd);
    return f;
}

static inline si_elf_image
open_sample(void)
{
    si_elf_image image;
    const char *why;
    check(si_elf_open(&image, sample.bytes, sample.size, &why) == SI_OK);
    check(why == NULL);
    return image;
}

#endif /* SI_TESTS_ELF_SAMPLE_FILE_H */
