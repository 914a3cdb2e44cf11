/* spares.h — interpreters made ready in the background, for create() to hand out.
 *
 * Model      One thread, that exists while spares are wanted, makes them attached to the
 *            main interpreter. A spare is an ordinary record that list_all() leaves out.
 * Life       keep_ready(0) and the exit of the process end the thread and the spares.
 */
#ifndef SIPY_POOL_SPARES_H
#define SIPY_POOL_SPARES_H

#include "binding/state.h"
#include "binding/transfer/transfer.h"

/* A spare with one reference and one handle for the caller, its sys.path that of the
 * current interpreter; NULL without an exception: there is none. Attached. */
sipy_interp *
sipy_spare_take(sipy_state *state);

/* Whether the interpreter that this thread is creating is a spare. */
bool
sipy_spare_in_the_making(void);

/* Whether id is that of a spare, which is not to be listed. Any thread. */
bool
sipy_spare_is_hidden(int64_t id);

/* Throws away what is ready, since it was made under other conditions. Attached. */
void
sipy_spares_renew(void);

/* No more spares; waits for the thread, unless somebody wants spares again meanwhile, which
 * cannot be once the process exits. Attached. */
void
sipy_spares_stop(void);

/* For fork handlers: the lock is held while the process is copied. */
void
sipy_spares_fork_prepare(void);
void
sipy_spares_fork_done(bool child);

/* An iterable of module names, or NULL, as the image of a list; empty: none. Attached.
 * -> 0 | -1 with an exception */
int
sipy_module_names(const sipy_state *state, PyObject *names, sipy_image *out);

/* keep_ready(n=1, *, preload=()), as METH_FASTCALL | METH_KEYWORDS. */
PyObject *
sipy_keep_ready(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames);

#endif /* SIPY_POOL_SPARES_H */
