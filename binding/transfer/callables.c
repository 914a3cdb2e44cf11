/* callables.c — bound methods.
 *
 * A bound method crosses as getattr(self, name), as pickle has it, where its class has
 * the function by some name: its own one or another (`alias = method`, private names,
 * which the compiler mangles). Where it has not (super(), one made by hand), it crosses
 * as MethodType(function, self).
 *
 * One that a module keeps as a function of its own, under the method's name
 * (random.choice), crosses by that name: each interpreter uses what its own module has.
 */
#include "binding/transfer/encoder.h"

/* Whether attr, found in a class, gives a method of func. */
static bool
binds(PyObject *attr, PyObject *func)
{
    if (attr == NULL || attr == func) {
        return attr != NULL;
    }
    if (!Py_IS_TYPE(attr, &PyClassMethod_Type)) {
        return false;
    }
    PyObject *inner = sipy_compat_attr(attr, "__func__");
    PyErr_Clear();
    Py_XDECREF(inner);
    return inner == func;
}

/* Whether self.name is that method; an attribute of self itself may hide it. -> 1 | 0 | -1
 */
static int
has_method(PyObject *self, PyObject *name, PyObject *func)
{
    PyObject *found;
    if (sipy_compat_get_optional(self, name, &found) < 0) {
        return -1;
    }
    bool same = found != NULL && PyMethod_Check(found) &&
                PyMethod_GET_FUNCTION(found) == func && PyMethod_GET_SELF(found) == self;
    Py_XDECREF(found);
    return same;
}

/* The first name by which one class of an mro has func. -> new reference | NULL: none */
static PyObject *
name_in(PyObject *cls, PyObject *func)
{
    PyObject *dict = PyType_GetDict((PyTypeObject *)cls);
    PyObject *name, *value, *found = NULL;
    Py_ssize_t pos = 0;
    while (dict != NULL && found == NULL && PyDict_Next(dict, &pos, &name, &value)) {
        if (PyUnicode_CheckExact(name) && binds(value, func)) {
            found = Py_NewRef(name);
        }
    }
    Py_XDECREF(dict);
    return found;
}

/* The name by which self gets func through type. -> 1 with *name | 0: none | -1 */
static int
name_through(PyTypeObject *type, PyObject *self, PyObject *func, PyObject **name)
{
    int found = 0;
    if (PyFunction_Check(func)) {
        *name = Py_NewRef(((PyFunctionObject *)func)->func_name);
        if (binds(_PyType_Lookup(type, *name), func)) {
            found = has_method(self, *name, func);
        }
    }
    PyObject *mro = Py_XNewRef(type->tp_mro);
    for (Py_ssize_t i = 0; mro != NULL && found == 0 && i < PyTuple_GET_SIZE(mro); i++) {
        Py_XSETREF(*name, name_in(PyTuple_GET_ITEM(mro, i), func));
        if (*name != NULL) {
            found = has_method(self, *name, func);
        }
    }
    Py_XDECREF(mro);
    if (found <= 0) {
        Py_CLEAR(*name);
    }
    return found;
}

/* What makes the method again: a callable and its arguments. */
static PyObject *
reduce_method(PyObject *self, PyObject *func)
{
    PyObject *name = NULL, *reduced = NULL;
    int found = 0;
    if (PyType_Check(self)) {
        found = name_through((PyTypeObject *)self, self, func, &name);
    }
    if (found == 0) {
        found = name_through(Py_TYPE(self), self, func, &name);
    }
    if (found > 0) {
        PyObject *getattr = sipy__from_module("builtins", "getattr");
        reduced = getattr == NULL ? NULL : Py_BuildValue("O(OO)", getattr, self, name);
        Py_XDECREF(getattr);
    }
    else if (found == 0) {
        reduced = Py_BuildValue("O(OO)", &PyMethod_Type, func, self);
    }
    Py_XDECREF(name);
    return reduced;
}

/* The module attribute of that name, borrowed. NULL: none, or with an exception. */
static PyObject *
kept_as(PyObject *module_name, PyObject *name)
{
    PyObject *module = PyImport_GetModule(module_name), *found = NULL;
    if (module != NULL && PyModule_Check(module)) {
        found = PyDict_GetItemWithError(PyModule_GetDict(module), name);
    }
    Py_XDECREF(module); /* sys.modules has it, too */
    return found;
}

int
sipy__enc_kept_method(sipy_encoder *e, PyObject *obj)
{
    PyObject *self = PyMethod_Check(obj)      ? PyMethod_GET_SELF(obj)
                     : PyCFunction_Check(obj) ? PyCFunction_GET_SELF(obj)
                                              : NULL;
    PyObject *module = NULL, *name = NULL;
    int result = 0;
    if (self == NULL) {
        return 0;
    }
    if (sipy_compat_get_optional((PyObject *)Py_TYPE(self), e->t->n___module__, &module) <
            0 ||
        sipy_compat_get_optional(obj, e->t->n___name__, &name) < 0) {
        result = -1;
    }
    else if (module != NULL && PyUnicode_Check(module) && name != NULL &&
             PyUnicode_Check(name) && PyUnicode_Compare(module, e->t->n___main__) != 0) {
        result = kept_as(module, name) == obj;
        if (PyErr_Occurred() || (result && sipy__enc_reference(e, obj, module, name) < 0)) {
            result = -1;
        }
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return result;
}

int
sipy__enc_method(sipy_encoder *e, PyObject *obj)
{
    bool memo;
    int begun = sipy__enc_begin_late(e, obj, &memo);
    if (begun <= 0) {
        return begun;
    }
    /* It is the method that is called; its function crosses as any other does. */
    e->calling = false;
    int kept = sipy__enc_kept_method(e, obj);
    if (kept != 0) {
        return kept < 0 ? -1 : 0;
    }
    PyObject *reduced = reduce_method(PyMethod_GET_SELF(obj), PyMethod_GET_FUNCTION(obj));
    int failed = reduced == NULL || sipy__enc_reduced(e, obj, reduced, 0, NULL, memo) < 0;
    Py_XDECREF(reduced);
    return failed ? -1 : 0;
}
