/* interp_extras.h — the object behind Interpreter, and its methods past the documented
 * ones. All attached to the interpreter whose object it is.
 */
#ifndef SIPY_INTERP_EXTRAS_H
#define SIPY_INTERP_EXTRAS_H

#include "binding/attributes.h"
#include "binding/state.h"

struct sipy_pool;

typedef struct sipy_interpreter {
    SIPY_OBJECT_HEAD
    sipy_state *state;   /* of the interpreter whose object this is */
    sipy_interp *interp; /* a reference and a handle, or NULL: no record (yet) */
    int64_t id;
    const char *whence;      /* where one without a record came from, in CPython's words */
    struct sipy_pool *tasks; /* of submit(), a reference; NULL until the first one */
} sipy_interpreter;

static inline sipy_interpreter *
sipy_interpreter_of(PyObject *self)
{
    return (sipy_interpreter *)self;
}

/* The one object for id. -> new reference | NULL with InterpreterNotFoundError, ... */
PyObject *
sipy_interpreter_for(PyTypeObject *type, sipy_state *state, int64_t id);

/* The record behind self, which may have come after the object; borrowed, or NULL. */
sipy_interp *
sipy_interpreter_record(sipy_interpreter *self);

/* The record of self to be driven. what completes "cannot ... unrecognized interpreter 3".
 * Borrowed, or NULL with InterpreterError or InterpreterNotFoundError set. */
sipy_interp *
sipy_interpreter_driven(sipy_interpreter *self, const char *what);

/* with create() as interp: closes it at the end, unless it is closed already. */
PyObject *
sipy_interpreter_enter(PyObject *op, PyObject *ignored);
PyObject *
sipy_interpreter_exit(PyObject *op, PyObject *args);

PyObject *
sipy_interpreter_close(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames);
PyObject *
sipy_interpreter_interrupt(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);
PyObject *
sipy_interpreter_repr(PyObject *op);
PyObject *
sipy_interpreter_get_name(PyObject *op, void *closure);

/* --- interp_tasks.c ------------------------------------------------------------------ */

PyObject *
sipy_interpreter_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames);
PyObject *
sipy_interpreter_call_async(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames);
/* Lets go of what submit() has made: its thread does what is queued and ends. */
void
sipy_tasks_drop(struct sipy_pool *tasks);

/* --- interp_inspect.c ---------------------------------------------------------------- */

PyObject *
sipy_interpreter_stats(PyObject *op, PyObject *ignored);
PyObject *
sipy_interpreter_stack(PyObject *op, PyObject *ignored);

#endif /* SIPY_INTERP_EXTRAS_H */
