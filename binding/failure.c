/* failure.c — see failure.h. */
#include "binding/failure.h"

#include <string.h>

#include "core/base/alloc.h"

/* --- text ---------------------------------------------------------------------- */

static sipy_text
text_from_bytes(const char *data, Py_ssize_t size)
{
    sipy_text text = {si_alloc((size_t)size + 1), size};
    if (text.data == NULL) {
        text.size = 0;
        return text;
    }
    memcpy(text.data, data, (size_t)size);
    text.data[size] = '\0';
    return text;
}

/* Steals str (may be NULL, with an exception that is then cleared). */
static sipy_text
text_steal(PyObject *str)
{
    sipy_text text = {NULL, 0};
    PyObject *utf8 = NULL;
    if (str != NULL && PyUnicode_Check(str)) {
        utf8 = PyUnicode_AsEncodedString(str, "utf-8", "surrogatepass");
    }
    if (utf8 != NULL) {
        text = text_from_bytes(PyBytes_AS_STRING(utf8), PyBytes_GET_SIZE(utf8));
    }
    PyErr_Clear();
    Py_XDECREF(utf8);
    Py_XDECREF(str);
    return text;
}

static PyObject *
text_to_str(const sipy_text *text)
{
    if (text->data == NULL) {
        return PyUnicode_FromString("");
    }
    return PyUnicode_DecodeUTF8(text->data, text->size, "surrogatepass");
}

static bool
text_is(const sipy_text *text, const char *literal)
{
    return text->data != NULL && strcmp(text->data, literal) == 0;
}

/* --- in the interpreter of the exception ------------------------------------------ */

static sipy_text
capture_message(PyObject *exc, const sipy_text *name)
{
    PyObject *message = PyObject_Str(exc);
    if (message == NULL) {
        PyErr_Clear();
        message = PyUnicode_FromFormat("<unprintable %s object>",
                                       name->data == NULL ? "?" : name->data);
    }
    return text_steal(message);
}

static sipy_text
join_formatted(const sipy_failure *f)
{
    bool plain = f->module.data == NULL || text_is(&f->module, "builtins") ||
                 text_is(&f->module, "__main__");
    Py_ssize_t size =
        (plain ? 0 : f->module.size + 1) + f->qualname.size + 2 + f->message.size;
    sipy_text out = {si_alloc((size_t)size + 1), size};
    if (out.data == NULL) {
        out.size = 0;
        return out;
    }
    char *at = out.data;
    const sipy_text *const parts[] = {plain ? NULL : &f->module, &f->qualname, &f->message};
    const char *const after[] = {".", ": ", ""};
    for (int i = 0; i < 3; i++) {
        if (parts[i] == NULL) {
            continue;
        }
        if (parts[i]->data != NULL) {
            memcpy(at, parts[i]->data, (size_t)parts[i]->size);
            at += parts[i]->size;
        }
        size_t length = strlen(after[i]);
        memcpy(at, after[i], length);
        at += length;
    }
    *at = '\0';
    out.size = at - out.data;
    return out;
}

/* The traceback as the traceback module writes it, or absent. */
static sipy_text
capture_display(PyObject *exc)
{
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines = NULL;
    PyObject *empty = NULL;
    PyObject *text = NULL;
    if (module != NULL) {
        lines = sipy_compat_method(module, "format_exception", exc);
    }
    if (lines != NULL) {
        empty = PyUnicode_FromString("");
    }
    if (empty != NULL) {
        text = PyUnicode_Join(empty, lines);
    }
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    sipy_text out = text_steal(text);
    if (out.data != NULL && out.size > 0 && out.data[out.size - 1] == '\n') {
        out.data[--out.size] = '\0';
    }
    return out;
}

/* A text attribute of a type object. */
static sipy_text
type_text(PyObject *type, const char *attribute)
{
    return text_steal(sipy_compat_attr(type, attribute));
}

/* Whether an interrupt was raised since there were so many. Each step of a description may
 * run code of anybody, and swallows what that raises: the next one must not begin. */
static bool
is_interrupted(const sipy_home *home, uint32_t interrupts)
{
    return home != NULL && si_load_relaxed(&home->interp->interrupts) != interrupts;
}

void
sipy_failure_capture(sipy_failure *out, sipy_home *home)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (exc == NULL) {
        out->name = text_from_bytes("SystemError", 11);
        out->qualname = text_from_bytes("SystemError", 11);
        out->message = text_from_bytes("a call failed without an exception", 34);
        out->formatted = join_formatted(out);
        return;
    }
    uint32_t interrupts = home == NULL ? 0 : si_load_relaxed(&home->interp->interrupts);
    PyObject *type = (PyObject *)Py_TYPE(exc);
    out->name = type_text(type, "__name__");
    out->qualname = type_text(type, "__qualname__");
    out->module = type_text(type, "__module__");
    out->message = capture_message(exc, &out->name);
    out->formatted = join_formatted(out);
    if (!is_interrupted(home, interrupts)) {
        out->display = capture_display(exc);
    }
    if (out->display.data == NULL && out->formatted.data != NULL) {
        out->display = text_from_bytes(out->formatted.data, out->formatted.size);
    }
    sipy_image_init(&out->original);
    out->has_original = home != NULL && !is_interrupted(home, interrupts) &&
                        sipy_encode(home->transfer, exc, SIPY_FAILED, &out->original) == 0;
    if (!out->has_original) {
        PyErr_Clear(); /* then only its text crosses */
        sipy_image_fini(&out->original);
    }
    Py_DECREF(exc);
    PyErr_Clear();
}

/* --- in the interpreter of the caller --------------------------------------------- */

/* Sets one attribute, stealing value (NULL: an exception is set). -> 0 | -1 */
static int
set_steal(PyObject *obj, const char *name, PyObject *value)
{
    int result = value == NULL ? -1 : PyObject_SetAttrString(obj, name, value);
    Py_XDECREF(value);
    return result;
}

static PyObject *
make_type_info(const sipy_failure *f, sipy_state *state)
{
    PyObject *info = PyObject_CallNoArgs(state->SimpleNamespace);
    if (info != NULL && (set_steal(info, "__name__", text_to_str(&f->name)) < 0 ||
                         set_steal(info, "__qualname__", text_to_str(&f->qualname)) < 0 ||
                         set_steal(info, "__module__", text_to_str(&f->module)) < 0)) {
        Py_CLEAR(info);
    }
    return info;
}

static PyObject *
make_excinfo(const sipy_failure *f, sipy_state *state)
{
    PyObject *info = PyObject_CallNoArgs(state->SimpleNamespace);
    if (info == NULL || set_steal(info, "type", make_type_info(f, state)) < 0 ||
        set_steal(info, "msg", text_to_str(&f->message)) < 0 ||
        set_steal(info, "formatted", text_to_str(&f->formatted)) < 0 ||
        (f->display.data != NULL &&
         set_steal(info, "errdisplay", text_to_str(&f->display)) < 0)) {
        Py_CLEAR(info);
    }
    return info;
}

/* The exception object itself, or None where it could not cross. -> NULL with
 * KeyboardInterrupt, if that ended it */
static PyObject *
make_original(const sipy_failure *f, sipy_home *home)
{
    PyObject *original = NULL;
    if (f->has_original) {
        original = sipy_decode(home->transfer, &f->original);
        if (original == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            return NULL;
        }
        if (original == NULL) {
            PyErr_Clear(); /* its class exists only on the other side */
        }
        else if (!PyExceptionInstance_Check(original)) {
            Py_CLEAR(original); /* what its __reduce__ gave makes something else */
        }
    }
    return original == NULL ? Py_NewRef(Py_None) : original;
}

/* Makes failed the cause of original where that has none, so that the traceback of the
 * other side is shown with it. Its own cause and its other attributes stay. */
static void
explain(PyObject *original, PyObject *failed)
{
    PyObject *cause = PyException_GetCause(original);
    if (cause == NULL) {
        bool suppress = ((PyBaseExceptionObject *)original)->suppress_context;
        PyException_SetCause(original, Py_NewRef(failed));
        ((PyBaseExceptionObject *)original)->suppress_context = suppress;
    }
    Py_XDECREF(cause);
}

PyObject *
sipy_failure_raise(const sipy_failure *failure, sipy_home *home, sipy_state *state)
{
    PyObject *excinfo = make_excinfo(failure, state);
    PyObject *error =
        excinfo == NULL ? NULL : PyObject_CallOneArg(state->ExecutionFailed, excinfo);
    Py_XDECREF(excinfo);
    PyObject *original = error == NULL ? NULL : make_original(failure, home);
    if (original != NULL && original != Py_None) {
        explain(original, error);
    }
    if (error != NULL && set_steal(error, "original", original) == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_XDECREF(error);
    return NULL;
}

PyObject *
sipy_failure_raise_to_caller(const sipy_failure *failure, sipy_home *home,
                             sipy_state *state)
{
    if (sipy_process_exiting() && text_is(&failure->name, "SystemExit")) {
        PyErr_SetNone(PyExc_SystemExit);
        return NULL;
    }
    return sipy_failure_raise(failure, home, state);
}

/* --- stand-ins -------------------------------------------------------------------- */

/* The texts of a stand-in, from what is told of the exception. */
static sipy_failure
read_told(PyObject *told)
{
    sipy_failure f = {0};
    sipy_text *const texts[] = {&f.name, &f.qualname, &f.module, &f.message};
    for (int i = 0; i < 4; i++) {
        *texts[i] = text_steal(Py_NewRef(PyTuple_GET_ITEM(told, i)));
    }
    f.formatted = join_formatted(&f);
    PyObject *formatted = text_to_str(&f.formatted);
    PyObject *lines = PyTuple_GET_ITEM(told, 4);
    PyObject *display = NULL;
    if (formatted != NULL) {
        display = PyUnicode_GET_LENGTH(lines) == 0
                      ? Py_NewRef(formatted)
                      : PyUnicode_FromFormat("Traceback (most recent call last):\n%U\n%U",
                                             lines, formatted);
    }
    Py_XDECREF(formatted);
    f.display = text_steal(display);
    return f;
}

static int
add_note(PyObject *exc, PyObject *note)
{
    PyObject *done = note == NULL ? NULL : sipy_compat_method(exc, "add_note", note);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *
stand_in_of(sipy_state *state, PyObject *told, PyObject *reason)
{
    sipy_failure failure = read_told(told);
    PyObject *excinfo = make_excinfo(&failure, state);
    PyObject *error =
        excinfo == NULL ? NULL : PyObject_CallOneArg(state->ExecutionFailed, excinfo);
    sipy_failure_fini(&failure);
    Py_XDECREF(excinfo);
    int failed = error == NULL ? -1 : PyObject_SetAttrString(error, "original", Py_None);
    for (Py_ssize_t i = 5; !failed && i < PyTuple_GET_SIZE(told); i++) {
        failed = add_note(error, PyTuple_GET_ITEM(told, i));
    }
    if (!failed) {
        PyObject *note = PyUnicode_FromFormat(
            "It stands for an exception that cannot cross: %U", reason);
        failed = add_note(error, note);
        Py_XDECREF(note);
    }
    if (failed) {
        Py_CLEAR(error);
    }
    return error;
}

PyObject *
sipy_failure_stand_in(void *owner, PyObject *told, PyObject *reason)
{
    sipy_home *home = owner;
    if (home->state == NULL) {
        PyObject *module = PyImport_ImportModule("subinterpreters._core");
        if (module == NULL) {
            return NULL;
        }
        Py_DECREF(module);
    }
    sipy_state *state = home->state;
    if (state == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this interpreter is being finalized");
        return NULL;
    }
    return told == Py_None ? PyObject_CallOneArg(state->NotShareableError, reason)
                           : stand_in_of(state, told, reason);
}

PyObject *
sipy_failure_raise_as(const sipy_failure *failure, PyObject *error, const char *prefix)
{
    PyObject *formatted = text_to_str(&failure->formatted);
    if (formatted != NULL) {
        PyErr_Format(error, "%s: %U", prefix, formatted);
        Py_DECREF(formatted);
    }
    return NULL;
}

PyObject *
sipy_failure_raise_not_crossed(const sipy_failure *failure, sipy_state *state,
                               const char *what)
{
    bool memory =
        text_is(&failure->name, "MemoryError") && text_is(&failure->module, "builtins");
    return sipy_failure_raise_as(
        failure, memory ? PyExc_MemoryError : state->NotShareableError, what);
}

void
sipy_failure_fini(sipy_failure *failure)
{
    sipy_text *const texts[] = {&failure->name,    &failure->qualname,  &failure->module,
                                &failure->message, &failure->formatted, &failure->display};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(texts); i++) {
        si_free(texts[i]->data);
        texts[i]->data = NULL;
    }
    if (failure->has_original) {
        sipy_image_fini(&failure->original);
        failure->has_original = false;
    }
}
