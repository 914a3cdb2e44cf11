/* shared.c — share(): memory that crosses in place, and arrives as what it was.
 *
 * A Shared object stands for an array while it crosses. It reduces to a callable and its
 * arguments, one of which is a memoryview, and that is what crosses in place. A NumPy
 * array is known by the names of its class: NumPy is imported by those who use it alone.
 */
#include "binding/transfer/internal.h"

typedef struct shared {
    PyObject_HEAD
    PyObject *reduced; /* (callable, arguments) */
} shared;

static int
shared_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((shared *)self)->reduced);
    return 0;
}

static int
shared_clear(PyObject *self)
{
    Py_CLEAR(((shared *)self)->reduced);
    return 0;
}

static void
shared_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)shared_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
shared_reduce(PyObject *self, PyObject *Py_UNUSED(protocol))
{
    PyObject *reduced = ((shared *)self)->reduced;
    if (reduced == NULL) {
        PyErr_SetString(PyExc_ValueError, "this object has been cleared");
        return NULL;
    }
    return Py_NewRef(reduced);
}

static PyMethodDef shared_methods[] = {
    {"__reduce_ex__", shared_reduce, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(shared_doc, "Memory on its way to other interpreters; made by share().");

static PyType_Slot shared_slots[] = {
    {Py_tp_doc, (void *)shared_doc},   {Py_tp_methods, shared_methods},
    {Py_tp_traverse, shared_traverse}, {Py_tp_clear, shared_clear},
    {Py_tp_dealloc, shared_dealloc},   {0, NULL},
};

static PyType_Spec shared_spec = {
    .name = "subinterpreters._core.Shared",
    .basicsize = sizeof(shared),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = shared_slots,
};

/* The class numpy.ndarray if obj is an instance of it, or NULL; borrowed. */
static PyTypeObject *
numpy_array(PyObject *obj)
{
    PyObject *mro = Py_TYPE(obj)->tp_mro;
    for (Py_ssize_t i = 0; mro != NULL && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (strcmp(type->tp_name, "numpy.ndarray") == 0) {
            return type;
        }
    }
    return NULL;
}

/* Those whose own data a plain array over the same memory would lose. */
static bool
is_special(PyObject *obj, const PyTypeObject *array)
{
    return Py_TYPE(obj) != array && strcmp(Py_TYPE(obj)->tp_name, "memmap") != 0;
}

static PyObject *
tuple_of(const Py_ssize_t *numbers, int size)
{
    PyObject *tuple = PyTuple_New(size);
    for (int i = 0; tuple != NULL && i < size; i++) {
        PyObject *number = PyLong_FromSsize_t(numbers[i]);
        if (number == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, number);
    }
    return tuple;
}

/* 1 | 0 | -1 with an exception */
static int
is_true(PyObject *obj, const char *name)
{
    PyObject *value = sipy_compat_attr(obj, name);
    int truth = value == NULL ? -1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    return truth;
}

/* numpy.ndarray(shape, dtype, buffer, offset, strides). */
static PyObject *
reduce_numpy(sipy_transfer *t, PyObject *obj, PyTypeObject *array)
{
    if (is_special(obj, array)) {
        PyErr_Format(PyExc_TypeError,
                     "share() would lose what '%s' adds to an array; share "
                     "array.view(numpy.ndarray)",
                     Py_TYPE(obj)->tp_name);
        return NULL;
    }
    PyObject *dtype = sipy_compat_attr(obj, "dtype");
    int objects = dtype == NULL ? -1 : is_true(dtype, "hasobject");
    PyObject *reduced = NULL;
    if (objects > 0) {
        PyErr_Format(PyExc_TypeError, "cannot share an array of objects (%R)", dtype);
    }
    else if (objects == 0) {
        const Py_buffer *view;
        Py_ssize_t offset;
        /* Without its format, which NumPy does not have for every dtype. */
        PyObject *span = sipy__span_of(t, obj, PyBUF_STRIDED_RO, &view, &offset);
        PyObject *shape = span == NULL ? NULL : tuple_of(view->shape, view->ndim);
        PyObject *strides = shape == NULL ? NULL : tuple_of(view->strides, view->ndim);
        if (strides != NULL) {
            reduced = Py_BuildValue("(O(OOOnO))", (PyObject *)array, shape, dtype, span,
                                    offset, strides);
        }
        Py_XDECREF(strides);
        Py_XDECREF(shape);
        Py_XDECREF(span);
    }
    Py_XDECREF(dtype);
    return reduced;
}

/* memoryview(memoryview): of the same format, shape and strides. */
static PyObject *
reduce_other(PyObject *obj)
{
    PyObject *view = PyMemoryView_FromObject(obj);
    if (view != NULL && sipy__format_has_objects(PyMemoryView_GET_BUFFER(view)->format)) {
        Py_DECREF(view);
        PyErr_Format(PyExc_TypeError, "cannot share a '%s' of objects",
                     Py_TYPE(obj)->tp_name);
        return NULL;
    }
    return view == NULL ? NULL
                        : Py_BuildValue("(O(N))", (PyObject *)&PyMemoryView_Type, view);
}

PyObject *
sipy_share(sipy_transfer *t, PyObject *obj)
{
    if (t->o_shared_type == NULL) {
        t->o_shared_type = PyType_FromSpec(&shared_spec);
        if (t->o_shared_type == NULL) {
            return NULL;
        }
    }
    PyTypeObject *array = numpy_array(obj);
    PyObject *reduced = array == NULL ? reduce_other(obj) : reduce_numpy(t, obj, array);
    if (reduced == NULL) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)t->o_shared_type;
    shared *self = (shared *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(reduced);
        return NULL;
    }
    self->reduced = reduced;
    return (PyObject *)self;
}
