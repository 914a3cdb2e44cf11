/* engine.c — the transfer engine of one interpreter: made, visited, cleared. */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"
#include "core/base/alloc.h"

sipy_transfer *
sipy_transfer_new(const sipy_hooks *hooks)
{
    sipy_transfer *t = si_calloc(sizeof(sipy_transfer));
    if (t == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    t->hooks = *hooks;
    sipy_image_init(&t->scratch);
    t->empty_tuple = PyTuple_New(0);
    t->five = PyLong_FromLong(5);
    t->unset = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    bool ok = t->empty_tuple != NULL && t->five != NULL && t->unset != NULL;
#define INTERN(name) ok = ok && (t->n_##name = PyUnicode_InternFromString(#name)) != NULL;
    SIPY_TRANSFER_NAMES(INTERN)
#undef INTERN
    if (!ok) {
        sipy_transfer_clear(t);
        sipy_transfer_free(t);
        return NULL;
    }
    return t;
}

void
sipy_transfer_clear(sipy_transfer *t)
{
    t->cleared = true;
    sipy__functions_clear(t);
    sipy__encoder_free(t->spare_encoder);
    t->spare_encoder = NULL;
    sipy__decoder_free(t->spare_decoder);
    t->spare_decoder = NULL;
    if (!t->scratch_busy) {
        sipy_image_fini(&t->scratch);
    }
    for (size_t i = 0; i < SIPY_CLASS_CACHE; i++) {
        Py_CLEAR(t->classes[i].slots);
        t->classes[i].type = NULL;
    }
    for (size_t i = 0; i < SIPY_NAME_CACHE; i++) {
        Py_CLEAR(t->names[i].str);
    }
    Py_CLEAR(t->empty_tuple);
    Py_CLEAR(t->five);
    Py_CLEAR(t->unset);
#define CLEAR(name) Py_CLEAR(t->o_##name);
    SIPY_TRANSFER_OBJECTS(CLEAR)
#undef CLEAR
#define CLEAR(name) Py_CLEAR(t->n_##name);
    SIPY_TRANSFER_NAMES(CLEAR)
#undef CLEAR
}

void
sipy_transfer_free(sipy_transfer *t)
{
    si_free(t);
}

int
sipy_transfer_traverse(sipy_transfer *t, visitproc visit, void *arg)
{
#define VISIT(name) Py_VISIT(t->o_##name);
    SIPY_TRANSFER_OBJECTS(VISIT)
#undef VISIT
    return sipy__functions_traverse(t, visit, arg);
}
