/* compat_transfer.h — version differences that the transfer engine sees.
 *
 * Functions here are static inline: they sit in the hottest loops of the project.
 */
#ifndef SIPY_COMPAT_COMPAT_TRANSFER_H
#define SIPY_COMPAT_COMPAT_TRANSFER_H

#include "binding/compat/compat.h"

/* Exported by every supported CPython; gone from the public headers since 3.13. */
#if PY_VERSION_HEX >= 0x030D0000
PyAPI_FUNC(PyObject *) _PyDict_NewPresized(Py_ssize_t minused);
PyAPI_FUNC(PyObject *) _PyType_Lookup(PyTypeObject *type, PyObject *name);
#endif

/* Whether type is one of the runtime's own static classes, which are at the same address
 * in every interpreter. The flag has this value in all supported versions, but the
 * headers show its name only to CPython itself. */
static inline bool
sipy_compat_is_static_builtin(PyTypeObject *type)
{
    return (type->tp_flags & (1ul << 1)) != 0;
}

/* An exact int as two's complement of size bytes, little-endian; it fits.
 * _PyLong_AsByteArray changed its signature in 3.13, which made a public function for
 * it. Drop the older branch with 3.12. -> 0 | -1 with an exception */
static inline int
sipy_compat_int_to_bytes(PyObject *value, uint8_t *bytes, size_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(value, bytes, (Py_ssize_t)size,
                                Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0
               ? -1
               : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)value, bytes, size, 1, 1);
#endif
}

/* Bits of the magnitude. _PyLong_NumBits returns another type in every version. */
static inline int
sipy_compat_int_size(PyObject *value, size_t *size)
{
#if PY_VERSION_HEX >= 0x030D0000
    Py_ssize_t need = PyLong_AsNativeBytes(value, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
    if (need < 0) {
        return -1;
    }
    *size = (size_t)need;
#else
    size_t bits = _PyLong_NumBits(value);
    if (bits == (size_t)-1 && PyErr_Occurred()) {
        return -1;
    }
    *size = bits / 8 + 1;
#endif
    return 0;
}

static inline PyObject *
sipy_compat_int_from_bytes(const uint8_t *bytes, size_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, size, 1, 1);
#endif
}

/* The version tag of a type, assigned if it has none: equal (type, tag) pairs mean an
 * unchanged type. 0: this type cannot have one now. 3.12 keeps a stale tag beside a
 * cleared flag; 3.13 zeroes it (gh-113055). Drop the flag with 3.12. */
static inline unsigned int
sipy_compat_type_version(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030D0000
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG) &&
        !PyUnstable_Type_AssignVersionTag(type)) {
        return 0;
    }
#else
    if (type->tp_version_tag == 0 && !PyUnstable_Type_AssignVersionTag(type)) {
        return 0;
    }
#endif
    return type->tp_version_tag;
}

/* As PyObject_GetOptionalAttr, which is public since 3.13: 1 found, 0 not, -1 error. */
static inline int
sipy_compat_get_optional(PyObject *obj, PyObject *name, PyObject **out)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyObject_GetOptionalAttr(obj, name, out);
#else
    return _PyObject_LookupAttr(obj, name, out);
#endif
}

#endif /* SIPY_COMPAT_COMPAT_TRANSFER_H */
