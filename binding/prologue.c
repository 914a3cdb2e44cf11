/* prologue.c — see prologue.h.
 *
 * One marshalled code object for the process, guarded by prologue_mu. Whoever runs it
 * takes a copy first, so nothing runs under the lock.
 */
#include "binding/prologue.h"

#include <string.h>

#include "binding/transfer/transfer.h"
#include "core/base/alloc.h"

static si_mutex prologue_mu = SI_MUTEX_INIT;
static char *prologue_data SI_GUARDED_BY(prologue_mu);
static Py_ssize_t prologue_size SI_GUARDED_BY(prologue_mu);

static int
replace(const char *data, Py_ssize_t size)
{
    char *copy = NULL;
    if (data != NULL) {
        copy = si_alloc((size_t)size);
        if (copy == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(copy, data, (size_t)size);
    }
    si_mutex_lock(&prologue_mu);
    char *old = prologue_data;
    prologue_data = copy;
    prologue_size = size;
    si_mutex_unlock(&prologue_mu);
    si_free(old);
    return 0;
}

int
sipy_prologue_set(const sipy_state *state, PyObject *source)
{
    if (source == Py_None) {
        return replace(NULL, 0);
    }
    PyObject *code =
        PyObject_CallFunction(state->compile, "Oss", source, "<prologue>", "exec");
    PyObject *bytes = code == NULL ? NULL : sipy_marshal_code(code);
    int result =
        bytes == NULL ? -1 : replace(PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_XDECREF(bytes);
    Py_XDECREF(code);
    return result;
}

/* A copy of the prologue that the caller frees; NULL if there is none or no memory,
 * the latter with an exception. */
static char *
copy_prologue(Py_ssize_t *size)
{
    for (;;) {
        si_mutex_lock(&prologue_mu);
        *size = prologue_data == NULL ? 0 : prologue_size;
        si_mutex_unlock(&prologue_mu);
        if (*size == 0) {
            return NULL;
        }
        char *copy = si_alloc((size_t)*size);
        if (copy == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        si_mutex_lock(&prologue_mu);
        bool same = prologue_data != NULL && prologue_size == *size;
        if (same) {
            memcpy(copy, prologue_data, (size_t)*size);
        }
        si_mutex_unlock(&prologue_mu);
        if (same) {
            return copy;
        }
        si_free(copy); /* replaced meanwhile by one of another size */
    }
}

int
sipy_prologue_run(void)
{
    Py_ssize_t size;
    char *data = copy_prologue(&size);
    if (data == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *code = PyMarshal_ReadObjectFromString(data, size);
    si_free(data);
    PyObject *ns = code == NULL ? NULL : PyDict_New();
    PyObject *name = ns == NULL ? NULL : PyUnicode_FromString("subinterpreters._prologue");
    PyObject *result = NULL;
    if (name != NULL && PyDict_SetItemString(ns, "__name__", name) == 0) {
        result = PyEval_EvalCode(code, ns, ns);
    }
    Py_XDECREF(name);
    Py_XDECREF(ns);
    Py_XDECREF(code);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

void
sipy_prologue_fork_prepare(void) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&prologue_mu);
}

void
sipy_prologue_fork_done(void) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&prologue_mu);
}
