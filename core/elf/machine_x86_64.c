/* machine_x86_64.c — the x86-64 half of machine.h. */
#include <elf.h>
#include <string.h>

#include "core/elf/machine.h"

const uint16_t si_elf_machine = EM_X86_64;

const char si_elf_folders[] =
    "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib";
const int32_t si_elf_cache_flags = 0x0303; /* FLAG_X8664_LIB64 | FLAG_ELF_LIBC6 */

bool
si_elf_is_relative(uint32_t relocation_type)
{
    return relocation_type == R_X86_64_RELATIVE;
}

bool
si_elf_is_absolute(uint32_t relocation_type)
{
    return relocation_type == R_X86_64_64;
}

si_elf_relocation
si_elf_relocation_of(uint32_t relocation_type, unsigned *size, bool is_lazy)
{
    *size = 8;
    switch (relocation_type) {
        case R_X86_64_NONE:
            return SI_ELF_RELOCATION_NONE;
        case R_X86_64_JUMP_SLOT:
            return SI_ELF_RELOCATION_SLOT;
        case R_X86_64_IRELATIVE:
            return SI_ELF_RELOCATION_CALLED;
        case R_X86_64_TLSDESC:
            *size = 16;
            return SI_ELF_RELOCATION_THREAD;
        default:
            break;
    }
    if (is_lazy) {
        return SI_ELF_RELOCATION_UNKNOWN;
    }
    switch (relocation_type) {
        case R_X86_64_RELATIVE:
            return SI_ELF_RELOCATION_RELATIVE;
        case R_X86_64_GLOB_DAT:
            return SI_ELF_RELOCATION_SLOT;
        case R_X86_64_64:
        case R_X86_64_PC64:
        case R_X86_64_SIZE64:
            return SI_ELF_RELOCATION_VALUE;
        case R_X86_64_32:
        case R_X86_64_PC32:
        case R_X86_64_SIZE32:
            *size = 4;
            return SI_ELF_RELOCATION_VALUE;
        case R_X86_64_DTPMOD64:
        case R_X86_64_DTPOFF64:
        case R_X86_64_TPOFF64:
            return SI_ELF_RELOCATION_THREAD;
        default:
            return SI_ELF_RELOCATION_UNKNOWN;
    }
}

void
si_elf_write_stub(uint8_t *code, const void *owner, unsigned argument, uintptr_t target)
{
    /* movabs $owner, rdi | rsi | rdx | rcx | r8 | r9 */
    static const uint8_t load[6][2] = {
        {0x48, 0xbf}, {0x48, 0xbe}, {0x48, 0xba}, {0x48, 0xb9}, {0x49, 0xb8}, {0x49, 0xb9},
    };
    static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};
    static const uint8_t load_r11[2] = {0x49, 0xbb};
    static const uint8_t jump_r11[3] = {0x41, 0xff, 0xe3};
    uint64_t owner_word = (uint64_t)(uintptr_t)owner;
    uint64_t target_word = (uint64_t)target;
    memset(code, 0xcc, SI_ELF_STUB_SIZE); /* int3: nothing may run into the padding */
    memcpy(code, endbr64, 4);
    memcpy(code + 4, load[argument], 2);
    memcpy(code + 6, &owner_word, 8);
    memcpy(code + 14, load_r11, 2);
    memcpy(code + 16, &target_word, 8);
    memcpy(code + 24, jump_r11, 3);
}

static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};

bool
si_elf_read_getter(const uint8_t *code, size_t available, uint64_t address,
                   uint64_t *object, bool *jumps)
{
    size_t at = 0;
    int32_t distance;
    uint32_t absolute;
    bool is_argument = true;
    if (available >= 4 && memcmp(code, endbr64, 4) == 0) {
        at = 4;
    }
    if (available - at < 8) {
        return false;
    }
    if (code[at] == 0xbf) { /* mov $absolute, %edi: in a program at a fixed address */
        memcpy(&absolute, code + at + 1, 4);
        at += 5;
        *object = absolute;
    }
    else if (code[at] == 0x48 && code[at + 1] == 0x8d &&
             (code[at + 2] == 0x3d || code[at + 2] == 0x05)) {
        /* lea distance(%rip), %rdi | %rax */
        is_argument = code[at + 2] == 0x3d;
        memcpy(&distance, code + at + 3, 4);
        at += 7;
        *object = address + at + (uint64_t)(int64_t)distance;
    }
    else {
        return false;
    }
    *jumps = is_argument;
    if (!is_argument) {
        return code[at] == 0xc3; /* ret */
    }
    /* jmp rel32; or, through the table of addresses, [bnd] jmp *disp32(%rip) */
    if (available - at >= 1 && code[at] == 0xe9) {
        return true;
    }
    if (available - at >= 1 && code[at] == 0xf2) {
        at++;
    }
    return available - at >= 2 && code[at] == 0xff && code[at + 1] == 0x25;
}

/* Behind what marks the target of an indirect jump, and the prefix of one. */
static const uint8_t *
skip_marks(const uint8_t *at)
{
    if (memcmp(at, endbr64, 4) == 0) {
        at += 4;
    }
    return *at == 0xf2 ? at + 1 : at;
}

/* Where jmp *disp32(%rip) leads; 0: at is another instruction. */
static uintptr_t
indirect_target(const uint8_t *at)
{
    int32_t distance;
    uintptr_t target = 0;
    if (at[0] == 0xff && at[1] == 0x25) {
        memcpy(&distance, at + 2, 4);
        memcpy(&target, at + 6 + distance, sizeof target);
    }
    return target;
}

bool
si_elf_getter_calls(const uint8_t *code, uintptr_t function)
{
    const uint8_t *at = skip_marks(code);
    at = skip_marks(at + (*at == 0xbf ? 5 : 7));
    if (*at != 0xe9) {
        return indirect_target(at) == function;
    }
    int32_t distance;
    memcpy(&distance, at + 1, 4);
    const uint8_t *target = at + 5 + distance;
    return (uintptr_t)target == function || indirect_target(skip_marks(target)) == function;
}
