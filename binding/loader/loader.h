/* loader.h — any extension module in any interpreter.
 *
 * CPython refuses to load a module outside the main interpreter unless it declares
 * that its C variables may be shared. An interpreter with the loader installed gives such
 * a module a private copy of its library instead: same code, own variables.
 *
 * Use        install, attached, right after an interpreter was made; ending, attached,
 *            when nobody but the closing thread can enter it any more; ended after
 *            Py_EndInterpreter. Where somebody else ends the interpreter, the loader
 *            notices by itself and does the best that is possible then.
 * Ownership  A sipy_loader lives until the process ends: code of private copies refers
 *            to it, and a library's own threads may run that code at any time.
 */
#ifndef SIPY_LOADER_LOADER_H
#define SIPY_LOADER_LOADER_H

#include <stdint.h>

#include "core/base/status.h"

typedef struct sipy_loader sipy_loader;

/* Replaces _imp.create_dynamic of the current interpreter. Attached. -> 0 with *loader
 * set, or -1 with an exception set (and nothing changed). */
int
sipy_loader_install(sipy_loader **loader);

#define SIPY_KEEPER_SIZE 256

/* Whether the interpreter can end: waits until no thread that a library has started is
 * inside. Those that come meanwhile wait for the outcome. Attached to the interpreter,
 * with no lock held; other threads of it run meanwhile. After SI_OK, library threads may
 * come in again while the interpreter joins its own, until CPython calls us back.
 * -> SI_OK | SI_TIMEOUT (si_now_ns passed deadline_ns) or SI_INTERRUPTED: keeper names
 * the library that is still inside, and everything is as before the call */
SI_NODISCARD si_status
sipy_loader_ending(sipy_loader *loader, int64_t deadline_ns, char keeper[SIPY_KEEPER_SIZE]);

/* How many thread states of the interpreter belong to threads of libraries. Any thread
 * while the interpreter lives. */
int
sipy_loader_guests(sipy_loader *loader);

/* Runs what copies have registered for the end of Python and gives their thread-local
 * keys back. Any thread, after the interpreter is gone. Idempotent. */
void
sipy_loader_ended(sipy_loader *loader);

/* Memory that the interpreter's copies occupy, in bytes of private images, and their
 * number. Attached to the interpreter. */
void
sipy_loader_usage(sipy_loader *loader, uint64_t *bytes, uint64_t *copies);

#endif /* SIPY_LOADER_LOADER_H */
