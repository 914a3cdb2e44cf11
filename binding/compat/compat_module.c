/* compat_module.c — see compat_module.h. */
#include "binding/compat/compat_module.h"

#include <dlfcn.h>

#if PY_VERSION_HEX >= 0x030F0000
sipy_slot_kind
sipy_compat_slot_kind(int id)
{
    int number = id & 0xFFFF; /* flags are in the upper half */
    if (number == Py_slot_end) {
        return SIPY_SLOT_END;
    }
    if (number == 3 || number == Py_mod_multiple_interpreters) {
        return SIPY_SLOT_INTERPRETERS;
    }
    if (number == Py_slot_subslots || number == Py_mod_slots) {
        return SIPY_SLOT_NESTED;
    }
    if ((number >= 1 && number <= 4) || (number >= 84 && number <= 128)) {
        return SIPY_SLOT_OTHER;
    }
    return SIPY_SLOT_INVALID;
}

bool
sipy_compat_has_exports(void)
{
    return true;
}

PyObject *
sipy_compat_module_from_slots(const void *slots, PyObject *spec)
{
    return PyModule_FromSlotsAndSpec((const PySlot *)slots, spec);
}
#else /* before 3.15 */
sipy_slot_kind
sipy_compat_slot_kind(int id)
{
    switch (id) {
        case 0:
            return SIPY_SLOT_END;
        case Py_mod_multiple_interpreters:
            return SIPY_SLOT_INTERPRETERS;
        default:
            return id > 0 && id <= 4 ? SIPY_SLOT_OTHER : SIPY_SLOT_INVALID;
    }
}

bool
sipy_compat_has_exports(void)
{
    return false;
}

PyObject *
sipy_compat_module_from_slots(const void *slots, PyObject *spec)
{
    (void)slots;
    (void)spec;
    PyErr_BadInternalCall();
    return NULL;
}
#endif

int
sipy_compat_dlopen_flags(void)
{
    int flags = RTLD_NOW;
    PyObject *saved = PyErr_GetRaisedException();
    PyObject *get = PySys_GetObject("getdlopenflags"); /* borrowed */
    PyObject *value = get != NULL ? PyObject_CallNoArgs(get) : NULL;
    if (value != NULL) {
        long number = PyLong_AsLong(value);
        flags = number >= 0 && number <= INT_MAX ? (int)number : flags;
        Py_DECREF(value);
    }
    PyErr_Clear();
    PyErr_SetRaisedException(saved);
    return flags;
}
