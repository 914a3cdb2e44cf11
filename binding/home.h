/* home.h — the Python objects that the binding keeps in one interpreter.
 *
 * Every interpreter that we made, or that has our module, has one home: its namespace,
 * names, compiled sources and the transfer engine's caches. It belongs to that
 * interpreter: read and changed only while attached to it, and cleared attached to it
 * when it ends. The table of compiled sources may also be searched by the thread that
 * has the exclusive entry (see sources.h).
 */
#ifndef SIPY_HOME_H
#define SIPY_HOME_H

#include "binding/compat/streams.h"
#include "binding/sources.h"
#include "binding/state.h"
#include "binding/transfer/transfer.h"

struct sipy_home {
    sipy_interp *interp;   /* whose home it is; not a reference, it owns us */
    sipy_state *state;     /* of our module there, or NULL while it is not imported */
    PyObject *main_ns;     /* __main__.__dict__ of one of ours, until it ends */
    PyObject *sys_ns;      /* sys.__dict__ */
    PyObject *name_stdout; /* interned strings */
    PyObject *name_stderr;
    PyObject *name_flush;
    PyObject *name_threading;
    PyObject *name_path;
    PyObject *name_builtins;
    PyObject *NotShareableError; /* looked up on first use */
    sipy_stream_types streams;
    sipy_sources sources;
    sipy_transfer *transfer;
    sipy_image spare_request; /* empty images with their buffers, for the next call */
    sipy_image spare_reply;
};

/* Makes the home of the current interpreter and hangs it on interp. Attached to it.
 * Imports nothing. -> 0 | -1 with an exception */
int
sipy_home_make(sipy_interp *interp);

/* Lets go of all that code in __main__ may own, before CPython tears the modules down:
 * destructors then run as they do without us. Nothing may be run there afterwards, but
 * values may still cross. Attached to its interpreter; runs destructors. */
void
sipy_home_retire(sipy_home *home);

/* Drops everything and frees the home. Attached to its interpreter; runs destructors. */
void
sipy_home_clear(sipy_interp *interp);

/* The home behind a module state, or NULL with InterpreterError set when its interpreter
 * is being torn down and can do nothing across interpreters any more. */
sipy_home *
sipy_home_of(const sipy_state *state);

/* Flushes sys.stdout and sys.stderr of the current interpreter, so that output is in
 * order across interpreters. What cannot be flushed stays in its buffer. */
void
sipy_home_flush(sipy_home *home);

/* As sipy_home_flush for sys.stdout alone: before another interpreter writes, too.
 * -> 0 | -1 with KeyboardInterrupt, if that ended it */
int
sipy_home_flush_stdout(sipy_home *home);

/* Sets the tracing and profiling functions that threading gives to each new thread of the
 * current interpreter, if its threading module is loaded and has any: a visit is one. */
void
sipy_home_apply_hooks(sipy_home *home);

#endif /* SIPY_HOME_H */
