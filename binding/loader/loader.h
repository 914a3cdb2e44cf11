/* loader.h — any extension module in any interpreter.
 *
 * CPython refuses to load a module outside the main interpreter unless it declares
 * that its C variables may be shared. An interpreter with the loader installed gives such
 * a module a private copy of its library instead: same code, own variables.
 *
 * Use        install, attached, right after an interpreter was made; pause and resume,
 *            attached, when nobody but the closing thread can enter it any more; ended
 *            after Py_EndInterpreter. Where somebody else ends the interpreter, the loader
 *            notices by itself and does the best that is possible then.
 * Ownership  A sipy_loader that has made a private copy lives until the process ends: the
 *            copy's code refers to it, and a library's own threads may run that code at
 *            any time.
 */
#ifndef SIPY_LOADER_LOADER_H
#define SIPY_LOADER_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/status.h"

typedef struct sipy_loader sipy_loader;

/* Replaces _imp.create_dynamic of the current interpreter; on a processor for which copies
 * cannot be made, nothing, and *result is NULL. Attached. -> 0 with *result set, or -1 with
 * an exception set (and nothing changed). */
int
sipy_loader_install(sipy_loader **result);

/* Whether the interpreter has made private copies, whose memory outlives it. Attached. */
bool
sipy_loader_has_copies(const sipy_loader *loader);

#define SIPY_KEEPER_SIZE 256

/* Before the interpreter ends: waits until no thread that a library has started is
 * inside, nor any thread state of one. Those that come meanwhile wait. Attached to the
 * interpreter, with no lock held; other threads of it run meanwhile.
 * -> SI_OK: until sipy_loader_resume (or for good: it has ended) | SI_TIMEOUT (si_now_ns
 * passed deadline_ns) or SI_INTERRUPTED: keeper says which library is still inside,
 * and everything is as before the call */
SI_NODISCARD si_status
sipy_loader_pause(sipy_loader *loader, int64_t deadline_ns, char keeper[SIPY_KEEPER_SIZE]);

/* Lets the threads of libraries in again: while the interpreter joins its own threads,
 * those may need them, until CPython calls us back. After sipy_loader_pause. */
void
sipy_loader_resume(sipy_loader *loader);

/* Runs what copies have registered for the end of Python, and frees a loader that no copy
 * refers to. Any thread, after the interpreter is gone; *loader is NULL before it is freed,
 * so that a child forked meanwhile does not see it. */
void
sipy_loader_ended(sipy_loader **loader);

/* Frame a fork: what all loaders share is not half-way changed in the child. Leaf locks
 * are held in between. */
void
sipy_loader_fork_prepare(void);
void
sipy_loader_fork_done(void);

/* In the child of a fork, for each loader of its parent: shuts its interpreter to the
 * library code that still runs there (destructors at exit). */
void
sipy_loader_forked(sipy_loader *loader);

#endif /* SIPY_LOADER_LOADER_H */
