/* others.c — which way each type takes that is no scalar and no plain container. */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"
#include "binding/transfer/scalars.h"

PyObject *
sipy__from_module(const char *module, const char *name)
{
    PyObject *found = PyImport_ImportModule(module);
    PyObject *obj = found == NULL ? NULL : sipy_compat_attr(found, name);
    Py_XDECREF(found);
    return obj;
}

PyObject *
sipy__dict_item(PyObject *dict, const char *name)
{
    PyObject *key = PyUnicode_InternFromString(name);
    PyObject *value = key == NULL ? NULL : PyDict_GetItemWithError(dict, key);
    Py_XDECREF(key);
    return value;
}

int
sipy__enc_text(sipy_encoder *e, PyObject *str)
{
    if (!PyUnicode_CheckExact(str)) {
        PyErr_Format(PyExc_TypeError, "a name must be a str, not %.200s",
                     Py_TYPE(str)->tp_name);
        return -1;
    }
    return write_str(e, str) < 0 ? -1 : 0;
}

static int
write_complex(sipy_encoder *e, PyObject *obj)
{
    Py_complex value = PyComplex_AsCComplex(obj);
    if (enc_room(e, 24) < 0) {
        return -1;
    }
    *e->p++ = TAG_COMPLEX;
    memcpy(e->p, &value.real, 8);
    memcpy(e->p + 8, &value.imag, 8);
    e->p += 16;
    return 0;
}

/* slice and range: three values. */
static int
write_three(sipy_encoder *e, PyObject *obj, unsigned tag, const char *const names[3])
{
    bool memo;
    int known = sipy__enc_memo_late(e, obj, &memo);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    PyObject *three = PyTuple_New(3);
    for (int i = 0; three != NULL && i < 3; i++) {
        PyObject *part = sipy_compat_attr(obj, names[i]);
        if (part == NULL) {
            Py_CLEAR(three);
            break;
        }
        PyTuple_SET_ITEM(three, i, part);
    }
    size_t at = enc_offset(e);
    if (three == NULL || enc_bare(e, tag | (memo ? TAG_MEMO : 0)) < 0) {
        Py_XDECREF(three);
        return -1;
    }
    enc_frame *f = sipy__enc_push(e, ENC_PARTS, three, true);
    if (f == NULL) {
        return -1;
    }
    f->label = LABEL_INDEX;
    f->size = 3;
    f->memo = memo;
    e->late += memo;
    f->subject = obj;
    f->aside = Py_NewRef(obj);
    f->due = 3;
    f->at = at;
    return 0;
}

static int
write_namedtuple(sipy_encoder *e, PyObject *obj, PyTypeObject *type)
{
    bool memo;
    int known = sipy__enc_memo_late(e, obj, &memo);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    size_t at = enc_offset(e);
    Py_ssize_t size = PyTuple_GET_SIZE(obj);
    if (enc_bare(e, TAG_NAMEDTUPLE | (memo ? TAG_MEMO : 0)) < 0 ||
        sipy__enc_class(e, type) < 0 || enc_room(e, 16) < 0) {
        return -1;
    }
    e->pure = false;
    enc_varint(e, (uint64_t)size);
    enc_frame *f = sipy__enc_push(e, ENC_PARTS, obj, false);
    if (f == NULL) {
        return -1;
    }
    f->label = LABEL_INDEX;
    f->size = size;
    f->memo = memo;
    e->late += memo;
    f->subject = obj;
    f->due = size;
    f->at = at;
    return 0;
}

static int
write_own(sipy_encoder *e, PyObject *obj, const sipy_crosser *crosser)
{
    unsigned flag;
    uint64_t numbers[2] = {0, 0};
    int known = sipy__enc_memo(e, obj, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    e->pure = false;
    if (crosser->pack(e->t->hooks.owner, obj, numbers, e->image) < 0 ||
        enc_room(e, 32) < 0) {
        return -1;
    }
    *e->p++ = (uint8_t)(TAG_OWN | flag);
    *e->p++ = crosser->tag;
    memcpy(e->p, numbers, 16);
    e->p += 16;
    return 0;
}

static PyObject *
dec_own(sipy_decoder *d)
{
    uint64_t numbers[2];
    if (!dec_has(d, 17) || d->pure) {
        return sipy__damaged(d);
    }
    const sipy_hooks *hooks = &d->t->hooks;
    uint8_t tag = *d->p++;
    const sipy_crosser *crosser =
        hooks->crosser_by_tag == NULL ? NULL : hooks->crosser_by_tag(hooks->owner, tag);
    if (crosser == NULL) {
        return PyErr_Occurred() ? NULL : sipy__damaged(d);
    }
    memcpy(numbers, d->p, 16);
    d->p += 16;
    return crosser->unpack(hooks->owner, numbers);
}

/* An attribute of a class in C, by its name. -> new (callable, arguments) | NULL, perhaps
 * with an exception: it is not found there */
static PyObject *
how_found(PyObject *descr)
{
    PyObject *type = (PyObject *)PyDescr_TYPE(descr), *name = PyDescr_NAME(descr);
    PyObject *found = PyObject_GetAttr(type, name);
    PyObject *get = found != descr ? NULL : sipy__from_module("builtins", "getattr");
    Py_XDECREF(found);
    if (found == NULL) {
        PyErr_Clear();
    }
    return get == NULL ? NULL : Py_BuildValue("N(OO)", get, type, name);
}

/* Descriptors of a class that crosses by value, and the views that pickle refuses: by
 * their type and what they are made of. -> 1 | 0 obj is none of these | -1 */
static int
write_descriptor(sipy_encoder *e, PyObject *obj, PyTypeObject *type)
{
    PyObject *args, *how = NULL;
    if (type == &PyGetSetDescr_Type) {
        how = how_found(obj);
        if (how == NULL) {
            return PyErr_Occurred() ? -1 : 0;
        }
        args = Py_NewRef(how);
    }
    else if (type == &PyStaticMethod_Type || type == &PyClassMethod_Type) {
        PyObject *func = sipy_compat_attr(obj, "__func__");
        args = func == NULL ? NULL : PyTuple_Pack(1, func);
        Py_XDECREF(func);
    }
    else if (type == &PyDictProxy_Type) {
        PyObject *dict = PyDict_New();
        args = dict == NULL || PyDict_Update(dict, obj) < 0 ? NULL : PyTuple_Pack(1, dict);
        Py_XDECREF(dict);
    }
    else if (type == &PyProperty_Type) {
        static const char *const names[4] = {"fget", "fset", "fdel", "__doc__"};
        args = PyTuple_New(4);
        for (int i = 0; args != NULL && i < 4; i++) {
            PyObject *part = sipy_compat_attr(obj, names[i]);
            if (part == NULL) {
                Py_CLEAR(args);
                break;
            }
            PyTuple_SET_ITEM(args, i, part);
        }
    }
    else {
        return 0;
    }
    bool memo;
    int known = args == NULL ? -1 : sipy__enc_memo_late(e, obj, &memo);
    if (known != 0) {
        Py_XDECREF(args);
        Py_XDECREF(how);
        return known;
    }
    PyObject *reduced = how != NULL ? how : PyTuple_Pack(2, type, args);
    Py_DECREF(args);
    sipy__enc_hold(e);
    int failed = reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0;
    Py_XDECREF(reduced);
    return failed ? -1 : 1;
}

/* A simple type of ctypes in the other byte order: an attribute of the one in this order.
 * -> new (callable, arguments) | NULL, perhaps with an exception: it is none */
static PyObject *
how_swapped(PyTypeObject *made, PyObject *dict)
{
    const char *own = PY_LITTLE_ENDIAN ? "__ctype_le__" : "__ctype_be__";
    const char *other = PY_LITTLE_ENDIAN ? "__ctype_be__" : "__ctype_le__";
    PyObject *native = sipy__dict_item(dict, own);
    if (native == NULL || native == (PyObject *)made ||
        sipy__dict_item(dict, other) != (PyObject *)made) {
        return NULL;
    }
    PyObject *get = sipy__from_module("builtins", "getattr");
    return get == NULL ? NULL : Py_BuildValue("N(Os)", get, native, other);
}

/* How ctypes makes the class from another one, if it is an array or pointer type of its own
 * making, of which each interpreter has one: "type * length", POINTER(type).
 * -> new (callable, arguments) | NULL, perhaps with an exception: it is none */
static PyObject *
how_ctypes_made(PyTypeObject *made)
{
    PyObject *dict = made->tp_dict;
    PyObject *swapped = dict == NULL ? NULL : how_swapped(made, dict);
    if (swapped != NULL || PyErr_Occurred()) {
        return swapped;
    }
    PyObject *type = dict == NULL ? NULL : sipy__dict_item(dict, "_type_");
    PyObject *length = dict == NULL ? NULL : sipy__dict_item(dict, "_length_");
    if (type == NULL || !PyType_Check(type)) {
        return NULL;
    }
    const char *element = ((PyTypeObject *)type)->tp_name;
    PyObject *name = length != NULL ? PyUnicode_FromFormat("%s_Array_%S", element, length)
                                    : PyUnicode_FromFormat("LP_%s", element);
    PyObject *result = NULL;
    if (name != NULL && PyUnicode_CompareWithASCIIString(name, made->tp_name) == 0) {
        PyObject *callable = length != NULL ? sipy__from_module("operator", "mul")
                                            : sipy__from_module("ctypes", "POINTER");
        result = callable == NULL ? NULL
                 : length != NULL ? Py_BuildValue("O(OO)", callable, type, length)
                                  : Py_BuildValue("O(O)", callable, type);
        Py_XDECREF(callable);
    }
    Py_XDECREF(name);
    return result;
}

static int
write_type(sipy_encoder *e, PyObject *obj)
{
    PyTypeObject *type = (PyTypeObject *)obj;
    PyObject *how = sipy__is_python_metaclass(Py_TYPE(type)) ? NULL : how_ctypes_made(type);
    if (how == NULL) {
        return PyErr_Occurred() ? -1 : sipy__enc_class(e, type);
    }
    bool memo;
    int known = sipy__enc_memo_late(e, obj, &memo);
    int failed = known < 0;
    if (known == 0) {
        sipy__enc_hold(e);
        failed = sipy__enc_reduced(e, obj, how, 0, NULL, memo) < 0;
    }
    Py_DECREF(how);
    return failed ? -1 : 0;
}

/* One of the marks of dataclasses, which are told apart by identity. */
static int
write_singleton(sipy_encoder *e, PyObject *obj)
{
    PyObject *origin = PyUnicode_InternFromString("dataclasses");
    PyObject *module = origin == NULL ? NULL : PyImport_Import(origin);
    PyObject *dict = module == NULL ? NULL : PyModule_GetDict(module);
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    int written = dict == NULL ? -1 : 0;
    while (written == 0 && PyDict_Next(dict, &pos, &name, &value)) {
        if (value == obj) {
            written = sipy__enc_reference(e, obj, origin, name) < 0 ? -1 : 1;
            break;
        }
    }
    Py_XDECREF(module);
    Py_XDECREF(origin);
    return written == 0 ? sipy__enc_reduce(e, obj) : (written < 0 ? -1 : 0);
}

int
sipy__enc_instance(sipy_encoder *e, PyObject *obj, PyTypeObject *type)
{
    sipy_class_info *info = sipy__class_info(e, type);
    if (info == NULL) {
        return -1;
    }
    PyObject *dict = NULL;
    PyObject *slots = NULL;
    switch (info->kind) {
        case SIPY_KIND_OWN:
            return write_own(e, obj, info->crosser);
        case SIPY_KIND_NAMEDTUPLE:
            return write_namedtuple(e, obj, type);
        case SIPY_KIND_EXCEPTION:
            return sipy__enc_exception(e, obj);
        case SIPY_KIND_REDUCE: {
            int member = sipy__enc_own_member(e, obj);
            return member == 0 ? sipy__enc_reduce(e, obj) : (member < 0 ? -1 : 0);
        }
        case SIPY_KIND_SINGLETON:
            return write_singleton(e, obj);
        case SIPY_KIND_DICT:
            dict = PyObject_GenericGetDict(obj, NULL);
            if (dict == NULL) {
                return -1;
            }
            break;
        case SIPY_KIND_SLOTS:
            slots = Py_NewRef(info->slots);
            break;
        case SIPY_KIND_EMPTY:
            break;
    }
    e->pure = false;
    int result = dict != NULL && !PyDict_CheckExact(dict)
                     ? SIPY_SHAPE_REFUSED
                     : sipy__enc_shaped(e, obj, type, dict, slots);
    Py_XDECREF(dict);
    Py_XDECREF(slots);
    return result == SIPY_SHAPE_REFUSED ? sipy__enc_reduce(e, obj) : result;
}

static int
write_other(sipy_encoder *e, PyObject *obj, PyTypeObject *type)
{
    static const char *const slice_parts[3] = {"start", "stop", "step"};
    if (PyType_Check(obj)) {
        return write_type(e, obj);
    }
    if (type == &PyComplex_Type) {
        return write_complex(e, obj);
    }
    if (obj == Py_Ellipsis) {
        return enc_bare(e, TAG_ELLIPSIS);
    }
    if (obj == Py_NotImplemented) {
        return enc_bare(e, TAG_NOT_IMPLEMENTED);
    }
    if (type == &PyByteArray_Type) {
        return sipy__enc_bytearray(e, obj);
    }
    if (type == &PySlice_Type) {
        return write_three(e, obj, TAG_SLICE, slice_parts);
    }
    if (type == &PyRange_Type) {
        return write_three(e, obj, TAG_RANGE, slice_parts);
    }
    if (type == &PyMemoryView_Type) {
        return sipy__enc_memoryview(e, obj);
    }
    if (type == &PyPickleBuffer_Type) {
        return sipy__enc_pickle_buffer(e, obj);
    }
    if (type == &PyFunction_Type) {
        return sipy__enc_function(e, obj);
    }
    if (type == &PyMethod_Type) {
        return sipy__enc_method(e, obj);
    }
    if (type == &PyCode_Type) {
        sipy__enc_hold(e);
        return sipy__enc_code(e, obj);
    }
    if (type == &PyModule_Type && e->in_function) {
        return sipy__enc_module(e, obj);
    }
    if (e->in_function) {
        int written = write_descriptor(e, obj, type);
        if (written == 0) {
            written = sipy__enc_dispatch_method(e, obj);
        }
        if (written != 0) {
            return written < 0 ? -1 : 0;
        }
    }
    if (sipy__is_array(e->t, type)) {
        return sipy__enc_array(e, obj);
    }
    return sipy__enc_instance(e, obj, type);
}

int
sipy__enc_other(sipy_encoder *e, PyObject *obj, PyTypeObject *type)
{
    /* Python code may run and drop obj from where it was found. The reference that
     * keeps it alive meanwhile must not make it look shared. */
    PyObject *outer = e->guarded;
    e->guarded = Py_NewRef(obj);
    int failed = write_other(e, obj, type);
    e->guarded = outer;
    if (failed) {
        Py_XSETREF(e->culprit, obj);
        return -1;
    }
    Py_DECREF(obj);
    return 0;
}

PyObject *
sipy__dec_other(sipy_decoder *d, unsigned tag)
{
    switch (tag) {
        case TAG_ELLIPSIS:
            return Py_NewRef(Py_Ellipsis);
        case TAG_NOT_IMPLEMENTED:
            return Py_NewRef(Py_NotImplemented);
        case TAG_CLASS:
            return sipy__dec_global(d);
        case TAG_OWN:
            return dec_own(d);
        case TAG_INTERN: {
            PyObject *str = sipy__dec_text(d);
            if (str != NULL) {
                PyUnicode_InternInPlace(&str);
            }
            return str;
        }
        case TAG_HELD_ASCII:
        case TAG_HELD_LATIN1:
        case TAG_HELD_UCS2:
        case TAG_HELD_UCS4:
        case TAG_HELD_BYTES:
        case TAG_HELD_BYTEARRAY:
            return sipy__dec_held(d, tag);
        case TAG_BUFFER:
            return sipy__dec_memoryview(d);
        case TAG_PICKLE_BUFFER:
            return sipy__dec_pickle_buffer(d);
        case TAG_ARRAY:
            return sipy__dec_array(d);
        case TAG_FUNCTION:
        case TAG_LOCAL_CLASS:
        case TAG_TYPE_PARAM:
        case TAG_CACHED:
        case TAG_DISPATCHER:
            return sipy__dec_described(d, tag);
        case TAG_STATIC:
            return sipy__dec_static(d);
        case TAG_UNSET:
            return d->depth > 0 && d->frames[d->depth - 1].kind == DEC_OBJECT
                       ? Py_NewRef(d->t->unset)
                       : sipy__damaged(d);
        case TAG_CODE:
            d->p--; /* it reads its own tag */
            return sipy__dec_code(d);
        case TAG_MODULE:
            return sipy__dec_module(d);
        case TAG_STAND_IN:
            return sipy__dec_stand_in(d);
        default:
            return sipy__dec_scalar(d, tag);
    }
}
