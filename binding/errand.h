/* errand.h — small pieces of work that must be done attached to an interpreter.
 *
 * References die at home: whoever lets go of something that belongs to another
 * interpreter posts an errand there. It runs at once when that interpreter is idle, at a
 * bytecode boundary when it is busy, and at the latest when it ends.
 */
#ifndef SIPY_ERRAND_H
#define SIPY_ERRAND_H

#include "binding/interp.h"

/* Has fn(arg) called once, attached to interpreter interp_id. The caller may be attached
 * to any interpreter or to none. May wait for the GIL of an idle interpreter.
 * -> false if that interpreter is gone (or there is no memory): fn is not called */
bool
sipy_errand_post(int64_t interp_id, void (*fn)(void *arg), void *arg);

/* Whether the calling thread is just running errands in interp, as a visitor: then it can
 * neither run anything there nor end it. Never blocks, any thread. */
bool
sipy_errand_visits(const sipy_interp *interp);

/* Runs what is posted. Attached to interp. */
void
sipy_errands_run(sipy_interp *interp);

/* Runs what is posted and refuses more, for an interpreter that ends. Attached to it. */
void
sipy_errands_stop(sipy_interp *interp);

#endif /* SIPY_ERRAND_H */
