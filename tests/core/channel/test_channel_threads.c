/* test_channel_threads.c — many threads at one channel: nothing is lost or doubled, and
 * nobody sleeps on while there is something for it.
 */
#include "tests/core/channel/items.h"

#define PER_PRODUCER 4000
#define MAX_SIDE 4
#define STOP UINT32_MAX

typedef struct market market;

typedef struct trader {
    market *in;
    uint32_t index;
    uint32_t random;
    si_waiter w; /* here, so that the interrupter always finds it */
} trader;

struct market {
    team t;
    si_channel *ch;
    trader producers[MAX_SIDE];
    trader consumers[MAX_SIDE];
    uint32_t producer_count;
    uint32_t consumer_count;
    si_atomic_u32 over;
    si_atomic_u32 seen[MAX_SIDE * PER_PRODUCER];
};

/* xorshift: the same numbers in every run. */
static uint32_t
next_random(trader *who)
{
    who->random ^= who->random << 13;
    who->random ^= who->random >> 17;
    who->random ^= who->random << 5;
    return who->random;
}

static void *
produce(void *arg)
{
    trader *me = arg;
    team_wait_for_all(&me->in->t);
    for (uint32_t i = 0; i < PER_PRODUCER; i++) {
        put_item(me->in->ch, new_item(me->index * PER_PRODUCER + i, 1, SI_UNBOUND_REMOVE));
    }
    return NULL;
}

/* Counts the item; false if it says that all is over. */
static bool
consume_item(market *m, si_item *item, uint32_t last[MAX_SIDE])
{
    uint32_t number = number_of(item);
    item->release(item);
    if (number == STOP) {
        return false;
    }
    check(si_add_seq_cst(&m->seen[number], 1) == 0);
    if (last != NULL) {
        /* What one producer puts, one consumer sees in that order. */
        uint32_t producer = number / PER_PRODUCER;
        check(last[producer] <= number % PER_PRODUCER);
        last[producer] = number % PER_PRODUCER;
    }
    return true;
}

static void *
consume(void *arg)
{
    trader *me = arg;
    uint32_t last[MAX_SIDE] = {0};
    team_wait_for_all(&me->in->t);
    while (consume_item(me->in, get_item(me->in->ch), last)) {
    }
    return NULL;
}

static market *
new_market(int64_t maxsize, uint32_t producers, uint32_t consumers, unsigned extra)
{
    market *m = calloc(1, sizeof(*m));
    check(m != NULL);
    m->ch = new_channel(maxsize);
    m->producer_count = producers;
    m->consumer_count = consumers;
    for (uint32_t i = 0; i < MAX_SIDE; i++) {
        m->producers[i] = (trader){.in = m, .index = i, .random = 100 + i};
        m->consumers[i] = (trader){.in = m, .index = i, .random = 200 + i};
        si_waiter_arm(&m->consumers[i].w);
    }
    team_init(&m->t, producers + consumers + extra);
    return m;
}

/* Joins the producers, sends the consumers home and checks the books. */
static void
close_market(market *m)
{
    for (uint32_t i = 0; i < m->producer_count; i++) {
        check(pthread_join(m->t.threads[i], NULL) == 0);
    }
    for (uint32_t i = 0; i < m->consumer_count; i++) {
        put_item(m->ch, new_item(STOP, 1, SI_UNBOUND_REMOVE));
    }
    for (uint32_t i = 0; i < m->consumer_count; i++) {
        check(pthread_join(m->t.threads[m->producer_count + i], NULL) == 0);
    }
    si_store_release(&m->over, 1);
    for (size_t i = m->producer_count + m->consumer_count; i < m->t.count; i++) {
        check(pthread_join(m->t.threads[i], NULL) == 0);
    }
    pthread_barrier_destroy(&m->t.start);
    for (uint32_t i = 0; i < m->producer_count * PER_PRODUCER; i++) {
        assert_int_equal(si_load_relaxed(&m->seen[i]), 1);
    }
    assert_int_equal(si_channel_count(m->ch), 0);
    for (int side = 0; side < 2; side++) {
        assert_null(m->ch->waiting[side].head);
        assert_null(m->ch->waiting[side].tail);
    }
    si_entry_drop(&m->ch->entry);
    free(m);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
trade(int64_t maxsize, uint32_t producers, uint32_t consumers)
{
    market *m = new_market(maxsize, producers, consumers, 0);
    for (uint32_t i = 0; i < producers; i++) {
        team_add(&m->t, produce, &m->producers[i]);
    }
    for (uint32_t i = 0; i < consumers; i++) {
        team_add(&m->t, consume, &m->consumers[i]);
    }
    close_market(m);
}

static void
test_one_to_one(void **state)
{
    trade(0, 1, 1);
    trade(1, 1, 1);
}

static void
test_one_to_many(void **state)
{
    trade(0, 1, 4);
    trade(2, 1, 4);
}

static void
test_many_to_one(void **state)
{
    trade(0, 4, 1);
    trade(2, 4, 1);
}

static void
test_many_to_many_unbounded(void **state)
{
    trade(0, 4, 4);
}

static void
test_many_to_many_with_one_place(void **state)
{
    trade(1, 4, 4);
}

static void
test_many_to_many_with_three_places(void **state)
{
    trade(3, 4, 4);
}

/* A consumer that does everything the interface allows, at random. */
static void *
consume_erratically(void *arg)
{
    trader *me = arg;
    si_channel *ch = me->in->ch;
    team_wait_for_all(&me->in->t);
    for (;;) {
        si_item *item;
        if (si_channel_try_get(ch, &item) == SI_OK) {
            if (next_random(me) % 4 == 0) {
                si_channel_unget(ch, item);
            }
            else if (!consume_item(me->in, item, NULL)) {
                return NULL;
            }
            continue;
        }
        int64_t deadline = SI_FOREVER;
        if (next_random(me) % 2 == 0) {
            deadline = si_deadline_after(next_random(me) % 50000);
        }
        si_waiter_arm(&me->w);
        si_status status = si_channel_wait(ch, SI_SIDE_GET, &me->w, deadline);
        check(status != SI_TIMEOUT || deadline != SI_FOREVER);
        if (status == SI_OK && next_random(me) % 8 == 0) {
            si_channel_pass_on(ch, SI_SIDE_GET);
            sched_yield();
        }
    }
}

static void *
produce_erratically(void *arg)
{
    trader *me = arg;
    si_channel *ch = me->in->ch;
    team_wait_for_all(&me->in->t);
    for (uint32_t i = 0; i < PER_PRODUCER; i++) {
        si_item *item = new_item(me->index * PER_PRODUCER + i, 1, SI_UNBOUND_REMOVE);
        while (si_channel_try_put(ch, item) != SI_OK) {
            si_waiter_arm(&me->w);
            int64_t deadline = si_deadline_after(next_random(me) % 50000);
            si_status status = si_channel_wait(ch, SI_SIDE_PUT, &me->w, deadline);
            check(status == SI_OK || status == SI_TIMEOUT);
        }
    }
    return NULL;
}

static void *
interrupt_consumers(void *arg)
{
    market *m = arg;
    team_wait_for_all(&m->t);
    for (uint32_t i = 0; si_load_acquire(&m->over) == 0; i++) {
        si_waiter *w = &m->consumers[i % m->consumer_count].w;
        if (si_waiter_interrupt(w)) {
            si_waiter_kick(w);
        }
        sched_yield();
    }
    return NULL;
}

static void
test_timeouts_interrupts_and_ungets_lose_nothing(void **state)
{
    for (int64_t maxsize = 0; maxsize <= 2; maxsize++) {
        market *m = new_market(maxsize, 3, 3, 1);
        for (uint32_t i = 0; i < 3; i++) {
            team_add(&m->t, produce_erratically, &m->producers[i]);
        }
        for (uint32_t i = 0; i < 3; i++) {
            team_add(&m->t, consume_erratically, &m->consumers[i]);
        }
        team_add(&m->t, interrupt_consumers, m);
        close_market(m);
    }
}

typedef struct blocked_put {
    si_channel *ch;
    uint32_t number;
} blocked_put;

static void *
put_blocked(void *arg)
{
    blocked_put *p = arg;
    put_item(p->ch, new_item(p->number, 2, SI_UNBOUND_KEEP));
    return NULL;
}

static uint32_t
listed(si_channel *ch, si_side side)
{
    uint32_t count = 0;
    si_mutex_lock(&ch->mu);
    for (si_waiter *w = ch->waiting[side].head; w != NULL; w = w->next) {
        count++;
    }
    si_mutex_unlock(&ch->mu);
    return count;
}

static void
test_places_of_a_gone_owner_wake_producers(void **state)
{
    enum { PLACES = 3 };
    for (int round = 0; round < 50; round++) {
        si_channel *ch = new_channel(PLACES);
        blocked_put puts[PLACES];
        team t;
        team_init(&t, PLACES);
        for (uint32_t i = 0; i < PLACES; i++) {
            assert_int_equal(si_channel_try_put(ch, new_item(i, 1, SI_UNBOUND_REMOVE)),
                             SI_OK);
        }
        for (uint32_t i = 0; i < PLACES; i++) {
            puts[i] = (blocked_put){.ch = ch, .number = 10 + i};
            team_add(&t, put_blocked, &puts[i]);
        }
        /* In some rounds all of them sleep, in others they are still on their way. */
        while (round % 2 == 0 && listed(ch, SI_SIDE_PUT) != PLACES) {
            sched_yield();
        }
        si_channel_owner_gone(ch, 1);
        team_join(&t);
        assert_int_equal(si_channel_count(ch), PLACES);
        si_entry_drop(&ch->entry);
        assert_int_equal(si_load_seq_cst(&items_alive), 0);
    }
}

static void *
get_one(void *arg)
{
    si_item *item = get_item(arg);
    item->release(item);
    return NULL;
}

static void
test_waiters_are_woken_one_by_one(void **state)
{
    si_channel *ch = new_channel(0);
    team t;
    team_init(&t, 3);
    for (int i = 0; i < 3; i++) {
        team_add(&t, get_one, ch);
    }
    while (listed(ch, SI_SIDE_GET) != 3) {
        sched_yield();
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(si_channel_try_put(ch, new_item(i, 1, SI_UNBOUND_KEEP)), SI_OK);
        assert_true(listed(ch, SI_SIDE_GET) <= 2 - i);
    }
    team_join(&t);
    assert_int_equal(si_channel_count(ch), 0);
    si_entry_drop(&ch->entry);
}

typedef struct interrupted_get {
    si_channel *ch;
    si_waiter w;
    si_status status;
} interrupted_get;

static void *
wait_to_be_interrupted(void *arg)
{
    interrupted_get *g = arg;
    g->status = si_channel_wait(g->ch, SI_SIDE_GET, &g->w, SI_FOREVER);
    return NULL;
}

static void
test_interrupt_ends_a_wait(void **state)
{
    for (int round = 0; round < 200; round++) {
        interrupted_get g = {.ch = new_channel(0)};
        si_waiter_arm(&g.w);
        team t;
        team_init(&t, 1);
        team_add(&t, wait_to_be_interrupted, &g);
        while (round % 2 == 0 && listed(g.ch, SI_SIDE_GET) == 0) {
            sched_yield();
        }
        if (si_waiter_interrupt(&g.w)) {
            si_waiter_kick(&g.w);
        }
        team_join(&t);
        assert_int_equal(g.status, SI_INTERRUPTED);
        assert_int_equal(listed(g.ch, SI_SIDE_GET), 0);
        si_entry_drop(&g.ch->entry);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_to_one),
        cmocka_unit_test(test_one_to_many),
        cmocka_unit_test(test_many_to_one),
        cmocka_unit_test(test_many_to_many_unbounded),
        cmocka_unit_test(test_many_to_many_with_one_place),
        cmocka_unit_test(test_many_to_many_with_three_places),
        cmocka_unit_test(test_timeouts_interrupts_and_ungets_lose_nothing),
        cmocka_unit_test(test_places_of_a_gone_owner_wake_producers),
        cmocka_unit_test(test_waiters_are_woken_one_by_one),
        cmocka_unit_test(test_interrupt_ends_a_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
