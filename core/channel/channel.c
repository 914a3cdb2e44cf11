/* channel.c — the queue, and who is woken when.
 *
 * Invariants  count is the length of the list that starts at head; tail is its last
 *             item. A waiter is in waiting[] exactly from wait's listing until somebody
 *             takes it off, under mu: a waker, who then signals it, or the waiter
 *             itself. While a try on a side may succeed and waiters of that side are
 *             listed, at least as many wake-ups are under way as there are items (or
 *             places) for them: each put and each get wakes one, and a waiter that was
 *             woken but leaves for another reason wakes the next.
 *             A watch is listed only while a try on its side would fail.
 * Locking     mu is a leaf. Items are released, threads kicked and watches fired after it
 *             was given back.
 */
#include "core/channel/channel.h"

#include "core/base/alloc.h"
#include "core/platform/clock.h"

si_status
si_channel_new(int64_t maxsize, int32_t tag, si_channel **out)
{
    si_channel *ch = si_calloc(sizeof(*ch));
    if (ch == NULL) {
        return SI_NOMEM;
    }
    ch->entry.id = -1;
    ch->entry.destroy = si_channel_destroy;
    si_store_relaxed(&ch->entry.refs, 1);
    ch->maxsize = maxsize;
    ch->tag = tag;
    *out = ch;
    return SI_OK;
}

static void
release_all(si_item *item)
{
    while (item != NULL) {
        si_item *next = item->next;
        item->release(item);
        item = next;
    }
}

static void
fire_all(si_watch *watch)
{
    while (watch != NULL) {
        si_watch *next = watch->next;
        watch->fire(watch);
        watch = next;
    }
}

void
si_channel_destroy(si_entry *entry)
{
    /* Without the lock: the last reference is gone. */
    si_channel *ch = (si_channel *)entry;
    release_all(ch->head);
    fire_all(ch->watches[SI_SIDE_GET]);
    fire_all(ch->watches[SI_SIDE_PUT]);
    si_free(ch);
}

int64_t
si_channel_count(const si_channel *ch)
{
    return si_load_acquire(&ch->count);
}

bool
si_channel_is_full(const si_channel *ch)
{
    return ch->maxsize > 0 && si_channel_count(ch) >= ch->maxsize;
}

static bool
may_succeed(const si_channel *ch, si_side side)
{
    return side == SI_SIDE_GET ? si_channel_count(ch) > 0 : !si_channel_is_full(ch);
}

/* Takes the longest waiter of that side off its list and signals it, if a try may
 * succeed. Returns the waiter if it needs a kick once the lock is free. */
static si_waiter *
wake_one(si_channel *ch, si_side side) SI_REQUIRES(ch->mu);

static si_waiter *
wake_one(si_channel *ch, si_side side)
{
    si_waiter *w = ch->waiting[side].head;
    if (w == NULL || !may_succeed(ch, side)) {
        return NULL;
    }
    si_wait_list_remove(&ch->waiting[side], w);
    return si_waiter_signal(w) ? w : NULL;
}

/* Whom to tell, once the lock is free, that a try may succeed. */
typedef struct news {
    si_waiter *waiter;
    si_watch *watches;
} news;

static news
take_news(si_channel *ch, si_side side) SI_REQUIRES(ch->mu);

static news
take_news(si_channel *ch, si_side side)
{
    news taken = {wake_one(ch, side), NULL};
    if (SI_UNLIKELY(ch->watches[side] != NULL) && may_succeed(ch, side)) {
        taken.watches = ch->watches[side];
        ch->watches[side] = NULL;
    }
    return taken;
}

static void
tell(news taken)
{
    if (taken.waiter != NULL) {
        si_waiter_kick(taken.waiter);
    }
    fire_all(taken.watches);
}

static void
add_to_count(si_channel *ch, int64_t change) SI_REQUIRES(ch->mu);

static void
add_to_count(si_channel *ch, int64_t change)
{
    si_store_release(&ch->count, si_load_relaxed(&ch->count) + change);
}

si_status
si_channel_try_put(si_channel *ch, si_item *item)
{
    item->next = NULL;
    si_mutex_lock(&ch->mu);
    if (si_channel_is_full(ch)) {
        si_mutex_unlock(&ch->mu);
        return SI_FULL;
    }
    if (ch->tail != NULL) {
        ch->tail->next = item;
    }
    else {
        ch->head = item;
    }
    ch->tail = item;
    add_to_count(ch, 1);
    news taken = take_news(ch, SI_SIDE_GET);
    si_mutex_unlock(&ch->mu);
    tell(taken);
    return SI_OK;
}

si_status
si_channel_try_get(si_channel *ch, si_item **out)
{
    if (si_channel_count(ch) == 0) {
        return SI_EMPTY;
    }
    si_mutex_lock(&ch->mu);
    si_item *item = ch->head;
    if (item == NULL) {
        si_mutex_unlock(&ch->mu);
        return SI_EMPTY;
    }
    ch->head = item->next;
    if (ch->head == NULL) {
        ch->tail = NULL;
    }
    add_to_count(ch, -1);
    news taken = take_news(ch, SI_SIDE_PUT);
    si_mutex_unlock(&ch->mu);
    tell(taken);
    item->next = NULL;
    *out = item;
    return SI_OK;
}

void
si_channel_unget(si_channel *ch, si_item *item)
{
    si_mutex_lock(&ch->mu);
    item->next = ch->head;
    ch->head = item;
    if (ch->tail == NULL) {
        ch->tail = item;
    }
    add_to_count(ch, 1);
    news taken = take_news(ch, SI_SIDE_GET);
    si_mutex_unlock(&ch->mu);
    tell(taken);
}

/* As si_channel_pass_on; false if nobody was there to be woken or a try would fail. */
static bool
wake_next(si_channel *ch, si_side side)
{
    si_mutex_lock(&ch->mu);
    bool found = ch->waiting[side].head != NULL && may_succeed(ch, side);
    news taken = take_news(ch, side);
    si_mutex_unlock(&ch->mu);
    tell(taken);
    return found;
}

void
si_channel_pass_on(si_channel *ch, si_side side)
{
    (void)wake_next(ch, side);
}

si_status
si_channel_spin(si_channel *ch, si_side side, const si_waiter *w, int64_t deadline_ns)
{
    if (si_cpu_count() == 1) {
        return SI_TIMEOUT; /* Whoever could end the wait needs this CPU. */
    }
    int64_t end = si_spin_end(&ch->spins[side], deadline_ns);
    do {
        for (int i = 0; i < SI_SPINS_PER_CLOCK; i++) {
            if (si_load_acquire(&w->word) == SI_WAITER_INTERRUPTED) {
                return SI_INTERRUPTED;
            }
            if (may_succeed(ch, side)) {
                si_spin_learn(&ch->spins[side], true);
                return SI_OK;
            }
            si_cpu_relax();
        }
    } while (si_now_ns() < end);
    si_spin_learn(&ch->spins[side], false);
    return SI_TIMEOUT;
}

/* Takes w off its list. If a waker was faster, its wake-up goes to the next waiter. */
static void
leave_list(si_channel *ch, si_side side, si_waiter *w)
{
    news taken = {NULL, NULL};
    si_mutex_lock(&ch->mu);
    if (si_wait_list_contains(&ch->waiting[side], w)) {
        si_wait_list_remove(&ch->waiting[side], w);
    }
    else {
        taken = take_news(ch, side);
    }
    si_mutex_unlock(&ch->mu);
    tell(taken);
}

si_status
si_channel_wait(si_channel *ch, si_side side, si_waiter *w, int64_t deadline_ns)
{
    si_status status = si_channel_spin(ch, side, w, deadline_ns);
    return status == SI_TIMEOUT ? si_channel_park(ch, side, w, deadline_ns) : status;
}

si_status
si_channel_park(si_channel *ch, si_side side, si_waiter *w, int64_t deadline_ns)
{
    si_mutex_lock(&ch->mu);
    if (may_succeed(ch, side)) {
        si_mutex_unlock(&ch->mu);
        return SI_OK;
    }
    si_wait_list_append(&ch->waiting[side], w);
    si_mutex_unlock(&ch->mu);
    si_status status = si_waiter_park(w, deadline_ns);
    if (status != SI_OK) {
        leave_list(ch, side, w);
    }
    return status;
}

/* Unlinks the items that end with their owner and marks its other ones. Returns the
 * unlinked ones; *removed says how many. */
static si_item *
apply_policies(si_channel *ch, int64_t owner, int64_t *removed) SI_REQUIRES(ch->mu);

static si_item *
apply_policies(si_channel *ch, int64_t owner, int64_t *removed)
{
    si_item *gone = NULL;
    si_item *last_kept = NULL;
    si_item **link = &ch->head;
    *removed = 0;
    while (*link != NULL) {
        si_item *item = *link;
        bool is_owners = item->owner == owner && !item->unbound;
        if (is_owners && item->policy == SI_UNBOUND_REMOVE) {
            *link = item->next;
            item->next = gone;
            gone = item;
            ++*removed;
            continue;
        }
        if (is_owners && item->policy != SI_UNBOUND_KEEP) {
            item->unbound = true;
        }
        last_kept = item;
        link = &item->next;
    }
    ch->tail = last_kept;
    return gone;
}

void
si_channel_owner_gone(si_channel *ch, int64_t owner)
{
    int64_t removed;
    si_mutex_lock(&ch->mu);
    si_item *gone = apply_policies(ch, owner, &removed);
    add_to_count(ch, -removed);
    si_mutex_unlock(&ch->mu);
    /* A producer for each free place, one at a time: a kick wants the lock free. */
    while (removed-- > 0 && wake_next(ch, SI_SIDE_PUT)) {
    }
    release_all(gone);
}

bool
si_channel_watch(si_channel *ch, si_side side, si_watch *watch)
{
    si_mutex_lock(&ch->mu);
    bool now = may_succeed(ch, side);
    if (!now) {
        watch->next = ch->watches[side];
        ch->watches[side] = watch;
    }
    si_mutex_unlock(&ch->mu);
    return !now;
}

void
si_channel_after_fork(si_channel *ch)
{
    si_mutex_lock(&ch->mu);
    for (int side = 0; side < 2; side++) {
        ch->waiting[side] = (si_wait_list){NULL, NULL};
        ch->watches[side] = NULL;
    }
    si_mutex_unlock(&ch->mu);
}
