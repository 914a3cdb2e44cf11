/* scalars.c — the rarer forms of int, str and bytes, and the names cache. */
#include "binding/transfer/scalars.h"
#include "binding/transfer/decoder.h"
#include "core/platform/pages.h"

/* ---- writing ---- */

int
sipy__write_long_int(sipy_encoder *e, PyObject *obj)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (!overflow) {
        if (enc_room(e, 16) < 0) {
            return -1;
        }
        e->p[0] = TAG_INT64;
        memcpy(e->p + 1, &value, 8);
        e->p += 9;
        return 1;
    }
    size_t size;
    if (sipy_compat_int_size(obj, &size) < 0 || enc_room(e, size + 16) < 0) {
        return -1;
    }
    *e->p++ = TAG_INT;
    enc_varint(e, size);
    if (sipy_compat_int_to_bytes(obj, e->p, size) < 0) {
        return -1;
    }
    e->p += size;
    return 1;
}

static void
drop_block(void *ptr)
{
    si_block_drop(ptr);
}

static void
release_pin(si_block *block, void *context)
{
    Py_DECREF((PyObject *)context);
}

int
sipy__enc_hold_block(sipy_encoder *e, si_block *block)
{
    if (sipy_image_hold(e->image, block, drop_block) < 0) {
        si_block_drop(block);
        return -1;
    }
    return 0;
}

si_block *
sipy__dec_block(sipy_decoder *d, size_t number)
{
    if (number >= d->hold_count || d->holds[number].drop != drop_block) {
        sipy__damaged(d);
        return NULL;
    }
    return d->holds[number].ptr;
}

si_block *
sipy__copy_to_block(const void *data, size_t bytes)
{
    si_block *block = si_block_new(bytes);
    if (block == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(block->data, data, bytes);
    return block;
}

int
sipy__enc_held(sipy_encoder *e, unsigned tag, PyObject *owner, const void *data,
               size_t bytes, size_t size)
{
    si_block *block;
    if (e->flags & (SIPY_SYNC | SIPY_STAY)) {
        block = si_block_wrap((void *)data, bytes, release_pin, owner);
        if (block == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        Py_INCREF(owner);
    }
    else if ((block = sipy__copy_to_block(data, bytes)) == NULL) {
        return -1;
    }
    uint32_t number = e->image->hold_count;
    if (sipy__enc_hold_block(e, block) < 0 || enc_tag(e, tag, number) < 0 ||
        enc_room(e, 16) < 0) {
        return -1;
    }
    enc_varint(e, size);
    return 0;
}

int
sipy__write_wide_str(sipy_encoder *e, PyObject *str, unsigned flag)
{
    static const uint8_t inlined[] = {0, TAG_LATIN1, TAG_UCS2, 0, TAG_UCS4};
    static const uint8_t held[] = {0, TAG_HELD_LATIN1, TAG_HELD_UCS2, 0, TAG_HELD_UCS4};
    size_t size = (size_t)PyUnicode_GET_LENGTH(str);
    unsigned kind = (unsigned)PyUnicode_KIND(str);
    size_t bytes = size * kind;
    bool ascii = PyUnicode_IS_ASCII(str);
    if (PyUnicode_CHECK_INTERNED(str) && bytes < SIPY_HELD_MIN) {
        if (enc_bare(e, TAG_INTERN | flag) < 0) {
            return -1;
        }
        flag = 0;
    }
    if (bytes >= SIPY_HELD_MIN) {
        unsigned tag = ascii ? TAG_HELD_ASCII : held[kind];
        return sipy__enc_held(e, tag | flag, str, PyUnicode_DATA(str), bytes, size) < 0 ? -1
                                                                                        : 1;
    }
    if (enc_room(e, bytes + 16) < 0) {
        return -1;
    }
    *e->p++ = (uint8_t)((ascii ? TAG_ASCII : inlined[kind]) | flag);
    enc_varint(e, size);
    memcpy(e->p, PyUnicode_DATA(str), bytes);
    e->p += bytes;
    return 1;
}

int
sipy__write_bytes(sipy_encoder *e, PyObject *bytes)
{
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    unsigned flag = 0;
    if (size > 1 && Py_REFCNT(bytes) > 1) {
        int known = enc_memo_text(e, bytes, (Py_ssize_t)size, &flag);
        if (known != 0) {
            return known;
        }
    }
    if (size >= SIPY_HELD_MIN) {
        return sipy__enc_held(e, TAG_HELD_BYTES | flag, bytes, PyBytes_AS_STRING(bytes),
                              size, size) < 0
                   ? -1
                   : 1;
    }
    if (enc_room(e, size + 16) < 0) {
        return -1;
    }
    *e->p++ = (uint8_t)(TAG_BYTES | flag);
    enc_varint(e, size);
    memcpy(e->p, PyBytes_AS_STRING(bytes), size);
    e->p += size;
    return 1;
}

/* ---- reading ---- */

static PyObject *
read_wide(sipy_decoder *d, int kind)
{
    Py_ssize_t size;
    if (dec_size(d, (size_t)kind, &size) < 0) {
        return sipy__damaged(d);
    }
    const uint8_t *data = d->p;
    d->p += (size_t)size * (size_t)kind;
    PyObject *str;
    if (kind == 1 || ((uintptr_t)data % (uintptr_t)kind) == 0) {
        return PyUnicode_FromKindAndData(kind, data, size);
    }
    void *aligned = PyMem_Malloc((size_t)size * (size_t)kind + 1);
    if (aligned == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(aligned, data, (size_t)size * (size_t)kind);
    str = PyUnicode_FromKindAndData(kind, aligned, size);
    PyMem_Free(aligned);
    return str;
}

/* Copies the block to the memory of a new object. Page faults cost more than the copy:
 * the system is asked for large pages first. */
static PyObject *
fill(PyObject *obj, void *memory, const si_block *block)
{
    si_pages_expect(memory, block->size);
    memcpy(memory, block->data, block->size);
    return obj;
}

/* In two steps: where memory is short, CPython's one step drops an object whose number of
 * exports was never set, and prints what it makes of that. */
static PyObject *
new_bytearray(Py_ssize_t size)
{
    PyObject *array = PyByteArray_FromStringAndSize(NULL, 0);
    if (array != NULL && PyByteArray_Resize(array, size) < 0) {
        Py_CLEAR(array);
    }
    return array;
}

PyObject *
sipy__dec_held(sipy_decoder *d, unsigned tag)
{
    uint64_t number, size;
    if (dec_varint(d, &number) < 0 || dec_varint(d, &size) < 0) {
        return sipy__damaged(d);
    }
    si_block *block = sipy__dec_block(d, number);
    if (block == NULL) {
        return NULL;
    }
    int kind = tag == TAG_HELD_UCS2 ? 2 : tag == TAG_HELD_UCS4 ? 4 : 1;
    Py_UCS4 widest = tag == TAG_HELD_ASCII ? 127
                     : kind == 1           ? 255
                     : kind == 2           ? 0xffff
                                           : 0x10ffff;
    if (block->size % (size_t)kind != 0 || block->size / (size_t)kind != size) {
        return sipy__damaged(d);
    }
    switch (tag) {
        case TAG_HELD_BYTES: {
            PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
            return bytes == NULL ? NULL : fill(bytes, PyBytes_AS_STRING(bytes), block);
        }
        case TAG_HELD_BYTEARRAY: {
            PyObject *array = new_bytearray((Py_ssize_t)size);
            return array == NULL ? NULL : fill(array, PyByteArray_AS_STRING(array), block);
        }
        default: {
            /* The sender's str was of this kind, and blocks cannot be damaged. */
            PyObject *str = PyUnicode_New((Py_ssize_t)size, widest);
            return str == NULL ? NULL : fill(str, PyUnicode_DATA(str), block);
        }
    }
}

/* One slot per hash: a name that collides takes the place of the other. */
static inline uint32_t
name_hash(const uint8_t *data, size_t size)
{
    uint64_t first = 0, last = 0;
    if (size >= 8) {
        memcpy(&first, data, 8);
        memcpy(&last, data + size - 8, 8);
    }
    else if (size >= 4) {
        uint32_t a, b;
        memcpy(&a, data, 4);
        memcpy(&b, data + size - 4, 4);
        first = a;
        last = b;
    }
    else {
        first = (uint64_t)data[0] | (uint64_t)data[size / 2] << 8;
        last = data[size - 1];
    }
    uint64_t key = (first * UINT64_C(0x9E3779B97F4A7C15)) ^
                   (last + size) * UINT64_C(0xC2B2AE3D27D4EB4F);
    return (uint32_t)((key ^ (key >> 32)) * UINT64_C(0x9E3779B97F4A7C15) >> 40);
}

PyObject *
sipy__name(sipy_decoder *d, const uint8_t *data, size_t size, bool interned)
{
    sipy_name *slot = &d->t->names[name_hash(data, size) & (SIPY_NAME_CACHE - 1)];
    PyObject *str = slot->str;
    if (SI_LIKELY(str != NULL && (size_t)PyUnicode_GET_LENGTH(str) == size &&
                  memcmp(PyUnicode_1BYTE_DATA(str), data, size) == 0 &&
                  (slot->interned || !interned))) {
        return Py_NewRef(str);
    }
    str = make_ascii(data, (Py_ssize_t)size);
    if (str == NULL) {
        return PyErr_Occurred() ? NULL : sipy__damaged(d);
    }
    if (interned) {
        PyUnicode_InternInPlace(&str);
    }
    if (PyUnicode_IS_ASCII(str) && !d->t->cleared) {
        slot->interned = interned;
        Py_XSETREF(slot->str, Py_NewRef(str));
    }
    return str;
}

PyObject *
sipy__dec_scalar(sipy_decoder *d, unsigned tag)
{
    Py_ssize_t size;
    PyObject *obj;
    switch (tag) {
        case TAG_INT64: {
            int64_t value;
            if (!dec_has(d, 8)) {
                break;
            }
            memcpy(&value, d->p, 8);
            d->p += 8;
            return PyLong_FromLongLong(value);
        }
        case TAG_INT:
            if (dec_size(d, 1, &size) < 0 || size == 0) {
                break;
            }
            obj = sipy_compat_int_from_bytes(d->p, (size_t)size);
            d->p += size;
            return obj;
        case TAG_COMPLEX: {
            double value[2];
            if (!dec_has(d, 16)) {
                break;
            }
            memcpy(value, d->p, 16);
            d->p += 16;
            return PyComplex_FromDoubles(value[0], value[1]);
        }
        case TAG_CHAR:
            if (!dec_has(d, 1)) {
                break;
            }
            return PyUnicode_FromOrdinal(*d->p++);
        case TAG_LATIN1:
            return read_wide(d, 1);
        case TAG_UCS2:
            return read_wide(d, 2);
        case TAG_UCS4:
            return read_wide(d, 4);
        case TAG_BYTES:
        case TAG_BYTEARRAY:
            if (dec_size(d, 1, &size) < 0) {
                break;
            }
            obj = tag == TAG_BYTES
                      ? PyBytes_FromStringAndSize((const char *)d->p, size)
                      : PyByteArray_FromStringAndSize((const char *)d->p, size);
            d->p += size;
            return obj;
        default:
            break;
    }
    return sipy__damaged(d);
}
