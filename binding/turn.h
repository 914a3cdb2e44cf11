/* turn.h — creating interpreters one at a time, for the CPythons that need it. */
#ifndef SIPY_TURN_H
#define SIPY_TURN_H

#include <stdbool.h>

/* Waits, detached meanwhile, until no other thread creates an interpreter; returns at once
 * where that does not matter and inside a creation. Attached. -> whether to give it back */
bool
sipy_turn_take(void);

/* Attached or not; never blocks. */
void
sipy_turn_give(void);

/* For the child of a fork. */
void
sipy_turn_fork_done(void);

#endif /* SIPY_TURN_H */
