/* thread_local.c — the thread-local variables of private copies.
 *
 * Each copy of a library makes its own keys, and a process has 1,024. Threads may use them
 * after the interpreter is gone, as libraries look into such a variable before they enter,
 * so they are not given back: copies get numbers of core/platform/keys.h, which last for
 * good. Keys that come from elsewhere are passed on to whom they belong.
 */
#include <errno.h>
#include <pthread.h>

#include "binding/loader/copy.h"
#include "core/platform/keys.h"

int
sipy_key_create(pthread_key_t *key, void (*at_exit)(void *))
{
    switch (si_key_create(key, at_exit)) {
        case SI_OK:
            return 0;
        case SI_NOMEM:
            return ENOMEM;
        default:
            return EAGAIN;
    }
}

int
sipy_key_delete(pthread_key_t key)
{
    if (!si_key_is_ours(key)) {
        return pthread_key_delete(key);
    }
    si_key_delete(key);
    return 0;
}

void *
sipy_key_get(pthread_key_t key)
{
    return si_key_is_ours(key) ? si_key_get(key) : pthread_getspecific(key);
}

int
sipy_key_set(pthread_key_t key, const void *value)
{
    if (!si_key_is_ours(key)) {
        return pthread_setspecific(key, value);
    }
    return si_key_set(key, (void *)value) == SI_OK ? 0 : ENOMEM;
}

int
sipy_tss_create(Py_tss_t *key)
{
    if (!PyThread_tss_is_created(key)) {
        if (sipy_key_create(&key->_key, NULL) != 0) {
            return -1;
        }
        key->_is_initialized = 1;
    }
    return 0;
}

void
sipy_tss_delete(Py_tss_t *key)
{
    if (PyThread_tss_is_created(key)) {
        (void)sipy_key_delete(key->_key);
        key->_is_initialized = 0;
    }
}

void
sipy_tss_free(Py_tss_t *key)
{
    if (key != NULL) {
        sipy_tss_delete(key);
        PyThread_tss_free(key);
    }
}

void *
sipy_tss_get(Py_tss_t *key)
{
    return sipy_key_get(key->_key);
}

int
sipy_tss_set(Py_tss_t *key, void *value)
{
    return sipy_key_set(key->_key, value) == 0 ? 0 : -1;
}
