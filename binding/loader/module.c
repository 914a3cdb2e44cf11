/* module.c — initialises a module from its private copy, in the current interpreter.
 *
 * CPython would run an unknown PyInit_ function in the main interpreter first and keep
 * the result in process-wide tables. Here it runs where it was imported, and what must be
 * remembered hangs on the copy. Everything in this file is [home].
 *
 * A module that is shared by the process needs no visit to the main interpreter either: its
 * file says that its function returns a definition with slots (support.c). CPython would
 * make a thread state there, wait for that GIL, and on the first thread of the process have
 * the C library read all of /proc/self/maps, for each module that is imported. Two
 * interpreters that initialise one definition at once write the same into it, but for an
 * index that modules with slots do not use.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "binding/compat/compat_module.h"
#include "binding/loader/copy.h"
#include "core/base/alloc.h"
#include "core/elf/machine.h"

#define GETTER_SIZE 24 /* bytes of code that such a function has at the most */

/* Slots are 16 bytes in every version: 32 bits of number (and flags), a pointer. */
typedef struct raw_slot {
    int id;
    void *value;
} raw_slot;

/* slots may be NULL, here and below: none. */
static bool
declares_support(const raw_slot *slots)
{
    if (slots == NULL) {
        return false;
    }
    for (; sipy_compat_slot_kind(slots->id) != SIPY_SLOT_END; slots++) {
        if (sipy_compat_slot_kind(slots->id) == SIPY_SLOT_INTERPRETERS) {
            return slots->value == Py_MOD_PER_INTERPRETER_GIL_SUPPORTED;
        }
    }
    return false;
}

/* The slots with the declaration that the copy makes true. They stay for good, as the
 * module refers to them. NULL: no memory */
static raw_slot *
declare_support(const raw_slot *slots)
{
    size_t count = 0;
    while (slots != NULL && sipy_compat_slot_kind(slots[count].id) != SIPY_SLOT_END) {
        count++;
    }
    raw_slot *result = si_calloc((count + 2) * sizeof *result);
    size_t to = 0;
    for (size_t i = 0; result != NULL && i < count; i++) {
        if (sipy_compat_slot_kind(slots[i].id) != SIPY_SLOT_INTERPRETERS) {
            result[to++] = slots[i];
        }
    }
    if (result != NULL) {
        result[to].id = Py_mod_multiple_interpreters;
        result[to].value = Py_MOD_PER_INTERPRETER_GIL_SUPPORTED;
    }
    return result;
}

/* From an init function that returns a definition with slots. -> as sipy_module_shared */
static PyObject *
initialise_here(PyObject *(*init)(void), PyObject *spec)
{
    PyObject *definition = init();
    if (definition != NULL && Py_IS_TYPE(definition, &PyModuleDef_Type) &&
        PyErr_Occurred() == NULL) {
        return PyModule_FromDefAndSpec((PyModuleDef *)definition, spec);
    }
    PyErr_Clear(); /* CPython words what is wrong with it */
    return NULL;
}

/* Whether the code says that the function does nothing but return such a definition, which
 * declares support. */
static bool
returns_declared(PyObject *(*init)(void))
{
    const uint8_t *code;
    uint64_t object;
    bool jumps;
    memcpy(&code, &init, sizeof code);
    if (!si_elf_read_getter(code, GETTER_SIZE, (uintptr_t)code, &object, &jumps) ||
        !jumps || !si_elf_getter_calls(code, GETTER_SIZE, (uintptr_t)PyModuleDef_Init)) {
        return false;
    }
    const PyModuleDef *def = (const PyModuleDef *)(uintptr_t)object;
    return declares_support((const raw_slot *)def->m_slots);
}

PyObject *
sipy_module_builtin(PyObject *name, PyObject *spec)
{
    const struct _inittab *entry = PyImport_Inittab;
    while (entry->name != NULL &&
           PyUnicode_CompareWithASCIIString(name, entry->name) != 0) {
        entry++;
    }
    return entry->initfunc != NULL && returns_declared(entry->initfunc)
               ? initialise_here(entry->initfunc, spec)
               : NULL;
}

PyObject *
sipy_module_shared(const char *path, const char *init_name, PyObject *spec)
{
    char name[256];
    int n = snprintf(name, sizeof name, "PyModExport%s", init_name);
    void *handle = n > 0 && (size_t)n < sizeof name
                       ? dlopen(path, sipy_compat_dlopen_flags())
                       : NULL; /* it stays open, as every module's does */
    if (handle == NULL || (sipy_compat_has_exports() && dlsym(handle, name) != NULL)) {
        return NULL;
    }
    (void)snprintf(name, sizeof name, "PyInit%s", init_name);
    void *found = dlsym(handle, name);
    PyObject *(*init)(void) = NULL;
    memcpy(&init, &found, sizeof init);
    return init != NULL ? initialise_here(init, spec) : NULL;
}

static sipy_single *
find_single(sipy_copy *copy, const char *name)
{
    sipy_single *single = copy->singles;
    while (single != NULL && strcmp(single->name, name) != 0) {
        single = single->next;
    }
    return single;
}

static sipy_registration **
find_registration(sipy_copy *copy, const PyModuleDef *def)
{
    sipy_registration **link = &copy->registrations;
    while (*link != NULL && (*link)->def != def) {
        link = &(*link)->next;
    }
    return link;
}

PyObject *
sipy_state_find(PyModuleDef *def, sipy_copy *copy)
{
    return *find_registration(copy, def) != NULL ? PyState_FindModule(def) : NULL;
}

int
sipy_state_add(PyObject *module, PyModuleDef *def, sipy_copy *copy)
{
    if (*find_registration(copy, def) == NULL) {
        sipy_registration *added = si_alloc(sizeof *added);
        if (added == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        added->def = def;
        added->next = copy->registrations;
        copy->registrations = added;
    }
    return PyState_AddModule(module, def);
}

int
sipy_state_remove(PyModuleDef *def, sipy_copy *copy)
{
    sipy_registration **link = find_registration(copy, def);
    sipy_registration *found = *link;
    if (found != NULL) {
        *link = found->next;
        si_free(found);
    }
    return PyState_RemoveModule(def);
}

/* PyState_FindModule finds single-phase modules; CPython's import sees to that. */
static int
register_single(sipy_copy *copy, PyObject *module, PyModuleDef *def)
{
    PyObject *registered = sipy_state_find(def, copy);
    if (registered == module) {
        return 0;
    }
    if (registered != NULL && sipy_state_remove(def, copy) < 0) {
        return -1;
    }
    return sipy_state_add(module, def, copy);
}

/* Finishes what a single-phase PyInit_ returned. Steals module. */
static PyObject *
finish_single(sipy_copy *copy, sipy_single *single, PyObject *module, PyObject *path)
{
    PyModuleDef *def = PyModule_GetDef(module);
    if (def == NULL) {
        PyErr_Format(PyExc_SystemError,
                     "initialization of %s did not return an extension module",
                     single->name);
    }
    else if (PyModule_AddObjectRef(module, "__file__", path) == 0 &&
             register_single(copy, module, def) == 0) {
        single->def = def;
        if (def->m_size == -1 && single->dict == NULL) {
            single->dict = PyDict_Copy(PyModule_GetDict(module));
        }
        if (def->m_size != -1 || single->dict != NULL) {
            return module;
        }
    }
    Py_DECREF(module);
    return NULL;
}

/* A single-phase module that cannot be initialised twice is made again from what it
 * contained after the first time. */
static PyObject *
again(sipy_copy *copy, sipy_single *single, PyObject *name)
{
    PyObject *module = PyModule_NewObject(name);
    if (module == NULL || PyDict_Update(PyModule_GetDict(module), single->dict) < 0 ||
        register_single(copy, module, single->def) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}

static sipy_single *
new_single(sipy_copy *copy, const char *name)
{
    sipy_single *single = si_calloc(sizeof *single);
    char *copied = sipy_duplicate(name);
    if (single == NULL || copied == NULL) {
        si_free(single);
        si_free(copied);
        PyErr_NoMemory();
        return NULL;
    }
    single->name = copied;
    single->next = copy->singles;
    copy->singles = single;
    return single;
}

int
sipy_module_declare(PyModuleDef *def)
{
    const raw_slot *slots = (const raw_slot *)def->m_slots;
    if (!declares_support(slots)) {
        raw_slot *changed = declare_support(slots);
        if (changed == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        def->m_slots = (PyModuleDef_Slot *)changed;
    }
    return 0;
}

static PyObject *
from_definition(PyModuleDef *def, PyObject *spec, bool *declared)
{
    if (*declared && def->m_slots != NULL &&
        declares_support((const raw_slot *)def->m_slots)) {
        return NULL;
    }
    *declared = false;
    return sipy_module_declare(def) < 0 ? NULL : PyModule_FromDefAndSpec(def, spec);
}

static PyObject *
call_init(PyObject *(*init)(void), const char *name)
{
    const char *before = sipy_package_context(name);
    PyObject *result = init();
    sipy_package_context(before);
    if (result == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_SystemError,
                         "initialization of %s failed without raising an exception", name);
        }
        return NULL;
    }
    if (PyErr_Occurred()) {
        PyObject *cause = PyErr_GetRaisedException();
        PyErr_Format(PyExc_SystemError,
                     "initialization of %s raised an exception that it did not report",
                     name);
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetCause(error, cause); /* steals cause */
        PyErr_SetRaisedException(error);
        if (!PyObject_TypeCheck(result, &PyModuleDef_Type)) {
            Py_DECREF(result);
        }
        return NULL;
    }
    if (Py_TYPE(result) == NULL) {
        PyErr_Format(PyExc_SystemError,
                     "initialization of %s returned an uninitialized object", name);
        return NULL;
    }
    return result;
}

static void *
find_function(sipy_copy *copy, const char *prefix, const char *init_name)
{
    char symbol[512];
    int n = snprintf(symbol, sizeof symbol, "%s%s", prefix, init_name);
    return n < 0 || (size_t)n >= sizeof symbol ? NULL : dlsym(copy->handle, symbol);
}

PyObject *
sipy_module_from_slots(const void *slots, PyObject *spec)
{
    if (!declares_support(slots)) {
        slots = declare_support(slots);
    }
    return slots == NULL ? PyErr_NoMemory() : sipy_compat_module_from_slots(slots, spec);
}

static PyObject *
from_export(sipy_copy *copy, void *function, PyObject *spec, bool *declared)
{
    void *(*export_slots)(void);
    memcpy(&export_slots, &function, sizeof export_slots);
    const raw_slot *slots = export_slots();
    if (slots == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_SystemError, "the export function of %s returned NULL",
                         copy->label);
        }
        return NULL;
    }
    if (*declared && declares_support(slots)) {
        return NULL;
    }
    *declared = false;
    return sipy_module_from_slots(slots, spec);
}

/* PyInit_ of the copy, for the first time or again. */
static PyObject *
from_init(sipy_copy *copy, PyObject *spec, PyObject *name, PyObject *path,
          const char *init_name, bool *declared)
{
    const char *name_text = PyUnicode_AsUTF8(name);
    sipy_single *single = name_text != NULL ? find_single(copy, name_text) : NULL;
    if (single != NULL && single->dict != NULL) {
        return again(copy, single, name);
    }
    void *function = find_function(copy, "PyInit", init_name);
    if (function == NULL) {
        char reason[SIPY_MAX_REASON];
        snprintf(reason, sizeof reason, "it does not define PyInit%.200s", init_name);
        sipy_import_error(name, path, reason);
        return NULL;
    }
    /* The name must outlive the call: a definition may keep it. */
    if (single == NULL) {
        single = name_text != NULL ? new_single(copy, name_text) : NULL;
    }
    PyObject *(*init)(void);
    memcpy(&init, &function, sizeof init);
    PyObject *result = single != NULL ? call_init(init, single->name) : NULL;
    if (result == NULL) {
        return NULL;
    }
    if (PyObject_TypeCheck(result, &PyModuleDef_Type)) {
        return from_definition((PyModuleDef *)result, spec, declared);
    }
    return finish_single(copy, single, result, path);
}

PyObject *
sipy_module_create(sipy_copy *copy, PyObject *spec, PyObject *name, PyObject *path,
                   const char *init_name, bool *declared)
{
    bool unneeded = *declared;
    PyObject *module;
    void *function =
        sipy_compat_has_exports() ? find_function(copy, "PyModExport", init_name) : NULL;
    if (function != NULL) {
        module = from_export(copy, function, spec, &unneeded);
    }
    else {
        module = from_init(copy, spec, name, path, init_name, &unneeded);
    }
    *declared = unneeded && module == NULL && !PyErr_Occurred();
    return module;
}
