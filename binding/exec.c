/* exec.c — Interpreter.exec(); see execute.h.
 *
 * A source text is looked up in the target's cache inside the exclusive entry. If it is
 * not there, the entry is given back and the text is compiled in the caller, so that
 * a SyntaxError is raised there as it is; the code then crosses marshalled.
 */
#include "binding/execute.h"
#include "binding/failure.h"
#include "binding/run.h"
#include "binding/transfer/transfer.h"

#define DOING "exec code for"

/* Whether func would find the builtins that code finds which __main__ runs now. */
static bool
has_builtins(const sipy_home *home, PyObject *func)
{
    PyObject *builtins = PyDict_GetItemWithError(home->main_ns, home->name_builtins);
    if (builtins != NULL && PyModule_Check(builtins)) {
        builtins = PyModule_GetDict(builtins);
    }
    return builtins != NULL && builtins == ((PyFunctionObject *)func)->func_builtins;
}

/* A function runs module code just as well (code without CO_OPTIMIZED has the globals as
 * its locals), and need not be made anew each time. */
static PyObject *
run_code(const sipy_home *home, PyObject *code)
{
    if (PyFunction_Check(code)) {
        if (SI_LIKELY(has_builtins(home, code))) {
            return PyObject_CallNoArgs(code);
        }
        code = PyFunction_GET_CODE(code);
    }
    return PyEval_EvalCode(code, home->main_ns, home->main_ns);
}

/* Evaluates code, or a function of the cache, in __main__ of the interpreter that run is
 * attached to. Steals code. -> true | false with failure filled */
static bool
evaluate(sipy_run *run, PyObject *code, sipy_failure *failure)
{
    sipy_home *home = run->interp->home;
    PyObject *result = code == NULL ? NULL : run_code(home, code);
    sipy_run_returned(run);
    if (result == NULL) {
        sipy_failure_capture(failure, home);
    }
    Py_XDECREF(code);
    Py_XDECREF(result);
    return result != NULL;
}

static PyObject *
finish(sipy_run *run, sipy_state *state, bool ok, sipy_failure *failure)
{
    sipy_run_detach(run);
    sipy_run_end(run);
    if (!ok) {
        sipy_home *home = sipy_home_of(state);
        if (home != NULL) {
            sipy_failure_raise_to_caller(failure, home, state);
        }
        sipy_failure_fini(failure);
    }
    return sipy_run_conclude(run, state, ok ? Py_NewRef(Py_None) : NULL);
}

/* Runs marshalled code in the run that has begun; remembers it under text if that is not
 * NULL. */
static PyObject *
exec_marshalled(sipy_run *run, sipy_state *state, PyObject *bytes, PyObject *text,
                bool dedent)
{
    sipy_failure failure = {0};
    const char *data = PyBytes_AS_STRING(bytes);
    Py_ssize_t size = PyBytes_GET_SIZE(bytes);
    sipy_run_attach(run);
    sipy_home *home = run->interp->home;
    PyObject *code = PyMarshal_ReadObjectFromString(data, size);
    if (code != NULL && text != NULL) {
        Py_SETREF(code, PyFunction_New(code, home->main_ns));
        if (code != NULL) {
            sipy_sources_put(&home->sources, text, dedent, code);
        }
    }
    bool ok = evaluate(run, code, &failure);
    return finish(run, state, ok, &failure);
}

static PyObject *
compile_text(const sipy_state *state, PyObject *text)
{
    /* The file name and optimization level of CPython's own module. dont_inherit: the
     * future statements of whoever calls us are not the script's. */
    return PyObject_CallFunction(state->compile, "Ossiii", text, "<script>", "exec", 0, 1,
                                 0);
}

static PyObject *
exec_code(sipy_state *state, sipy_interp *interp, PyObject *code)
{
    sipy_run run;
    PyObject *result = NULL;
    PyObject *bytes = sipy_marshal_code(code);
    if (bytes != NULL && sipy_run_begin(&run, state, interp, DOING) == 0) {
        result = exec_marshalled(&run, state, bytes, NULL, false);
    }
    Py_XDECREF(bytes);
    return result;
}

/* A str that the cache does not have, in the run that has begun. */
static PyObject *
exec_new_text(sipy_run *run, sipy_state *state, PyObject *text, bool dedent)
{
    PyObject *plain = dedent ? sipy_dedent(text) : Py_NewRef(text);
    PyObject *code = plain == NULL ? NULL : compile_text(state, plain);
    PyObject *bytes = code == NULL ? NULL : sipy_marshal_code(code);
    Py_XDECREF(plain);
    Py_XDECREF(code);
    if (bytes == NULL) {
        sipy_run_end(run);
        return NULL;
    }
    PyObject *result = exec_marshalled(run, state, bytes, text, dedent);
    Py_DECREF(bytes);
    return result;
}

static PyObject *
exec_text(sipy_state *state, sipy_interp *interp, PyObject *text, bool dedent)
{
    sipy_run run;
    sipy_failure failure = {0};
    if (PyObject_Hash(text) == -1 || sipy_run_begin(&run, state, interp, DOING) < 0) {
        return NULL;
    }
    PyObject *code = sipy_sources_find(&interp->home->sources, text, dedent);
    if (code == NULL) {
        return exec_new_text(&run, state, text, dedent);
    }
    sipy_run_attach(&run);
    bool ok = evaluate(&run, Py_NewRef(code), &failure);
    return finish(&run, state, ok, &failure);
}

/* Dedents source bytes: indentation and newlines are the same bytes in every encoding
 * that a coding cookie can name, so a Latin-1 view of them will do. */
static PyObject *
dedent_bytes(PyObject *bytes)
{
    PyObject *view =
        PyUnicode_DecodeLatin1(PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), NULL);
    PyObject *plain = view == NULL ? NULL : sipy_dedent(view);
    PyObject *result = plain == NULL ? NULL : PyUnicode_AsLatin1String(plain);
    Py_XDECREF(plain);
    Py_XDECREF(view);
    return result;
}

/* bytes-like source: compiled each time, as the compiler decodes it. */
static PyObject *
exec_bytes(sipy_state *state, sipy_interp *interp, PyObject *source, bool dedent)
{
    PyObject *bytes = PyBytes_FromObject(source);
    if (bytes != NULL && dedent) {
        Py_SETREF(bytes, dedent_bytes(bytes));
    }
    PyObject *code = bytes == NULL ? NULL : compile_text(state, bytes);
    PyObject *result = code == NULL ? NULL : exec_code(state, interp, code);
    Py_XDECREF(code);
    Py_XDECREF(bytes);
    return result;
}

/* An instance of a subclass of str. */
static PyObject *
exec_str_subclass(sipy_state *state, sipy_interp *interp, PyObject *source, bool dedent)
{
    PyObject *text = PyUnicode_FromObject(source);
    PyObject *result = text == NULL ? NULL : exec_text(state, interp, text, dedent);
    Py_XDECREF(text);
    return result;
}

/* Whether code can be run as a script. -> 0 | -1 with ValueError set */
static int
check_script(PyCodeObject *code)
{
    const char *why = NULL;
    int only_none = sipy_compat_returns_only_none(code);
    if (only_none < 0) {
        return -1;
    }
    if (code->co_nfreevars > 0) {
        why = "closures not supported";
    }
    else if (code->co_argcount > 0 || code->co_posonlyargcount > 0 ||
             code->co_kwonlyargcount > 0 ||
             (code->co_flags & (CO_VARARGS | CO_VARKEYWORDS)) != 0) {
        why = "code with args not supported";
    }
    else if (!only_none ||
             (code->co_flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR)) != 0) {
        why = "code that returns a value is not a script";
    }
    if (why != NULL) {
        PyErr_SetString(PyExc_ValueError, why);
        return -1;
    }
    return 0;
}

PyObject *
sipy_execute(sipy_state *state, sipy_interp *interp, PyObject *code, bool dedent)
{
    if (PyUnicode_CheckExact(code)) {
        return exec_text(state, interp, code, dedent);
    }
    if (PyUnicode_Check(code)) {
        return exec_str_subclass(state, interp, code, dedent);
    }
    if (PyObject_CheckBuffer(code)) {
        return exec_bytes(state, interp, code, dedent);
    }
    PyObject *script = PyFunction_Check(code) ? PyFunction_GET_CODE(code) : code;
    if (!PyCode_Check(script)) {
        PyErr_Format(PyExc_TypeError, "unsupported script %R", code);
        return NULL;
    }
    if (check_script((PyCodeObject *)script) < 0) {
        return NULL;
    }
    return exec_code(state, interp, script);
}
