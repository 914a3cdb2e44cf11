/* helper.c — a library that uses Python and that two modules of a package share. */
#include <Python.h>

PyObject *
helper_shared(PyObject *object);

static PyObject *shared;

/* Swaps the one object that all users of the library share. */
__attribute__((visibility("default"))) PyObject *
helper_shared(PyObject *object)
{
    PyObject *before = shared != NULL ? shared : Py_NewRef(Py_None);
    shared = Py_NewRef(object);
    return before;
}
