/* blame.c — says which object could not be sent, where it sits, and why.
 *
 * The encoder's frames are the path to the culprit, so telling it costs nothing as long
 * as all goes well.
 */
#include "binding/transfer/encoder.h"

/* A chain of thousands of containers is not worth telling whole. */
#define PLACES_MAX 40

void
sipy__not_shareable(sipy_transfer *t, PyObject *message, PyObject *cause)
{
    PyObject *type = message == NULL ? NULL : t->hooks.not_shareable(t->hooks.owner);
    PyObject *exc = type == NULL ? NULL : PyObject_CallOneArg(type, message);
    Py_XDECREF(message);
    if (exc != NULL && PyExceptionInstance_Check(exc)) {
        if (cause != NULL) {
            PyException_SetCause(exc, cause);
            cause = NULL;
        }
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    }
    Py_XDECREF(exc);
    Py_XDECREF(cause);
}

/* The key that the dict at f is about: its (i - 1)th. Borrowed, or NULL. */
static PyObject *
current_key(const enc_frame *f)
{
    PyObject *key = NULL, *value;
    Py_ssize_t pos = 0;
    for (Py_ssize_t i = 0; i < f->i; i++) {
        if (!PyDict_Next(f->obj, &pos, &key, &value)) {
            return NULL;
        }
    }
    return key;
}

/* The place of the current part of an exception, and whether names below are attributes. */
static PyObject *
error_place(const enc_frame *f, bool *attributes)
{
    static const char *const last[4] = {".__cause__", ".__context__", "", ".__notes__"};
    Py_ssize_t beyond = f->parts & REDUCE_ERROR ? f->i - 1 - (f->size - 4) : -1;
    if (beyond >= 0 && beyond < 4) {
        return PyUnicode_FromString(last[beyond]);
    }
    *attributes = f->i > 2;
    return PyUnicode_FromString(f->i == 2 ? "<arguments of its class>" : "");
}

/* The place of the current part of f, and whether names below are attributes. */
static PyObject *
place(sipy_encoder *e, const enc_frame *f, bool *attributes)
{
    bool attribute = *attributes || f->label == LABEL_ATTR;
    PyObject *key = NULL;
    *attributes = false;
    switch (f->kind) {
        case ENC_LIST:
            return PyUnicode_FromFormat("[%zd]", f->i - 1);
        case ENC_PARTS:
            if (f->label == LABEL_REDUCE) {
                *attributes = f->i > 2;
                return f->i == 2 ? PyUnicode_FromFormat("<%s>", "arguments of its class")
                                 : PyUnicode_FromString("");
            }
            *attributes = attribute;
            return attribute ? PyUnicode_FromString("")
                             : PyUnicode_FromFormat("[%zd]", f->i - 1);
        case ENC_DICT:
            key = current_key(f);
            if (f->aside != NULL) {
                return PyUnicode_FromString("<key>");
            }
            break;
        case ENC_SHAPE:
        case ENC_SLOTS:
            key = e->shapes[f->shape_number].keys[f->i - 1];
            break;
        case ENC_SET:
            return PyUnicode_FromString("{...}");
        case ENC_ERROR:
            return error_place(f, attributes);
        case ENC_ITEMS:
            if (f->label != LABEL_ATTR) {
                return PyUnicode_FromFormat("[%zd]", f->i - 1);
            }
            attribute = true;
            key = PyTuple_GET_ITEM(f->obj, (f->i - 1) / 2 * 2);
            break;
        default:
            *attributes = attribute;
            return PyUnicode_FromString("");
    }
    if (key == NULL) {
        return PyUnicode_FromString("[?]");
    }
    return attribute && PyUnicode_Check(key) ? PyUnicode_FromFormat(".%U", key)
                                             : PyUnicode_FromFormat("[%.100R]", key);
}

static PyObject *
path(sipy_encoder *e)
{
    PyObject *text = e->root == NULL ? PyUnicode_FromString("") : Py_NewRef(e->root);
    bool attributes = false;
    for (size_t i = 0; text != NULL && i < e->depth; i++) {
        if (i == PLACES_MAX) {
            Py_XSETREF(text, PyUnicode_FromFormat("%U...", text));
            break;
        }
        if (e->frames[i].i == 0) {
            continue;
        }
        PyObject *next = place(e, &e->frames[i], &attributes);
        if (next == NULL) {
            Py_CLEAR(text);
            break;
        }
        PyUnicode_Append(&text, next);
        Py_DECREF(next);
    }
    return text;
}

void
sipy__blame(sipy_encoder *e)
{
    if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_SystemError, "sending failed without an error");
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception) ||
        PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return;
    }
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *where = path(e);
    PyObject *why = where == NULL ? NULL : PyObject_Str(cause);
    if (where != NULL && why == NULL) {
        PyErr_Clear();
        why = PyUnicode_FromFormat("%s", Py_TYPE(cause)->tp_name);
    }
    PyObject *own = e->t->hooks.not_shareable(e->t->hooks.owner);
    if (own == NULL) {
        PyErr_Clear();
    }
    else if ((PyObject *)Py_TYPE(cause) == own && why != NULL) {
        /* Told already, from inside a function or class: only the way to it is
         * added. */
        PyObject *told = PyUnicode_GET_LENGTH(where) > 0
                             ? PyUnicode_FromFormat("%U: %U", where, why)
                             : Py_NewRef(why);
        PyObject *real = PyException_GetCause(cause);
        Py_DECREF(where);
        Py_DECREF(why);
        Py_DECREF(cause);
        sipy__not_shareable(e->t, told, real);
        return;
    }
    const char *type = e->culprit == NULL ? NULL : Py_TYPE(e->culprit)->tp_name;
    PyObject *message = NULL;
    if (why != NULL) {
        const char *colon = PyUnicode_GET_LENGTH(where) > 0 ? ": " : "";
        message = type == NULL ? PyUnicode_FromFormat(
                                     "%U%scannot send it to another "
                                     "interpreter: %U",
                                     where, colon, why)
                               : PyUnicode_FromFormat(
                                     "%U%scannot send '%s' object to another "
                                     "interpreter: %U",
                                     where, colon, type, why);
    }
    Py_XDECREF(where);
    Py_XDECREF(why);
    if (message == NULL) {
        PyErr_Clear();
        message = PyUnicode_FromString("cannot send the object to another interpreter");
    }
    sipy__not_shareable(e->t, message, cause);
}
