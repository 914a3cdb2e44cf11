/* errors.c — the exceptions of the module.
 *
 * Where CPython has the class already (InterpreterError from 3.13, NotShareableError from
 * 3.14), it is CPython's own, so that an except clause of either module catches both.
 */
#include "binding/state.h"

PyDoc_STRVAR(InterpreterError_doc, "An interpreter-related operation failed.");
PyDoc_STRVAR(InterpreterNotFoundError_doc, "The interpreter does not exist any more.");
PyDoc_STRVAR(NotShareableError_doc, "The object cannot be sent to another interpreter.");
PyDoc_STRVAR(QueueError_doc, "A queue-related operation failed.");
PyDoc_STRVAR(QueueNotFoundError_doc, "The queue does not exist any more.");
PyDoc_STRVAR(QueueEmpty_doc, "The queue had no item (in time); also a queue.Empty.");
PyDoc_STRVAR(QueueFull_doc, "The queue had no room (in time); also a queue.Full.");
PyDoc_STRVAR(ItemInterpreterDestroyed_doc,
             "The interpreter that put the item has ended (see UNBOUND_ERROR).");
PyDoc_STRVAR(ExecutionFailed_doc,
             "Code in another interpreter raised an exception that it did not catch.\n\n"
             "excinfo   a snapshot of it: type (__name__, __qualname__, __module__), msg,\n"
             "          formatted (one line) and errdisplay (the whole traceback)\n"
             "original  the exception itself where it could cross, else None");

/* --- ExecutionFailed --------------------------------------------------------------- */

/* The one-line text of an excinfo, as CPython's class makes it. New reference or NULL. */
static PyObject *
line_of(PyObject *excinfo)
{
    if (PyUnicode_Check(excinfo)) {
        return Py_NewRef(excinfo); /* how unpickling calls us; excinfo follows */
    }
    PyObject *formatted = sipy_compat_attr(excinfo, "formatted");
    if (formatted == NULL || PyObject_IsTrue(formatted) == 1) {
        return formatted;
    }
    Py_DECREF(formatted);
    PyObject *type = sipy_compat_attr(excinfo, "type");
    PyObject *name = type == NULL ? NULL : sipy_compat_attr(type, "__name__");
    PyObject *message = name == NULL ? NULL : sipy_compat_attr(excinfo, "msg");
    PyObject *line = NULL;
    if (message != NULL) {
        line = PyObject_IsTrue(message) == 1 ? PyUnicode_FromFormat("%S: %S", name, message)
                                             : Py_NewRef(name);
    }
    Py_XDECREF(message);
    Py_XDECREF(name);
    Py_XDECREF(type);
    return line;
}

static int
failed_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"excinfo", NULL};
    PyObject *excinfo;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:ExecutionFailed", keywords,
                                     &excinfo)) {
        return -1;
    }
    PyObject *line = line_of(excinfo);
    PyObject *new_args = line == NULL ? NULL : PyTuple_Pack(1, line);
    int result = -1;
    if (new_args != NULL) {
        result = PyObject_SetAttrString(self, "args", new_args);
    }
    if (result == 0 && excinfo != line) {
        result = PyObject_SetAttrString(self, "excinfo", excinfo);
    }
    Py_XDECREF(new_args);
    Py_XDECREF(line);
    return result;
}

static PyObject *
failed_str(PyObject *self)
{
    PyObject *line = ((PyTypeObject *)PyExc_BaseException)->tp_str(self);
    PyObject *excinfo = line == NULL ? NULL : sipy_compat_attr(self, "excinfo");
    PyObject *display = excinfo == NULL ? NULL : sipy_compat_attr(excinfo, "errdisplay");
    Py_XDECREF(excinfo);
    if (line == NULL || display == NULL) {
        PyErr_Clear(); /* no traceback crossed: the line is all there is */
        return line;
    }
    PyObject *text =
        PyUnicode_FromFormat("%U\n\nUncaught in the interpreter:\n\n%S", line, display);
    Py_DECREF(display);
    Py_DECREF(line);
    return text;
}

static PyType_Slot failed_slots[] = {
    {Py_tp_doc, (void *)ExecutionFailed_doc},
    {Py_tp_init, failed_init},
    {Py_tp_str, failed_str},
    {0, NULL},
};

static PyType_Spec failed_spec = {
    .name = "subinterpreters.ExecutionFailed",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, /* GC as its base class */
    .slots = failed_slots,
};

/* --- the others -------------------------------------------------------------------- */

/* A class that bases (a class, or two with second) derive. New reference or NULL. */
static PyObject *
new_error(const char *name, const char *doc, PyObject *base, PyObject *second)
{
    PyObject *bases = second == NULL ? Py_NewRef(base) : PyTuple_Pack(2, base, second);
    PyObject *error =
        bases == NULL ? NULL : PyErr_NewExceptionWithDoc(name, doc, bases, NULL);
    Py_XDECREF(bases);
    return error;
}

/* name of module, or NULL. */
static PyObject *
from_module(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module == NULL ? NULL : sipy_compat_attr(module, name);
    Py_XDECREF(module);
    return value;
}

static int
make_interpreter_errors(sipy_state *state)
{
    state->InterpreterError = sipy_compat_interpreter_error();
    state->InterpreterNotFoundError = sipy_compat_not_found_error();
    state->NotShareableError = sipy_compat_not_shareable_error();
    if (PyErr_Occurred()) {
        return -1;
    }
    if (state->InterpreterError == NULL) {
        state->InterpreterError = new_error("subinterpreters.InterpreterError",
                                            InterpreterError_doc, PyExc_Exception, NULL);
    }
    if (state->InterpreterError != NULL && state->InterpreterNotFoundError == NULL) {
        state->InterpreterNotFoundError =
            new_error("subinterpreters.InterpreterNotFoundError",
                      InterpreterNotFoundError_doc, state->InterpreterError, NULL);
    }
    if (state->NotShareableError == NULL) {
        state->NotShareableError = new_error("subinterpreters.NotShareableError",
                                             NotShareableError_doc, PyExc_TypeError, NULL);
    }
    return state->InterpreterError == NULL || state->InterpreterNotFoundError == NULL ||
                   state->NotShareableError == NULL
               ? -1
               : 0;
}

static int
make_queue_errors(sipy_state *state)
{
    PyObject *empty = from_module("queue", "Empty");
    PyObject *full = empty == NULL ? NULL : from_module("queue", "Full");
    if (full != NULL) {
        state->QueueError = new_error("subinterpreters.QueueError", QueueError_doc,
                                      PyExc_RuntimeError, NULL);
    }
    PyObject *base = state->QueueError;
    if (base != NULL) {
        state->QueueNotFoundError = new_error("subinterpreters.QueueNotFoundError",
                                              QueueNotFoundError_doc, base, NULL);
        state->QueueEmpty =
            new_error("subinterpreters.QueueEmpty", QueueEmpty_doc, base, empty);
        state->QueueFull =
            new_error("subinterpreters.QueueFull", QueueFull_doc, base, full);
        state->ItemInterpreterDestroyed =
            new_error("subinterpreters.ItemInterpreterDestroyed",
                      ItemInterpreterDestroyed_doc, base, NULL);
    }
    Py_XDECREF(full);
    Py_XDECREF(empty);
    return base == NULL || state->QueueNotFoundError == NULL || state->QueueEmpty == NULL ||
                   state->QueueFull == NULL || state->ItemInterpreterDestroyed == NULL
               ? -1
               : 0;
}

int
sipy_errors_add(PyObject *module, sipy_state *state)
{
    if (make_interpreter_errors(state) < 0 || make_queue_errors(state) < 0) {
        return -1;
    }
    state->ExecutionFailed =
        PyType_FromModuleAndSpec(module, &failed_spec, state->InterpreterError);
    const struct {
        const char *name;
        PyObject *error;
    } all[] = {
        {"InterpreterError", state->InterpreterError},
        {"InterpreterNotFoundError", state->InterpreterNotFoundError},
        {"NotShareableError", state->NotShareableError},
        {"ExecutionFailed", state->ExecutionFailed},
        {"QueueError", state->QueueError},
        {"QueueNotFoundError", state->QueueNotFoundError},
        {"QueueEmpty", state->QueueEmpty},
        {"QueueFull", state->QueueFull},
        {"ItemInterpreterDestroyed", state->ItemInterpreterDestroyed},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(all); i++) {
        if (PyModule_AddObjectRef(module, all[i].name, all[i].error) < 0) {
            return -1;
        }
    }
    return 0;
}
