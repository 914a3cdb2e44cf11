/* unbound.h — the policies for items whose interpreter has ended, as Python objects. */
#ifndef SIPY_UNBOUND_H
#define SIPY_UNBOUND_H

#include "binding/state.h"
#include "core/channel/channel.h"

/* The policy that one of the three singletons stands for.
 * -> 0, or -1 with NotImplementedError */
int
sipy_unbound_policy(const sipy_state *state, PyObject *arg, si_unbound *out);

/* The singleton of a policy, borrowed. */
PyObject *
sipy_unbound_object(const sipy_state *state, si_unbound policy);

#endif /* SIPY_UNBOUND_H */
