/* classes.c — classes by reference, and how instances of a class are written.
 *
 * A class that can be imported crosses as module and qualified name. What we know about
 * a class is kept per interpreter and true as long as the class keeps its version tag.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"

/* ---- what kind of class it is ---- */

/* The tp_dealloc of every class that is written in Python, 0 until first needed. The
 * same for the whole process, so it may be found out more than once. */
static si_atomic_u64 known_dealloc;

static destructor
python_dealloc(void)
{
    uint64_t known = si_load_relaxed(&known_dealloc);
    if (known != 0) {
        return (destructor)(uintptr_t)known;
    }
    static PyType_Slot slots[] = {{0, NULL}};
    static PyType_Spec spec = {
        .name = "subinterpreters._core.Plain",
        .basicsize = sizeof(PyObject),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = slots,
    };
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL) {
        return NULL;
    }
    destructor dealloc = ((PyTypeObject *)type)->tp_dealloc;
    Py_DECREF(type);
    si_store_relaxed(&known_dealloc, (uint64_t)(uintptr_t)dealloc);
    return dealloc;
}

bool
sipy__is_of_python(PyTypeObject *type)
{
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) && type->tp_methods == NULL &&
           type->tp_dealloc == python_dealloc();
}

/* Whether type is written in Python, down to (but without) base. */
static bool
is_python_class(PyTypeObject *type, PyTypeObject *base)
{
    while (type != base) {
        if (type == NULL || !sipy__is_of_python(type)) {
            return false;
        }
        type = type->tp_base;
    }
    return true;
}

bool
sipy__is_python_metaclass(PyTypeObject *type)
{
    return is_python_class(type, &PyType_Type);
}

bool
sipy__is_plain_class(PyTypeObject *type)
{
    return is_python_class(type, &PyBaseObject_Type) && type != &PyBaseObject_Type &&
           type->tp_new == PyBaseObject_Type.tp_new;
}

static bool
same_method(PyTypeObject *type, PyObject *name, PyObject *expected)
{
    return _PyType_Lookup(type, name) == expected;
}

/* A class made by collections.namedtuple or typing.NamedTuple, not a subclass of
 * one. */
static bool
is_namedtuple(sipy_transfer *t, PyTypeObject *type)
{
    if (type->tp_base != &PyTuple_Type || type->tp_dictoffset != 0 ||
        !is_python_class(type, &PyTuple_Type)) {
        return false;
    }
    PyObject *dict = PyType_GetDict(type);
    bool is = dict != NULL && PyDict_Contains(dict, t->n__fields) == 1 &&
              PyDict_Contains(dict, t->n__make) == 1 &&
              PyDict_Contains(dict, t->n___getnewargs__) == 1 &&
              PyDict_Contains(dict, t->n___reduce_ex__) == 0 &&
              PyDict_Contains(dict, t->n___reduce__) == 0 &&
              same_method(type, t->n___getstate__, t->o_object_getstate);
    Py_XDECREF(dict);
    return is;
}

/* Whether a method of the class is the one that dataclasses gives to frozen classes
 * with slots: those have the state of all their fields, in order. */
static bool
is_dataclass_state(sipy_transfer *t, PyObject *method, const char *name)
{
    if (method == NULL || !PyFunction_Check(method)) {
        return false;
    }
    PyObject *module = PyFunction_GET_MODULE(method);
    return module != NULL && PyUnicode_Check(module) &&
           PyUnicode_CompareWithASCIIString(module, "dataclasses") == 0 &&
           PyUnicode_CompareWithASCIIString(((PyFunctionObject *)method)->func_name,
                                            name) == 0;
}

/* Whether its instances are the marks of dataclasses (MISSING, _FIELD ...). */
static bool
is_mark(PyTypeObject *type)
{
    static const char *const names[] = {"_MISSING_TYPE", "_FIELD_BASE", "_KW_ONLY_TYPE",
                                        "_HAS_DEFAULT_FACTORY_CLASS", NULL};
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(type->tp_name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static PyObject *
dataclass_fields(PyTypeObject *type)
{
    PyObject *module = PyImport_ImportModule("dataclasses");
    PyObject *fields =
        module == NULL ? NULL : sipy_compat_method(module, "fields", (PyObject *)type);
    Py_XDECREF(module);
    if (fields == NULL || !PyTuple_Check(fields)) {
        Py_XDECREF(fields);
        return NULL;
    }
    PyObject *names = PyTuple_New(PyTuple_GET_SIZE(fields));
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(fields); i++) {
        PyObject *name = sipy_compat_attr(PyTuple_GET_ITEM(fields, i), "name");
        if (name == NULL || !PyUnicode_CheckExact(name)) {
            Py_XDECREF(name);
            Py_CLEAR(names);
            break;
        }
        PyTuple_SET_ITEM(names, i, name);
    }
    Py_DECREF(fields);
    return names;
}

/* The names of the slots of a plain class, as copyreg finds them. -> tuple | NULL */
static PyObject *
slot_names(sipy_transfer *t, PyTypeObject *type)
{
    PyObject *list = PyObject_CallOneArg(t->o_slotnames, (PyObject *)type);
    PyObject *names =
        list == NULL || list == Py_None ? PyTuple_New(0) : PySequence_Tuple(list);
    Py_XDECREF(list);
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(names, i))) {
            Py_CLEAR(names);
        }
    }
    return names;
}

/* Fills in what instances of a plain class consist of. */
static int
look_at_plain(sipy_transfer *t, PyTypeObject *type, sipy_class_info *info)
{
    bool has_dict = type->tp_dictoffset != 0;
    PyObject *getstate = _PyType_Lookup(type, t->n___getstate__);
    PyObject *setstate = _PyType_Lookup(type, t->n___setstate__);
    if (is_dataclass_state(t, getstate, "_dataclass_getstate") &&
        is_dataclass_state(t, setstate, "_dataclass_setstate") && !has_dict) {
        info->slots = dataclass_fields(type);
        if (info->slots == NULL) {
            PyErr_Clear();
            return 0;
        }
        info->kind = SIPY_KIND_SLOTS;
        return 0;
    }
    if (getstate != t->o_object_getstate || setstate != NULL) {
        return 0;
    }
    PyObject *names = slot_names(t, type);
    if (names == NULL) {
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    if (count == 0) {
        info->kind = has_dict ? SIPY_KIND_DICT : SIPY_KIND_EMPTY;
    }
    else if (!has_dict && type->tp_setattro == PyObject_GenericSetAttr) {
        info->kind = SIPY_KIND_SLOTS;
        info->slots = Py_NewRef(names);
    }
    Py_DECREF(names);
    return 0;
}

static int
look_at(sipy_encoder *e, PyTypeObject *type, sipy_class_info *info)
{
    sipy_transfer *t = e->t;
    info->kind = SIPY_KIND_REDUCE;
    info->crosser =
        t->hooks.find_crosser == NULL ? NULL : t->hooks.find_crosser(t->hooks.owner, type);
    if (info->crosser != NULL) {
        info->kind = SIPY_KIND_OWN;
        return 0;
    }
    if (PyErr_Occurred() || sipy__need_pickling(t) < 0) {
        return -1;
    }
    if (!same_method(type, t->n___reduce_ex__, t->o_object_reduce_ex)) {
        return 0;
    }
    if (PyType_FastSubclass(type, Py_TPFLAGS_BASE_EXC_SUBCLASS)) {
        info->kind = SIPY_KIND_EXCEPTION;
        return 0;
    }
    if (!same_method(type, t->n___reduce__, t->o_object_reduce)) {
        return 0;
    }
    if (is_namedtuple(t, type)) {
        info->kind = SIPY_KIND_NAMEDTUPLE;
        return 0;
    }
    if (is_mark(type)) {
        info->kind = SIPY_KIND_SINGLETON;
        return 0;
    }
    if (!sipy__is_plain_class(type) || _PyType_Lookup(type, t->n___getnewargs__) != NULL ||
        _PyType_Lookup(type, t->n___getnewargs_ex__) != NULL) {
        return 0;
    }
    return look_at_plain(t, type, info);
}

sipy_class_info *
sipy__class_info(sipy_encoder *e, PyTypeObject *type)
{
    sipy_transfer *t = e->t;
    uintptr_t hash = (uintptr_t)type >> 4;
    sipy_class_info *info = &t->classes[(hash ^ hash >> 8) & (SIPY_CLASS_CACHE - 1)];
    unsigned int version = sipy_compat_type_version(type);
    if (SI_UNLIKELY(info->type != type || info->version != version || version == 0)) {
        /* Looking at a class can run Python code, which may use this entry as well. */
        sipy_class_info fresh = {.type = type, .version = version};
        sipy__enc_hold(e);
        if (look_at(e, type, &fresh) < 0) {
            return NULL;
        }
        Py_XSETREF(info->slots, NULL);
        *info = fresh;
    }
    if (info->checked != t->encodings && info->kind != SIPY_KIND_OWN) {
        /* A reducer may have been registered since; the class does not know. */
        int registered = PyDict_Contains(t->o_dispatch_table, (PyObject *)type);
        if (registered < 0) {
            return NULL;
        }
        if (registered) {
            info->kind = SIPY_KIND_REDUCE;
            info->version = 0;
        }
        info->checked = t->encodings;
    }
    return info;
}

/* ---- writing references ---- */

/* module.name1.name2 is obj? New reference to what is there, or NULL. */
static PyObject *
resolve(PyObject *module, PyObject *name)
{
    PyObject *found = PyImport_GetModule(module);
    if (found == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        found = PyImport_Import(module);
        if (found == NULL) {
            return NULL;
        }
    }
    Py_ssize_t size = PyUnicode_GET_LENGTH(name), start = 0;
    while (start <= size) {
        Py_ssize_t dot = PyUnicode_FindChar(name, '.', start, size, 1);
        PyObject *part;
        if (dot < 0) {
            part = start == 0 ? Py_NewRef(name) : PyUnicode_Substring(name, start, size);
            dot = size;
        }
        else {
            part = PyUnicode_Substring(name, start, dot);
        }
        PyObject *next = part == NULL ? NULL : PyObject_GetAttr(found, part);
        Py_XDECREF(part);
        Py_DECREF(found);
        if (next == NULL) {
            return NULL;
        }
        found = next;
        start = dot + 1;
    }
    return found;
}

/* The name of the module that obj says it is from; NULL without an exception: none. */
static PyObject *
module_of(sipy_transfer *t, PyObject *obj, PyObject *name)
{
    PyObject *module;
    if (sipy_compat_get_optional(obj, t->n___module__, &module) < 0) {
        return NULL;
    }
    if (module != NULL && PyUnicode_Check(module)) {
        return module;
    }
    Py_XDECREF(module);
    module = PyUnicode_InternFromString("builtins");
    PyObject *found = module == NULL ? NULL : resolve(module, name);
    if (found == obj) {
        Py_DECREF(found);
        return module;
    }
    Py_XDECREF(found);
    Py_XDECREF(module);
    PyErr_Clear();
    return NULL;
}

/* The name that module `types` has for a built-in class that builtins lacks, such as
 * NoneType. New reference, or NULL (perhaps without an exception). */
static PyObject *
name_in_types(PyObject *obj)
{
    if (!PyType_Check(obj) || PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_HEAPTYPE)) {
        return NULL;
    }
    PyObject *types = PyImport_ImportModule("types");
    PyObject *dict = types == NULL ? NULL : PyModule_GetDict(types);
    PyObject *name, *value, *found = NULL;
    Py_ssize_t pos = 0;
    while (dict != NULL && PyDict_Next(dict, &pos, &name, &value)) {
        if (value == obj) {
            found = Py_NewRef(name);
            break;
        }
    }
    Py_XDECREF(types);
    return found;
}

int
sipy__enc_reference(sipy_encoder *e, PyObject *obj, PyObject *module, PyObject *name)
{
    bool memo;
    uint32_t number;
    int known = sipy__enc_memo_late(e, obj, &memo);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    if (enc_bare(e, TAG_CLASS | (memo ? TAG_MEMO : 0)) < 0 ||
        sipy__enc_text(e, module) < 0 || sipy__enc_text(e, name) < 0) {
        return -1;
    }
    return memo && sipy__enc_number(e, obj, &number) < 0 ? -1 : 0;
}

int
sipy__is_found(PyObject *module, PyObject *name, PyObject *obj)
{
    PyObject *found = resolve(module, name);
    Py_XDECREF(found);
    if (found != NULL) {
        return found == obj;
    }
    if (PyErr_ExceptionMatches(PyExc_ImportError) ||
        PyErr_ExceptionMatches(PyExc_AttributeError) ||
        PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        return 0;
    }
    return -1;
}

int
sipy__enc_global(sipy_encoder *e, PyObject *obj, PyObject *name)
{
    sipy_transfer *t = e->t;
    PyObject *module = NULL, *own_name = NULL;
    sipy__enc_hold(e);
    if (name == NULL && sipy_compat_get_optional(obj, t->n___qualname__, &own_name) < 0) {
        return -1;
    }
    name = name == NULL ? own_name : name;
    if (name != NULL && PyUnicode_Check(name)) {
        module = module_of(t, obj, name);
    }
    int result = 0;
    if (module != NULL && PyUnicode_Compare(module, t->n___main__) != 0) {
        result = sipy__is_found(module, name, obj);
    }
    if (result == 0 && !PyErr_Occurred()) {
        PyObject *other = name_in_types(obj);
        if (other != NULL) {
            Py_XSETREF(own_name, other);
            Py_XSETREF(module, PyUnicode_InternFromString("types"));
            name = other;
            result = module == NULL ? -1 : 1;
        }
    }
    if (result > 0 && sipy__enc_reference(e, obj, module, name) < 0) {
        result = -1;
    }
    Py_XDECREF(module);
    Py_XDECREF(own_name);
    return PyErr_Occurred() ? -1 : result;
}

/* Marks the hold of a class that is nobody's: there is nothing to drop. */
static void
drop_nothing(void *ptr)
{
    (void)ptr;
}

/* A static class of the runtime is the same in every interpreter. */
static int
write_static(sipy_encoder *e, PyTypeObject *type)
{
    unsigned flag;
    e->pure = false;
    int known = sipy__enc_memo(e, (PyObject *)type, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    uint32_t number = e->image->hold_count;
    if (sipy_image_hold(e->image, type, drop_nothing) < 0) {
        return -1;
    }
    return enc_tag(e, TAG_STATIC | flag, number);
}

PyObject *
sipy__dec_static(sipy_decoder *d)
{
    uint64_t number;
    if (d->pure || dec_varint(d, &number) < 0 || number >= d->hold_count ||
        d->holds[number].drop != drop_nothing) {
        return sipy__damaged(d);
    }
    return Py_NewRef((PyObject *)d->holds[number].ptr);
}

int
sipy__enc_class(sipy_encoder *e, PyTypeObject *type)
{
    uint32_t number;
    if (sipy__enc_find(e, (PyObject *)type, &number)) {
        return enc_tag(e, TAG_REF, number);
    }
    bool is_static = sipy_compat_is_static_builtin(type);
    if (is_static && PyType_FastSubclass(type, Py_TPFLAGS_BASE_EXC_SUBCLASS) &&
        strchr(type->tp_name, '.') != NULL) {
        /* InterpreterError: a core type, though not of builtins. To look for it by name
         * would import a module, here and there. */
        return write_static(e, type);
    }
    int written = sipy__enc_global(e, (PyObject *)type, NULL);
    if (written == 0) {
        return is_static ? write_static(e, type) : sipy__enc_local_class(e, type);
    }
    return written < 0 ? -1 : 0;
}

/* ---- reading references ---- */

/* What the import said becomes the cause of an error that names the object. */
static PyObject *
cannot_find(sipy_transfer *t, PyObject *module, PyObject *name)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) ||
        PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return NULL;
    }
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *message = PyUnicode_FromFormat(
        "cannot find '%U' of module '%U' in interpreter %lld: %s: %S", name, module,
        (long long)t->hooks.interp_id, Py_TYPE(cause)->tp_name, cause);
    if (message == NULL) {
        PyErr_Clear();
        message = PyUnicode_FromFormat("cannot find '%U' of module '%U'", name, module);
    }
    sipy__not_shareable(t, message, cause);
    return NULL;
}

PyObject *
sipy__dec_global(sipy_decoder *d)
{
    PyObject *module = sipy__dec_text(d);
    PyObject *name = module == NULL ? NULL : sipy__dec_text(d);
    PyObject *obj = NULL;
    if (d->pure && name != NULL) {
        sipy__damaged(d);
    }
    else if (name != NULL) {
        obj = resolve(module, name);
        if (obj == NULL) {
            cannot_find(d->t, module, name);
        }
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return obj;
}

/* A class, which is never a frame of its own. */
PyObject *
sipy__dec_class(sipy_decoder *d)
{
    if (!dec_has(d, 1)) {
        return sipy__damaged(d);
    }
    unsigned byte = *d->p++;
    uint64_t number;
    PyObject *obj;
    switch (byte & ~TAG_MEMO) {
        case TAG_REF:
            if (dec_varint(d, &number) < 0 || number >= d->memo_count) {
                return sipy__damaged(d);
            }
            return Py_NewRef(d->memo[number]);
        case TAG_CLASS:
            obj = sipy__dec_global(d);
            break;
        case TAG_STATIC:
            obj = sipy__dec_static(d);
            break;
        case TAG_LOCAL_CLASS:
            obj = sipy__dec_described(d, TAG_LOCAL_CLASS);
            break;
        default:
            return sipy__damaged(d);
    }
    if (obj != NULL && (byte & TAG_MEMO) && sipy__dec_memo(d, obj) < 0) {
        Py_CLEAR(obj);
    }
    return obj;
}
