/* queues.c — see queues.h. */
#include "binding/queues.h"

#include "binding/state.h"

si_registry sipy_queues; /* guarded by its own mutex; see docs/internals/globals.md */

void
sipy_queues_owner_gone(int64_t interp_id)
{
    si_entry *e = NULL;
    while ((e = si_registry_next(&sipy_queues, e)) != NULL) {
        si_channel_owner_gone((si_channel *)e, interp_id);
    }
}

PyObject *
sipy_queue_list(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sipy_state *state = sipy_state_of_module(module);
    PyObject *list = PyList_New(0);
    si_entry *e = NULL;
    while (list != NULL && (e = si_registry_next(&sipy_queues, e)) != NULL) {
        PyObject *queue = PyObject_CallFunction(state->Queue, "L", (long long)e->id);
        if (queue == NULL || PyList_Append(list, queue) < 0) {
            si_entry_drop(e);
            Py_CLEAR(list);
        }
        Py_XDECREF(queue);
    }
    return list;
}
