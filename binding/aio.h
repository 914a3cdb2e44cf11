/* aio.h — methods whose work is done in Python, by subinterpreters.aio. */
#ifndef SIPY_AIO_H
#define SIPY_AIO_H

#include "binding/state.h"

/* subinterpreters.aio.function(self, *args, **kwargs), in the vectorcall form that a method
 * gets. Attached. -> new reference | NULL with an exception */
PyObject *
sipy_aio_call(const char *function, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames);

/* --- queue_async.c ------------------------------------------------------------------- */

PyObject *
sipy_queue_get_async(PyObject *self, PyObject *ignored);
PyObject *
sipy_queue_put_async(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames);
/* _watch(put, outbox, future) */
PyObject *
sipy_queue_watch(PyObject *self, PyObject *const *args, Py_ssize_t nargs);

#endif /* SIPY_AIO_H */
