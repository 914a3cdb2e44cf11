/* frames.h — sys._current_frames and sys._current_exceptions among interpreters.
 *
 * CPython's walk the threads of all interpreters: they make frame objects of another
 * interpreter in this one's memory, and count references there, which ends the process.
 */
#ifndef SIPY_FRAMES_H
#define SIPY_FRAMES_H

#include "binding/compat/compat.h"

/* Puts functions in their place that look at the threads of this interpreter only. Any
 * thread, attached. -> 0 | -1 with an exception */
int
sipy_frames_guard(void);

#endif /* SIPY_FRAMES_H */
