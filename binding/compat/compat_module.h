/* compat_module.h — how extension modules are defined, which 3.15 changed.
 *
 * 3.15 numbers the slots anew (and takes the old numbers), and has modules that export
 * an array of slots through PyModExport_NAME instead of a definition (PEP 793).
 */
#ifndef SIPY_COMPAT_COMPAT_MODULE_H
#define SIPY_COMPAT_COMPAT_MODULE_H

#include "binding/compat/compat.h"

typedef enum sipy_slot_kind {
    SIPY_SLOT_END,
    SIPY_SLOT_INTERPRETERS, /* Py_mod_multiple_interpreters */
    SIPY_SLOT_NESTED,       /* holds further slots */
    SIPY_SLOT_OTHER,
    SIPY_SLOT_INVALID, /* not a slot of a module */
} sipy_slot_kind;

/* What the first 32 bits of a module's slot say. Any thread. */
sipy_slot_kind
sipy_compat_slot_kind(int id);

/* Whether this CPython knows PyModExport_ functions. */
bool
sipy_compat_has_exports(void);

/* Creates a module from the slots that PyModExport_NAME returned. Attached.
 * -> new module, not executed, or NULL with an exception */
PyObject *
sipy_compat_module_from_slots(const void *slots, PyObject *spec);

/* The flags that this interpreter opens extension modules with. Attached. */
int
sipy_compat_dlopen_flags(void);

#endif /* SIPY_COMPAT_COMPAT_MODULE_H */
