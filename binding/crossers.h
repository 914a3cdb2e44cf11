/* crossers.h — how our own types, Interpreter and Queue, cross between interpreters. */
#ifndef SIPY_CROSSERS_H
#define SIPY_CROSSERS_H

#include "binding/home.h"

#define SIPY_TAG_INTERPRETER 1
#define SIPY_TAG_QUEUE 2

extern const sipy_crosser sipy_interpreter_crosser; /* type_interpreter.c */
extern const sipy_crosser sipy_queue_crosser;       /* type_queue.c */

/* sipy_hooks.find_crosser: the crosser of type in the home that owner is, or NULL. */
const sipy_crosser *
sipy_crosser_of_type(void *owner, PyTypeObject *type);

/* sipy_hooks.crosser_by_tag. */
const sipy_crosser *
sipy_crosser_of_tag(void *owner, uint8_t tag);

/* The module state in the current interpreter, importing our module there if need be.
 * -> state | NULL with an exception */
sipy_state *
sipy_state_here(sipy_home *home);

#endif /* SIPY_CROSSERS_H */
