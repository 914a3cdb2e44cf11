/* sources.h — a bounded cache of compiled source texts, one per interpreter.
 *
 * Model      A set-associative table from the text (and whether it is dedented first) to
 *            a function of __main__ that runs it, ready made: PyEval_EvalCode would make
 *            one each time. Longer texts than SIPY_SOURCE_MAX and whatever does not fit
 *            are compiled again.
 * Ownership  The key is a raw copy of the text; the functions belong to the
 *            interpreter.
 * Access     find: by whoever has the exclusive entry, attached to any interpreter: it
 *            reads raw memory only. put, clear: attached to the interpreter, inside the
 *            exclusive entry or while it ends.
 */
#ifndef SIPY_SOURCES_H
#define SIPY_SOURCES_H

#include "binding/compat/compat.h"

#define SIPY_SOURCE_SETS 64
#define SIPY_SOURCE_WAYS 4
#define SIPY_SOURCE_MAX (64 * 1024) /* bytes of text; longer ones are not kept */

typedef struct sipy_source {
    void *text; /* a copy of the string's data, or NULL */
    Py_ssize_t length;
    Py_hash_t hash;
    uint8_t kind;
    bool dedent;
    PyObject *code;
} sipy_source;

typedef struct sipy_sources {
    sipy_source *entries; /* SETS * WAYS, made on first use */
    uint8_t next_way[SIPY_SOURCE_SETS];
} sipy_sources;

/* The function for the exact str text (borrowed; not touched), or NULL. */
PyObject *
sipy_sources_find(const sipy_sources *sources, PyObject *text, bool dedent);

/* Remembers code for text, replacing the oldest of its set; text may be of another
 * interpreter as long as its caller is held in this call. No memory: not remembered. */
void
sipy_sources_put(sipy_sources *sources, PyObject *text, bool dedent, PyObject *code);

void
sipy_sources_clear(sipy_sources *sources);

/* text with the indentation that all its non-blank lines share taken away, keeping
 * every line where it is; text itself if there is none. New reference or NULL. */
PyObject *
sipy_dedent(PyObject *text);

#endif /* SIPY_SOURCES_H */
