/* queues.h — the process' queues by id. */
#ifndef SIPY_QUEUES_H
#define SIPY_QUEUES_H

#include "binding/compat/compat.h"
#include "core/channel/channel.h"

/* All channels of the process that have a reference: Queue objects in any interpreter
 * and those that travel inside items. */
extern si_registry sipy_queues;

/* The channel behind a Queue; borrowed. */
si_channel *
sipy_queue_channel(PyObject *queue);

/* Applies the policy of the items that an interpreter which has ended had put. */
void
sipy_queues_owner_gone(int64_t interp_id);

/* _core._list_queues(): a Queue for each, in the order in which they were created. */
PyObject *
sipy_queue_list(PyObject *module, PyObject *ignored);

/* --- queue_async.c ------------------------------------------------------------------- */

PyObject *
sipy_queue_get_async(PyObject *self, PyObject *ignored);
PyObject *
sipy_queue_put_async(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames);
/* _watch(put, outbox, future) */
PyObject *
sipy_queue_watch(PyObject *self, PyObject *const *args, Py_ssize_t nargs);

#endif /* SIPY_QUEUES_H */
