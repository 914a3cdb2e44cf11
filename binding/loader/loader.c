/* loader.c — the import hook of an interpreter, and the end of its copies.
 *
 * The hook replaces one C function, _imp.create_dynamic: finders, loaders, specs and all
 * imports of Python code stay CPython's own and cost what they did.
 *
 * Life       OPEN gate -> CLOSED by CPython's callback near the interpreter's end. After
 *            that the copies' code still may run in threads that they started, but finds
 *            every way into the interpreter shut. sipy_loader_pause closes the gate for a
 *            while, sipy_loader_resume opens it again. The thread that ends the interpreter
 *            stays in it: destructors of objects still call libraries, which call back.
 * Lock order gate and mu are leaves.
 */
#include "binding/loader/loader.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "binding/compat/compat_module.h"
#include "binding/lifecycle.h"
#include "binding/loader/copy.h"
#include "binding/loader/needed.h"
#include "core/base/alloc.h"
#include "core/elf/machine.h"
#include "core/platform/clock.h"
#include "core/platform/keys.h"

static const char capsule_name[] = "subinterpreters.loader";

void
sipy_import_error(PyObject *name, PyObject *path, const char *reason)
{
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *message =
        PyUnicode_FromFormat("cannot load %R from %U: %s", name, path, reason);
    if (message != NULL) {
        PyErr_SetImportError(message, name, path);
        Py_DECREF(message);
    }
    if (cause != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetCause(error, cause); /* steals cause */
        PyErr_SetRaisedException(error);
    }
}

/* What one import is about. */
typedef struct request {
    sipy_loader *loader;
    PyObject *self; /* capsule of the loader */
    PyObject *spec;
    PyObject *name;
    PyObject *path;
    char *file_path; /* path, encoded, with a folder */
    char *init_name; /* what stands behind PyInit: see init_name_of */
    int fd;
    sipy_file_id file;
} request;

/* What stands behind "PyInit" in the name of the module's function: "_" and the last
 * part of the name, or, if that is not ASCII, "U_" and an encoded form (PEP 489). */
static char *
init_name_of(PyObject *name)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, length, -1);
    PyObject *last = dot < -1 ? NULL : PyUnicode_Substring(name, dot + 1, length);
    if (last == NULL) {
        return NULL;
    }
    bool ascii = PyUnicode_IS_ASCII(last);
    PyObject *encoded = PyUnicode_AsEncodedString(last, ascii ? "ascii" : "punycode", NULL);
    Py_DECREF(last);
    if (encoded == NULL) {
        return NULL;
    }
    size_t room = (size_t)PyBytes_GET_SIZE(encoded) + 3;
    char *result = si_alloc(room);
    if (result != NULL) {
        (void)snprintf(result, room, "%s%s", ascii ? "_" : "U_",
                       PyBytes_AS_STRING(encoded));
        for (char *p = result; *p != '\0'; p++) {
            *p = *p == '-' ? '_' : *p;
        }
    }
    else {
        PyErr_NoMemory();
    }
    Py_DECREF(encoded);
    return result;
}

static PyObject *
load_normally(const request *r)
{
    return PyObject_CallOneArg(r->loader->create_dynamic, r->spec);
}

static PyObject *
load_shared(const request *r)
{
    PyObject *module = sipy_module_shared(r->file_path, r->init_name, r->spec);
    return module != NULL || PyErr_Occurred() != NULL ? module : load_normally(r);
}

/* Nobody comes in any more, and those who wait at the gate see that it has ended. Called by
 * the thread that ends the interpreter, through ts. */
static void
shut(sipy_loader *loader, PyThreadState *ts)
{
    loader->ender_ts = ts;
    si_store_release(&loader->ender, (int64_t)pthread_self());
    si_store_release(&loader->ended, 1);
    si_gate_end(&loader->gate);
}

/* The same, whoever may be inside. */
static void
shut_for_good(sipy_loader *loader)
{
    si_store_release(&loader->ender, 0);
    si_store_release(&loader->ended, 1);
    si_gate_force_end(&loader->gate);
}

/* Runs among the last functions of the interpreter's atexit module: CPython has joined the
 * interpreter's threads, and next it insists that no other thread state exists. Who is
 * inside is waited for; sipy_loader_pause has seen to it that this does not take long.
 */
static PyObject *
last_atexit(PyObject *self, PyObject *unused)
{
    (void)unused;
    sipy_loader *loader = PyCapsule_GetPointer(self, capsule_name);
    if (loader == NULL) {
        return NULL;
    }
    if (si_gate_close(&loader->gate, false) == SI_OK) {
        PyThreadState *ts = PyEval_SaveThread();
        while (si_gate_drain(&loader->gate, SI_FOREVER) != SI_OK) {
            /* A signal: its handler runs in the main interpreter. */
        }
        shut(loader, ts);
        PyEval_RestoreThread(ts);
    }
    Py_RETURN_NONE;
}

static PyMethodDef last_atexit_def = {"last_atexit", last_atexit, METH_NOARGS, NULL};

/* Has last_atexit called; what is registered later runs earlier. Done for the first
 * copy: it needs an import. -> 0 | -1 with an exception */
static int
register_atexit(sipy_loader *loader, PyObject *capsule)
{
    if (!loader->atexit_registered) {
        loader->atexit_registered = sipy_at_exit(&last_atexit_def, capsule) == 0;
    }
    return loader->atexit_registered ? 0 : -1;
}

static PyObject *
load_copy(request *r, bool unsure)
{
    char reason[SIPY_MAX_REASON];
    sipy_copy *copy = sipy_copy_find(r->loader, &r->file);
    bool fresh = copy == NULL;
    if (fresh && register_atexit(r->loader, r->self) < 0) {
        return NULL;
    }
    if (fresh) {
        const char *label = PyUnicode_AsUTF8(r->name);
        if (label == NULL) {
            return NULL;
        }
        copy = sipy_copy_load(r->loader, r->fd, &r->file, r->file_path, label,
                              sipy_compat_dlopen_flags(), reason);
    }
    if (copy == NULL || sipy_copy_open(copy, reason) != 0) {
        sipy_import_error(r->name, r->path, reason);
        return NULL;
    }
    bool declared = fresh && unsure;
    PyObject *module =
        sipy_module_create(copy, r->spec, r->name, r->path, r->init_name, &declared);
    if (declared) {
        /* The copy stays: its code has run, and may have left itself anywhere. */
        sipy_support_remember(&r->file, SIPY_SUPPORT_LATE);
        return load_normally(r);
    }
    if (unsure && module != NULL) {
        sipy_support_remember(&r->file, SIPY_SUPPORT_NONE);
    }
    return module;
}

/* path, or "./path" if it is a mere name, which has no folder for $ORIGIN. To be freed with
 * si_free; NULL: no memory. */
static char *
with_folder(const char *path)
{
    size_t room = strlen(path) + 3;
    char *result = si_alloc(room);
    if (result != NULL) {
        (void)snprintf(result, room, "%s%s", strchr(path, '/') == NULL ? "./" : "", path);
    }
    return result;
}

static PyObject *
load(request *r)
{
    char reason[SIPY_MAX_REASON];
    PyObject *encoded = NULL;
    if (!PyUnicode_FSConverter(r->path, &encoded)) {
        return NULL;
    }
    r->file_path = with_folder(PyBytes_AS_STRING(encoded));
    Py_DECREF(encoded);
    if (r->file_path == NULL) {
        return PyErr_NoMemory();
    }
    r->fd = open(r->file_path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0 || sipy_file_identify(r->fd, &r->file) != 0) {
        snprintf(reason, sizeof reason, "cannot open it: %s", strerror(errno));
        sipy_import_error(r->name, r->path, reason);
        return NULL;
    }
    int support = sipy_support_of(r->fd, &r->file, r->file_path, r->init_name, reason);
    switch (support) {
        case SIPY_SUPPORT_DECLARED:
            support =
                sipy_needed_from_copies(r->loader, r->fd, &r->file, r->file_path, reason);
            if (support < 0) {
                sipy_import_error(r->name, r->path, reason);
                return NULL;
            }
            return support > 0 ? load_copy(r, false) : load_shared(r);
        case SIPY_SUPPORT_LATE:
            return load_normally(r);
        case SIPY_SUPPORT_SYSTEM:
            sipy_import_error(r->name, r->path,
                              "it does not support several interpreters, and a private "
                              "copy would not help: its state is in a shared library of "
                              "the system");
            return NULL;
        case SIPY_SUPPORT_UNKNOWN:
        case SIPY_SUPPORT_NONE:
            return load_copy(r, support == SIPY_SUPPORT_UNKNOWN);
        default:
            sipy_import_error(r->name, r->path, reason);
            return NULL;
    }
}

static PyObject *
create_dynamic(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    request r = {.self = self, .fd = -1};
    PyObject *result = NULL;
    r.loader = PyCapsule_GetPointer(self, capsule_name);
    if (r.loader == NULL) {
        return NULL;
    }
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "create_dynamic expected 1 to 2 arguments, got %zd",
                     nargs);
        return NULL;
    }
    r.spec = args[0];
    r.name = PyObject_GetAttrString(r.spec, "name");
    r.path = r.name != NULL ? PyObject_GetAttrString(r.spec, "origin") : NULL;
    if (r.path != NULL && (!PyUnicode_Check(r.name) || !PyUnicode_Check(r.path))) {
        result = load_normally(&r); /* CPython words the TypeError */
    }
    else if (r.path != NULL && PySys_Audit("import", "OOOOO", r.name, r.path, Py_None,
                                           Py_None, Py_None) == 0) {
        r.init_name = init_name_of(r.name);
        if (r.init_name != NULL) {
            result = load(&r);
        }
    }
    if (r.fd >= 0) {
        close(r.fd);
    }
    si_free(r.init_name);
    si_free(r.file_path);
    Py_XDECREF(r.name);
    Py_XDECREF(r.path);
    return result;
}

static PyMethodDef create_dynamic_def = {
    "create_dynamic",
    (PyCFunction)(void (*)(void))create_dynamic,
    METH_FASTCALL,
    "create_dynamic(spec, file=None, /)\n--\n\nCreate an extension module; one that does "
    "not support several interpreters from a\nprivate copy of its library.",
};

/* CPython clears the interpreter; its modules are gone. If somebody has emptied atexit,
 * this is where the gate closes, and who is inside cannot be waited for any more. */
static void
interpreter_ends(void *data)
{
    sipy_loader *loader = data;
    if (si_gate_close(&loader->gate, false) == SI_OK) {
        shut(loader, sipy_compat_current());
    }
    Py_CLEAR(loader->create_dynamic);
    for (sipy_copy *copy = loader->copies; copy != NULL; copy = copy->next) {
        for (sipy_single *s = copy->singles; s != NULL; s = s->next) {
            Py_CLEAR(s->dict);
        }
    }
}

bool
sipy_loader_has_copies(const sipy_loader *loader)
{
    return loader->copies != NULL;
}

int
sipy_loader_install(sipy_loader **result)
{
    *result = NULL;
    if (si_elf_machine == EM_NONE) {
        return 0;
    }
    sipy_loader *loader = si_calloc(sizeof *loader);
    if (loader == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    loader->native = PyInterpreterState_Get();
    loader->id = PyInterpreterState_GetID(loader->native);
    loader->view = sipy_compat_view_of_current();
    PyObject *capsule = PyCapsule_New(loader, capsule_name, NULL);
    PyObject *hook = capsule ? PyCFunction_New(&create_dynamic_def, capsule) : NULL;
    PyObject *imp = hook ? PyImport_ImportModule("_imp") : NULL;
    if (imp != NULL) {
        loader->create_dynamic = PyObject_GetAttrString(imp, "create_dynamic");
    }
    bool failed = loader->create_dynamic == NULL ||
                  sipy_compat_at_end(loader->native, interpreter_ends, loader) < 0 ||
                  PyObject_SetAttrString(imp, "create_dynamic", hook) < 0 ||
                  sipy_builtin_install(loader, imp) < 0;
    Py_XDECREF(capsule);
    Py_XDECREF(hook);
    Py_XDECREF(imp);
    if (failed) {
        return -1; /* the callbacks may refer to the loader: it stays */
    }
    *result = loader;
    return 0;
}

static void
name_keeper(sipy_loader *loader, char keeper[SIPY_KEEPER_SIZE])
{
    si_mutex_lock(&loader->mu);
    const sipy_guest *guest = loader->guests;
    const char *label = guest != NULL ? guest->copy->label : "a library";
    snprintf(keeper, SIPY_KEEPER_SIZE,
             guest != NULL && guest->kept
                 ? "%.180s keeps a thread state of it (PyThreadState_New)"
                 : "a thread that %.180s started has not left it",
             label);
    si_mutex_unlock(&loader->mu);
}

si_status
sipy_loader_pause(sipy_loader *loader, int64_t deadline_ns, char keeper[SIPY_KEEPER_SIZE])
{
    if (si_gate_close(&loader->gate, false) != SI_OK) {
        return SI_OK; /* it has ended */
    }
    PyThreadState *ts = PyEval_SaveThread();
    si_status status = si_gate_drain(&loader->gate, deadline_ns);
    if (status != SI_OK) {
        name_keeper(loader, keeper);
        si_gate_reopen(&loader->gate);
    }
    PyEval_RestoreThread(ts);
    return status;
}

void
sipy_loader_resume(sipy_loader *loader)
{
    si_gate_reopen(&loader->gate);
}

static void
run_exits(sipy_loader *loader)
{
    si_mutex_lock(&loader->mu);
    sipy_exit *exits = loader->exits;
    loader->exits = NULL;
    si_mutex_unlock(&loader->mu);
    while (exits != NULL) { /* newest first, as CPython does */
        sipy_exit *next = exits->next;
        exits->function();
        si_free(exits);
        exits = next;
    }
}

void
sipy_loader_ended(sipy_loader **loader)
{
    sipy_loader *ended = *loader;
    si_store_release(&ended->ender, 0);
    si_store_release(&ended->ended, 1);
    run_exits(ended);
    if (!ended->atexit_registered) { /* which the first copy begins with */
        *loader = NULL;
        sipy_compat_view_close(ended->view);
        si_free(ended);
    }
}

void
sipy_loader_fork_prepare(void)
{
    sipy_support_lock();
    sipy_needed_lock();
    si_keys_fork_prepare();
}

void
sipy_loader_fork_done(void)
{
    si_keys_fork_done();
    sipy_needed_unlock();
    sipy_support_unlock();
}

void
sipy_loader_forked(sipy_loader *loader)
{
    shut_for_good(loader);
    loader->mu = (si_mutex)SI_MUTEX_INIT; /* its holder is not in this process */
}
