/* shareable.h — what CPython calls a shareable object. */
#ifndef SIPY_SHAREABLE_H
#define SIPY_SHAREABLE_H

#include "binding/state.h"

/* is_shareable(): by exact type alone, as in CPython 3.14. Attached. */
bool
sipy_is_shareable(const sipy_state *state, PyObject *obj);

/* What prepare_main() takes: shareable down to the items of tuples, and no int of more
 * than 64 bits. -> 0 | -1 with NotShareableError that names the object and where in the
 * value called name it sits. Attached; runs the repr of the object. */
int
sipy_check_shareable(const sipy_state *state, PyObject *obj, PyObject *name);

#endif /* SIPY_SHAREABLE_H */
