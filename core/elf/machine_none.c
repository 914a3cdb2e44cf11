/* machine_none.c — machine.h for processors that nobody has written it for yet.
 *
 * Nothing can be loaded then: no library is of machine EM_NONE.
 */
#include <elf.h>
#include <string.h>

#include "core/elf/machine.h"

const uint16_t si_elf_machine = EM_NONE;

const char si_elf_folders[] = "";
const int32_t si_elf_cache_flags = -1;

bool
si_elf_is_relative(uint32_t relocation_type)
{
    return false;
}

bool
si_elf_is_absolute(uint32_t relocation_type)
{
    return false;
}

si_elf_relocation
si_elf_relocation_of(uint32_t relocation_type, unsigned *size, bool is_lazy)
{
    *size = 0;
    return SI_ELF_RELOCATION_UNKNOWN;
}

void
si_elf_write_stub(uint8_t *code, const void *owner, unsigned argument, uintptr_t target)
{
    memset(code, 0, SI_ELF_STUB_SIZE);
}

bool
si_elf_read_getter(const uint8_t *code, size_t available, uint64_t address,
                   uint64_t *object, bool *jumps)
{
    return false;
}

bool
si_elf_getter_calls(const uint8_t *code, size_t available, uintptr_t function)
{
    return false;
}
