/* call.c — a function and its arguments as one image.
 *
 * After the head: number of arguments, the function, number of names, the arguments,
 * the names. The receiver decodes the arguments straight into a vectorcall frame.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"
#include "binding/transfer/scalars.h"
#include "core/base/alloc.h"

#define ARGS_ON_STACK 16

static int
encode_part(sipy_encoder *e, PyObject *obj, const char *what, Py_ssize_t index,
            PyObject *name)
{
    Py_CLEAR(e->culprit);
    if (SI_LIKELY(sipy__encode_value(e, obj) == 0)) {
        return 0;
    }
    PyObject *exc = PyErr_GetRaisedException();
    e->root = name != NULL ? PyUnicode_FromFormat("%U", name)
              : index >= 0 ? PyUnicode_FromFormat("%s[%zd]", what, index)
                           : PyUnicode_FromString(what);
    if (e->root == NULL) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(exc);
    return -1;
}

/* More values than this are not compared with each other. */
#define FEW_VALUES 8

/* Whether one of these objects may be passed twice. */
static bool
may_repeat(PyObject *func, PyObject *const *values, size_t count)
{
    bool repeats = count > FEW_VALUES;
    for (size_t i = 0; i < count && !repeats; i++) {
        repeats = values[i] == func;
        for (size_t k = 0; k < i; k++) {
            repeats |= values[i] == values[k];
        }
    }
    return repeats;
}

static int
encode_parts(sipy_encoder *e, PyObject *func, PyObject *const *args, size_t nargs,
             PyObject *kwnames)
{
    Py_ssize_t names = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    Py_ssize_t positional = (Py_ssize_t)nargs;
    e->image->data[e->image->prefix + 1] |= FORMAT_CALL;
    if (enc_room(e, 32) < 0) {
        return -1;
    }
    enc_varint(e, nargs);
    enc_varint(e, (uint64_t)names);
    e->calling = true;
    if (encode_part(e, func, "function", -1, NULL) < 0) {
        return -1;
    }
    e->calling = false;
    for (Py_ssize_t i = 0; i < positional; i++) {
        if (encode_part(e, args[i], "args", i, NULL) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < names; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (encode_part(e, args[positional + i], "args", -1, name) < 0) {
            return -1;
        }
    }
    return names > 0 ? encode_part(e, kwnames, "names", -1, NULL) : 0;
}

/* What is met twice is told by its references, and since CPython 3.14 the stack may only
 * borrow one from a variable: then the call's own must be there. */
static int
encode_call(sipy_encoder *e, PyObject *func, PyObject *const *args, size_t nargs,
            PyObject *kwnames)
{
    size_t count = nargs + (size_t)(kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    if (SI_LIKELY(!may_repeat(func, args, count))) {
        return encode_parts(e, func, args, nargs, kwnames);
    }
    Py_INCREF(func);
    for (size_t i = 0; i < count; i++) {
        Py_INCREF(args[i]);
    }
    int result = encode_parts(e, func, args, nargs, kwnames);
    for (size_t i = 0; i < count; i++) {
        Py_DECREF(args[i]);
    }
    Py_DECREF(func);
    return result;
}

int
sipy_encode_call(sipy_transfer *t, PyObject *func, PyObject *const *args, size_t nargs,
                 PyObject *kwnames, unsigned flags, sipy_image *image)
{
    sipy_encoder *e = sipy__encoder_begin(t, image, flags);
    if (e == NULL) {
        return -1;
    }
    if (SI_UNLIKELY(encode_call(e, func, args, nargs, kwnames) < 0)) {
        sipy__blame(e);
        sipy__encoder_end(e, false);
        return -1;
    }
    sipy__encoder_end(e, true);
    return 0;
}

/* The values of a call, in the order of a vectorcall frame: function first. */
static int
decode_call(sipy_decoder *d, PyObject **frame, size_t count, size_t names,
            PyObject **kwnames)
{
    *kwnames = NULL;
    if (sipy__decode_values(d, frame, (Py_ssize_t)count) < 0) {
        return -1;
    }
    if (names > 0) {
        *kwnames = sipy__decode_value(d);
        if (*kwnames != NULL && (!PyTuple_CheckExact(*kwnames) ||
                                 PyTuple_GET_SIZE(*kwnames) != (Py_ssize_t)names)) {
            Py_CLEAR(*kwnames);
            sipy__damaged(d);
        }
        for (size_t i = 0; *kwnames != NULL && i < names; i++) {
            if (!PyUnicode_Check(PyTuple_GET_ITEM(*kwnames, (Py_ssize_t)i))) {
                Py_CLEAR(*kwnames);
                sipy__damaged(d);
            }
        }
        if (*kwnames == NULL) {
            return -1;
        }
    }
    if (d->p != d->end) {
        Py_CLEAR(*kwnames);
        sipy__damaged(d);
        return -1;
    }
    return 0;
}

static PyObject *
run_call(sipy_transfer *t, const uint8_t *data, size_t len, const sipy_hold *holds,
         size_t hold_count, sipy_stage *stage)
{
    *stage = SIPY_DECODING;
    sipy_decoder *d = sipy__decoder_begin(t, data, len, holds, hold_count);
    if (d == NULL) {
        return NULL;
    }
    uint64_t nargs, names;
    if (!(data[1] & FORMAT_CALL) || dec_varint(d, &nargs) < 0 ||
        dec_varint(d, &names) < 0 || nargs > len || names > len) {
        sipy__damaged(d);
        sipy__decoder_end(d);
        return NULL;
    }
    size_t count = (size_t)(nargs + names) + 1;
    PyObject *few[ARGS_ON_STACK + 1];
    PyObject **frame = few;
    PyObject *kwnames = NULL, *result = NULL;
    if (count > ARGS_ON_STACK) {
        frame = si_alloc((count + 1) * sizeof(PyObject *));
        if (frame == NULL) {
            sipy__decoder_end(d);
            return PyErr_NoMemory();
        }
    }
    memset(frame, 0, (count + 1) * sizeof(PyObject *));
    int failed = decode_call(d, frame + 0, count, names, &kwnames);
    sipy__decoder_end(d);
    if (!failed) {
        *stage = SIPY_CALLING;
        PyObject *func = frame[0];
        frame[0] = NULL;
        /* frame[0] may be used by the callee for a self argument. */
        result = sipy_compat_call(func, frame + 1,
                                  (size_t)nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
        frame[0] = func;
        Py_XDECREF(kwnames);
    }
    for (size_t i = 0; i < count; i++) {
        Py_XDECREF(frame[i]);
    }
    if (frame != few) {
        si_free(frame);
    }
    return result;
}

PyObject *
sipy_run_call(sipy_transfer *t, const sipy_image *image, sipy_stage *stage)
{
    return run_call(t, image->data + image->prefix, image->len - image->prefix,
                    image->holds, image->hold_count, stage);
}

PyObject *
sipy_run_call_packet(sipy_transfer *t, const sipy_packet *packet, sipy_stage *stage)
{
    return run_call(t, (const uint8_t *)packet + packet->offset, packet->len, packet->holds,
                    packet->hold_count, stage);
}
