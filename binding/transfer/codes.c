/* codes.c — code objects, and which globals they look up. */
#include "binding/transfer/functions.h"

#include <marshal.h>
#include <opcode.h>

/* Adds the names that the instructions of one code object look up as globals. */
static int
add_names(PyObject *names, PyCodeObject *code)
{
    PyObject *bytes = PyCode_GetCode(code);
    if (bytes == NULL) {
        return -1;
    }
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(bytes);
    Py_ssize_t size = PyBytes_GET_SIZE(bytes);
    size_t extended = 0;
    int failed = 0;
    for (Py_ssize_t i = 0; i + 1 < size && !failed; i += 2) {
        size_t arg = extended << 8 | p[i + 1];
        extended = 0;
        if (p[i] == EXTENDED_ARG) {
            extended = arg;
            continue;
        }
        if (p[i] == LOAD_GLOBAL) {
            arg >>= 1; /* the lowest bit asks for a NULL beside the value */
        }
        else if (p[i] != LOAD_NAME && p[i] != LOAD_FROM_DICT_OR_GLOBALS) {
            continue;
        }
        if (arg < (size_t)PyTuple_GET_SIZE(code->co_names)) {
            PyObject *name = PyTuple_GET_ITEM(code->co_names, (Py_ssize_t)arg);
            failed = PySet_Add(names, name);
        }
    }
    Py_DECREF(bytes);
    return failed;
}

static int
add_nested(PyObject *names, PyCodeObject *code)
{
    if (add_names(names, code) < 0 || Py_EnterRecursiveCall(" while reading code")) {
        return -1;
    }
    int failed = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_consts) && !failed; i++) {
        PyObject *constant = PyTuple_GET_ITEM(code->co_consts, i);
        if (PyCode_Check(constant)) {
            failed = add_nested(names, (PyCodeObject *)constant);
        }
    }
    Py_LeaveRecursiveCall();
    return failed;
}

static record *
code_record(sipy_transfer *t, PyObject *code)
{
    sipy_functions *fs = sipy__functions(t);
    record *r = fs == NULL ? NULL : sipy__record_of(fs, code);
    if (fs != NULL && r == NULL) {
        r = sipy__record_new(fs, RECORD_CODE, code, sipy__new_id(), true);
    }
    return r;
}

PyObject *
sipy_marshal_code(PyObject *code)
{
    PyObject *bytes = PyMarshal_WriteObjectToString(code, Py_MARSHAL_VERSION);
    if (bytes == NULL && PyErr_ExceptionMatches(PyExc_ValueError)) {
        /* Of an attribute that there was no memory to make, CPython says the same as of a
         * constant that cannot be marshalled. Another attempt tells them apart. */
        PyErr_Clear();
        bytes = PyMarshal_WriteObjectToString(code, Py_MARSHAL_VERSION);
    }
    return bytes;
}

/* The marshalled form of code, written once. */
static si_block *
marshalled(PyObject *code)
{
    PyObject *bytes = sipy_marshal_code(code);
    if (bytes == NULL) {
        return NULL;
    }
    si_block *block =
        sipy__copy_to_block(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return block;
}

PyObject *
sipy__global_names(sipy_transfer *t, PyObject *code)
{
    record *r = code_record(t, code);
    if (r == NULL) {
        return NULL;
    }
    if (r->names == NULL) {
        PyObject *names = PySet_New(NULL);
        if (names != NULL && add_nested(names, (PyCodeObject *)code) == 0) {
            r->names = PySequence_Tuple(names);
        }
        Py_XDECREF(names);
    }
    return Py_XNewRef(r->names);
}

int
sipy__enc_code(sipy_encoder *e, PyObject *code)
{
    record *r = code_record(e->t, code);
    if (r == NULL || (r->blob == NULL && (r->blob = marshalled(code)) == NULL)) {
        return -1;
    }
    return sipy__enc_by_id(e, code, TAG_CODE, r->id, r->blob);
}

PyObject *
sipy__dec_code(sipy_decoder *d)
{
    uint64_t id;
    si_block *blob;
    sipy_functions *fs = sipy__functions(d->t);
    if (fs == NULL || !dec_has(d, 1) || *d->p++ != TAG_CODE ||
        sipy__dec_by_id(d, TAG_CODE, &id, &blob) < 0 || blob == NULL) {
        return PyErr_Occurred() ? NULL : sipy__damaged(d);
    }
    record *r = sipy__record_by_id(fs, id);
    if (r != NULL) {
        return Py_NewRef(r->obj);
    }
    PyObject *code = PyMarshal_ReadObjectFromString(blob->data, (Py_ssize_t)blob->size);
    if (code == NULL || !PyCode_Check(code)) {
        Py_XDECREF(code);
        return PyErr_Occurred() ? NULL : sipy__damaged(d);
    }
    r = sipy__record_new(fs, RECORD_CODE, code, id, false);
    if (r == NULL) {
        Py_DECREF(code);
        return NULL;
    }
    si_block_hold(blob);
    r->blob = blob;
    return code;
}
