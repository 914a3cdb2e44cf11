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

static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};

void
si_elf_write_stub(uint8_t *code, const void *owner, unsigned argument, uintptr_t target)
{
    /* movabs $owner, rdi | rsi | rdx | rcx | r8 | r9 */
    static const uint8_t load[6][2] = {
        {0x48, 0xbf}, {0x48, 0xbe}, {0x48, 0xba}, {0x48, 0xb9}, {0x49, 0xb8}, {0x49, 0xb9},
    };
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

/* The place behind what if that is at `at`, else at. */
static size_t
skip(const uint8_t *code, size_t available, size_t at, const uint8_t *what, size_t size)
{
    bool is_there = available - at >= size && memcmp(code + at, what, size) == 0;
    return is_there ? at + size : at;
}

/* The instruction that puts the address into %rdi or %rax. -> the place behind, or 0 */
static size_t
read_address(const uint8_t *code, size_t at, uint64_t address, uint64_t *object,
             bool *is_argument)
{
    int32_t distance;
    uint32_t absolute;
    *is_argument = true;
    if (code[at] == 0xbf) { /* mov $absolute, %edi: in a program at a fixed address */
        memcpy(&absolute, code + at + 1, 4);
        *object = absolute;
        return at + 5;
    }
    if (code[at] != 0x48 || code[at + 1] != 0x8d ||
        (code[at + 2] != 0x3d && code[at + 2] != 0x05)) {
        return 0;
    }
    *is_argument = code[at + 2] == 0x3d; /* lea distance(%rip), %rdi | %rax */
    memcpy(&distance, code + at + 3, 4);
    *object = address + at + 7 + (uint64_t)(int64_t)distance;
    return at + 7;
}

/* -> where the getter's jump or return is, or 0: it is no getter */
static size_t
read_getter(const uint8_t *code, size_t available, uint64_t address, uint64_t *object,
            bool *jumps)
{
    static const uint8_t frame[4] = {0x55, 0x48, 0x89, 0xe5}; /* push, mov: clang */
    size_t start = skip(code, available, 0, endbr64, sizeof endbr64);
    size_t at = skip(code, available, start, frame, sizeof frame);
    bool framed = at != start;
    if (available - at < 9) {
        return 0;
    }
    at = read_address(code, at, address, object, jumps);
    if (at == 0 || !framed) {
        return at;
    }
    return code[at] == 0x5d ? at + 1 : 0; /* pop */
}

bool
si_elf_read_getter(const uint8_t *code, size_t available, uint64_t address,
                   uint64_t *object, bool *jumps)
{
    size_t at = read_getter(code, available, address, object, jumps);
    if (at == 0 || at >= available) {
        return false;
    }
    if (!*jumps) {
        return code[at] == 0xc3; /* ret */
    }
    /* jmp rel32; or, through the table of addresses, [bnd] jmp *disp32(%rip) */
    if (code[at] == 0xe9) {
        return true;
    }
    if (code[at] == 0xf2) {
        at++;
    }
    return available - at >= 2 && code[at] == 0xff && code[at + 1] == 0x25;
}

/* Behind what marks the target of an indirect jump, and the prefix of one. */
static const uint8_t *
skip_marks(const uint8_t *at)
{
    at += skip(at, sizeof endbr64, 0, endbr64, sizeof endbr64);
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
si_elf_getter_calls(const uint8_t *code, size_t available, uintptr_t function)
{
    uint64_t object;
    bool jumps;
    const uint8_t *at = code + read_getter(code, available, 0, &object, &jumps);
    int32_t distance;
    if (*at != 0xe9) {
        return indirect_target(skip_marks(at)) == function;
    }
    memcpy(&distance, at + 1, 4);
    const uint8_t *target = at + 5 + distance;
    return (uintptr_t)target == function || indirect_target(skip_marks(target)) == function;
}
