/* items.h — items that know how often they were released. */
#ifndef SI_TESTS_CORE_CHANNEL_ITEMS_H
#define SI_TESTS_CORE_CHANNEL_ITEMS_H

#include "core/channel/channel.h"
#include "tests/core/support.h"

typedef struct numbered {
    si_item item;
    uint32_t number;
} numbered;

static si_atomic_i64 items_alive;

static inline void
release_numbered(si_item *item)
{
    si_free(item);
    si_add_seq_cst(&items_alive, -1);
}

static inline si_item *
new_item(uint32_t number, int64_t owner, si_unbound policy)
{
    numbered *n = calloc(1, sizeof(*n)); /* not si_calloc: it shall not fail here */
    check(n != NULL);
    n->item.owner = owner;
    n->item.policy = (uint8_t)policy;
    n->item.release = release_numbered;
    n->number = number;
    si_add_seq_cst(&items_alive, 1);
    return &n->item;
}

static inline uint32_t
number_of(const si_item *item)
{
    return ((const numbered *)item)->number;
}

static inline si_channel *
new_channel(int64_t maxsize)
{
    si_channel *ch;
    check(si_channel_new(maxsize, 0, &ch) == SI_OK);
    return ch;
}

/* Puts, waiting for room as long as it takes. */
static inline void
put_item(si_channel *ch, si_item *item)
{
    si_waiter w;
    while (si_channel_try_put(ch, item) != SI_OK) {
        si_waiter_arm(&w);
        check(si_channel_wait(ch, SI_SIDE_PUT, &w, SI_FOREVER) == SI_OK);
    }
}

/* Gets, waiting for an item as long as it takes. */
static inline si_item *
get_item(si_channel *ch)
{
    si_waiter w;
    si_item *item;
    while (si_channel_try_get(ch, &item) != SI_OK) {
        si_waiter_arm(&w);
        check(si_channel_wait(ch, SI_SIDE_GET, &w, SI_FOREVER) == SI_OK);
    }
    return item;
}

#endif /* SI_TESTS_CORE_CHANNEL_ITEMS_H */
