/* frames.c — see frames.h. */
#include "binding/frames.h"

/* result[thread's ident] = value, which is borrowed. -> 0 | -1 with an exception */
static int
note(PyObject *result, const PyThreadState *ts, PyObject *value)
{
    PyObject *ident = PyLong_FromUnsignedLong(ts->thread_id);
    int set = ident == NULL ? -1 : PyDict_SetItem(result, ident, value);
    Py_XDECREF(ident);
    return set;
}

static int
note_frame(PyObject *result, PyThreadState *ts)
{
    PyFrameObject *frame = PyThreadState_GetFrame(ts);
    int set = frame == NULL ? 0 : note(result, ts, (PyObject *)frame);
    Py_XDECREF(frame);
    return set;
}

static int
note_exception(PyObject *result, PyThreadState *ts)
{
    return note(result, ts, sipy_compat_handled(ts));
}

/* No Python code runs in here, so no thread of this interpreter moves or goes. */
static PyObject *
of_threads(const char *name, int (*visit)(PyObject *result, PyThreadState *ts))
{
    if (PySys_Audit(name, NULL) < 0) {
        return NULL;
    }
    PyObject *result = PyDict_New();
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts != NULL && result != NULL; ts = PyThreadState_Next(ts)) {
        if (visit(result, ts) < 0) {
            Py_CLEAR(result);
        }
    }
    return result;
}

static PyObject *
current_frames(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return of_threads("sys._current_frames", note_frame);
}

static PyObject *
current_exceptions(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return of_threads("sys._current_exceptions", note_exception);
}

static PyMethodDef guards[] = {
    {"_current_frames", current_frames, METH_NOARGS,
     PyDoc_STR("_current_frames($module, /)\n--\n\n"
               "The topmost frame of each thread of this interpreter, by its ident.")},
    {"_current_exceptions", current_exceptions, METH_NOARGS,
     PyDoc_STR("_current_exceptions($module, /)\n--\n\n"
               "The exception that each thread of this interpreter handles, or None, by\n"
               "its ident.")},
};

int
sipy_frames_guard(void)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(guards); i++) {
        PyObject *function = PyCFunction_New(&guards[i], NULL);
        int set = function == NULL ? -1 : PySys_SetObject(guards[i].ml_name, function);
        Py_XDECREF(function);
        if (set < 0) {
            return -1;
        }
    }
    return 0;
}
