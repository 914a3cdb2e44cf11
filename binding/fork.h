/* fork.h — what becomes of us in the child of a fork. */
#ifndef SIPY_FORK_H
#define SIPY_FORK_H

/* Registers the process' fork handlers, once. -> 0 | -1 with MemoryError set. Attached. */
int
sipy_fork_handlers_register(void);

#endif /* SIPY_FORK_H */
