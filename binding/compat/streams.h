/* streams.h — whether a standard stream has nothing to flush, without calling it.
 *
 * Flushing two idle streams takes longer than the rest of a short call. CPython has no
 * API that tells whether a TextIOWrapper or a BufferedWriter holds something back, so the
 * places of three of their fields are found by experiment, once per process: objects are
 * written to and flushed, and the only word of each that counts along is the one.
 * Where there is no such word, or more than one, every stream counts as not idle.
 */
#ifndef SIPY_COMPAT_STREAMS_H
#define SIPY_COMPAT_STREAMS_H

#include "binding/compat/compat.h"

/* _io's classes in one interpreter; zeroed: unknown. */
typedef struct sipy_stream_types {
    PyTypeObject *text;   /* a reference, or NULL */
    PyTypeObject *writer; /* a reference, or NULL */
} sipy_stream_types;

/* Finds the classes, and in the first interpreter the places. Attached; never fails. */
void
sipy_stream_types_init(sipy_stream_types *types);

void
sipy_stream_types_clear(sipy_stream_types *types);

/* True if stream is sure to hold nothing back; runs no Python code. Attached. */
bool
sipy_stream_is_idle(const sipy_stream_types *types, PyObject *stream);

#endif /* SIPY_COMPAT_STREAMS_H */
