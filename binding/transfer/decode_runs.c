/* decode_runs.c — several scalars in a row, read without a look at the frames. */
#include "binding/transfer/decoder.h"
#include "binding/transfer/scalars.h"

/* A short str at *p. NULL without an exception: it is none, or damaged. */
static inline PyObject *
quick_ascii(const uint8_t **p, const uint8_t *end)
{
    Py_ssize_t size = (*p)[1];
    if (size >= 0x80 || end - *p - 2 < size) {
        return NULL;
    }
    PyObject *str = make_ascii(*p + 2, size);
    *p += str == NULL ? 0 : 2 + size;
    return str;
}

/* Reads scalars into items[0], items[stride] ... until there are `size`, or something
 * else comes. No Python code runs. -> how many; fewer with an exception: it failed */
static inline Py_ssize_t
fill(sipy_decoder *d, PyObject **items, Py_ssize_t size, Py_ssize_t stride)
{
    const uint8_t *p = d->p, *end = d->end;
    Py_ssize_t done = 0;
    for (; done < size && end - p >= 9; done++) {
        PyObject *v;
        switch (*p) {
            case TAG_INT8:
                v = PyLong_FromLong((int8_t)p[1]);
                p += 2;
                break;
            case TAG_INT32: {
                int32_t value;
                memcpy(&value, p + 1, 4);
                v = PyLong_FromLong(value);
                p += 5;
                break;
            }
            case TAG_FLOAT: {
                double value;
                memcpy(&value, p + 1, 8);
                v = PyFloat_FromDouble(value);
                p += 9;
                break;
            }
            case TAG_ASCII:
                v = quick_ascii(&p, end);
                if (SI_UNLIKELY(v == NULL) && !PyErr_Occurred()) {
                    goto out;
                }
                break;
            case TAG_REF: {
                size_t number = p[1];
                if (number >= 0x80 || number >= d->memo_count) {
                    goto out;
                }
                v = Py_NewRef(d->memo[number]);
                p += 2;
                break;
            }
            case TAG_NONE:
            case TAG_TRUE:
            case TAG_FALSE:
                v = Py_NewRef(*p == TAG_NONE   ? Py_None
                              : *p == TAG_TRUE ? Py_True
                                               : Py_False);
                p++;
                break;
            default:
                goto out;
        }
        if (SI_UNLIKELY(v == NULL)) {
            break;
        }
        items[done * stride] = v;
    }
out:
    d->p = p;
    return done;
}

/* Takes what follows as long as it is scalars. -> 1 the frame has all, 0 go on with
 * single values, -1 */
int
sipy__dec_run(sipy_decoder *d, dec_frame *f)
{
    Py_ssize_t done;
    PyObject *pair[2];
    switch (f->kind) {
        case DEC_TUPLE:
            f->i += fill(d, f->slots + f->i, f->size - f->i, 1);
            break;
        case DEC_LIST: {
            PyListObject *list = (PyListObject *)f->obj;
            if (Py_SIZE(list) != f->i || list->allocated < f->size) {
                return 0;
            }
            f->i += fill(d, list->ob_item + f->i, f->size - f->i, 1);
            Py_SET_SIZE(list, f->i);
            break;
        }
        case DEC_SHAPE:
            if (f->slots == NULL || ((PyDictObject *)f->obj)->ma_keys != f->table) {
                return 0;
            }
            f->i += fill(d, f->slots + 2 * f->i, f->size - f->i, 2);
            break;
        case DEC_DICT:
            while (f->key == NULL && f->i < f->size && !PyErr_Occurred()) {
                done = fill(d, pair, 2, 1);
                if (done < 2) {
                    f->key = done == 1 ? pair[0] : NULL;
                    break;
                }
                f->i++;
                int failed = PyDict_SetItem(f->obj, pair[0], pair[1]);
                Py_DECREF(pair[0]);
                Py_DECREF(pair[1]);
                if (failed) {
                    return -1;
                }
            }
            break;
        case DEC_SET:
            while (f->i < f->size && fill(d, pair, 1, 1) == 1) {
                f->i++;
                int failed = PySet_Add(f->obj, pair[0]);
                Py_DECREF(pair[0]);
                if (failed) {
                    return -1;
                }
            }
            break;
        default:
            return 0;
    }
    if (SI_UNLIKELY(PyErr_Occurred() != NULL)) {
        return -1;
    }
    return f->i == f->size;
}
