/* machine.h — the one place that knows the processor.
 *
 * A further machine needs its own file (see machine_x86_64.c), one line in
 * core/meson.build and an exception in machine_none.c; nothing else in core/elf or
 * binding/loader changes.
 */
#ifndef SI_ELF_MACHINE_H
#define SI_ELF_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SI_ELF_STUB_SIZE 32   /* bytes of one stub, its padding included */
#define SI_ELF_PAGE_SIZE 4096 /* smallest page a segment is aligned to */

/* e_machine of libraries that this build can load; EM_NONE: none. */
extern const uint16_t si_elf_machine;

/* The folders that the dynamic linker searches without being told, between ":", and how its
 * list of others (cache.h) marks libraries of this machine. */
extern const char si_elf_folders[];
extern const int32_t si_elf_cache_flags;

/* Whether a relocation of that type adds the load address to its addend. */
bool
si_elf_is_relative(uint32_t relocation_type);

/* Whether it stores symbol value + addend as a full pointer. */
bool
si_elf_is_absolute(uint32_t relocation_type);

/* Writes SI_ELF_STUB_SIZE bytes of code: pass owner as integer argument number
 * `argument` (0 is the first) and jump to target, all other arguments untouched.
 * argument <= 5. */
void
si_elf_write_stub(uint8_t *code, const void *owner, unsigned argument, uintptr_t target);

/* Recognises a function that does nothing but hand out one address of its library, as
 * compilers emit it: "return tail(&object)" or "return &object". address is where the
 * code will be, available the number of its bytes in the file.
 * true: *object is that address and *jumps says whether a call comes behind. */
bool
si_elf_read_getter(const uint8_t *code, size_t available, uint64_t address,
                   uint64_t *object, bool *jumps);

#endif /* SI_ELF_MACHINE_H */
