/* unbound.c — UNBOUND, UNBOUND_ERROR and UNBOUND_REMOVE.
 *
 * Three singletons per interpreter, told apart by identity. They name what becomes of
 * a queue item when the interpreter that put it has ended.
 */
#include "binding/unbound.h"

typedef struct unbound_object {
    PyObject_HEAD
    const char *name;
} unbound_object;

static PyObject *
unbound_repr(PyObject *self)
{
    return PyUnicode_FromFormat("subinterpreters.%s", ((unbound_object *)self)->name);
}

static PyObject *
unbound_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    /* A string means: the global of that name in the module named by __module__. */
    return PyUnicode_FromString(((unbound_object *)self)->name);
}

/* The module's state holds the singletons, they their type, and that the module: the
 * collector must see all of it, or an interpreter that imported us is never freed. */
static int
unbound_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void
unbound_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(unbound_doc,
             "What Queue.get() does about an item whose interpreter has ended.\n\n"
             "UNBOUND returns this object in its place, UNBOUND_ERROR raises\n"
             "ItemInterpreterDestroyed, UNBOUND_REMOVE drops the item from the queue.");

static PyMethodDef unbound_methods[] = {
    {"__reduce__", unbound_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot unbound_slots[] = {
    {Py_tp_doc, (void *)unbound_doc}, {Py_tp_repr, unbound_repr},
    {Py_tp_dealloc, unbound_dealloc}, {Py_tp_traverse, unbound_traverse},
    {Py_tp_methods, unbound_methods}, {0, NULL},
};

static PyType_Spec unbound_spec = {
    .name = "subinterpreters.UnboundItem",
    .basicsize = sizeof(unbound_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = unbound_slots,
};

static PyObject *
add_singleton(PyObject *module, PyTypeObject *type, const char *name)
{
    unbound_object *self = (unbound_object *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->name = name;
    if (PyModule_AddObjectRef(module, name, (PyObject *)self) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

int
sipy_unbound_add(PyObject *module, sipy_state *state)
{
    state->UnboundItem = PyType_FromModuleAndSpec(module, &unbound_spec, NULL);
    if (state->UnboundItem == NULL) {
        return -1;
    }
    PyTypeObject *type = (PyTypeObject *)state->UnboundItem;
    state->unbound_placeholder = add_singleton(module, type, "UNBOUND");
    state->unbound_error = add_singleton(module, type, "UNBOUND_ERROR");
    state->unbound_remove = add_singleton(module, type, "UNBOUND_REMOVE");
    if (state->unbound_placeholder == NULL || state->unbound_error == NULL ||
        state->unbound_remove == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "UnboundItem", state->UnboundItem);
}

int
sipy_unbound_policy(const sipy_state *state, PyObject *arg, si_unbound *out)
{
    if (arg == state->unbound_placeholder) {
        *out = SI_UNBOUND_PLACEHOLDER;
    }
    else if (arg == state->unbound_error) {
        *out = SI_UNBOUND_ERROR;
    }
    else if (arg == state->unbound_remove) {
        *out = SI_UNBOUND_REMOVE;
    }
    else {
        PyErr_Format(PyExc_NotImplementedError,
                     "unsupported unbound replacement op %R: expected UNBOUND, "
                     "UNBOUND_ERROR or UNBOUND_REMOVE",
                     arg);
        return -1;
    }
    return 0;
}

PyObject *
sipy_unbound_object(const sipy_state *state, si_unbound policy)
{
    switch (policy) {
        case SI_UNBOUND_REMOVE:
            return state->unbound_remove;
        case SI_UNBOUND_ERROR:
            return state->unbound_error;
        case SI_UNBOUND_PLACEHOLDER:
        case SI_UNBOUND_KEEP:
            break;
    }
    return state->unbound_placeholder;
}
