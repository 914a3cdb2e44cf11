/* aio.c — see aio.h. */
#include "binding/aio.h"

PyObject *
sipy_aio_call(const char *function, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    PyObject *aio = PyImport_ImportModule("subinterpreters.aio");
    PyObject *func = aio == NULL ? NULL : PyObject_GetAttrString(aio, function);
    Py_ssize_t count = nargs + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject **all = func == NULL ? NULL : PyMem_New(PyObject *, (size_t)count + 1);
    PyObject *result = NULL;
    if (all != NULL) {
        all[0] = self;
        for (Py_ssize_t i = 0; i < count; i++) {
            all[i + 1] = args[i];
        }
        result = PyObject_Vectorcall(func, all, (size_t)nargs + 1, kwnames);
        PyMem_Free(all);
    }
    else if (func != NULL) {
        PyErr_NoMemory();
    }
    Py_XDECREF(func);
    Py_XDECREF(aio);
    return result;
}
