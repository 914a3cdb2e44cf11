/* sleep.h — a time.sleep that interrupt() can end. */
#ifndef SIPY_SLEEP_H
#define SIPY_SLEEP_H

/* Puts it in the place of time.sleep in the current interpreter. -> 0 | -1 with an
 * exception. Attached. */
int
sipy_sleep_install(void);

#endif /* SIPY_SLEEP_H */
