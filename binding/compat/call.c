/* call.c — calling builtins that want a frame, on CPython before 3.14.
 *
 * Since 3.14 they fall back to the namespace of __main__ by themselves (gh-132776). For
 * the others a frame is made: the code of "f(*a, **k)" with its names turned into
 * constants, so that nothing is added to the namespace that it runs in. Drop all but
 * the plain call with 3.13.
 */
#include "binding/compat/compat.h"

#include <opcode.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x030E0000
PyObject *
sipy_compat_call(PyObject *func, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(func, args, nargsf, kwnames);
}
#else
static bool
wants_frame(PyObject *func)
{
    static const char *const names[] = {"eval", "exec", "dir", "vars", "locals", "globals"};
    if (!PyCFunction_CheckExact(func) || PyCFunction_GET_SELF(func) == NULL ||
        !PyModule_Check(PyCFunction_GET_SELF(func)) ||
        PyModule_GetDict(PyCFunction_GET_SELF(func)) != PyEval_GetBuiltins()) {
        return false;
    }
    const char *name = ((PyCFunctionObject *)func)->m_ml->ml_name;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* code with each LOAD_NAME made a LOAD_CONST of the same number from consts. */
static PyObject *
with_constants(PyObject *code, PyObject *consts)
{
    PyObject *bytecode = PyCode_GetCode((PyCodeObject *)code);
    PyObject *patched = NULL;
    if (bytecode != NULL) {
        patched = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytecode),
                                            PyBytes_GET_SIZE(bytecode));
        Py_DECREF(bytecode);
    }
    if (patched == NULL) {
        return NULL;
    }
    char *unit = PyBytes_AS_STRING(patched);
    for (Py_ssize_t i = 0; i < PyBytes_GET_SIZE(patched); i += 2) {
        if ((unsigned char)unit[i] == LOAD_NAME) {
            unit[i] = (char)LOAD_CONST;
        }
    }
    PyObject *replace = PyObject_GetAttrString(code, "replace");
    PyObject *fields = Py_BuildValue("{sOsO}", "co_code", patched, "co_consts", consts);
    PyObject *nothing = PyTuple_New(0);
    PyObject *result = NULL;
    if (replace != NULL && fields != NULL && nothing != NULL) {
        result = PyObject_Call(replace, nothing, fields);
    }
    Py_XDECREF(nothing);
    Py_XDECREF(fields);
    Py_XDECREF(replace);
    Py_DECREF(patched);
    return result;
}

/* (func, positional arguments, keyword arguments), or NULL. */
static PyObject *
pack(PyObject *func, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *positional = PyTuple_New(nargs);
    PyObject *keywords = PyDict_New();
    int result = positional == NULL || keywords == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < nargs; i++) {
        PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
    }
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; result == 0 && i < named; i++) {
        result = PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]);
    }
    PyObject *packed = result < 0 ? NULL : PyTuple_Pack(3, func, positional, keywords);
    Py_XDECREF(keywords);
    Py_XDECREF(positional);
    return packed;
}

PyObject *
sipy_compat_call(PyObject *func, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    if (!wants_frame(func)) {
        return PyObject_Vectorcall(func, args, nargsf, kwnames);
    }
    PyObject *main_module = PyImport_AddModule("__main__"); /* borrowed */
    if (main_module == NULL) {
        return NULL;
    }
    PyObject *main_ns = PyModule_GetDict(main_module);
    PyObject *consts = pack(func, args, PyVectorcall_NARGS(nargsf), kwnames);
    PyObject *plain =
        consts == NULL ? NULL : Py_CompileString("f(*a, **k)", "<call>", Py_eval_input);
    PyObject *code = plain == NULL ? NULL : with_constants(plain, consts);
    PyObject *result = code == NULL ? NULL : PyEval_EvalCode(code, main_ns, main_ns);
    Py_XDECREF(code);
    Py_XDECREF(plain);
    Py_XDECREF(consts);
    return result;
}
#endif
