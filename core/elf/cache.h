/* cache.h — the dynamic linker's list of libraries (/etc/ld.so.cache), read in memory.
 *
 * The list says where libraries of the system are that lie in other folders than the
 * usual ones. Nothing is trusted: a damaged list has fewer entries, or none.
 * Ownership  Only the caller's; nothing is kept. Any thread, never blocks.
 */
#ifndef SI_ELF_CACHE_H
#define SI_ELF_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* The path of the library of that name, for this machine and any model of its processor.
 * -> text within bytes, or NULL: not listed */
const char *
si_elf_cache_find(const uint8_t *bytes, size_t size, const char *name);

#endif /* SI_ELF_CACHE_H */
