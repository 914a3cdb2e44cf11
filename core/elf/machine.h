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

/* What the dynamic linker does for a relocation. */
typedef enum si_elf_relocation {
    SI_ELF_RELOCATION_UNKNOWN,  /* refuses it, or no shared library has it */
    SI_ELF_RELOCATION_NONE,     /* nothing */
    SI_ELF_RELOCATION_RELATIVE, /* stores load address + addend */
    SI_ELF_RELOCATION_CALLED,   /* stores what the function at the addend returns */
    SI_ELF_RELOCATION_SLOT,     /* stores a symbol's address, whatever the addend */
    SI_ELF_RELOCATION_VALUE,    /* stores something made of symbol and addend */
    SI_ELF_RELOCATION_THREAD,   /* the same of a thread-local block: symbol 0 is its own */
} si_elf_relocation;

/* The kind of a relocation of that type, and how many bytes it writes. is_lazy: it stands
 * in the table of those that could wait for the first call. */
si_elf_relocation
si_elf_relocation_of(uint32_t relocation_type, unsigned *size, bool is_lazy);

/* Writes SI_ELF_STUB_SIZE bytes of code: pass owner as integer argument number
 * `argument` (0 is the first) and jump to target, all other arguments untouched.
 * argument <= 5. */
void
si_elf_write_stub(uint8_t *code, const void *owner, unsigned argument, uintptr_t target);

/* Recognises a function that does nothing but hand out one address of its binary, as
 * compilers emit it: "return tail(&object)" or "return &object". address is where the
 * code will be, available the number of its bytes in the file.
 * true: *object is that address and *jumps says whether a call comes behind. */
bool
si_elf_read_getter(const uint8_t *code, size_t available, uint64_t address,
                   uint64_t *object, bool *jumps);

/* Whether the call behind a getter, which is in memory and was recognised as "return
 * tail(&object)", leads to that function, directly or through the table of addresses. */
bool
si_elf_getter_calls(const uint8_t *code, size_t available, uintptr_t function);

#endif /* SI_ELF_MACHINE_H */
