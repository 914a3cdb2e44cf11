/* local_classes.c — classes that cannot be imported cross by value, once per receiver.
 *
 * The description of a class, in this order: flags, interpreter, module, name,
 * qualified name, number of attributes | bases | metaclass, or which base has the same |
 * what it must be made with (slots) | names and values of all its other attributes. The
 * receiver makes it from the first four and makes it known by its id, so that its methods
 * may refer to it; then it sets each of the rest before it reads the next, which may be
 * made by way of it (a bound method, say).
 * The members of an enum are attributes too, made without its `__new__` and `__init__`:
 * what those did is in their attributes.
 * At home the id leads back to the class itself, so instances that return are its own.
 */
#include "binding/transfer/functions.h"
#include "binding/transfer/scalars.h"

#define FORMAT_STRING 4 /* annotationlib.Format.STRING */

typedef enum class_flag {
    CLASS_ABSTRACT = 1, /* made by ABCMeta */
} class_flag;

/* ---- writing ---- */

/* Attributes that the interpreter makes for each class anew, or that it is made with. */
static bool
is_made_anew(const char *name)
{
    static const char *const names[] = {
        "__module__",        "__qualname__",          "_abc_impl",         "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__classdictcell__", NULL};
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_slot(PyTypeObject *type, PyObject *value)
{
    return Py_IS_TYPE(value, &PyMemberDescr_Type) && PyDescr_TYPE(value) == type;
}

/* Whether type.__new__ makes it of the slots; `__dict__` and `__weakref__` may be those of
 * a class that this one is a copy of. */
static bool
is_made_of_slots(PyTypeObject *type, PyObject *name, PyObject *value)
{
    return (is_slot(type, value) || Py_IS_TYPE(value, &PyGetSetDescr_Type)) &&
           PyUnicode_Compare(name, PyDescr_NAME(value)) == 0;
}

/* -> new reference: the annotations as text, of a class that has annotations which cannot
 * be evaluated (yet) | NULL */
static PyObject *
annotations_as_text(PyTypeObject *type)
{
    PyObject *get = sipy__from_module("annotationlib", "get_annotations");
    PyObject *args = get == NULL ? NULL : PyTuple_Pack(1, type);
    PyObject *format =
        args == NULL ? NULL : Py_BuildValue("{s:i}", "format", FORMAT_STRING);
    PyObject *result = format == NULL ? NULL : PyObject_Call(get, args, format);
    Py_XDECREF(format);
    Py_XDECREF(args);
    Py_XDECREF(get);
    return result;
}

/* Since 3.14 a class has a function that makes its annotations, with all that the class
 * body knew. What it makes crosses. */
static int
add_annotations(PyTypeObject *type, PyObject *dict, PyObject *attributes)
{
    PyObject *make = sipy__dict_item(dict, "__annotate_func__");
    if (make == NULL || make == Py_None) {
        return 0;
    }
    PyObject *annotations = sipy_compat_attr((PyObject *)type, "__annotations__");
    if (annotations == NULL && sipy__is_answerable()) {
        PyErr_Clear();
        annotations = annotations_as_text(type);
    }
    int failed = annotations == NULL ||
                 PyDict_SetItemString(attributes, "__annotations__", annotations) < 0;
    Py_XDECREF(annotations);
    return failed;
}

/* A metaclass in C makes descriptors of its own from what the body says. */
static bool
is_made_by_metaclass(PyTypeObject *type, PyObject *value)
{
    return Py_TYPE(value)->tp_descr_set != NULL && !Py_IS_TYPE(value, &PyProperty_Type) &&
           !sipy__is_of_python(Py_TYPE(value)) && !sipy__is_python_metaclass(Py_TYPE(type));
}

/* What lays out a structure of ctypes, once the attributes that say how are set. */
static int
put_last(PyObject *attributes, const char *name)
{
    PyObject *value = Py_XNewRef(sipy__dict_item(attributes, name));
    int failed = value != NULL && (PyDict_DelItemString(attributes, name) < 0 ||
                                   PyDict_SetItemString(attributes, name, value) < 0);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

/* What `__slots__` says, if that can be said again; or the slots that were made. */
static PyObject *
told_slots(PyObject *said, PyObject *with)
{
    bool again = PyUnicode_CheckExact(said) || PyTuple_CheckExact(said) ||
                 PyList_CheckExact(said) || PyDict_CheckExact(said);
    return again ? said : sipy__dict_item(with, "__slots__");
}

/* Adds those attributes of all to some that are set once the class exists; tables: none
 * but, or all but, the tables of an enum. -> 0 | -1 */
static int
add_some(PyTypeObject *type, PyObject *all, PyObject *with, PyObject *some, bool tables)
{
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    bool enums = sipy__has_metaclass(type, "enum", "EnumType");
    int failed = 0;
    while (!failed && PyDict_Next(all, &pos, &key, &value)) {
        if (!PyUnicode_Check(key)) {
            PyErr_Format(PyExc_TypeError, "its attribute %R has a name that is no str",
                         key);
            return -1;
        }
        PyObject *name = PyUnicode_FromObject(key); /* an exact one, of a subclass */
        const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
        if (text == NULL) {
            failed = 1;
        }
        else if (!is_made_anew(text) && !is_made_by_metaclass(type, value) &&
                 !is_made_of_slots(type, name, value) &&
                 tables == (enums && sipy__is_enum_table(text, value))) {
            bool slots = strcmp(text, "__slots__") == 0;
            value = slots ? told_slots(value, with) : value;
            failed = value != NULL && PyDict_SetItem(some, name, value) < 0;
        }
        Py_XDECREF(name);
    }
    return failed ? -1 : 0;
}

/* The attributes that are set once the class exists. */
static PyObject *
attributes_of(PyTypeObject *type, PyObject *with)
{
    PyObject *all = PyType_GetDict(type);
    PyObject *some = all == NULL ? NULL : PyDict_New();
    if (some != NULL &&
        (add_some(type, all, with, some, true) < 0 ||
         add_some(type, all, with, some, false) < 0 ||
         add_annotations(type, all, some) != 0 ||
         (!sipy__is_python_metaclass(Py_TYPE(type)) && put_last(some, "_fields_") < 0))) {
        Py_CLEAR(some);
    }
    Py_XDECREF(all);
    return some;
}

/* The slots that the class has: what it said of them once may have changed since.
 * -> tuple | NULL */
static PyObject *
slots_of(PyTypeObject *type, PyObject *dict)
{
    PyObject *names = PyList_New(0), *key, *value, *tuple = NULL;
    PyTypeObject *base = type->tp_base;
    Py_ssize_t pos = 0;
    int failed = names == NULL;
    while (!failed && PyDict_Next(dict, &pos, &key, &value)) {
        if (is_slot(type, value)) {
            int there = PySequence_Contains(names, PyDescr_NAME(value));
            failed = there < 0 || (!there && PyList_Append(names, PyDescr_NAME(value)) < 0);
        }
    }
    const char *const more[2] = {
        base->tp_dictoffset == 0 && type->tp_dictoffset != 0 ? "__dict__" : NULL,
        base->tp_weaklistoffset == 0 && type->tp_weaklistoffset != 0 ? "__weakref__" : NULL,
    };
    for (int i = 0; !failed && i < 2; i++) {
        PyObject *name = more[i] == NULL ? NULL : PyUnicode_FromString(more[i]);
        failed = more[i] != NULL && (name == NULL || PyList_Append(names, name) < 0);
        Py_XDECREF(name);
    }
    if (!failed) {
        tuple = PyList_AsTuple(names);
    }
    Py_XDECREF(names);
    return tuple;
}

/* What the class must be made with. */
static PyObject *
skeleton_of(sipy_transfer *t, PyTypeObject *type)
{
    PyObject *dict = PyType_GetDict(type);
    PyObject *with = dict == NULL ? NULL : PyDict_New();
    if (with != NULL && PyDict_Contains(dict, t->n___slots__) == 1) {
        PyObject *slots = slots_of(type, dict);
        if (slots == NULL || PyDict_SetItem(with, t->n___slots__, slots) < 0) {
            Py_CLEAR(with);
        }
        Py_XDECREF(slots);
    }
    /* typing.Generic refuses subclasses without; the true ones come later, as they may
     * lead back to the class. */
    if (with != NULL && PyDict_Contains(dict, t->n___orig_bases__) == 1 &&
        PyDict_SetItem(with, t->n___orig_bases__, t->empty_tuple) < 0) {
        Py_CLEAR(with);
    }
    Py_XDECREF(dict);
    return with;
}

/* -> 0 | -1 */
static int
write_attributes(sipy_encoder *e, PyTypeObject *type, PyObject *attributes)
{
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    int failed = 0;
    while (!failed && PyDict_Next(attributes, &pos, &name, &value)) {
        failed = sipy__encode_value(e, name) < 0 ||
                 sipy__enc_described(e, value, "attribute", name) < 0;
        if (!failed && PyUnicode_CompareWithASCIIString(name, "_member_map_") == 0 &&
            sipy__has_metaclass(type, "enum", "EnumType")) {
            PyObject *states = sipy__enum_states(e->t, type);
            failed = states == NULL || sipy__encode_value(e, Py_None) < 0 ||
                     sipy__enc_described(e, states, "members", NULL) < 0;
            Py_XDECREF(states);
        }
    }
    return failed ? -1 : 0;
}

/* The metaclass: it is that of a base wherever it can be, as there are some that cannot be
 * imported (of ctypes). -> 0 | -1 */
static int
write_metaclass(sipy_encoder *e, PyTypeObject *type)
{
    PyObject *bases = type->tp_bases;
    Py_ssize_t i = 0;
    while (i < PyTuple_GET_SIZE(bases) &&
           Py_TYPE(PyTuple_GET_ITEM(bases, i)) != Py_TYPE(type)) {
        i++;
    }
    if (i == PyTuple_GET_SIZE(bases)) {
        return sipy__enc_described(e, (PyObject *)Py_TYPE(type), "metaclass", NULL);
    }
    PyObject *index = PyLong_FromSsize_t(i);
    int failed = index == NULL || sipy__encode_value(e, index) < 0;
    Py_XDECREF(index);
    return failed ? -1 : 0;
}

/* The module that the class is said to be of: anything. */
static PyObject *
module_of(sipy_transfer *t, PyTypeObject *type)
{
    PyObject *dict = PyType_GetDict(type);
    PyObject *module =
        dict == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(dict, t->n___module__));
    Py_XDECREF(dict);
    return module != NULL || PyErr_Occurred()
               ? module
               : PyObject_GetAttr((PyObject *)type, t->n___module__);
}

static int
write_class(sipy_encoder *e, PyTypeObject *type)
{
    sipy_transfer *t = e->t;
    int flags = sipy__has_metaclass(type, "abc", "ABCMeta") ? CLASS_ABSTRACT : 0;
    PyObject *module = module_of(t, type), *head = NULL;
    PyObject *qualname = PyType_GetQualName(type), *name = PyType_GetName(type);
    PyObject *with = PyErr_Occurred() ? NULL : skeleton_of(t, type);
    PyObject *attributes = with == NULL ? NULL : attributes_of(type, with);
    int failed = -1;
    if (attributes != NULL) {
        head = Py_BuildValue("iLOOOn", flags, (long long)t->hooks.interp_id, module, name,
                             qualname, PyDict_GET_SIZE(attributes));
        failed = head == NULL ||
                 sipy__enc_described(e, head, "attribute", t->n___module__) < 0 ||
                 sipy__enc_described(e, type->tp_bases, "bases", NULL) < 0 ||
                 write_metaclass(e, type) < 0 ||
                 sipy__enc_described(e, with, "attributes", NULL) < 0 ||
                 write_attributes(e, type, attributes) < 0;
    }
    Py_XDECREF(with);
    Py_XDECREF(attributes);
    Py_XDECREF(head);
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    Py_XDECREF(name);
    return failed ? -1 : 0;
}

static int
write_parts(sipy_encoder *e, building *b, PyObject *with)
{
    (void)with;
    return write_class(e, (PyTypeObject *)b->obj);
}

/* Describes the class; known: its record, if it has been described before. */
static int
ship(sipy_encoder *e, PyTypeObject *type, record *known)
{
    sipy_functions *fs = e->t->functions;
    PyObject *self = (PyObject *)type;
    building b = {.obj = self,
                  .id = known != NULL ? known->id : sipy__new_id(),
                  .tag = TAG_LOCAL_CLASS};
    si_block *blob = sipy__describe(e, &b, write_parts, NULL);
    sipy__deps_clear(&b.deps);
    if (blob == NULL) {
        return -1;
    }
    record *r = sipy__record_of(fs, self);
    if (r == NULL) {
        r = sipy__record_new(fs, RECORD_CLASS, self, b.id, true);
    }
    int failed = -1;
    if (r != NULL) {
        sipy__described_as(e, r, &b, blob);
        failed = sipy__enc_by_id(e, self, TAG_LOCAL_CLASS, b.id, blob);
    }
    si_block_drop(blob);
    return failed;
}

int
sipy__enc_local_class(sipy_encoder *e, PyTypeObject *type)
{
    PyObject *self = (PyObject *)type;
    sipy_functions *fs = sipy__functions(e->t);
    if (fs == NULL) {
        return -1;
    }
    sipy__enc_hold(e);
    if (!sipy__is_of_python(type)) {
        PyErr_Format(PyExc_TypeError, "class '%.200s' cannot be imported", type->tp_name);
        return -1;
    }
    uint64_t id;
    if (sipy__is_building(e, self, &id)) {
        return sipy__enc_by_id(e, self, TAG_LOCAL_CLASS, id, NULL);
    }
    record *r = sipy__record_of(fs, self);
    si_block *blob = r == NULL ? NULL : sipy__blob_for(e, r);
    if (blob != NULL) {
        return sipy__enc_by_id(e, self, TAG_LOCAL_CLASS, r->id, blob);
    }
    return ship(e, type, r);
}

/* ---- reading ---- */

/* As `type` makes it, without the Python code of its metaclass, which would expect the body
 * that the class was written with, arguments, and a caller: what it did then is in the
 * attributes that come later. */
static PyObject *
make_as_type(PyObject *meta, PyObject *name, PyObject *bases, PyObject *with, int flags)
{
    PyObject *args = PyTuple_Pack(3, name, bases, with);
    PyObject *type =
        args == NULL ? NULL : PyType_Type.tp_new((PyTypeObject *)meta, args, NULL);
    Py_XDECREF(args);
    if (type != NULL && (flags & CLASS_ABSTRACT)) {
        PyObject *init = sipy__from_module("_abc", "_abc_init");
        PyObject *done = init == NULL ? NULL : PyObject_CallOneArg(init, type);
        if (done == NULL) {
            Py_CLEAR(type);
        }
        Py_XDECREF(done);
        Py_XDECREF(init);
    }
    return type;
}

/* -> new reference | NULL with an exception */
static PyObject *
read_metaclass(sipy_decoder *d, PyObject *bases)
{
    PyObject *meta = sipy__decode_value(d);
    if (meta != NULL && PyLong_CheckExact(meta)) {
        Py_ssize_t i = PyLong_AsSsize_t(meta);
        bool good = PyTuple_CheckExact(bases) && i >= 0 && i < PyTuple_GET_SIZE(bases);
        PyErr_Clear();
        Py_SETREF(meta, good ? Py_NewRef(Py_TYPE(PyTuple_GET_ITEM(bases, i))) : NULL);
    }
    if (meta == NULL ? !PyErr_Occurred() : !PyType_Check(meta)) {
        Py_CLEAR(meta);
        sipy__damaged(d);
    }
    return meta;
}

/* Adds to the exception which class could not be made, and by what (an attribute), if that
 * is an answer to somebody. */
static void
tell_class(PyObject *name, const char *what, PyObject *which)
{
    if (!sipy__is_answerable()) {
        return;
    }
    PyObject *cause = PyErr_GetRaisedException();
    PyErr_Format(PyExc_TypeError, "class '%U' cannot be made again%s%S: %s: %S", name, what,
                 which, Py_TYPE(cause)->tp_name, cause);
    PyObject *exc = PyErr_GetRaisedException();
    PyException_SetCause(exc, cause);
    PyErr_SetRaisedException(exc);
}

static PyObject *
make_class(sipy_decoder *d, int *flags, Py_ssize_t *attributes)
{
    PyObject *head = sipy__decode_value(d), *meta = NULL, *bases = NULL, *with = NULL;
    PyObject *interp_id, *module, *name, *qualname, *type = NULL;
    if (head == NULL || (bases = sipy__decode_value(d)) == NULL ||
        (meta = read_metaclass(d, bases)) == NULL ||
        (with = sipy__decode_value(d)) == NULL) {
        /* the exception is set */
    }
    else if (!PyTuple_CheckExact(bases) || !PyDict_CheckExact(with)) {
        sipy__damaged(d);
    }
    else if (PyArg_ParseTuple(head, "iOOUUn", flags, &interp_id, &module, &name, &qualname,
                              attributes) &&
             PyDict_SetItem(with, d->t->n___module__, module) == 0 &&
             PyDict_SetItem(with, d->t->n___qualname__, qualname) == 0) {
        type = sipy__is_python_metaclass((PyTypeObject *)meta)
                   ? make_as_type(meta, name, bases, with, *flags)
                   : PyObject_CallFunctionObjArgs(meta, name, bases, with, NULL);
        if (type != NULL && !PyType_Check(type)) {
            Py_CLEAR(type);
            sipy__damaged(d);
        }
        else if (type == NULL) {
            tell_class(qualname, ", by ", meta);
        }
    }
    Py_XDECREF(head);
    Py_XDECREF(meta);
    Py_XDECREF(bases);
    Py_XDECREF(with);
    return type;
}

/* By what `type` itself has under that name, whatever the metaclass has. */
static int
set_by_type(PyTypeObject *type, PyObject *name, PyObject *value)
{
    PyObject *own = _PyType_Lookup(&PyType_Type, name);
    return own == NULL || Py_TYPE(own)->tp_descr_set == NULL
               ? (PyErr_SetObject(PyExc_AttributeError, name), -1)
               : Py_TYPE(own)->tp_descr_set(own, (PyObject *)type, value);
}

/* A metaclass has a property of a name (`__len__`) that CPython would note in a slot of
 * the class: it looks at them all when the class gets bases. */
static int
note_slots(PyTypeObject *type)
{
    PyObject *name = PyUnicode_InternFromString("__bases__");
    int failed = name == NULL || set_by_type(type, name, type->tp_bases) < 0;
    Py_XDECREF(name);
    return failed ? -1 : 0;
}

/* Sets an attribute as the body of a class does: it is in the class even where its
 * metaclass has a property of that name (`__class__`, `__dict__`, `__name__`, ...), and
 * whatever the metaclass's __setattr__ says, unless that is in C: then it may be the way to
 * lay the class out. */
static int
set_in_class(PyTypeObject *type, PyObject *name, PyObject *value)
{
    if (!sipy__is_python_metaclass(Py_TYPE(type))) {
        return PyObject_SetAttr((PyObject *)type, name, value);
    }
    if (PyUnicode_CompareWithASCIIString(name, "__abstractmethods__") == 0) {
        return set_by_type(type, name, value);
    }
    PyObject *meta = _PyType_Lookup(Py_TYPE(type), name);
    if (meta == NULL || Py_TYPE(meta)->tp_descr_set == NULL) {
        return PyType_Type.tp_setattro((PyObject *)type, name, value);
    }
    bool types = meta == _PyType_Lookup(&PyType_Type, name);
    PyObject *dict = PyType_GetDict(type);
    int failed = dict == NULL || PyDict_SetItem(dict, name, value) < 0;
    Py_XDECREF(dict);
    PyType_Modified(type);
    return failed || (!types && note_slots(type) < 0) ? -1 : 0;
}

static int
fill_class(sipy_decoder *d, PyObject *type, Py_ssize_t attributes)
{
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < attributes; i++) {
        PyObject *name = sipy__decode_value(d);
        PyObject *value = name == NULL ? NULL : sipy__decode_value(d);
        if (value == NULL) {
            if (name != NULL && PyUnicode_CheckExact(name) && !d->damaged) {
                PyObject *qualname = ((PyHeapTypeObject *)type)->ht_qualname;
                tell_class(qualname, ", its attribute ", name);
            }
            failed = 1;
        }
        else if (name == Py_None) {
            i--; /* it is none: it tells more of the members that came before */
            failed = sipy__set_states(d, value) < 0;
        }
        else if (!PyUnicode_CheckExact(name)) {
            sipy__damaged(d);
            failed = 1;
        }
        else {
            failed = set_in_class((PyTypeObject *)type, name, value) < 0;
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return failed ? -1 : 0;
}

PyObject *
sipy__receive_class(sipy_transfer *t, uint64_t id, si_block *blob)
{
    sipy_decoder *d = sipy__blob_open(t, blob);
    if (d == NULL) {
        return NULL;
    }
    int flags = 0;
    Py_ssize_t attributes = 0;
    PyObject *type = make_class(d, &flags, &attributes);
    record *r = type == NULL ? NULL : sipy__record_by_id(t->functions, id);
    if (r != NULL) {
        /* A base led back to it, and by now it has been received below. */
        Py_SETREF(type, Py_NewRef(r->obj));
        sipy__decoder_end(d);
        return type;
    }
    if (type != NULL) {
        r = sipy__record_new(t->functions, RECORD_CLASS, type, id, false);
    }
    if (r == NULL) {
        Py_CLEAR(type);
    }
    else {
        sipy__received_by(r, blob);
        if (fill_class(d, type, attributes) < 0) {
            PyObject *exc = PyErr_GetRaisedException();
            r = sipy__record_by_id(t->functions, id);
            if (r != NULL) {
                sipy__record_end(t->functions, r);
            }
            Py_CLEAR(type);
            PyErr_SetRaisedException(exc);
        }
    }
    sipy__decoder_end(d);
    return type;
}
