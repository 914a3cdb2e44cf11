/* state.h — what the module keeps per interpreter.
 *
 * One list drives traverse and clear, so an object cannot be forgotten in either. All
 * of it belongs to the interpreter that imported the module and is touched only
 * attached to it.
 */
#ifndef SIPY_STATE_H
#define SIPY_STATE_H

#include "binding/interp.h"

#define SIPY_STATE_OBJECTS(X)                                           \
    X(Interpreter) /* types */                                          \
    X(Queue)                                                            \
    X(UnboundItem)                                                      \
    X(InterpreterError) /* exceptions */                                \
    X(InterpreterNotFoundError)                                         \
    X(ExecutionFailed)                                                  \
    X(NotShareableError)                                                \
    X(QueueError)                                                       \
    X(QueueNotFoundError)                                               \
    X(QueueEmpty)                                                       \
    X(QueueFull)                                                        \
    X(ItemInterpreterDestroyed)                                         \
    X(unbound_placeholder) /* UNBOUND, UNBOUND_ERROR, UNBOUND_REMOVE */ \
    X(unbound_error)                                                    \
    X(unbound_remove)                                                   \
    X(known_interpreters) /* id -> weak reference to its Interpreter */ \
    X(known_queues)       /* id -> weak reference to its Queue */       \
    X(compile)            /* builtins.compile */                        \
    X(SimpleNamespace)    /* types.SimpleNamespace */                   \
    X(Pool)               /* the bases of the executor's classes */     \
    X(TaskFuture)                                                       \
    X(Outbox)                                                           \
    X(Future)              /* of the executor, once it is imported */   \
    X(Call)                /* of aio, once it is imported; likewise */  \
    X(AsyncCancelledError) /* of asyncio; these four with Call */       \
    X(InvalidStateError)                                                \
    X(name_call_soon)   /* "call_soon" */                               \
    X(names_context)    /* ("context",) */                              \
    X(loop_boxes)       /* aio's: event loop -> its Outbox */           \
    X(get_running_loop) /* of asyncio */                                \
    X(last_loop)        /* that has awaited a call, and its box */      \
    X(last_box)                                                         \
    X(CancelledError)                                                   \
    X(BrokenInterpreterPool)

typedef struct sipy_state {
    sipy_interp *interp; /* this interpreter's own record, a reference */
#define SIPY_DECLARE(name) PyObject *name;
    SIPY_STATE_OBJECTS(SIPY_DECLARE)
#undef SIPY_DECLARE
} sipy_state;

extern PyModuleDef sipy_module_def;

/* The state of the module that module is. */
static inline sipy_state *
sipy_state_of_module(PyObject *module)
{
    return (sipy_state *)PyModule_GetState(module);
}

/* The state of the module that defined type itself (not a subclass of it). */
static inline sipy_state *
sipy_state_of_class(PyTypeObject *defining_class)
{
    return (sipy_state *)PyType_GetModuleState(defining_class);
}

/* The state behind any of our types or a subclass; NULL with TypeError set if none. */
static inline sipy_state *
sipy_state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &sipy_module_def);
    return module == NULL ? NULL : sipy_state_of_module(module);
}

/* Each file of a public type adds what it defines to the module. -> 0 | -1 */
int
sipy_errors_add(PyObject *module, sipy_state *state);
int
sipy_interpreter_type_add(PyObject *module, sipy_state *state);
int
sipy_queue_type_add(PyObject *module, sipy_state *state);
int
sipy_unbound_add(PyObject *module, sipy_state *state);

/* Functions of the module that live in the file of their type. As vectorcall. */
PyObject *
sipy_queue_create(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames);
PyObject *
sipy_interpreter_create(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames);
PyObject *
sipy_interpreter_current(PyObject *module, PyObject *ignored);
PyObject *
sipy_interpreter_main(PyObject *module, PyObject *ignored);
PyObject *
sipy_interpreter_list(PyObject *module, PyObject *ignored);

#endif /* SIPY_STATE_H */
