/* list.h — the waiters of one place, in the order of their coming.
 *
 * Guarded by the lock of that place, from which the waiters are woken. A waiter is on one
 * list at a time; off a list, both its links are NULL.
 */
#ifndef SI_WAIT_LIST_H
#define SI_WAIT_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/wait/waiter.h"

typedef struct si_wait_list {
    si_waiter *head; /* waits longest */
    si_waiter *tail;
} si_wait_list;

static inline void
si_wait_list_append(si_wait_list *list, si_waiter *w)
{
    w->next = NULL;
    w->prev = list->tail;
    if (list->tail != NULL) {
        list->tail->next = w;
    }
    else {
        list->head = w;
    }
    list->tail = w;
}

/* Whether w, which is on this list or on none, is on it. */
static inline bool
si_wait_list_contains(const si_wait_list *list, const si_waiter *w)
{
    return w->prev != NULL || list->head == w;
}

static inline void
si_wait_list_remove(si_wait_list *list, si_waiter *w)
{
    if (w->prev != NULL) {
        w->prev->next = w->next;
    }
    else {
        list->head = w->next;
    }
    if (w->next != NULL) {
        w->next->prev = w->prev;
    }
    else {
        list->tail = w->prev;
    }
    w->next = NULL;
    w->prev = NULL;
}

#endif /* SI_WAIT_LIST_H */
