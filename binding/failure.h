/* failure.h — an exception of another interpreter, as raw memory and back.
 *
 * capture runs in the interpreter where the exception was raised; raise runs in the
 * caller's and makes an ExecutionFailed of it. In between there is only raw text (any
 * NUL and lone surrogates kept) and, if the exception itself can cross, its image. Parts of
 * it that cannot are replaced by stand-ins (binding/transfer/stand_ins.c).
 */
#ifndef SIPY_FAILURE_H
#define SIPY_FAILURE_H

#include "binding/home.h"
#include "binding/state.h"

typedef struct sipy_text {
    char *data; /* UTF-8, lone surrogates as three bytes; NULL: absent */
    Py_ssize_t size;
} sipy_text;

typedef struct sipy_failure {
    sipy_text name; /* of the exception's type */
    sipy_text qualname;
    sipy_text module;
    sipy_text message;   /* str(exception) */
    sipy_text formatted; /* "ValueError: message" */
    sipy_text display;   /* the whole traceback, without the last newline */
    bool has_original;
    sipy_image original; /* the exception itself */
} sipy_failure;

/* Takes the exception that is set in the current interpreter and fills out (zeroed).
 * home may be NULL, where there is none yet. Never fails: what cannot be had is absent, as
 * is what comes after an interrupt. Runs Python, of the exception's class: inside a run.
 * Clears the exception. */
void
sipy_failure_capture(sipy_failure *out, sipy_home *home);

/* Raises ExecutionFailed in the current interpreter; it is also the cause of its original,
 * unless that has one of its own. Returns NULL. */
PyObject *
sipy_failure_raise(const sipy_failure *failure, sipy_home *home, sipy_state *state);

/* The same for whoever is in a call to the other interpreter: the SystemExit by which the
 * exit of the process stops what runs there is raised as such, and ends the caller's thread
 * quietly, too. */
PyObject *
sipy_failure_raise_to_caller(const sipy_failure *failure, sipy_home *home,
                             sipy_state *state);

/* The stand_in of sipy_hooks; owner is the home of the current interpreter. An exception's
 * is an ExecutionFailed, anything else's a NotShareableError. */
PyObject *
sipy_failure_stand_in(void *owner, PyObject *told, PyObject *reason);

/* As sipy_failure_raise, but raises error with "prefix: formatted" as its message. */
PyObject *
sipy_failure_raise_as(const sipy_failure *failure, PyObject *error, const char *prefix);

/* Raises what kept a call or its result from crossing: NotShareableError, or MemoryError if
 * it ran out of memory, whichever side it was on. Returns NULL. */
PyObject *
sipy_failure_raise_not_crossed(const sipy_failure *failure, sipy_state *state,
                               const char *what);

/* Frees what capture filled. Any thread, attached or not. Fine on zeroed memory. */
void
sipy_failure_fini(sipy_failure *failure);

#endif /* SIPY_FAILURE_H */
