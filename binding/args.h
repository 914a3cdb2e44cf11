/* args.h — arguments of METH_FASTCALL | METH_KEYWORDS functions.
 *
 * CPython's own parser keeps a tuple per function that belongs to the interpreter that
 * came first (gh-119213), so methods of ours that take keywords use this one.
 */
#ifndef SIPY_ARGS_H
#define SIPY_ARGS_H

#include "binding/compat/compat.h"

typedef struct sipy_signature {
    const char *function;     /* for messages: "put" */
    const char *const *names; /* of all parameters, then NULL */
    int positional_only;      /* how many cannot be given by name */
    int positional_max;       /* how many can be given by position */
    int required;             /* how many of the first must be given */
} sipy_signature;

/* Fills out[] (one borrowed reference per parameter, NULL: not given).
 * -> 0 | -1 with TypeError set */
int
sipy_parse_args(const sipy_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames, PyObject **out);

#endif /* SIPY_ARGS_H */
