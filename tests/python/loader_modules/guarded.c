/* guarded.c — a library whose thread does by command what CPython 3.15 has for threads that
 * must not meet an interpreter's end: views, guards, thread states that come with them.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <unistd.h>

static PyInterpreterView *view;
static PyInterpreterGuard *guard;
static int commands, answers;

static char
by_gilstate(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *object = PyList_New(10);
    Py_XDECREF(object);
    PyGILState_Release(state);
    return '1';
}

static char
by_token(PyThreadStateToken *token)
{
    if (token == NULL) {
        return '0';
    }
    char result = by_gilstate();
    PyThreadState_Release(token);
    return result;
}

static char
take_guard(void)
{
    PyInterpreterGuard *taken = PyInterpreterGuard_FromView(view);
    if (taken != NULL) {
        PyInterpreterGuard_Close(taken);
    }
    return taken != NULL ? '1' : '0';
}

static char
view_main(void)
{
    PyInterpreterView *taken = PyInterpreterView_FromMain();
    if (taken != NULL) {
        PyInterpreterView_Close(taken);
    }
    return taken != NULL ? '1' : '0';
}

static char
stay(void)
{
    char command = 0;
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    Py_BEGIN_ALLOW_THREADS
    if (write(answers, "1", 1) != 1 || read(commands, &command, 1) != 1) {
        abort();
    }
    Py_END_ALLOW_THREADS
    PyThreadState_Release(token);
    return '1';
}

static char
obey(char command)
{
    switch (command) {
        case 'g':
            return by_gilstate();
        case 'e':
            return by_token(PyThreadState_Ensure(guard));
        case 'v':
            return by_token(PyThreadState_EnsureFromView(view));
        case 't':
            return take_guard();
        case 'm':
            return view_main();
        case 'i':
            return Py_IsInitialized() && !Py_IsFinalizing() ? '1' : '0';
        case 's':
            return stay();
        default:
            PyInterpreterGuard_Close(guard);
            return '1';
    }
}

static void *
run(void *unused)
{
    (void)unused;
    char command;
    while (read(commands, &command, 1) == 1) {
        char answer = obey(command);
        if (write(answers, &answer, 1) != 1) {
            abort();
        }
    }
    return NULL;
}

/* Enters and leaves for good. */
static void *
knock(void *unused)
{
    (void)unused;
    while (by_token(PyThreadState_EnsureFromView(view)) == '1') {
    }
    return NULL;
}

static PyObject *
start(void *(*routine)(void *))
{
    pthread_t thread;
    view = PyInterpreterView_FromCurrent();
    if (view == NULL) {
        return NULL;
    }
    if (pthread_create(&thread, NULL, routine, NULL) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    pthread_detach(thread);
    Py_RETURN_NONE;
}

static PyObject *
start_obeying(PyObject *self, PyObject *args)
{
    (void)self;
    return PyArg_ParseTuple(args, "ii", &commands, &answers) ? start(run) : NULL;
}

static PyObject *
start_knocking(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return start(knock);
}

static PyObject *
hold(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    guard = PyInterpreterGuard_FromCurrent();
    return guard == NULL ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"start_obeying", start_obeying, METH_VARARGS, NULL},
    {"start_knocking", start_knocking, METH_NOARGS, NULL},
    {"hold", hold, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "guarded", .m_size = -1,
                                 .m_methods = methods};

PyMODINIT_FUNC
PyInit_guarded(void)
{
    return PyModule_Create(&def);
}
