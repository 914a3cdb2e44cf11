/* fuzz_transfer.c — libFuzzer on the decoder of images. See tools/fuzz.
 *
 * The engine runs in a Python of its own, from the module that the tests load, too. An
 * image is refused or becomes an object; that one is encoded and decoded again. As images
 * may name any callable, audit events refuse what could reach outside of the process.
 */
#include <Python.h>
#include <stdint.h>
#include <string.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
PyMODINIT_FUNC
PyInit__transfer_testing(void);

static PyObject *load; /* functions of the module */
static PyObject *dump;
static PyObject *donor; /* a packet with holds of all kinds, which images may refer to */

static void
need(const void *made)
{
    if (made == NULL) {
        PyErr_Print();
        abort();
    }
}

static int
refuse(const char *event, PyObject *args, void *unused)
{
    static const char *const harmless[] = {"object.__getattr__", "object.__setattr__",
                                           "object.__delattr__", "code.__new__",
                                           "marshal.loads",      "sys._getframe"};
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (strcmp(event, harmless[i]) == 0) {
            return 0;
        }
    }
    PyErr_Format(PyExc_PermissionError, "%s %R", event, args);
    return -1;
}

/* Runs seeds.py; its `values` become the donor, whose image is the first seed. */
static PyObject *
make_donor(PyObject *module)
{
    FILE *file = fopen(FUZZ_SEEDS, "r");
    need(file);
    PyObject *scope = PyDict_New();
    need(scope);
    need(PyDict_SetItemString(scope, "engine", module) == 0 ? scope : NULL);
    PyObject *done = PyRun_FileEx(file, FUZZ_SEEDS, Py_file_input, scope, scope, 1);
    need(done);
    Py_DECREF(done);
    PyObject *packet = PyDict_GetItemString(scope, "donor");
    Py_XINCREF(packet);
    return packet;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyConfig config;
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.allocator = PYMEM_ALLOCATOR_MALLOC; /* so that AddressSanitizer sees all */
    if (PyStatus_Exception(Py_PreInitialize(&preconfig)) ||
        PyImport_AppendInittab("_transfer_testing", PyInit__transfer_testing) < 0) {
        abort();
    }
    PyConfig_InitIsolatedConfig(&config);
    if (PyStatus_Exception(
            PyConfig_SetBytesString(&config, &config.executable, FUZZ_PYTHON)) ||
        PyStatus_Exception(Py_InitializeFromConfig(&config))) {
        abort();
    }
    PyConfig_Clear(&config);
    PyObject *module = PyImport_ImportModule("_transfer_testing");
    need(module);
    load = PyObject_GetAttrString(module, "load");
    dump = PyObject_GetAttrString(module, "dump");
    need(load);
    need(dump);
    donor = make_donor(module);
    need(donor);
    return PySys_AddAuditHook(refuse, NULL);
}

/* -> a new object, or NULL without an exception */
static PyObject *
attempt(PyObject *function, PyObject *first, PyObject *second)
{
    PyObject *result = PyObject_CallFunctionObjArgs(function, first, second, NULL);
    if (result == NULL) {
        PyErr_Clear();
    }
    return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PyObject *image = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
    need(image);
    PyObject *value = attempt(load, image, donor);
    Py_DECREF(image);
    if (value != NULL) {
        PyObject *again = attempt(dump, value, NULL);
        Py_DECREF(value);
        if (again != NULL) {
            Py_XDECREF(attempt(load, again, donor));
            Py_DECREF(again);
        }
    }
    return 0;
}
