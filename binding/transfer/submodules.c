/* submodules.c — submodules that a function which crosses by value needs.
 *
 * After `import logging.handlers` a function has `logging` among its globals, and finds
 * the rest as an attribute: importing what it names would not give the receiver that. So a
 * description also says which submodules of its packages are loaded here and have names
 * that its code has.
 */
#include "binding/transfer/functions.h"

/* Adds all names in code to names, those of attributes among them. */
static int
add_all_names(PyObject *names, PyCodeObject *code)
{
    int failed = Py_EnterRecursiveCall(" while reading code");
    if (failed) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_names) && !failed; i++) {
        failed = PySet_Add(names, PyTuple_GET_ITEM(code->co_names, i));
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_consts) && !failed; i++) {
        PyObject *constant = PyTuple_GET_ITEM(code->co_consts, i);
        if (PyCode_Check(constant)) {
            failed = add_all_names(names, (PyCodeObject *)constant);
        }
    }
    Py_LeaveRecursiveCall();
    return failed ? -1 : 0;
}

/* The submodule of package that it has under that name. -> 1 with *submodule and its full
 * name | 0 none | -1 */
static int
submodule_of(PyObject *package, PyObject *name, PyObject **submodule, PyObject **full)
{
    PyObject *attr = PyDict_GetItemWithError(PyModule_GetDict(package), name);
    if (attr == NULL || !PyModule_Check(attr)) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *prefix = PyModule_GetNameObject(package);
    *full = prefix == NULL ? NULL : PyUnicode_FromFormat("%U.%U", prefix, name);
    *submodule = *full == NULL ? NULL : PyImport_GetModule(*full);
    Py_XDECREF(prefix);
    if (*submodule != attr) {
        Py_CLEAR(*submodule);
        Py_CLEAR(*full);
        return PyErr_Occurred() ? -1 : 0;
    }
    return 1;
}

/* Adds what names, a set, can mean below value to found, a list. */
static int
add_below(PyObject *found, PyObject *value, PyObject *names)
{
    if (!PyModule_Check(value)) {
        return 0;
    }
    PyObject *name, *iterator = PyObject_GetIter(names);
    int failed = iterator == NULL || Py_EnterRecursiveCall(" while looking for modules");
    if (failed) {
        Py_XDECREF(iterator);
        return -1;
    }
    while (!failed && (name = PyIter_Next(iterator)) != NULL) {
        PyObject *submodule = NULL, *full = NULL;
        int is = submodule_of(value, name, &submodule, &full);
        failed = is < 0 || (is > 0 && (PyList_Append(found, full) < 0 ||
                                       add_below(found, submodule, names) < 0));
        Py_XDECREF(submodule);
        Py_XDECREF(full);
        Py_DECREF(name);
    }
    Py_LeaveRecursiveCall();
    Py_DECREF(iterator);
    return failed || PyErr_Occurred() ? -1 : 0;
}

int
sipy__enc_submodules(sipy_encoder *e, PyFunctionObject *func, PyObject *needs)
{
    PyObject *found = PyList_New(0), *names = PySet_New(NULL), *key, *value;
    int failed = found == NULL || names == NULL ||
                 add_all_names(names, (PyCodeObject *)func->func_code) < 0;
    Py_ssize_t pos = 0;
    while (!failed && PyDict_Next(needs, &pos, &key, &value)) {
        failed = add_below(found, value, names);
    }
    Py_ssize_t cells =
        func->func_closure == NULL ? 0 : PyTuple_GET_SIZE(func->func_closure);
    for (Py_ssize_t i = 0; i < cells && !failed; i++) {
        value = PyCell_Get(PyTuple_GET_ITEM(func->func_closure, i));
        failed = value != NULL && add_below(found, value, names) < 0;
        Py_XDECREF(value);
    }
    failed = failed || sipy__encode_value(e, found) < 0;
    Py_XDECREF(found);
    Py_XDECREF(names);
    return failed ? -1 : 0;
}

int
sipy__dec_submodules(sipy_decoder *d)
{
    PyObject *list = sipy__decode_value(d);
    if (list != NULL && !PyList_CheckExact(list)) {
        sipy__damaged(d);
        Py_CLEAR(list);
    }
    int failed = list == NULL;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(list); i++) {
        PyObject *name = PyList_GET_ITEM(list, i);
        if (!PyUnicode_Check(name)) {
            sipy__damaged(d);
            failed = 1;
            break;
        }
        PyObject *top = PyImport_Import(name);
        if (top == NULL && PyErr_ExceptionMatches(PyExc_ImportError)) {
            PyErr_Clear(); /* the code may mean something else by the name */
        }
        failed = top == NULL && PyErr_Occurred();
        Py_XDECREF(top);
    }
    Py_XDECREF(list);
    return failed ? -1 : 0;
}
