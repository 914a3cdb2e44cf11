/* scalars.h — writing and reading None, bool, int, float, str and bytes.
 *
 * In a header, so that the two loops of the engine have them inline.
 */
#ifndef SIPY_TRANSFER_SCALARS_H
#define SIPY_TRANSFER_SCALARS_H

#include "binding/transfer/encoder.h"

/* ---- writing: 1 written, 0 not one of these, -1 with an exception ---- */

int
sipy__write_long_int(sipy_encoder *e, PyObject *obj);
int
sipy__write_wide_str(sipy_encoder *e, PyObject *str, unsigned flag);
int
sipy__write_bytes(sipy_encoder *e, PyObject *bytes);

static inline int
write_int(sipy_encoder *e, PyObject *obj)
{
    if (SI_UNLIKELY(!PyUnstable_Long_IsCompact((PyLongObject *)obj))) {
        return sipy__write_long_int(e, obj);
    }
    if (enc_room(e, 16) < 0) {
        return -1;
    }
    int64_t value = PyUnstable_Long_CompactValue((PyLongObject *)obj);
    if (value >= -128 && value < 128) {
        e->p[0] = TAG_INT8;
        e->p[1] = (uint8_t)(int8_t)value;
        e->p += 2;
    }
    else {
        /* A compact int has one digit of at most 30 bits. */
        int32_t small = (int32_t)value;
        e->p[0] = TAG_INT32;
        memcpy(e->p + 1, &small, 4);
        e->p += 5;
    }
    return 1;
}

static inline int
write_str(sipy_encoder *e, PyObject *str)
{
    Py_ssize_t size = PyUnicode_GET_LENGTH(str);
    const uint8_t *data = PyUnicode_DATA(str);
    if (size <= 1 && PyUnicode_KIND(str) == PyUnicode_1BYTE_KIND) {
        if (enc_room(e, 16) < 0) {
            return -1;
        }
        e->p[0] = size == 0 ? TAG_ASCII : TAG_CHAR;
        e->p[1] = size == 0 ? 0 : data[0];
        e->p += 2;
        return 1;
    }
    unsigned flag = 0;
    if (Py_REFCNT(str) > 1) {
        int known = enc_memo_text(e, str, size, &flag);
        if (known != 0) {
            return known;
        }
    }
    bool name = PyUnicode_CHECK_INTERNED(str);
    if (SI_UNLIKELY(!PyUnicode_IS_ASCII(str) || size >= (name ? 128 : 32768))) {
        return sipy__write_wide_str(e, str, flag);
    }
    if (enc_room(e, (size_t)size + 16) < 0) {
        return -1;
    }
    *e->p++ = (uint8_t)((name ? TAG_NAME : TAG_ASCII) | flag);
    enc_varint(e, (uint64_t)size);
    memcpy(e->p, data, (size_t)size);
    e->p += size;
    return 1;
}

static inline int
write_float(sipy_encoder *e, PyObject *obj)
{
    double value = PyFloat_AS_DOUBLE(obj);
    if (enc_room(e, 16) < 0) {
        return -1;
    }
    e->p[0] = TAG_FLOAT;
    memcpy(e->p + 1, &value, 8);
    e->p += 9;
    return 1;
}

static inline int
write_scalar(sipy_encoder *e, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyUnicode_Type) {
        return write_str(e, obj);
    }
    if (type == &PyLong_Type) {
        return write_int(e, obj);
    }
    if (type == &PyFloat_Type) {
        return write_float(e, obj);
    }
    if (obj == Py_None) {
        return enc_bare(e, TAG_NONE) < 0 ? -1 : 1;
    }
    if (type == &PyBool_Type) {
        return enc_bare(e, obj == Py_True ? TAG_TRUE : TAG_FALSE) < 0 ? -1 : 1;
    }
    if (type == &PyBytes_Type) {
        return sipy__write_bytes(e, obj);
    }
    return 0;
}

/* A list of floats alone. -> 1 | 0 there is something else in it | -1 */
static inline int
write_floats(sipy_encoder *e, PyObject *list, unsigned flag)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (enc_room(e, (size_t)size * 8 + 16) < 0) {
        return -1;
    }
    uint8_t *start = e->p;
    *e->p++ = (uint8_t)(TAG_FLOATS | flag);
    enc_varint(e, (uint64_t)size);
    uint8_t *p = e->p;
    PyObject **items = ((PyListObject *)list)->ob_item;
    for (Py_ssize_t i = 0; i < size; i++, p += 8) {
        if (!PyFloat_CheckExact(items[i])) {
            e->p = start;
            return 0;
        }
        double value = PyFloat_AS_DOUBLE(items[i]);
        memcpy(p, &value, 8);
    }
    e->p = p;
    return 1;
}

/* ---- reading ---- */

/* A str of ASCII bytes, which are checked. NULL without an exception: damaged. */
static inline PyObject *
make_ascii(const uint8_t *data, Py_ssize_t size)
{
    if (SI_UNLIKELY(size <= 1 || size > 64)) {
        return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, data, size);
    }
    uint64_t high = 0, word;
    Py_ssize_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        high |= word;
    }
    for (; i < size; i++) {
        high |= data[i];
    }
    if (SI_UNLIKELY((high & UINT64_C(0x8080808080808080)) != 0)) {
        return NULL;
    }
    PyObject *str = PyUnicode_New(size, 127);
    if (str != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(str), data, (size_t)size);
    }
    return str;
}

#endif /* SIPY_TRANSFER_SCALARS_H */
