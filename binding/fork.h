/* fork.h — what becomes of us in the child of a fork. */
#ifndef SIPY_FORK_H
#define SIPY_FORK_H

#include <stdint.h>

/* How many forks this process comes from, of those that knew of us. Any thread. */
uint32_t
sipy_forks(void);

/* Registers the process' fork handlers, once. -> 0 | -1 with MemoryError set. Attached. */
int
sipy_fork_handlers_register(void);

#endif /* SIPY_FORK_H */
