/* declared.c — a module that declares support for interpreters with their own GIL. With
 * UNSURE its init function does something before, so that it must be called to see that.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

static int counter;

static PyObject *
count(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromLong(++counter);
}

static PyObject *
address(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromVoidPtr(&counter);
}

static PyMethodDef methods[] = {
    {"count", count, METH_NOARGS, NULL},
    {"address", address, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = TEXT(NAME),
    .m_methods = methods,
    .m_slots = slots,
};

#ifdef UNSURE
static void
at_exit(void)
{
    counter++; /* in memory that must still be there */
}
#endif

PyMODINIT_FUNC
JOIN(PyInit_, NAME)(void)
{
#ifdef UNSURE
    if (Py_AtExit(at_exit) != 0) {
        return PyErr_NoMemory();
    }
#endif
    return PyModuleDef_Init(&definition);
}
