/* crossers.c — see crossers.h. */
#include "binding/crossers.h"

const sipy_crosser *
sipy_crosser_of_type(void *owner, PyTypeObject *type)
{
    const sipy_state *state = ((sipy_home *)owner)->state;
    if (state == NULL) {
        return NULL; /* none of our objects exists where our module was not imported */
    }
    if ((PyObject *)type == state->Interpreter) {
        return &sipy_interpreter_crosser;
    }
    return (PyObject *)type == state->Queue ? &sipy_queue_crosser : NULL;
}

const sipy_crosser *
sipy_crosser_of_tag(void *owner, uint8_t tag)
{
    (void)owner;
    switch (tag) {
        case SIPY_TAG_INTERPRETER:
            return &sipy_interpreter_crosser;
        case SIPY_TAG_QUEUE:
            return &sipy_queue_crosser;
        default:
            return NULL;
    }
}

sipy_state *
sipy_state_here(sipy_home *home)
{
    if (home->state == NULL) {
        PyObject *module = PyImport_ImportModule("subinterpreters._core");
        if (module == NULL) {
            return NULL;
        }
        Py_DECREF(module); /* sys.modules keeps it */
    }
    if (home->state == NULL) {
        PyErr_SetString(PyExc_ImportError,
                        "subinterpreters._core was removed from this interpreter");
    }
    return home->state;
}
