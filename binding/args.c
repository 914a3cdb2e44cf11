/* args.c — see args.h. */
#include "binding/args.h"

static int
index_of(const sipy_signature *s, PyObject *name)
{
    for (int i = s->positional_only; s->names[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, s->names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int
parse_keywords(const sipy_signature *s, PyObject *const *values, PyObject *kwnames,
               PyObject **out)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        int index = index_of(s, name);
        if (index < 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                         s->function, name);
            return -1;
        }
        if (out[index] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                         s->function, name);
            return -1;
        }
        out[index] = values[i];
    }
    return 0;
}

int
sipy_parse_args(const sipy_signature *s, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames, PyObject **out)
{
    if (nargs > s->positional_max) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %d positional arguments (%zd given)", s->function,
                     s->positional_max, nargs);
        return -1;
    }
    for (int i = 0; s->names[i] != NULL; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    if (kwnames != NULL && parse_keywords(s, args + nargs, kwnames, out) < 0) {
        return -1;
    }
    for (int i = 0; i < s->required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'",
                         s->function, s->names[i]);
            return -1;
        }
    }
    return 0;
}
