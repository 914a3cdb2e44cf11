/* sample.c — extension modules as people write them, one per SAMPLE_* macro.
 *
 * NAME is the module's name. All but the declared one keep C variables that only one
 * interpreter may use.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

static int counter;
static PyObject *kept;

static PyObject *
count(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromLong(++counter);
}

/* Keeps an object in a C variable and returns the one before. */
static PyObject *
keep(PyObject *self, PyObject *object)
{
    (void)self;
    PyObject *before = kept != NULL ? kept : Py_NewRef(Py_None);
    kept = Py_NewRef(object);
    return before;
}

static PyObject *
address(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromVoidPtr(&counter);
}

/* Whether CPython's process-wide calls see this interpreter. */
static PyObject *
is_main(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main() &&
                           PyGILState_Check() == 1 &&
                           PyGILState_GetThisThreadState() == PyThreadState_Get());
}

static int
run_pending(void *argument)
{
    PyObject *result = PyObject_CallNoArgs(argument);
    Py_DECREF((PyObject *)argument);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
pending(PyObject *self, PyObject *callable)
{
    (void)self;
    if (Py_AddPendingCall(run_pending, Py_NewRef(callable)) < 0) {
        Py_DECREF(callable);
        PyErr_SetString(PyExc_RuntimeError, "the queue is full");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* A thread that Python knows nothing of, as libraries start them. */
static void *
call_from_thread(void *callable)
{
    for (int i = 0; i < 3; i++) {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *result = PyObject_CallNoArgs(callable);
        if (result == NULL) {
            PyErr_WriteUnraisable(callable);
        }
        Py_XDECREF(result);
        Py_BEGIN_ALLOW_THREADS
        PyGILState_STATE inner = PyGILState_Ensure();
        PyGILState_Release(inner);
        Py_END_ALLOW_THREADS
        PyGILState_Release(state);
    }
    return NULL;
}

static PyObject *
from_thread(PyObject *self, PyObject *callable)
{
    (void)self;
    pthread_t thread;
    if (pthread_create(&thread, NULL, call_from_thread, callable) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

#if PY_VERSION_HEX >= 0x030F0000
/* As PEP 788 does it, from a thread without a thread state. */
static void *
enter_by_view(void *callable)
{
    PyInterpreterView *view = PyInterpreterView_FromMain();
    PyThreadStateToken *token = view == NULL ? NULL : PyThreadState_EnsureFromView(view);
    if (token != NULL) {
        Py_XDECREF(PyObject_CallNoArgs(callable));
        PyThreadState_Release(token);
    }
    if (view != NULL) {
        PyInterpreterView_Close(view);
    }
    return NULL;
}

static PyInterpreterGuard *guard;

static PyObject *
hold_guard(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    guard = PyInterpreterGuard_FromCurrent();
    return guard == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *
drop_guard(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    PyInterpreterGuard_Close(guard);
    Py_RETURN_NONE;
}

static PyObject *
by_view(PyObject *self, PyObject *callable)
{
    (void)self;
    pthread_t thread;
    if (pthread_create(&thread, NULL, enter_by_view, callable) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
#endif

static sem_t inside; /* posted once stay_inside is */

/* A thread that stays inside the interpreter until a pipe is closed. */
static void *
stay_inside(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char byte;
    PyGILState_STATE state = PyGILState_Ensure();
    Py_BEGIN_ALLOW_THREADS
    sem_post(&inside);
    while (read(fd, &byte, 1) > 0) {
    }
    Py_END_ALLOW_THREADS
    PyGILState_Release(state);
    return NULL;
}

static PyObject *
start_thread(PyObject *self, PyObject *fd)
{
    (void)self;
    pthread_t thread;
    long number = PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    sem_init(&inside, 0, 0);
    if (pthread_create(&thread, NULL, stay_inside, (void *)(intptr_t)number) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    pthread_detach(thread);
    Py_BEGIN_ALLOW_THREADS
    while (sem_wait(&inside) != 0) {
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* A thread that tries to enter whenever a byte comes, also after the end. */
static void *
knock(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char byte;
    while (read(fd, &byte, 1) > 0) {
        PyGILState_STATE state = PyGILState_Ensure();
        counter++;
        PyGILState_Release(state);
    }
    return NULL;
}

static PyObject *
start_knocking(PyObject *self, PyObject *fd)
{
    (void)self;
    pthread_t thread;
    long number = PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (pthread_create(&thread, NULL, knock, (void *)(intptr_t)number) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    pthread_detach(thread);
    Py_RETURN_NONE;
}

/* A thread that calls at every byte from a pipe and keeps its thread state in between, as
 * cffi does: by an Ensure more than there are Releases. */
struct keeper {
    int fd;
    int results; /* gets a byte per call */
    PyObject *callable;
};

static void *
keep_state(void *argument)
{
    struct keeper mine = *(struct keeper *)argument;
    char byte;
    free(argument);
    while (read(mine.fd, &byte, 1) > 0) {
        PyGILState_STATE state = PyGILState_Ensure();
        if (PyGILState_Ensure() != PyGILState_LOCKED) {
            abort();
        }
        PyObject *result = PyObject_CallNoArgs(mine.callable);
        if (result == NULL) {
            PyErr_WriteUnraisable(mine.callable);
        }
        Py_XDECREF(result);
        PyGILState_Release(state);
        if (PyGILState_Check() || write(mine.results, &byte, 1) != 1) {
            abort();
        }
    }
    return NULL;
}

/* keep_state_in_thread(fd, results, callable) -> pthread_t */
static PyObject *
keep_state_in_thread(PyObject *self, PyObject *args)
{
    (void)self;
    pthread_t thread;
    struct keeper *mine = calloc(1, sizeof *mine);
    if (mine == NULL ||
        !PyArg_ParseTuple(args, "iiO", &mine->fd, &mine->results, &mine->callable)) {
        return mine == NULL ? PyErr_NoMemory() : NULL;
    }
    Py_INCREF(mine->callable);
    if (pthread_create(&thread, NULL, keep_state, mine) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromUnsignedLong((unsigned long)thread);
}

static PyThreadState *made;

static PyObject *
make_state(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    made = PyThreadState_New(PyInterpreterState_Get());
    return made == NULL ? PyErr_NoMemory() : Py_NewRef(Py_None);
}

static PyObject *
delete_state(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    PyThreadState_Clear(made);
    PyThreadState_Delete(made);
    Py_RETURN_NONE;
}

static PyObject *
join(PyObject *self, PyObject *thread)
{
    (void)self;
    unsigned long number = PyLong_AsUnsignedLong(thread);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    pthread_join((pthread_t)number, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static int
count_pending(void *unused)
{
    (void)unused;
    counter += 100;
    return 0;
}

/* What destructors of thread-local variables do, perhaps after the interpreter's end. */
static void
thread_exits(void *unused)
{
    (void)unused;
    if (PyGILState_Check() || PyGILState_GetThisThreadState() != NULL ||
        Py_AddPendingCall(count_pending, NULL) != 0) {
        abort();
    }
}

static PyObject *
mark_thread(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    static pthread_key_t key;
    if ((counter == 0 && pthread_key_create(&key, thread_exits) != 0) ||
        pthread_setspecific(key, &key) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(++counter);
}

/* What other destructors do: they release an object. */
static void
release_at_exit(void *object)
{
    PyGILState_STATE state = PyGILState_Ensure();
    Py_DECREF((PyObject *)object);
    counter += 100;
    PyGILState_Release(state);
}

static PyObject *
keep_until_exit(PyObject *self, PyObject *object)
{
    (void)self;
    static pthread_key_t key;
    static int made;
    if ((!made && pthread_key_create(&key, release_at_exit) != 0) ||
        pthread_setspecific(key, Py_NewRef(object)) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    made = 1;
    Py_RETURN_NONE;
}

/* use_keys(count) -> sum of what count keys of each kind hold */
static PyObject *
use_keys(PyObject *self, PyObject *number)
{
    (void)self;
    long count = PyLong_AsLong(number);
    pthread_key_t *keys = calloc((size_t)count, sizeof *keys);
    Py_tss_t *others = calloc((size_t)count, sizeof *others);
    long sum = 0;
    for (long i = 0; i < count; i++) {
        if (pthread_key_create(&keys[i], NULL) != 0 ||
            PyThread_tss_create(&others[i]) != 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (pthread_getspecific(keys[i]) != NULL || PyThread_tss_get(&others[i]) != NULL ||
            pthread_setspecific(keys[i], (void *)i) != 0 ||
            PyThread_tss_set(&others[i], (void *)i) != 0) {
            abort();
        }
    }
    for (long i = 0; i < count; i++) {
        sum += (long)pthread_getspecific(keys[i]) + (long)PyThread_tss_get(&others[i]);
    }
    Py_tss_t *made = PyThread_tss_alloc();
    if (PyThread_tss_create(made) != 0 || PyThread_tss_set(made, made) != 0 ||
        PyThread_tss_get(made) != made || pthread_key_delete(keys[0]) != 0) {
        abort();
    }
    PyThread_tss_free(made);
    PyThread_tss_delete(&others[0]);
    if (PyThread_tss_is_created(&others[0])) {
        abort();
    }
    free(keys);
    free(others);
    return PyLong_FromLong(sum);
}

typedef struct {
    PyObject_HEAD
    int value;
} Thing;

/* A static type: the commonest reason not to support several interpreters. */
static PyTypeObject ThingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = TEXT(PACKAGE) "." TEXT(NAME) ".Thing",
    .tp_basicsize = sizeof(Thing),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
};

static PyMethodDef methods[] = {
    {"count", count, METH_NOARGS, NULL},
    {"keep", keep, METH_O, NULL},
    {"address", address, METH_NOARGS, NULL},
    {"is_main", is_main, METH_NOARGS, NULL},
    {"pending", pending, METH_O, NULL},
    {"mark_thread", mark_thread, METH_NOARGS, NULL},
    {"use_keys", use_keys, METH_O, NULL},
    {"keep_until_exit", keep_until_exit, METH_O, NULL},
    {"from_thread", from_thread, METH_O, NULL},
#if PY_VERSION_HEX >= 0x030F0000
    {"by_view", by_view, METH_O, NULL},
    {"hold_guard", hold_guard, METH_NOARGS, NULL},
    {"drop_guard", drop_guard, METH_NOARGS, NULL},
#endif
    {"keep_state_in_thread", keep_state_in_thread, METH_VARARGS, NULL},
    {"make_state", make_state, METH_NOARGS, NULL},
    {"delete_state", delete_state, METH_NOARGS, NULL},
    {"join", join, METH_O, NULL},
    {"start_thread", start_thread, METH_O, NULL},
    {"start_knocking", start_knocking, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

#ifdef AT_END
/* As C++ statics do when the process exits. */
__attribute__((destructor)) static void
at_end(void)
{
    char text[64];
    int n = snprintf(text, sizeof text, TEXT(NAME) ": %d %d\n", Py_IsInitialized(),
                     PyGILState_Check());
    ssize_t written = write(1, text, (size_t)n);
    (void)written;
}
#endif

#ifdef USES_HELPER
extern PyObject *
helper_shared(PyObject *object);

static PyObject *
shared(PyObject *self, PyObject *object)
{
    (void)self;
    return helper_shared(object);
}

static PyMethodDef shared_method = {"shared", shared, METH_O, NULL};
#endif

static int
execute(PyObject *module)
{
#ifdef FAILS
    PyErr_SetString(PyExc_ValueError, "half way");
    return -1;
#endif
    if (PyType_Ready(&ThingType) < 0 ||
        PyModule_AddObjectRef(module, "Thing", (PyObject *)&ThingType) < 0) {
        return -1;
    }
#ifdef USES_HELPER
    PyObject *function = PyCFunction_New(&shared_method, NULL);
    if (function == NULL || PyModule_AddObject(module, "shared", function) < 0) {
        return -1;
    }
#endif
    return 0;
}

#ifdef SINGLE
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = TEXT(NAME), .m_size = -1,
                                 .m_methods = methods};

PyMODINIT_FUNC
JOIN(PyInit_, NAME)(void)
{
    PyObject *module = PyModule_Create(&def);
    if (module != NULL && execute(module) < 0) {
        Py_CLEAR(module);
    }
    return module;
}
#else
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef DECLARED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = TEXT(NAME),
                                 .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC
JOIN(PyInit_, NAME)(void)
{
    return PyModuleDef_Init(&def);
}
#endif
