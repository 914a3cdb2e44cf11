/* type_interpreter.c — Interpreter: a handle of one interpreter of the process.
 *
 * There is one object per id in each interpreter. It refers to the process-wide record,
 * if there is one: an interpreter that somebody else has made gets a record only when
 * our module is imported there. The last handle anywhere ends an interpreter of ours.
 */
#include "binding/args.h"
#include "binding/crossers.h"
#include "binding/execute.h"
#include "binding/interp_extras.h"
#include "binding/known.h"
#include "binding/lifecycle.h"
#include "binding/listing.h"
#include "binding/pool/spares.h"
#include "binding/run.h"
#include "core/base/alloc.h"

sipy_interp *
sipy_interpreter_record(sipy_interpreter *self)
{
    if (self->interp == NULL) {
        self->interp = sipy_interp_find(self->id);
        if (self->interp != NULL) {
            sipy_handle_hold(self->interp);
        }
    }
    return self->interp;
}

sipy_interp *
sipy_interpreter_driven(sipy_interpreter *self, const char *what)
{
    sipy_interp *interp = sipy_interpreter_record(self);
    if (interp != NULL) {
        return interp;
    }
    if (!sipy_compat_exists(self->id)) {
        sipy_raise_not_found(self->state, self->id);
    }
    else {
        PyErr_Format(self->state->InterpreterError,
                     "cannot %s unrecognized interpreter %lld", what, (long long)self->id);
    }
    return NULL;
}

/* --- making objects ---------------------------------------------------------------- */

/* What CPython's own module says of the interpreters that it can drive: scripts tell by
 * it which ones they may use. */
static const char whence_of_ours[] = "_interpreters module";

/* CPython's word for where interpreter id came from, or NULL with
 * InterpreterNotFoundError set if there is none. */
static const char *
find_whence(const sipy_state *state, int64_t id, const sipy_interp *interp)
{
    if (interp != NULL && interp->origin == SIPY_OURS) {
        if (si_gate_is_closed(&interp->gate) && interp != state->interp) {
            sipy_raise_not_found(state, id);
            return NULL;
        }
        return whence_of_ours;
    }
    PyInterpreterState *native = sipy_compat_find(id);
    if (native == NULL) {
        PyErr_Clear();
        sipy_raise_not_found(state, id);
        return NULL;
    }
    return sipy_compat_whence(native);
}

/* A new object for id; takes over the reference interp (may be NULL). */
static PyObject *
make_object(PyTypeObject *type, sipy_state *state, int64_t id, sipy_interp *interp)
{
    const char *whence = find_whence(state, id, interp);
    sipy_interpreter *self =
        whence == NULL ? NULL : (sipy_interpreter *)type->tp_alloc(type, 0);
    if (self == NULL) {
        sipy_interp_drop(interp);
        return NULL;
    }
    self->state = state;
    self->interp = interp;
    self->id = id;
    self->whence = whence;
    if (interp != NULL) {
        sipy_handle_hold(interp);
    }
    if (sipy_known_put(state->known_interpreters, id, (PyObject *)self) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

PyObject *
sipy_interpreter_for(PyTypeObject *type, sipy_state *state, int64_t id)
{
    sipy_interp *interp = sipy_interp_find(id);
    PyObject *self = sipy_known_get(state->known_interpreters, id);
    if (self != NULL && find_whence(state, id, interp) == NULL) {
        Py_CLEAR(self); /* there is an object, but its interpreter is gone */
    }
    if (self != NULL || PyErr_Occurred()) {
        sipy_interp_drop(interp);
        return self;
    }
    return make_object(type, state, id, interp);
}

/* -> whether kwargs, which may be NULL, has no other keyword than these two */
static int
only_private_keywords(PyObject *kwargs)
{
    Py_ssize_t position = 0;
    PyObject *name;
    while (kwargs != NULL && PyDict_Next(kwargs, &position, &name, NULL)) {
        if (PyUnicode_CompareWithASCIIString(name, "_whence") != 0 &&
            PyUnicode_CompareWithASCIIString(name, "_ownsref") != 0) {
            return 0;
        }
    }
    return 1;
}

static PyObject *
interpreter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    sipy_state *state = sipy_state_of_type(type);
    if (state == NULL) {
        return NULL;
    }
    /* CPython's private keywords, _whence and _ownsref, say what we know better. */
    if (PyTuple_GET_SIZE(args) != 1 || only_private_keywords(kwargs) == 0) {
        PyErr_SetString(PyExc_TypeError,
                        "Interpreter() takes exactly one argument, the id");
        return NULL;
    }
    int64_t id = sipy_id_from_object(PyTuple_GET_ITEM(args, 0), "interpreter ID");
    return id < 0 ? NULL : sipy_interpreter_for(type, state, id);
}

static void
interpreter_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    sipy_interpreter *self = sipy_interpreter_of(op);
    sipy_interp *interp = self->interp;
    sipy_attributes_drop(op);
    if (self->state != NULL) {
        sipy_known_forget(self->state->known_interpreters, self->id);
    }
    if (self->tasks != NULL) {
        sipy_tasks_drop(self->tasks);
    }
    if (interp != NULL) {
        sipy_handle_drop(interp);
        sipy_interp_drop(interp);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- the module's functions ---------------------------------------------------------- */

PyObject *
sipy_interpreter_current(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sipy_state *state = sipy_state_of_module(module);
    return sipy_interpreter_for((PyTypeObject *)state->Interpreter, state,
                                state->interp->entry.id);
}

PyObject *
sipy_interpreter_main(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sipy_state *state = sipy_state_of_module(module);
    int64_t id = PyInterpreterState_GetID(PyInterpreterState_Main());
    return sipy_interpreter_for((PyTypeObject *)state->Interpreter, state, id);
}

PyObject *
sipy_interpreter_list(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sipy_state *state = sipy_state_of_module(module);
    int64_t *ids = NULL;
    size_t count = 0;
    PyObject *list = PyList_New(0);
    if (list == NULL || sipy_list_ids(&ids, &count) < 0) {
        Py_XDECREF(list);
        return NULL;
    }
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (sipy_spare_is_hidden(ids[i])) {
            continue;
        }
        PyObject *obj =
            sipy_interpreter_for((PyTypeObject *)state->Interpreter, state, ids[i]);
        if (obj == NULL && PyErr_ExceptionMatches(state->InterpreterNotFoundError)) {
            PyErr_Clear(); /* it ended since it was listed */
        }
        else if (obj == NULL || PyList_Append(list, obj) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(obj);
    }
    si_free(ids);
    return list;
}

/* --- methods ------------------------------------------------------------------------- */

static PyObject *
interpreter_is_running(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    const sipy_interp *interp = sipy_interpreter_record(self);
    if (find_whence(self->state, self->id, interp) == NULL) {
        return NULL;
    }
    if (interp != NULL && interp->origin == SIPY_OURS) {
        return PyBool_FromLong(si_gate_is_running(&interp->gate));
    }
    PyInterpreterState *native = sipy_compat_find(self->id);
    if (native == NULL) {
        return NULL;
    }
    return PyBool_FromLong(sipy_compat_is_running(native));
}

static PyObject *
interpreter_prepare_main(PyObject *op, PyObject *args, PyObject *kwargs)
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    Py_ssize_t given = PyTuple_GET_SIZE(args);
    if (given > 1) {
        PyErr_Format(PyExc_TypeError,
                     "prepare_main() takes at most 1 positional argument (%zd given)",
                     given);
        return NULL;
    }
    sipy_interp *interp = sipy_interpreter_driven(self, "update __main__ for");
    PyObject *source = given == 0 ? Py_None : PyTuple_GET_ITEM(args, 0);
    PyObject *ns = NULL;
    if (interp != NULL) {
        ns = source == Py_None ? PyDict_New()
                               : PyObject_CallOneArg((PyObject *)&PyDict_Type, source);
    }
    PyObject *result = NULL;
    if (ns != NULL && (kwargs == NULL || PyDict_Update(ns, kwargs) == 0)) {
        result = sipy_prepare_main(self->state, interp, ns);
    }
    Py_XDECREF(ns);
    return result;
}

static PyObject *
interpreter_exec(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"code", "dedent", NULL};
    static const sipy_signature signature = {"exec", names, 1, 2, 1};
    sipy_interpreter *self = sipy_interpreter_of(op);
    PyObject *given[2];
    int dedent = 1;
    if (sipy_parse_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (given[1] != NULL && (dedent = PyObject_IsTrue(given[1])) < 0) {
        return NULL;
    }
    sipy_interp *interp = sipy_interpreter_driven(self, "exec code for");
    return interp == NULL ? NULL : sipy_execute(self->state, interp, given[0], dedent);
}

static PyObject *
interpreter_call(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "call() missing 1 required positional argument: "
                        "'callable'");
        return NULL;
    }
    sipy_interp *interp = sipy_interpreter_driven(self, "make a call in");
    return interp == NULL
               ? NULL
               : sipy_call(self->state, interp, args[0], args + 1, nargs - 1, kwnames);
}

/* threading.Thread(target=self.call, args=args, kwargs=kwargs), started. */
static PyObject *
start_thread(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *type = threading == NULL ? NULL : sipy_compat_attr(threading, "Thread");
    PyObject *target = type == NULL ? NULL : sipy_compat_attr(op, "call");
    PyObject *keywords = target == NULL
                             ? NULL
                             : Py_BuildValue("{sOsOsO}", "target", target, "args", args,
                                             "kwargs", kwargs == NULL ? Py_None : kwargs);
    PyObject *nothing = keywords == NULL ? NULL : PyTuple_New(0);
    PyObject *thread = nothing == NULL ? NULL : PyObject_Call(type, nothing, keywords);
    PyObject *started = thread == NULL ? NULL : sipy_compat_method(thread, "start", NULL);
    if (started == NULL) {
        Py_CLEAR(thread);
    }
    Py_XDECREF(started);
    Py_XDECREF(nothing);
    Py_XDECREF(keywords);
    Py_XDECREF(target);
    Py_XDECREF(type);
    Py_XDECREF(threading);
    return thread;
}

static PyObject *
interpreter_call_in_thread(PyObject *op, PyObject *args, PyObject *kwargs)
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    if (PyTuple_GET_SIZE(args) < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "call_in_thread() missing 1 required positional argument: "
                        "'callable'");
        return NULL;
    }
    const sipy_interp *interp = sipy_interpreter_driven(self, "make a call in");
    if (interp == NULL || sipy_check_ours(self->state, interp, "make a call in") < 0) {
        return NULL;
    }
    if (si_gate_is_closed(&interp->gate)) {
        sipy_raise_not_found(self->state, self->id);
        return NULL;
    }
    return start_thread(op, args, kwargs);
}

static PyObject *
interpreter_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("O(L)", Py_TYPE(op), (long long)sipy_interpreter_of(op)->id);
}

static Py_hash_t
interpreter_hash(PyObject *op)
{
    return (Py_hash_t)sipy_interpreter_of(op)->id;
}

static PyObject *
interpreter_get_id(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(sipy_interpreter_of(op)->id);
}

static PyObject *
interpreter_get_whence(PyObject *op, void *Py_UNUSED(closure))
{
    sipy_interpreter *self = sipy_interpreter_of(op);
    const sipy_interp *interp = sipy_interpreter_record(self);
    bool ours = interp != NULL && interp->origin == SIPY_OURS;
    return PyUnicode_FromString(ours ? whence_of_ours : self->whence);
}

/* --- crossing ------------------------------------------------------------------------ */

static void
drop_handle(void *interp)
{
    sipy_handle_drop(interp);
    sipy_interp_drop(interp);
}

static int
pack_interpreter(void *Py_UNUSED(owner), PyObject *obj, uint64_t out[2], sipy_image *image)
{
    sipy_interp *interp = sipy_interpreter_record(sipy_interpreter_of(obj));
    out[0] = (uint64_t)sipy_interpreter_of(obj)->id;
    out[1] = 0;
    if (interp == NULL) {
        return 0; /* made by somebody else, who keeps it alive */
    }
    si_entry_hold(&interp->entry);
    sipy_handle_hold(interp);
    if (sipy_image_hold(image, interp, drop_handle) < 0) {
        drop_handle(interp);
        return -1;
    }
    return 0;
}

static PyObject *
unpack_interpreter(void *owner, const uint64_t in[2])
{
    sipy_state *state = sipy_state_here(owner);
    if (state == NULL) {
        return NULL;
    }
    return sipy_interpreter_for((PyTypeObject *)state->Interpreter, state, (int64_t)in[0]);
}

const sipy_crosser sipy_interpreter_crosser = {
    .tag = SIPY_TAG_INTERPRETER,
    .pack = pack_interpreter,
    .unpack = unpack_interpreter,
};

/* --- the type ------------------------------------------------------------------------ */

PyDoc_STRVAR(
    interpreter_doc,
    "Interpreter(id, /)\n--\n\n"
    "One interpreter of this process. Made by create() and the other functions.\n\n"
    "There is one object per id in each interpreter. When the last one anywhere goes, an\n"
    "idle interpreter that create() made is closed. Only those can be driven; others can\n"
    "be looked at. Raises InterpreterNotFoundError if there is none with that id.");
PyDoc_STRVAR(is_running_doc,
             "is_running($self, /)\n--\n\n"
             "Whether code runs in the interpreter's __main__ now.\n\n"
             "Threads that such code has started do not count. Raises\n"
             "InterpreterNotFoundError if the interpreter is closed.");
PyDoc_STRVAR(
    close_doc,
    "close($self, /, *, interrupt=False, timeout=None)\n--\n\n"
    "Finalize and destroy the interpreter, after joining the threads it has started.\n\n"
    "Raises InterpreterError if it is running, is the current one or was made by somebody\n"
    "else, InterpreterNotFoundError if it is closed already. With interrupt or a timeout "
    "in\n"
    "seconds it waits for what runs, with interrupt after raising KeyboardInterrupt "
    "there;\n"
    "when the time is over it raises TimeoutError and the interpreter can be used again.\n"
    "What its end runs then, once begun, is interrupted. If create(capture=) was called\n"
    "here, it returns when the last line has been handled, or after 5 seconds.");
PyDoc_STRVAR(
    prepare_main_doc,
    "prepare_main($self, ns=None, /, **kwargs)\n--\n\n"
    "Bind names in the interpreter's __main__: those of the mapping ns and the "
    "keywords.\n\n"
    "The values must be shareable (see is_shareable()); all are bound, or none. Raises\n"
    "NotShareableError, InterpreterError if it is running, ValueError if nothing is "
    "given.");
PyDoc_STRVAR(
    exec_doc,
    "exec($self, code, /, dedent=True)\n--\n\n"
    "Run code in the interpreter's __main__, in this thread.\n\n"
    "code is source text (str or bytes), a code object or a function without arguments,\n"
    "whose code alone is run. Source text loses its common indentation first unless\n"
    "dedent is false. Raises ExecutionFailed if the code raised, SyntaxError if it cannot\n"
    "be compiled, InterpreterError if the interpreter is running already.");
PyDoc_STRVAR(
    call_doc,
    "call($self, callable, /, *args, **kwargs)\n--\n\n"
    "Call callable in the interpreter, in this thread, and return its result.\n\n"
    "Function, arguments and result are copied. Raises ExecutionFailed if the function\n"
    "raised, NotShareableError if something cannot be sent, InterpreterError if the\n"
    "interpreter is running already.");
PyDoc_STRVAR(call_in_thread_doc,
             "call_in_thread($self, callable, /, *args, **kwargs)\n--\n\n"
             "Call callable in the interpreter, in a new thread, and return the "
             "threading.Thread.\n\n"
             "The result is discarded; an exception is reported by threading.excepthook.");
PyDoc_STRVAR(
    interrupt_doc,
    "interrupt($self, /, exc=None)\n--\n\n"
    "Raise exc, a built-in exception class, in the code that the interpreter runs.\n\n"
    "None: KeyboardInterrupt. It is raised between two bytecodes, or in the blocking queue "
    "operation that the code\n"
    "waits in. Returns whether anything was running. A call into C that does not return\n"
    "is not interrupted. May be called from any thread.");

PyDoc_STRVAR(
    submit_doc,
    "submit($self, fn, /, *args, **kwargs)\n--\n\n"
    "Have fn(*args, **kwargs) called in the interpreter and return its Future.\n\n"
    "Calls are made one after the other, in a thread of the interpreter's own, between\n"
    "other uses of it. Function and arguments are copied now. The Future is that of\n"
    "InterpreterPoolExecutor.");
PyDoc_STRVAR(call_async_doc,
             "call_async($self, fn, /, *args, **kwargs)\n--\n\n"
             "As submit(), but returns an asyncio.Future of the running event loop.\n\n"
             "Cancelling it takes the call out of the queue, or interrupts it.");
PyDoc_STRVAR(
    stats_doc,
    "stats($self, /)\n--\n\n"
    "What the interpreter has done and does, as a dict.\n\n"
    "state (idle, running, closing, closed), running_for (seconds, or None), runs (calls\n"
    "that have ended), busy and cpu (seconds of them; cpu is an estimate), bytes_in and\n"
    "bytes_out (of calls and their results). Raises InterpreterError if it is not ours.");
PyDoc_STRVAR(
    stack_doc,
    "stack($self, /)\n--\n\n"
    "The Python stack that the interpreter runs now, as text; empty if nothing runs.\n\n"
    "It goes on running. If it does not let go of its GIL for a second, because it is in\n"
    "a call into C, the text says so.");

static PyMethodDef interpreter_methods[] = {
    {"is_running", interpreter_is_running, METH_NOARGS, is_running_doc},
    {"close", _PyCFunction_CAST(sipy_interpreter_close), METH_FASTCALL | METH_KEYWORDS,
     close_doc},
    {"prepare_main", _PyCFunction_CAST(interpreter_prepare_main),
     METH_VARARGS | METH_KEYWORDS, prepare_main_doc},
    {"exec", _PyCFunction_CAST(interpreter_exec), METH_FASTCALL | METH_KEYWORDS, exec_doc},
    {"call", _PyCFunction_CAST(interpreter_call), METH_FASTCALL | METH_KEYWORDS, call_doc},
    {"call_in_thread", _PyCFunction_CAST(interpreter_call_in_thread),
     METH_VARARGS | METH_KEYWORDS, call_in_thread_doc},
    {"interrupt", _PyCFunction_CAST(sipy_interpreter_interrupt),
     METH_FASTCALL | METH_KEYWORDS, interrupt_doc},
    {"submit", _PyCFunction_CAST(sipy_interpreter_submit), METH_FASTCALL | METH_KEYWORDS,
     submit_doc},
    {"call_async", _PyCFunction_CAST(sipy_interpreter_call_async),
     METH_FASTCALL | METH_KEYWORDS, call_async_doc},
    {"stats", sipy_interpreter_stats, METH_NOARGS, stats_doc},
    {"stack", sipy_interpreter_stack, METH_NOARGS, stack_doc},
    {"__reduce__", interpreter_reduce, METH_NOARGS, NULL},
    {"__enter__", sipy_interpreter_enter, METH_NOARGS, NULL},
    {"__exit__", sipy_interpreter_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef interpreter_getset[] = {
    {"id", interpreter_get_id, NULL, "The interpreter's number in this process.", NULL},
    {"_id", interpreter_get_id, NULL, "id, as CPython's own class calls it, too.", NULL},
    {"name", sipy_interpreter_get_name, NULL, "What create() was told; None: nothing.",
     NULL},
    {"whence", interpreter_get_whence, NULL, "Where the interpreter came from (str).",
     NULL},
    SIPY_ATTRIBUTE_GETSET,
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot interpreter_slots[] = {
    {Py_tp_doc, (void *)interpreter_doc},
    {Py_tp_new, interpreter_new},
    {Py_tp_dealloc, interpreter_dealloc},
    {Py_tp_repr, sipy_interpreter_repr},
    {Py_tp_hash, interpreter_hash},
    {Py_tp_methods, interpreter_methods},
    {Py_tp_getset, interpreter_getset},
    {Py_tp_members, sipy_attribute_members},
    {Py_tp_traverse, sipy_attributes_traverse},
    {Py_tp_clear, sipy_attributes_clear},
    {0, NULL},
};

static PyType_Spec interpreter_spec = {
    .name = "subinterpreters.Interpreter",
    .basicsize = sizeof(sipy_interpreter),
    .flags = SIPY_ATTRIBUTE_FLAGS,
    .slots = interpreter_slots,
};

int
sipy_interpreter_type_add(PyObject *module, sipy_state *state)
{
    state->known_interpreters = PyDict_New();
    state->Interpreter = PyType_FromModuleAndSpec(module, &interpreter_spec, NULL);
    if (state->known_interpreters == NULL || state->Interpreter == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Interpreter", state->Interpreter);
}
