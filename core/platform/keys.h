/* keys.h — thread-local variables with numbers, as pthread_key_create makes them, but as
 * many as one likes.
 *
 * A process has 1,024 keys. They can be given back only when no thread uses them any more:
 * one that does would find, and overwrite, what somebody else keeps under the same number.
 * Of a library that is never unloaded nobody knows when that is. So these numbers are not
 * used a second time, and all of them together take one key.
 *
 * Contract   As for keys of pthread, whose numbers are smaller than any of these. When a
 *            thread ends, its values other than NULL are handed to their destructors, in
 *            up to as many rounds, in no certain order.
 * Ownership  A number is its maker's. A thread's values are found by that thread alone.
 * Threads    Any, attached or not; nothing blocks. Destructors run in the thread that ends,
 *            with no lock held.
 */
#ifndef SI_PLATFORM_KEYS_H
#define SI_PLATFORM_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/status.h"

/* -> SI_OK with *key set | SI_NOMEM | SI_SYSTEM (the process has no key left, or they have
 * been used up) */
SI_NODISCARD si_status
si_key_create(uint32_t *key, void (*at_exit)(void *));

/* From now on its destructor is not called. Values stay as they are. */
void
si_key_delete(uint32_t key);

/* Whether key is one of these, and not one of pthread's. */
bool
si_key_is_ours(uint32_t key);

/* The calling thread's value, NULL at first. */
void *
si_key_get(uint32_t key);

/* -> SI_OK | SI_NOMEM */
SI_NODISCARD si_status
si_key_set(uint32_t key, void *value);

/* Frame a fork: the list of destructors is not half-way changed in the child. */
void
si_keys_fork_prepare(void);
void
si_keys_fork_done(void);

#endif /* SI_PLATFORM_KEYS_H */
