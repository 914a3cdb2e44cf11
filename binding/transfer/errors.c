/* errors.c — exceptions as values, with what pickle loses: cause, context, notes, and the
 * traceback as a note.
 *
 * An exception that keeps BaseException's __reduce__ is made again without calling an
 * __init__ that is written in Python, since that may want other arguments.
 *
 * What was sent on purpose crosses whole or not at all, as any value does. What only came
 * along (a cause, a context, everything of an exception that was raised) may be replaced
 * by a stand-in where it cannot cross: an exception, an argument, an attribute.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"
#include "binding/transfer/scalars.h"

/* ---- what is told of an exception ---- */

/* Leaves no exception but MemoryError, with NULL. */
static PyObject *
or_text(PyObject *str, const char *otherwise)
{
    if (str != NULL && PyUnicode_CheckExact(str)) {
        return str;
    }
    PyObject *exact = NULL;
    if (str != NULL && PyUnicode_Check(str)) {
        exact = PyUnicode_FromObject(str); /* an exact one, of a subclass */
    }
    Py_XDECREF(str);
    if (exact == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return NULL;
    }
    PyErr_Clear(); /* what cannot be told is left out: it is about a failure already */
    return exact == NULL ? PyUnicode_FromString(otherwise) : exact;
}

PyObject *
sipy__traceback_lines(PyObject *exc)
{
    PyObject *traceback = PyException_GetTraceback(exc);
    PyObject *lines = NULL, *text = NULL;
    if (traceback != NULL) {
        PyObject *module = PyImport_ImportModule("traceback");
        if (module != NULL) {
            lines = sipy_compat_method(module, "format_tb", traceback);
        }
        Py_XDECREF(module);
    }
    PyObject *empty = lines == NULL ? NULL : PyUnicode_FromString("");
    if (empty != NULL) {
        text = PyUnicode_Join(empty, lines);
    }
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(traceback);
    text = or_text(text, "");
    if (text != NULL && PyUnicode_GET_LENGTH(text) > 0) {
        Py_SETREF(text, PyUnicode_Substring(text, 0, PyUnicode_GET_LENGTH(text) - 1));
    }
    return text;
}

/* The notes of exc as a new list; empty if it has none that can be told. */
static PyObject *
notes_of(sipy_encoder *e, PyObject *exc)
{
    PyObject *found = NULL, *notes = PyList_New(0);
    if (notes != NULL && sipy_compat_get_optional(exc, e->t->n___notes__, &found) < 0) {
        PyErr_Clear(); /* as the traceback module passes over it */
    }
    bool listed = found != NULL && PyList_Check(found);
    for (Py_ssize_t i = 0; listed && notes != NULL && i < PyList_GET_SIZE(found); i++) {
        PyObject *note = PyList_GET_ITEM(found, i);
        if (PyUnicode_CheckExact(note) && PyList_Append(notes, note) < 0) {
            Py_CLEAR(notes);
        }
    }
    Py_XDECREF(found);
    return notes;
}

/* Characters of an image that are told of exceptions, then of each text and how many notes:
 * any number of exceptions may share a long one. */
#define TELL_WHOLE ((size_t)8 << 20)
#define TELL_TEXT 1024
#define TELL_NOTES 16

static bool
is_plain(PyObject *obj)
{
    return obj == Py_None || PyUnicode_CheckExact(obj) || PyLong_CheckExact(obj) ||
           PyFloat_CheckExact(obj) || PyBool_Check(obj) || PyBytes_CheckExact(obj);
}

/* Whether the text of exc has nothing of other objects in it, as far as one can see. */
static bool
has_own_text(PyObject *exc)
{
    if (Py_TYPE(exc)->tp_str == ((PyTypeObject *)PyExc_BaseExceptionGroup)->tp_str) {
        return true;
    }
    PyObject *args = ((PyBaseExceptionObject *)exc)->args;
    PyObject *dict = ((PyBaseExceptionObject *)exc)->dict;
    PyObject *key, *value;
    bool own = true;
    for (Py_ssize_t i = 0; own && args != NULL && i < PyTuple_GET_SIZE(args); i++) {
        own = is_plain(PyTuple_GET_ITEM(args, i));
    }
    for (Py_ssize_t pos = 0;
         own && dict != NULL && PyDict_Next(dict, &pos, &key, &value);) {
        own = is_plain(value) || (PyUnicode_Check(key) &&
                                  PyUnicode_CompareWithASCIIString(key, "__notes__") == 0);
    }
    return own;
}

static PyObject *
message_of(sipy_encoder *e, PyObject *exc)
{
    if ((e->inside > TELL_INSIDE || e->told > TELL_WHOLE) && !has_own_text(exc)) {
        return PyUnicode_FromString("... [left out, as too much is told already]");
    }
    return or_text(PyObject_Str(exc), "<unprintable>");
}

/* Steals text (NULL: an exception is set). end: its end matters most. -> str | NULL */
static PyObject *
cut(sipy_encoder *e, PyObject *text, bool end)
{
    Py_ssize_t length = text == NULL ? 0 : PyUnicode_GET_LENGTH(text);
    Py_ssize_t out = length - TELL_TEXT;
    if (out > 0 && e->told > TELL_WHOLE) {
        Py_SETREF(text, end ? PyUnicode_Substring(text, out, length)
                            : PyUnicode_Substring(text, 0, TELL_TEXT));
        if (text != NULL) {
            Py_SETREF(
                text,
                end ? PyUnicode_FromFormat("[%zd characters left out] ...%U", out, text)
                    : PyUnicode_FromFormat("%U... [%zd characters left out]", text, out));
        }
    }
    e->told += text == NULL ? 0 : (size_t)PyUnicode_GET_LENGTH(text);
    return text;
}

/* The notes of exc that are told. -> new list | NULL */
static PyObject *
told_notes(sipy_encoder *e, PyObject *exc)
{
    PyObject *notes = notes_of(e, exc);
    Py_ssize_t size = notes == NULL ? 0 : PyList_GET_SIZE(notes);
    if (size > TELL_NOTES && e->told > TELL_WHOLE) {
        PyObject *mark =
            PyUnicode_FromFormat("... [%zd notes left out]", size - TELL_NOTES);
        if (mark == NULL || PyList_SetSlice(notes, TELL_NOTES, size, NULL) < 0 ||
            PyList_Append(notes, mark) < 0) {
            Py_CLEAR(notes);
        }
        Py_XDECREF(mark);
    }
    for (Py_ssize_t i = 0; notes != NULL && i < PyList_GET_SIZE(notes); i++) {
        PyObject *note = cut(e, Py_NewRef(PyList_GET_ITEM(notes, i)), false);
        if (note == NULL || PyList_SetItem(notes, i, note) < 0) {
            Py_CLEAR(notes);
        }
    }
    return notes;
}

PyObject *
sipy__tell(sipy_encoder *e, PyObject *exc)
{
    static const char *const names[3] = {"__name__", "__qualname__", "__module__"};
    PyObject *told = told_notes(e, exc);
    PyObject *text = NULL;
    for (int i = 0; told != NULL && i < 5; i++) {
        text = i < 3    ? or_text(sipy_compat_attr((PyObject *)Py_TYPE(exc), names[i]), "?")
               : i == 3 ? message_of(e, exc)
                        : sipy__traceback_lines(exc);
        text = cut(e, text, i == 4);
        if (text == NULL || PyList_Insert(told, i, text) < 0) {
            Py_CLEAR(told);
        }
        Py_XDECREF(text);
    }
    PyObject *tuple = told == NULL ? NULL : PyList_AsTuple(told);
    Py_XDECREF(told);
    return tuple;
}

/* ---- writing ---- */

/* What the receiver adds to the notes of exc: those that its state does not bring, and the
 * traceback. -> new tuple or None | NULL with MemoryError */
static PyObject *
more_notes(sipy_encoder *e, PyObject *exc, PyObject *reduced)
{
    bool stateless =
        PyTuple_GET_SIZE(reduced) < 3 || PyTuple_GET_ITEM(reduced, 2) == Py_None;
    PyObject *notes = stateless ? notes_of(e, exc) : PyList_New(0);
    PyObject *lines = NULL;
    if (notes != NULL && !e->quiet) {
        lines = sipy__traceback_lines(exc);
        if (lines == NULL) {
            Py_CLEAR(notes);
        }
    }
    if (lines != NULL && PyUnicode_GET_LENGTH(lines) > 0) {
        PyObject *note = PyUnicode_FromFormat(
            "Traceback in interpreter %lld (most recent call last):\n%U",
            (long long)e->t->hooks.interp_id, lines);
        if (note == NULL || PyList_Append(notes, note) < 0) {
            Py_CLEAR(notes);
        }
        Py_XDECREF(note);
    }
    Py_XDECREF(lines);
    if (notes == NULL || PyList_GET_SIZE(notes) > 0) {
        PyObject *tuple = notes == NULL ? NULL : PyList_AsTuple(notes);
        Py_XDECREF(notes);
        return tuple;
    }
    Py_DECREF(notes);
    return Py_NewRef(Py_None);
}

/* Writes obj by what its __reduce__ gave, which is a tuple. */
static int
write_reduced(sipy_encoder *e, PyObject *obj, PyObject *reduced, unsigned parts, bool memo)
{
    PyObject *cause = PyException_GetCause(obj);
    PyObject *context = PyException_GetContext(obj);
    PyObject *notes = more_notes(e, obj, reduced);
    bool suppress = ((PyBaseExceptionObject *)obj)->suppress_context;
    PyObject *more[4] = {cause == NULL ? Py_None : cause,
                         context == NULL ? Py_None : context, suppress ? Py_True : Py_False,
                         notes};
    /* CPython keeps MemoryErrors for reuse, and the flag in them as it was. */
    bool fresh = !Py_IS_TYPE(obj, (PyTypeObject *)PyExc_MemoryError);
    if (fresh && cause == NULL && context == NULL && !suppress && notes == Py_None) {
        parts &= ~(unsigned)REDUCE_ERROR;
    }
    int result = notes == NULL ? -1 : sipy__enc_reduced(e, obj, reduced, parts, more, memo);
    if (result == 0) {
        e->frames[e->depth - 1].kind = ENC_ERROR;
    }
    Py_XDECREF(cause);
    Py_XDECREF(context);
    Py_XDECREF(notes);
    return result;
}

/* Whether what is below an exception may be replaced. */
static bool
is_lenient(const sipy_encoder *e)
{
    return e->trying > 0 || (e->flags & SIPY_FAILED) != 0;
}

/* What the slots of obj hold, added to a copy of state (a dict, or None). -> dict | NULL */
static PyObject *
with_slots(sipy_transfer *t, PyObject *obj, PyObject *state)
{
    PyObject *names = sipy__need_pickling(t) < 0
                          ? NULL
                          : PyObject_CallOneArg(t->o_slotnames, (PyObject *)Py_TYPE(obj));
    PyObject *fast = names == NULL ? NULL : PySequence_Tuple(names);
    PyObject *all = fast == NULL          ? NULL
                    : PyDict_Check(state) ? PyDict_Copy(state)
                                          : PyDict_New();
    for (Py_ssize_t i = 0; all != NULL && i < PyTuple_GET_SIZE(fast); i++) {
        PyObject *name = PyTuple_GET_ITEM(fast, i), *value;
        if (sipy_compat_get_optional(obj, name, &value) < 0 ||
            (value != NULL && PyDict_SetItem(all, name, value) < 0)) {
            Py_CLEAR(all);
        }
        Py_XDECREF(value);
    }
    Py_XDECREF(fast);
    Py_XDECREF(names);
    return all;
}

/* BaseException's __reduce__ knows nothing of slots, which an __init__ would fill. Steals
 * reduced, if that is of it and base the class in C below. -> tuple | NULL */
static PyObject *
add_slots(sipy_encoder *e, PyObject *obj, PyTypeObject *base, PyObject *reduced)
{
    PyTypeObject *type = Py_TYPE(obj);
    PyObject *name = e->t->n___setstate__;
    PyObject *state =
        PyTuple_GET_SIZE(reduced) > 2 ? PyTuple_GET_ITEM(reduced, 2) : Py_None;
    if (type->tp_basicsize == base->tp_basicsize || PyTuple_GET_SIZE(reduced) < 2 ||
        (state != Py_None && !PyDict_Check(state)) ||
        _PyType_Lookup(type, name) != _PyType_Lookup(base, name)) {
        return reduced;
    }
    PyObject *all = with_slots(e->t, obj, state);
    PyObject *more = all == NULL ? NULL
                                 : PyTuple_Pack(3, PyTuple_GET_ITEM(reduced, 0),
                                                PyTuple_GET_ITEM(reduced, 1), all);
    Py_XDECREF(all);
    Py_DECREF(reduced);
    return more;
}

static int
write_exception(sipy_encoder *e, PyObject *obj, bool memo)
{
    PyTypeObject *type = Py_TYPE(obj);
    PyTypeObject *base = type;
    while (PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE)) {
        base = base->tp_base;
    }
    unsigned parts = REDUCE_ERROR;
    bool usual = _PyType_Lookup(type, e->t->n___reduce__) ==
                 _PyType_Lookup(base, e->t->n___reduce__);
    if (usual && type->tp_init != base->tp_init) {
        parts |= REDUCE_NO_INIT;
    }
    PyObject *reduced = PyObject_CallMethodNoArgs(obj, e->t->n___reduce__);
    if (usual && reduced != NULL && PyTuple_Check(reduced)) {
        reduced = add_slots(e, obj, base, reduced);
    }
    if (reduced == NULL) {
        return -1;
    }
    int result = -1;
    if (PyTuple_Check(reduced)) {
        result = write_reduced(e, obj, reduced, parts, memo);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "__reduce__ of an exception must give a tuple");
    }
    Py_DECREF(reduced);
    return result;
}

int
sipy__enc_exception(sipy_encoder *e, PyObject *obj)
{
    bool memo;
    int begun = sipy__enc_begin_late(e, obj, &memo);
    if (begun <= 0) {
        return begun;
    }
    const enc_frame *outer = e->depth == 0 ? NULL : &e->frames[e->depth - 1];
    if (outer == NULL && (e->flags & SIPY_FAILED)) {
        PyObject *cause = PyException_GetCause(obj);
        e->quiet = cause == NULL;
        Py_XDECREF(cause);
    }
    else if (outer != NULL && is_lenient(e) &&
             !(outer->kind == ENC_TRY && outer->obj == obj) &&
             sipy__enc_try(e, obj, false) < 0) {
        return -1;
    }
    if (is_lenient(e) && sipy__enc_is_open(e, obj)) {
        /* A group, say, whose member has it as its context: the member comes first. */
        PyErr_SetString(PyExc_ValueError, "it is made from what this is a part of");
        return -1;
    }
    return write_exception(e, obj, memo);
}

/* ---- the frames ---- */

/* Goes on with the items of tuple one by one. */
static int
push_items(sipy_encoder *e, PyObject *tuple, unsigned label, PyObject **next)
{
    enc_frame *f = sipy__enc_push(e, ENC_ITEMS, tuple, true);
    if (f == NULL) {
        return -1;
    }
    f->label = (uint8_t)label;
    f->size = PyTuple_GET_SIZE(tuple);
    return sipy__enc_go_items(e, f, next);
}

static int
open_arguments(sipy_encoder *e, PyObject *args, PyObject **next)
{
    if (enc_tag(e, TAG_TUPLE, (uint64_t)PyTuple_GET_SIZE(args)) < 0) {
        return -1;
    }
    return push_items(e, Py_NewRef(args), LABEL_INDEX, next);
}

static int
open_attributes(sipy_encoder *e, PyObject *dict, PyObject **next)
{
    Py_ssize_t size = PyDict_GET_SIZE(dict), pos = 0, i = 0;
    PyObject *key, *value;
    PyObject *flat = PyTuple_New(2 * size);
    if (flat == NULL) {
        return -1;
    }
    /* Nothing in between can run code, so the size holds. */
    while (PyDict_Next(dict, &pos, &key, &value)) {
        PyTuple_SET_ITEM(flat, i++, Py_NewRef(key));
        PyTuple_SET_ITEM(flat, i++, Py_NewRef(value));
    }
    if (enc_tag(e, TAG_DICT, (uint64_t)size) < 0) {
        Py_DECREF(flat);
        return -1;
    }
    return push_items(e, flat, LABEL_ATTR, next);
}

/* The position of the state among the parts of f, or -1. */
static Py_ssize_t
state_index(const enc_frame *f)
{
    if (!(f->parts & REDUCE_STATE)) {
        return -1;
    }
    return 2 + ((f->parts & REDUCE_ITEMS) != 0) + ((f->parts & REDUCE_PAIRS) != 0);
}

/* Whether the part at i is the cause or context. */
static bool
is_link(const enc_frame *f, Py_ssize_t i)
{
    return (f->parts & REDUCE_ERROR) && i >= f->size - 4 && i < f->size - 2;
}

int
sipy__enc_go_error(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    for (;;) {
        if (f->i == f->due) {
            f->due = -1;
            e->reducing--;
            if (f->memo) {
                int known = sipy__enc_number_late(e, f);
                if (known != 0) {
                    return known < 0 ? -1 : 0;
                }
            }
        }
        if (f->i >= f->size) {
            return 0;
        }
        Py_ssize_t i = f->i++;
        PyObject *item = PyTuple_GET_ITEM(f->obj, i);
        int written = write_scalar(e, item);
        if (written < 0) {
            return -1;
        }
        if (written > 0) {
            continue;
        }
        *next = item;
        uint32_t number;
        if (is_link(f, i)) {
            /* Met before, it is there already, and need not be told of. */
            bool known = sipy__enc_find(e, item, &number);
            return !known && sipy__enc_try(e, item, true) < 0 ? -1 : 1;
        }
        if (is_lenient(e) && i == 1 && PyTuple_CheckExact(item) &&
            PyTuple_GET_SIZE(item) > 0 && !(f->parts & REDUCE_NEWOBJ_EX)) {
            return open_arguments(e, item, next);
        }
        if (is_lenient(e) && i == state_index(f) && PyDict_CheckExact(item)) {
            return open_attributes(e, item, next);
        }
        return 1;
    }
}

int
sipy__enc_go_items(sipy_encoder *e, enc_frame *f, PyObject **next)
{
    while (f->i < f->size) {
        PyObject *item = PyTuple_GET_ITEM(f->obj, f->i);
        f->i++;
        int written = write_scalar(e, item);
        if (written < 0) {
            return -1;
        }
        if (written == 0) {
            uint32_t number;
            *next = item;
            bool known = sipy__enc_find(e, item, &number);
            return !known && sipy__enc_try(e, item, false) < 0 ? -1 : 1;
        }
    }
    return 0;
}

/* ---- reading ---- */

static int
add_notes(PyObject *exc, PyObject *notes)
{
    for (Py_ssize_t i = 0; notes != Py_None && i < PyTuple_GET_SIZE(notes); i++) {
        PyObject *done = sipy_compat_method(exc, "add_note", PyTuple_GET_ITEM(notes, i));
        if (done == NULL && !sipy__is_answerable()) {
            return -1;
        }
        PyErr_Clear(); /* its __setattr__ or __notes__ refuses notes: it goes without */
        Py_XDECREF(done);
    }
    return 0;
}

/* v is None or the cause or context of an exception. -> new reference, NULL for None;
 * *failed says whether an exception is set */
static PyObject *
link_of(sipy_decoder *d, PyObject *v, bool *failed)
{
    PyObject *link = v == Py_None                   ? NULL
                     : PyExceptionInstance_Check(v) ? Py_NewRef(v)
                                                    : sipy__dec_no_exception(d, v);
    *failed = link == NULL && v != Py_None;
    return link;
}

int
sipy__dec_error_part(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    Py_ssize_t i = f->i++;
    if (i > 4) {
        f->parts &= (uint8_t)~REDUCE_ERROR;
    }
    if (!PyExceptionInstance_Check(f->obj)) {
        return 0; /* its __reduce__ makes something else of it, which has no such parts */
    }
    bool failed = false;
    switch (i) {
        case 2:
            PyException_SetCause(f->obj, link_of(d, v, &failed));
            return failed ? -1 : 0;
        case 3:
            PyException_SetContext(f->obj, link_of(d, v, &failed));
            return failed ? -1 : 0;
        case 4:
            ((PyBaseExceptionObject *)f->obj)->suppress_context = v == Py_True;
            return 0; /* not as an attribute, which its class may refuse */
        default:
            return v == Py_None || PyTuple_CheckExact(v) ? add_notes(f->obj, v)
                                                         : (sipy__damaged(d), -1);
    }
}
