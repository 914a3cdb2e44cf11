/* prologue.h — source code that runs in every interpreter before it is handed out. */
#ifndef SIPY_PROLOGUE_H
#define SIPY_PROLOGUE_H

#include "binding/state.h"

/* Sets the process' prologue for interpreters created from now on; None: none. source is
 * compiled here. -> 0 | -1 with TypeError, SyntaxError or MemoryError set */
int
sipy_prologue_set(const sipy_state *state, PyObject *source);

/* Runs the prologue in the current interpreter, in a namespace of its own.
 * -> 0 | -1 with its exception */
int
sipy_prologue_run(void);

/* For fork handlers. */
void
sipy_prologue_fork_prepare(void);
void
sipy_prologue_fork_done(void);

#endif /* SIPY_PROLOGUE_H */
