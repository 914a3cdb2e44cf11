/* streams.c — see streams.h. */
#include "binding/compat/streams.h"

#include <string.h>

#include "core/base/atomic.h"

/* Word numbers inside the objects, or 0 while and where they are not known: word 0 is
 * the reference count. Written once by the first interpreter, before there is another. */
static si_atomic_u32 text_buffer;  /* the BufferedWriter below */
static si_atomic_u32 text_pending; /* characters that were not encoded yet */
static si_atomic_u32 writer_end;   /* one past what was not written yet; -1: nothing */

#define STEPS 4 /* fresh, after one byte, after two more, flushed */
#define MAX_WORDS 64

typedef struct trace {
    Py_ssize_t words;
    intptr_t seen[STEPS][MAX_WORDS];
} trace;

static intptr_t
word_of(PyObject *obj, uint32_t number)
{
    intptr_t word;
    memcpy(&word, (char *)obj + number * sizeof(word), sizeof(word));
    return word;
}

static void
look(trace *t, int step, PyObject *obj)
{
    for (Py_ssize_t i = 0; i < t->words; i++) {
        t->seen[step][i] = word_of(obj, (uint32_t)i);
    }
}

/* The only word that went through these values, or 0. */
static uint32_t
find(const trace *t, intptr_t idle, intptr_t one, intptr_t three)
{
    uint32_t found = 0;
    for (Py_ssize_t i = 1; i < t->words; i++) {
        if (t->seen[0][i] == idle && t->seen[1][i] == one && t->seen[2][i] == three &&
            t->seen[3][i] == idle) {
            if (found != 0) {
                return 0;
            }
            found = (uint32_t)i;
        }
    }
    return found;
}

/* Writes to obj and flushes it. -> 0 | -1 with an exception */
static int
exercise(PyObject *obj, const char *format, trace *t)
{
    static const char *const texts[] = {"a", "bc"};
    t->words = Py_TYPE(obj)->tp_basicsize / (Py_ssize_t)sizeof(intptr_t);
    if (t->words > MAX_WORDS) {
        t->words = MAX_WORDS;
    }
    look(t, 0, obj);
    for (int i = 0; i < 2; i++) {
        PyObject *done = PyObject_CallMethod(obj, "write", format, texts[i]);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
        look(t, i + 1, obj);
    }
    PyObject *done = PyObject_CallMethod(obj, "flush", NULL);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    look(t, 3, obj);
    return 0;
}

static void
learn(PyObject *writer, PyObject *text)
{
    trace t;
    if (exercise(writer, "y", &t) < 0) {
        return;
    }
    uint32_t end = find(&t, -1, 1, 3);
    if (exercise(text, "s", &t) < 0) {
        return;
    }
    uint32_t pending = find(&t, 0, 1, 3);
    uint32_t buffer = find(&t, (intptr_t)writer, (intptr_t)writer, (intptr_t)writer);
    if (end != 0 && pending != 0 && buffer != 0) {
        si_store_relaxed(&text_buffer, buffer);
        si_store_relaxed(&text_pending, pending);
        si_store_release(&writer_end, end);
    }
}

void
sipy_stream_types_init(sipy_stream_types *types)
{
    PyObject *io = PyImport_ImportModule("_io");
    PyObject *text = io == NULL ? NULL : PyObject_GetAttrString(io, "TextIOWrapper");
    PyObject *writer = text == NULL ? NULL : PyObject_GetAttrString(io, "BufferedWriter");
    if (writer != NULL && si_load_acquire(&writer_end) == 0) {
        PyObject *raw = PyObject_CallMethod(io, "BytesIO", NULL);
        PyObject *w = raw == NULL ? NULL : PyObject_CallFunction(writer, "O", raw);
        PyObject *t = w == NULL ? NULL : PyObject_CallFunction(text, "Os", w, "utf-8");
        if (t != NULL) {
            learn(w, t);
        }
        Py_XDECREF(t);
        Py_XDECREF(w);
        Py_XDECREF(raw);
    }
    PyErr_Clear(); /* without the classes or places, streams are flushed each time */
    types->text = (PyTypeObject *)(writer == NULL ? NULL : Py_NewRef(text));
    types->writer = (PyTypeObject *)writer;
    Py_XDECREF(text);
    Py_XDECREF(io);
}

void
sipy_stream_types_clear(sipy_stream_types *types)
{
    Py_CLEAR(types->text);
    Py_CLEAR(types->writer);
}

bool
sipy_stream_is_idle(const sipy_stream_types *types, PyObject *stream)
{
    uint32_t end = si_load_acquire(&writer_end);
    if (end == 0 || types->text == NULL || !Py_IS_TYPE(stream, types->text) ||
        word_of(stream, si_load_relaxed(&text_pending)) != 0) {
        return false;
    }
    PyObject *writer = (PyObject *)word_of(stream, si_load_relaxed(&text_buffer));
    return writer != NULL && Py_IS_TYPE(writer, types->writer) &&
           word_of(writer, end) == -1;
}
