/* errors.c — exceptions as values, with what pickle loses: cause, context, notes.
 *
 * An exception that keeps BaseException's __reduce__ is made again without calling an
 * __init__ that is written in Python, since that may want other arguments.
 */
#include "binding/transfer/encoder.h"

int
sipy__enc_exception(sipy_encoder *e, PyObject *obj)
{
    bool memo;
    int known = sipy__enc_memo_late(e, obj, &memo);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    if (sipy__enc_hold(e) < 0) {
        return -1;
    }
    PyTypeObject *type = Py_TYPE(obj);
    PyTypeObject *base = type;
    while (PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE)) {
        base = base->tp_base;
    }
    unsigned parts = REDUCE_ERROR;
    if (type->tp_init != base->tp_init && _PyType_Lookup(type, e->t->n___reduce__) ==
                                              _PyType_Lookup(base, e->t->n___reduce__)) {
        parts |= REDUCE_NO_INIT;
    }
    PyObject *reduced = PyObject_CallMethodNoArgs(obj, e->t->n___reduce__);
    if (reduced == NULL) {
        return -1;
    }
    PyObject *cause = PyException_GetCause(obj);
    PyObject *context = PyException_GetContext(obj);
    PyObject *more[3] = {
        cause == NULL ? Py_None : cause, context == NULL ? Py_None : context,
        ((PyBaseExceptionObject *)obj)->suppress_context ? Py_True : Py_False};
    if (more[0] == Py_None && more[1] == Py_None && more[2] == Py_False) {
        parts &= ~(unsigned)REDUCE_ERROR;
    }
    int result = -1;
    if (PyTuple_Check(reduced)) {
        result = sipy__enc_reduced(e, obj, reduced, parts, more, memo);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "__reduce__ of an exception must give a tuple");
    }
    Py_XDECREF(cause);
    Py_XDECREF(context);
    Py_DECREF(reduced);
    return result;
}
