/* copy.h — inside the loader: one interpreter's state and its private copies.
 *
 * Model      A loader per interpreter, a copy per (interpreter, library file). Stubs in
 *            the copy's image carry the address of its sipy_copy.
 * Threads    Fields marked [home] are touched only attached to the interpreter. The
 *            others are read by any thread that runs the copy's code.
 * Locking    loader->mu guards the fields marked so; a leaf, nothing is called under it.
 *            loader->gate counts the library threads that are inside the interpreter, and
 *            everything that must keep it from ending for a few instructions.
 */
#ifndef SIPY_LOADER_COPY_H
#define SIPY_LOADER_COPY_H

#include <dlfcn.h>
#include <pthread.h>
#include <sys/types.h>

#include "binding/compat/compat.h"
#include "binding/loader/loader.h"
#include "core/platform/mutex.h"
#include "core/registry/gate.h"

#define SIPY_MAX_REASON 1024 /* longest cause of an ImportError */
#define SIPY_MAX_PATH 4096   /* longest path that is put together */

typedef struct sipy_file_id {
    dev_t device;
    ino_t inode;
    off_t size;
    int64_t changed_ns;
} sipy_file_id;

/* A single-phase module that has been initialised. */
typedef struct sipy_single {
    struct sipy_single *next;
    char *name;       /* full name */
    PyModuleDef *def; /* NULL: it has two phases, or failed */
    PyObject *dict;   /* contents right after initialisation, or NULL: initialise again */
} sipy_single;

/* A definition under which a module is registered (PyState_AddModule). */
typedef struct sipy_registration {
    struct sipy_registration *next;
    PyModuleDef *def;
} sipy_registration;

typedef struct sipy_copy {
    sipy_loader *loader;
    struct sipy_copy *next; /* [home] */
    sipy_file_id file;
    char *path;           /* of the original */
    char *image_path;     /* under which the dynamic linker knows it; never used again */
    char *label;          /* what messages call it: module name or file name */
    char *soname;         /* what libraries that need it call it (DT_SONAME), or NULL */
    void *handle;         /* of dlopen; NULL: see sipy_copy_open */
    uint64_t span;        /* [home] bytes of its addresses, when it is loaded */
    int64_t static_tls;   /* bytes of static thread-local memory */
    uint64_t stubs;       /* see si_elf_patch; set before its code can run */
    si_atomic_u64 base;   /* its load address, once somebody has asked; or 0 */
    bool unique;          /* [home] has unique symbols */
    bool global;          /* [home] was loaded with RTLD_GLOBAL: later copies search it */
    bool opened;          /* [home] Python code has opened it by its path */
    sipy_single *singles; /* [home] */
    sipy_registration *registrations; /* [home] */
} sipy_copy;

/* A thread state that a copy's code has made. */
typedef struct sipy_guest {
    struct sipy_guest *next;
    sipy_copy *copy;
    PyThreadState *ts;
    void *guard; /* a PyInterpreterGuard in place of an entry of the gate, or NULL */
    bool kept;   /* by PyThreadState_New: for as long as the library likes */
} sipy_guest;

/* A function that a copy registered with Py_AtExit. */
typedef struct sipy_exit {
    struct sipy_exit *next;
    void (*function)(void);
} sipy_exit;

struct sipy_loader {
    int64_t id;                 /* of the interpreter */
    PyInterpreterState *native; /* only inside the gate or attached */
    void *view;                 /* of it, for guards; NULL before CPython 3.15 */
    PyObject *create_dynamic;   /* [home] CPython's own, strong */
    sipy_copy *copies;          /* [home] newest first */
    int wakeup_fd;              /* [home] what signal.set_wakeup_fd was given */
    bool atexit_registered;     /* [home] */
    si_gate gate;
    si_atomic_u32 ended;
    si_atomic_i64 ender; /* pthread_self of the thread that ends it, from ended on; or 0 */
    PyThreadState *ender_ts; /* what that thread ends it through; only it reads this */
    si_mutex mu;
    sipy_guest *guests SI_GUARDED_BY(mu);
    sipy_exit *exits SI_GUARDED_BY(mu);
};

/* The copy of that file in this interpreter, or NULL. [home] */
sipy_copy *
sipy_copy_find(sipy_loader *loader, const sipy_file_id *file);

/* Makes and loads a private copy of the library that fd is open on, and before it of
 * the libraries it needs that use Python. flags are those of dlopen. Keeps fd open.
 * [home], holds the GIL.
 * -> copy, owned by the loader; or NULL with the cause in reason, no exception set */
sipy_copy *
sipy_copy_load(sipy_loader *loader, int fd, const sipy_file_id *file, const char *path,
               const char *label, int flags, char reason[SIPY_MAX_REASON]);

/* One more handle of a copy that is loaded, for dlclose. -> handle | NULL with the cause in
 * reason */
void *
sipy_copy_handle(const sipy_copy *copy, char reason[SIPY_MAX_REASON]);

/* Where the dynamic linker has put the library of a handle. -> 0: it cannot be told */
uintptr_t
sipy_load_address(void *handle);

/* Sees to it that the copy has its handle: one that was loaded because another needs it may
 * lack it. [home] -> 0 | -1 with the cause in reason */
int
sipy_copy_open(sipy_copy *copy, char reason[SIPY_MAX_REASON]);

/* Copies that are prepared together and then loaded at once: the dynamic linker
 * resolves libraries that need each other. */
typedef struct sipy_batch sipy_batch;

/* The interpreter's copy of that library, or a newly prepared one. [home]
 * -> copy, owned by the loader or the batch; NULL with the cause in reason */
sipy_copy *
sipy_batch_add(sipy_batch *batch, int fd, const sipy_file_id *file, const char *path,
               const char *label, char reason[SIPY_MAX_REASON]);

/* Reads what identifies the file behind fd, or behind a path. -> 0 | -1 with errno */
int
sipy_file_identify(int fd, sipy_file_id *file);
int
sipy_file_identify_path(const char *path, sipy_file_id *file);

/* Whether errno says that there is no such file for the dynamic linker. Anything else says
 * that it cannot be told now: want of descriptors, of memory. */
bool
sipy_file_is_absent(int error);

bool
sipy_file_same(const sipy_file_id *a, const sipy_file_id *b);

/* A copy of text, to be freed with si_free; NULL: no memory. */
char *
sipy_duplicate(const char *text);

/* The folder of an absolute path, to be freed with si_free; NULL: no memory. */
char *
sipy_folder_of(const char *path);

/* What a module says of itself. */
typedef enum sipy_support {
    SIPY_SUPPORT_UNKNOWN = 0,  /* cannot be read from the file */
    SIPY_SUPPORT_DECLARED = 1, /* runs with a GIL per interpreter: load it as it is */
    SIPY_SUPPORT_NONE = 2,     /* does not say so: needs a copy */
    SIPY_SUPPORT_SYSTEM = 3,   /* does not, and a copy would not help */
    SIPY_SUPPORT_LATE = 4,     /* as DECLARED, but only its function says so, as it runs */
} sipy_support;

/* Reads it from the file, or from what is remembered of it. init_name stands behind
 * "PyInit" in its function. -> verdict, or -1 with the cause in reason (damaged file) */
int
sipy_support_of(int fd, const sipy_file_id *file, const char *path, const char *init_name,
                char reason[SIPY_MAX_REASON]);

/* What is remembered; SIPY_SUPPORT_UNKNOWN: nothing. Any thread. */
sipy_support
sipy_support_recall(const sipy_file_id *file);

/* Remembers a verdict for the process. Any thread. */
void
sipy_support_remember(const sipy_file_id *file, sipy_support support);

/* What is remembered, while the process is copied by a fork. */
void
sipy_support_lock(void);
void
sipy_support_unlock(void);

/* The PyInit_ function's module for this interpreter, from its copy. [home]
 * With *declared true, a module that turns out to declare support is not made: NULL is
 * returned without an exception, and *declared stays true. Else it becomes false.
 * -> new module, not executed yet if it has an execution phase | NULL */
PyObject *
sipy_module_create(sipy_copy *copy, PyObject *spec, PyObject *name, PyObject *path,
                   const char *init_name, bool *declared);

/* A module that declares support and that the whole process shares, not executed yet; path
 * has a folder. Attached.
 * -> new module | NULL with an exception, or without one: CPython has to load it */
PyObject *
sipy_module_shared(const char *path, const char *init_name, PyObject *spec);

/* The same for a module that is built into the interpreter. */
PyObject *
sipy_module_builtin(PyObject *name, PyObject *spec);

/* Makes the definition of a copy's module declare the support that the copy gives it.
 * Attached. -> 0 | -1 with MemoryError */
int
sipy_module_declare(PyModuleDef *def);

/* PyState_FindModule, _AddModule and _RemoveModule for a definition of the copy. CPython
 * 3.12 looks one entry behind the end of its list for a definition that was never
 * registered, so what was is remembered here. Attached. */
PyObject *
sipy_state_find(PyModuleDef *def, sipy_copy *copy);
int
sipy_state_add(PyObject *module, PyModuleDef *def, sipy_copy *copy);
int
sipy_state_remove(PyModuleDef *def, sipy_copy *copy);

/* PyModule_FromSlotsAndSpec (3.15) with that declaration. Attached. */
PyObject *
sipy_module_from_slots(const void *slots, PyObject *spec);

/* Raises ImportError with name and path: "cannot load NAME from PATH: reason". */
void
sipy_import_error(PyObject *name, PyObject *path, const char *reason);

/* Adapts faulthandler and signal (builtin.c): replaces create_builtin of module imp,
 * which is _imp. [home] -> 0 | -1 with an exception */
int
sipy_builtin_install(sipy_loader *loader, PyObject *imp);

/* The full name while PyInit_ of a copy runs in this thread, for PyModule_Create;
 * returns the one before. */
const char *
sipy_package_context(const char *name);

/* Thread-local variables of copies: pthread_key_create, _delete, getspecific, setspecific,
 * and those of PyThread_tss_*. Any thread, attached or not, whether or not there is an
 * interpreter. Results are as theirs. */
int
sipy_key_create(pthread_key_t *key, void (*at_exit)(void *));
int
sipy_key_delete(pthread_key_t key);
void *
sipy_key_get(pthread_key_t key);
int
sipy_key_set(pthread_key_t key, const void *value);
int
sipy_tss_create(Py_tss_t *key);
void
sipy_tss_delete(Py_tss_t *key);
void
sipy_tss_free(Py_tss_t *key);
void *
sipy_tss_get(Py_tss_t *key);
int
sipy_tss_set(Py_tss_t *key, void *value);

/* PyGILState_Ensure and _Release for code of the copy. Any thread, attached or not. */
int
sipy_gilstate_ensure(sipy_copy *copy);
void
sipy_gilstate_release(int state, sipy_copy *copy);

/* Whether the copy's code opens libraries for Python code that names them. */
bool
sipy_opens_libraries(const sipy_copy *copy);

/* dlopen, dlsym and dlerror for such a copy. A thread of its interpreter, attached or
 * not. */
void *
sipy_open_library(const char *path, int flags, sipy_copy *opener);
void *
sipy_open_symbol(void *handle, const char *name, sipy_copy *opener);
char *
sipy_open_error(sipy_copy *opener);

#define SIPY_FINDER "dlsym"

/* dlsym and dladdr for a copy's code. Any thread, attached or not. */
void *
sipy_find_symbol(void *handle, const char *name, sipy_copy *copy);
int
sipy_address_info(const void *address, Dl_info *info, sipy_copy *copy);

/* The calls that the copy makes to us instead of CPython or the system, one table for all
 * copies of a kind. */
struct si_elf_redirect;
const struct si_elf_redirect *
sipy_redirects(const sipy_copy *copy, size_t *count);

#endif /* SIPY_LOADER_COPY_H */
