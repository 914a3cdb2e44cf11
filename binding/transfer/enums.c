/* enums.c — enums that cross by value.
 *
 * In the description of its enum a member is an instance like any other, made by the
 * `__new__` of the built-in class that it comes from, with what of its state leads nowhere.
 * The rest of it follows once all members exist. What is described inside of that finds
 * them by their names; everything else by their values.
 */
#include "binding/transfer/functions.h"

bool
sipy__has_metaclass(PyTypeObject *type, const char *module, const char *name)
{
    PyObject *mro = Py_TYPE(type)->tp_mro;
    for (Py_ssize_t i = 0; mro != NULL && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (strcmp(base->tp_name, name) == 0) {
            PyObject *from = sipy_compat_attr((PyObject *)base, "__module__");
            bool same = from != NULL && PyUnicode_Check(from) &&
                        PyUnicode_CompareWithASCIIString(from, module) == 0;
            Py_XDECREF(from);
            PyErr_Clear();
            if (same) {
                return true;
            }
        }
    }
    return false;
}

bool
sipy__is_enum_table(const char *name, PyObject *value)
{
    size_t size = strlen(name);
    return size > 2 && name[0] == '_' && name[1] != '_' && name[size - 1] == '_' &&
           name[size - 2] != '_' && !PyFunction_Check(value) &&
           !Py_IS_TYPE(value, &PyStaticMethod_Type) &&
           !Py_IS_TYPE(value, &PyClassMethod_Type);
}

/* The arguments, after the class, that base's `__new__` makes obj of; base: the built-in
 * class that it comes from. What its own class says of pickling is about members that
 * exist. -> tuple | NULL */
static PyObject *
arguments_of(sipy_transfer *t, PyObject *obj, PyTypeObject *base)
{
    PyObject *by_protocol = _PyType_Lookup(base, t->n___reduce_ex__);
    PyObject *by = _PyType_Lookup(base, t->n___reduce__);
    if (by_protocol == t->o_object_reduce_ex && by == t->o_object_reduce) {
        PyObject *give = _PyType_Lookup(base, t->n___getnewargs__);
        return give == NULL ? PyTuple_New(0) : PyObject_CallOneArg(give, obj);
    }
    PyObject *reduced = by_protocol == t->o_object_reduce_ex
                            ? PyObject_CallOneArg(by, obj)
                            : PyObject_CallFunctionObjArgs(by_protocol, obj, t->five, NULL);
    PyObject *args = NULL;
    if (reduced != NULL && PyTuple_Check(reduced) && PyTuple_GET_SIZE(reduced) >= 2 &&
        PyTuple_GET_ITEM(reduced, 0) == (PyObject *)Py_TYPE(obj)) {
        args = Py_NewRef(PyTuple_GET_ITEM(reduced, 1));
    }
    else if (reduced != NULL) {
        PyErr_Format(PyExc_TypeError, "a member of an enum of '%.200s' objects",
                     base->tp_name);
    }
    Py_XDECREF(reduced);
    return args;
}

/* Whether a value of a member's state can lead nowhere but to the enum. */
static bool
is_early(PyObject *obj, PyObject *value)
{
    return value == Py_None || value == (PyObject *)Py_TYPE(obj) ||
           PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyBool_Check(value) ||
           PyFloat_CheckExact(value);
}

/* The part of state that a member is made with, or that it gets once all are made. */
static PyObject *
part_of_state(PyObject *obj, PyObject *state, bool early)
{
    if (!PyDict_Check(state)) {
        return Py_NewRef(early ? Py_None : state);
    }
    PyObject *part = PyDict_New(), *key, *value;
    Py_ssize_t pos = 0;
    while (part != NULL && PyDict_Next(state, &pos, &key, &value)) {
        if (is_early(obj, value) == early && PyDict_SetItem(part, key, value) < 0) {
            Py_CLEAR(part);
        }
    }
    return part;
}

/* The members by their names, aliases included. -> new dict | NULL, perhaps with an
 * exception */
static PyObject *
members_of(PyTypeObject *type)
{
    PyObject *dict = PyType_GetDict(type);
    PyObject *map = dict == NULL ? NULL : sipy__dict_item(dict, "_member_map_");
    PyObject *copy = map == NULL || !PyDict_Check(map) ? NULL : PyDict_Copy(map);
    Py_XDECREF(dict);
    return copy;
}

/* The name of obj among the members of its class. -> new | NULL, perhaps with an
 * exception */
static PyObject *
name_of(PyObject *obj)
{
    PyObject *members = members_of(Py_TYPE(obj)), *key, *value, *name = NULL;
    Py_ssize_t pos = 0;
    while (members != NULL && PyDict_Next(members, &pos, &key, &value)) {
        if (value == obj && PyUnicode_CheckExact(key)) {
            name = Py_NewRef(key);
            break;
        }
    }
    Py_XDECREF(members);
    return name;
}

static PyObject *
state_of(sipy_transfer *t, PyObject *obj)
{
    return sipy__need_pickling(t) < 0 ? NULL
                                      : PyObject_CallOneArg(t->o_object_getstate, obj);
}

PyObject *
sipy__enum_states(sipy_transfer *t, PyTypeObject *type)
{
    PyObject *members = members_of(type), *all = PyList_New(0), *key, *member;
    Py_ssize_t pos = 0;
    while (members != NULL && all != NULL && PyDict_Next(members, &pos, &key, &member)) {
        PyObject *state =
            Py_IS_TYPE(member, type) ? state_of(t, member) : Py_NewRef(Py_None);
        PyObject *late = state == NULL ? NULL : part_of_state(member, state, false);
        PyObject *pair = late == NULL ? NULL : PyTuple_Pack(2, member, late);
        bool some = late != NULL && late != Py_None &&
                    !(PyDict_Check(late) && PyDict_GET_SIZE(late) == 0);
        if (pair == NULL || (some && PyList_Append(all, pair) < 0)) {
            Py_CLEAR(all);
        }
        Py_XDECREF(pair);
        Py_XDECREF(late);
        Py_XDECREF(state);
    }
    Py_XDECREF(members);
    return all;
}

/* As `__reduce_ex__` would say it; nothing that its class says of its state or attributes
 * is asked. named: its state is completed later. -> tuple | NULL */
static PyObject *
reduce_member(sipy_transfer *t, PyObject *obj, bool named)
{
    PyTypeObject *base = Py_TYPE(obj);
    while (sipy__is_of_python(base)) {
        base = base->tp_base;
    }
    PyObject *state = state_of(t, obj), *object = (PyObject *)&PyBaseObject_Type;
    if (named && state != NULL) {
        Py_SETREF(state, part_of_state(obj, state, true));
    }
    PyObject *set = state == NULL ? NULL : sipy_compat_attr(object, "__setattr__");
    PyObject *make = set == NULL ? NULL : sipy_compat_attr((PyObject *)base, "__new__");
    PyObject *args = make == NULL ? NULL : arguments_of(t, obj, base);
    PyObject *self = args == NULL ? NULL : PyTuple_Pack(1, Py_TYPE(obj));
    PyObject *all = self == NULL ? NULL : PySequence_Concat(self, args);
    PyObject *pairs = !PyDict_Check(obj) ? Py_NewRef(Py_None) : PyDict_Items(obj);
    PyObject *items = PyList_Check(obj) ? obj : Py_None;
    PyObject *result = all == NULL || pairs == NULL
                           ? NULL
                           : PyTuple_Pack(6, make, all, state, items, pairs, set);
    Py_XDECREF(pairs);
    Py_XDECREF(all);
    Py_XDECREF(self);
    Py_XDECREF(args);
    Py_XDECREF(make);
    Py_XDECREF(set);
    Py_XDECREF(state);
    return result;
}

int
sipy__enc_own_member(sipy_encoder *e, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    uint64_t id;
    if (e->building == NULL || !sipy__has_metaclass(type, "enum", "EnumType") ||
        !sipy__is_building(e, (PyObject *)type, &id)) {
        return 0;
    }
    bool own = e->building->obj == (PyObject *)type;
    PyObject *name = name_of(obj), *reduced = NULL;
    bool memo;
    if (PyErr_Occurred() || (name == NULL && !own)) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int result = sipy__enc_memo_late(e, obj, &memo);
    if (result == 0 && own) {
        reduced = reduce_member(e->t, obj, name != NULL);
    }
    else if (result == 0) {
        /* All are found by their names first. */
        PyObject *get = sipy__from_module("operator", "getitem");
        reduced = get == NULL ? NULL : Py_BuildValue("N(OO)", get, type, name);
    }
    if (result == 0) {
        result = reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0
                     ? -1
                     : 1;
    }
    Py_XDECREF(reduced);
    Py_XDECREF(name);
    return result;
}

int
sipy__set_states(sipy_decoder *d, PyObject *states)
{
    if (!PyList_CheckExact(states)) {
        sipy__damaged(d);
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(states); i++) {
        PyObject *pair = PyList_GET_ITEM(states, i);
        if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) {
            sipy__damaged(d);
            return -1;
        }
        if (sipy__set_plain_state(d, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)) <
            0) {
            return -1;
        }
    }
    return 0;
}
