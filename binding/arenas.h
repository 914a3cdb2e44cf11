/* arenas.h — gives back what CPython's allocator keeps of an interpreter that has ended.
 *
 * Each interpreter has an allocator of its own for small objects. Where an object is
 * still referred to when the interpreter ends (by a C variable of a library; before 3.14
 * always), CPython abandons all memory of that allocator. Nobody will allocate or free
 * there any more: pages without a living object are returned to the system, the others
 * stay as they are, since whoever refers to the objects may look at them.
 */
#ifndef SIPY_ARENAS_H
#define SIPY_ARENAS_H

#include <stdint.h>

/* From now on notes whose allocator each new arena belongs to. Before the first
 * interpreter is created; cheap and idempotent. Attached. */
void
sipy_arenas_watch(void);

/* Gives back what is free in the arenas of that interpreter, which had an allocator of its
 * own and is gone. Any thread. */
void
sipy_arenas_interp_gone(int64_t id);

/* Frame a fork: the list's lock is held while the process is copied. */
void
sipy_arenas_fork_prepare(void);
void
sipy_arenas_fork_done(void);

#endif /* SIPY_ARENAS_H */
