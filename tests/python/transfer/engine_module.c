/* engine_module.c — the engine alone, as a module that tests and benchmarks load.
 *
 * Not part of the package. Each interpreter that imports it has its own engine; images
 * travel as addresses, so that two interpreters can exchange them through the stdlib.
 */
#include "binding/transfer/transfer.h"
#include "core/base/alloc.h"
#include "core/memory/block.h"

typedef struct testing_state {
    sipy_transfer *t;
    PyObject *NotShareableError;
} testing_state;

static PyObject *
not_shareable(void *owner)
{
    return ((testing_state *)owner)->NotShareableError;
}

static int
run_pending(void *arg)
{
    void **pair = arg;
    void (*fn)(void *) = (void (*)(void *))(uintptr_t)pair[0];
    fn(pair[1]);
    si_free(pair);
    return 0;
}

static bool
run_at_home(int64_t interp_id, void (*fn)(void *arg), void *arg)
{
    PyInterpreterState *interp = sipy_compat_find(interp_id);
    void **pair = si_alloc(2 * sizeof(void *));
    if (interp == NULL || pair == NULL) {
        PyErr_Clear();
        si_free(pair);
        return false;
    }
    pair[0] = (void *)(uintptr_t)fn;
    pair[1] = arg;
    return sipy_compat_add_pending(interp, run_pending, pair) == 0;
}

static testing_state *
state(PyObject *module)
{
    return PyModule_GetState(module);
}

static PyObject *
t_encode(PyObject *module, PyObject *args)
{
    PyObject *obj;
    unsigned flags = 0;
    if (!PyArg_ParseTuple(args, "O|I", &obj, &flags)) {
        return NULL;
    }
    void *memory = sipy_encode_packet(state(module)->t, obj, flags, 16);
    return memory == NULL ? NULL : PyLong_FromVoidPtr(memory);
}

static PyObject *
t_decode(PyObject *module, PyObject *arg)
{
    void *memory = PyLong_AsVoidPtr(arg);
    if (memory == NULL) {
        return NULL;
    }
    return sipy_decode_packet(state(module)->t, sipy_packet_behind(memory, 16));
}

static PyObject *
t_free(PyObject *module, PyObject *arg)
{
    void *memory = PyLong_AsVoidPtr(arg);
    if (memory == NULL) {
        return NULL;
    }
    sipy_packet_fini(sipy_packet_behind(memory, 16));
    si_free(memory);
    Py_RETURN_NONE;
}

/* The bytes of an image, to be damaged and decoded again. */
static PyObject *
t_dump(PyObject *module, PyObject *obj)
{
    sipy_image image;
    sipy_image_init(&image);
    if (sipy_encode(state(module)->t, obj, 0, &image) < 0) {
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize((char *)image.data, (Py_ssize_t)image.len);
    sipy_image_fini(&image);
    return bytes;
}

/* load(image, packet=0): the value of those bytes, with the holds of a packet, or none. */
static PyObject *
t_load(PyObject *module, PyObject *args)
{
    const char *data;
    Py_ssize_t size;
    unsigned long long donor = 0;
    if (!PyArg_ParseTuple(args, "y#|K", &data, &size, &donor)) {
        return NULL;
    }
    sipy_image image;
    sipy_image_init(&image);
    image.data = si_alloc((size_t)size);
    if (image.data == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(image.data, data, (size_t)size);
    image.len = image.cap = (size_t)size;
    if (donor != 0) {
        const sipy_packet *packet = sipy_packet_behind((void *)(uintptr_t)donor, 16);
        image.holds = packet->holds;
        image.hold_count = (uint32_t)packet->hold_count;
    }
    PyObject *obj = sipy_decode(state(module)->t, &image);
    image.holds = NULL; /* the packet's own */
    image.hold_count = 0;
    sipy_image_fini(&image);
    return obj;
}

static PyObject *
t_roundtrip(PyObject *module, PyObject *args)
{
    PyObject *obj, *result = NULL;
    Py_ssize_t n = 1;
    if (!PyArg_ParseTuple(args, "O|n", &obj, &n)) {
        return NULL;
    }
    sipy_transfer *t = state(module)->t;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_CLEAR(result);
        void *memory = sipy_encode_packet(t, obj, 0, 32);
        if (memory == NULL) {
            return NULL;
        }
        result = sipy_decode_packet(t, sipy_packet_behind(memory, 32));
        sipy_packet_fini(sipy_packet_behind(memory, 32));
        si_free(memory);
        if (result == NULL) {
            return NULL;
        }
    }
    return result;
}

static PyObject *
t_call(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    sipy_transfer *t = state(module)->t;
    sipy_image image;
    sipy_stage stage;
    sipy_image_init(&image);
    PyObject *result = NULL;
    if (sipy_encode_call(t, args[0], args + 1, (size_t)nargs - 1, kwnames, SIPY_SYNC,
                         &image) == 0) {
        result = sipy_run_call(t, &image, &stage);
    }
    sipy_image_fini(&image);
    return result;
}

static PyObject *
t_encode_call(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    void *memory = sipy_encode_call_packet(state(module)->t, args[0], args + 1,
                                           (size_t)nargs - 1, kwnames, 0, 16);
    return memory == NULL ? NULL : PyLong_FromVoidPtr(memory);
}

static PyObject *
t_run_call(PyObject *module, PyObject *arg)
{
    sipy_stage stage;
    void *memory = PyLong_AsVoidPtr(arg);
    if (memory == NULL) {
        return NULL;
    }
    PyObject *result =
        sipy_run_call_packet(state(module)->t, sipy_packet_behind(memory, 16), &stage);
    if (result == NULL && stage == SIPY_DECODING) {
        PyObject *exc = PyErr_GetRaisedException();
        PyErr_SetString(PyExc_RuntimeError, "call was not made");
        PyObject *outer = PyErr_GetRaisedException();
        PyException_SetCause(outer, exc);
        PyErr_SetRaisedException(outer);
    }
    return result;
}

static PyObject *
t_call_loop(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    sipy_transfer *t = state(module)->t;
    Py_ssize_t n = PyLong_AsSsize_t(args[0]);
    sipy_image image, back;
    sipy_stage stage;
    sipy_image_init(&image);
    sipy_image_init(&back);
    PyObject *result = NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_CLEAR(result);
        if (sipy_encode_call(t, args[1], args + 2, (size_t)nargs - 2, NULL, SIPY_SYNC,
                             &image) < 0) {
            break;
        }
        PyObject *there = sipy_run_call(t, &image, &stage);
        sipy_image_reset(&image);
        if (there == NULL || sipy_encode(t, there, SIPY_SYNC, &back) < 0) {
            Py_XDECREF(there);
            break;
        }
        result = sipy_decode(t, &back);
        sipy_image_reset(&back);
        Py_DECREF(there);
        if (result == NULL) {
            break;
        }
    }
    sipy_image_fini(&image);
    sipy_image_fini(&back);
    return result;
}

static PyObject *
t_blocks(PyObject *module, PyObject *ignored)
{
    return PyLong_FromLongLong(si_block_count());
}

#ifdef SI_FAULT_INJECTION
/* The n-th allocation of core from now fails; -> whether the one planned before did. */
static PyObject *
t_fail_nth(PyObject *module, PyObject *arg)
{
    long long n = PyLong_AsLongLong(arg);
    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    bool failed = si_alloc_failed();
    si_alloc_fail_nth(n);
    return PyBool_FromLong(failed);
}
#endif

static PyMethodDef methods[] = {
#ifdef SI_FAULT_INJECTION
    {"fail_nth", t_fail_nth, METH_O, NULL},
#endif
    {"encode", t_encode, METH_VARARGS, NULL},
    {"decode", t_decode, METH_O, NULL},
    {"free", t_free, METH_O, NULL},
    {"dump", t_dump, METH_O, NULL},
    {"load", t_load, METH_VARARGS, NULL},
    {"roundtrip", t_roundtrip, METH_VARARGS, NULL},
    {"call", (PyCFunction)(void (*)(void))t_call, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"encode_call", (PyCFunction)(void (*)(void))t_encode_call,
     METH_FASTCALL | METH_KEYWORDS, NULL},
    {"run_call", t_run_call, METH_O, NULL},
    {"call_loop", (PyCFunction)(void (*)(void))t_call_loop, METH_FASTCALL, NULL},
    {"blocks", t_blocks, METH_NOARGS, NULL},
    {NULL},
};

static int
t_exec(PyObject *module)
{
    testing_state *s = state(module);
    s->NotShareableError =
        PyErr_NewException("_transfer_testing.NotShareableError", PyExc_TypeError, NULL);
    if (s->NotShareableError == NULL ||
        PyModule_AddObjectRef(module, "NotShareableError", s->NotShareableError) < 0) {
        return -1;
    }
    sipy_hooks hooks = {
        .not_shareable = not_shareable,
        .run_at_home = run_at_home,
        .owner = s,
        .interp_id = PyInterpreterState_GetID(PyInterpreterState_Get()),
    };
    s->t = sipy_transfer_new(&hooks);
    return s->t == NULL ? -1 : 0;
}

static int
t_clear(PyObject *module)
{
    testing_state *s = state(module);
    if (s->t != NULL) {
        sipy_transfer_clear(s->t);
    }
    Py_CLEAR(s->NotShareableError);
    return 0;
}

static int
t_traverse(PyObject *module, visitproc visit, void *arg)
{
    testing_state *s = state(module);
    Py_VISIT(s->NotShareableError);
    return s->t == NULL ? 0 : sipy_transfer_traverse(s->t, visit, arg);
}

static void
t_module_free(void *module)
{
    testing_state *s = state(module);
    if (s->t != NULL) {
        t_clear(module);
        sipy_transfer_free(s->t);
        s->t = NULL;
    }
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, t_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static PyModuleDef def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_transfer_testing",
    .m_size = sizeof(testing_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = t_traverse,
    .m_clear = t_clear,
    .m_free = t_module_free,
};

PyMODINIT_FUNC
PyInit__transfer_testing(void);

PyMODINIT_FUNC
PyInit__transfer_testing(void)
{
    return PyModuleDef_Init(&def);
}
