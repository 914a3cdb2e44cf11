/* module.c — the extension module subinterpreters._core.
 *
 * Multi-phase, one state per interpreter, and safe under a GIL per interpreter: what the
 * process shares is listed in docs/internals/globals.md with its guard.
 */
#include "binding/fork.h"
#include "binding/frames.h"
#include "binding/home.h"
#include "binding/lifecycle.h"
#include "binding/pool/pool.h"
#include "binding/pool/spares.h"
#include "binding/prologue.h"
#include "binding/queues.h"
#include "binding/shareable.h"
#include "binding/state.h"

/* --- functions ----------------------------------------------------------------------- */

static PyObject *
is_shareable(PyObject *module, PyObject *obj)
{
    return PyBool_FromLong(sipy_is_shareable(sipy_state_of_module(module), obj));
}

static PyObject *
share(PyObject *module, PyObject *obj)
{
    sipy_home *home = sipy_home_of(sipy_state_of_module(module));
    return home == NULL ? NULL : sipy_share(home->transfer, obj);
}

static PyObject *
set_prologue(PyObject *module, PyObject *source)
{
    if (sipy_prologue_set(sipy_state_of_module(module), source) < 0) {
        return NULL;
    }
    sipy_spares_renew(); /* they were made without it */
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    create_doc,
    "create($module, /, *, name=None, preload=(), extensions='any', capture=None)\n"
    "--\n\n"
    "Make a new, idle interpreter and return its Interpreter.\n\n"
    "It has its own GIL and modules, and a copy of this one's sys.path.\n"
    "name is shown by repr() and kept for whoever sees the interpreter. The\n"
    "modules named in preload are imported there; what that raises is raised as\n"
    "ExecutionFailed. extensions: what becomes of extension modules that do not\n"
    "declare support for several interpreters. 'any': each gets a private copy;\n"
    "'declared': they cannot be imported, as CPython has it. capture: True has what\n"
    "it prints written to this interpreter's streams, line by line, with its name\n"
    "in front; a callable gets name, 'stdout' or 'stderr', and line. Raises\n"
    "InterpreterError if it cannot be made or the process is exiting.");
PyDoc_STRVAR(list_all_doc,
             "list_all($module, /)\n--\n\n"
             "All interpreters of the process, oldest first, as a list of Interpreter.");
PyDoc_STRVAR(get_current_doc,
             "get_current($module, /)\n--\n\n"
             "The Interpreter of the interpreter that runs this code.");
PyDoc_STRVAR(get_main_doc,
             "get_main($module, /)\n--\n\n"
             "The Interpreter of the main interpreter.");
PyDoc_STRVAR(
    is_shareable_doc,
    "is_shareable($module, obj, /)\n--\n\n"
    "Whether obj is of a type that crosses by itself: None, bool, int, float, str,\n"
    "bytes, tuple, memoryview, Queue. Other objects cross too, by copy.");
PyDoc_STRVAR(
    share_doc,
    "share($module, obj, /)\n--\n\n"
    "What stands for obj, an array or another buffer, and crosses in place.\n\n"
    "It arrives as a numpy.ndarray, if obj is one, else as a memoryview: of the\n"
    "same memory, dtype or format, shape, strides, and read-only if obj is. Nothing\n"
    "is copied; both sides see what either writes. obj is kept, and cannot be\n"
    "resized, until what this returned and all that arrived are gone. Raises\n"
    "TypeError for what has no buffer, for memory of objects and for subclasses of\n"
    "numpy.ndarray that add to it.");
PyDoc_STRVAR(create_queue_doc,
             "create_queue($module, /, maxsize=0, *, unbounditems=UNBOUND)\n--\n\n"
             "Make a new Queue for any interpreters.\n\n"
             "maxsize: how many items it holds; 0 or less: any number. unbounditems: what\n"
             "becomes of items whose interpreter ends (UNBOUND, UNBOUND_ERROR,\n"
             "UNBOUND_REMOVE). Raises NotImplementedError for another value.");
PyDoc_STRVAR(keep_ready_doc,
             "keep_ready($module, /, n=1, *, preload=())\n--\n\n"
             "Keep n interpreters ready in the background, for create() to hand out.\n\n"
             "They have imported the modules named in preload. 0: no more, from now on.\n"
             "Whatever was ready before is replaced.");
PyDoc_STRVAR(set_prologue_doc,
             "_set_prologue($module, source, /)\n--\n\n"
             "Run this source, in a namespace of its own, in every interpreter that is\n"
             "created from now on, before it is handed out; None: nothing.");

static PyMethodDef module_methods[] = {
    {"create", _PyCFunction_CAST(sipy_interpreter_create), METH_FASTCALL | METH_KEYWORDS,
     create_doc},
    {"list_all", sipy_interpreter_list, METH_NOARGS, list_all_doc},
    {"get_current", sipy_interpreter_current, METH_NOARGS, get_current_doc},
    {"get_main", sipy_interpreter_main, METH_NOARGS, get_main_doc},
    {"is_shareable", is_shareable, METH_O, is_shareable_doc},
    {"share", share, METH_O, share_doc},
    {"create_queue", _PyCFunction_CAST(sipy_queue_create), METH_FASTCALL | METH_KEYWORDS,
     create_queue_doc},
    {"_list_queues", sipy_queue_list, METH_NOARGS, NULL},
    {"keep_ready", _PyCFunction_CAST(sipy_keep_ready), METH_FASTCALL | METH_KEYWORDS,
     keep_ready_doc},
    {"_set_prologue", set_prologue, METH_O, set_prologue_doc},
    {NULL, NULL, 0, NULL},
};

/* --- state --------------------------------------------------------------------------- */

static int
import_helpers(sipy_state *state)
{
    PyObject *builtins = PyImport_ImportModule("builtins");
    if (builtins != NULL) {
        state->compile = PyObject_GetAttrString(builtins, "compile");
        Py_DECREF(builtins);
    }
    PyObject *types = PyImport_ImportModule("types");
    if (types != NULL) {
        state->SimpleNamespace = PyObject_GetAttrString(types, "SimpleNamespace");
        Py_DECREF(types);
    }
    return state->compile == NULL || state->SimpleNamespace == NULL ? -1 : 0;
}

static int
module_exec(PyObject *module)
{
    sipy_state *state = sipy_state_of_module(module);
    if (PyInterpreterState_Get() == PyInterpreterState_Main() &&
        sipy_compat_prepare_main() < 0) {
        return -1;
    }
    if (sipy_fork_handlers_register() < 0 || sipy_frames_guard() < 0) {
        return -1;
    }
    state->interp = sipy_interp_adopt_current();
    if (state->interp == NULL || import_helpers(state) < 0 ||
        sipy_errors_add(module, state) < 0 || sipy_unbound_add(module, state) < 0 ||
        sipy_queue_type_add(module, state) < 0 ||
        sipy_interpreter_type_add(module, state) < 0 ||
        sipy_pool_types_add(module, state) < 0 || sipy_exit_hook_register() < 0) {
        return -1;
    }
    if (state->interp->home == NULL) {
        PyErr_SetString(PyExc_ImportError, "this interpreter is being finalized");
        return -1;
    }
    state->interp->home->state = state;
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    sipy_state *state = sipy_state_of_module(module);
    if (state == NULL) {
        return 0;
    }
#define SIPY_VISIT(name) Py_VISIT(state->name);
    SIPY_STATE_OBJECTS(SIPY_VISIT)
#undef SIPY_VISIT
    return 0;
}

static int
module_clear(PyObject *module)
{
    sipy_state *state = sipy_state_of_module(module);
    if (state == NULL) {
        return 0;
    }
#define SIPY_CLEAR(name) Py_CLEAR(state->name);
    SIPY_STATE_OBJECTS(SIPY_CLEAR)
#undef SIPY_CLEAR
    return 0;
}

static void
module_free(void *module)
{
    sipy_state *state = sipy_state_of_module(module);
    (void)module_clear(module);
    if (state == NULL || state->interp == NULL) {
        return;
    }
    if (state->interp->home != NULL && state->interp->home->state == state) {
        state->interp->home->state = NULL;
    }
    sipy_interp_drop(state->interp);
    state->interp = NULL;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

PyModuleDef sipy_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "subinterpreters._core",
    .m_doc = "Many interpreters in one process; see the package subinterpreters.",
    .m_size = sizeof(sipy_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&sipy_module_def);
}
