/* check.h — whether the dynamic linker may be let loose on a library's file.
 *
 * Model      The linker trusts what it loads: a damaged table makes it, and with it the
 *            process, crash. si_elf_check looks at everything that it follows before and
 *            while it runs the library's first function, and that si_elf_open does not
 *            need: segments, the dynamic section, symbols, hash and version tables, each
 *            relocation, the tables of initialisers. Where the file has a section table,
 *            which the linker never reads, both must tell the same.
 *            What the library's own code relies on is out of reach: instructions, data,
 *            and addresses that are damaged into others of the same kind.
 * Cost       Linear in the tables; allocates a bit per symbol for the time of the check.
 * Threads    Never blocks. Any thread.
 */
#ifndef SI_ELF_CHECK_H
#define SI_ELF_CHECK_H

#include "core/elf/image.h"

/* On failure *why is a constant sentence fragment, as si_elf_open's.
 * -> SI_OK | SI_INVALID | SI_NOMEM */
SI_NODISCARD si_status
si_elf_check(const si_elf_image *image, const char **why);

#endif /* SI_ELF_CHECK_H */
