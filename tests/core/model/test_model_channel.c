/* test_model_channel.c — waiters and channels: in no order is a wake-up lost, an item
 * lost or doubled, or a waiter touched that has gone.
 */
#include <string.h>

#include "core/channel/channel.h"
#include "tests/core/model/explorer.h"
#include "tests/core/support.h"

#define SOME_TIME 1 /* a deadline: the model lets it pass whenever it likes */

static si_channel ch;
static si_item items[3];
static int taken[COUNT_OF(items)]; /* how often each item was taken */
static si_waiter a_waiter;         /* the one that others interrupt */

static void
release_nothing(si_item *item)
{
    (void)item;
}

static void
setup(void)
{
    memset(&ch, 0, sizeof(ch));
    memset(taken, 0, sizeof(taken));
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        items[i] =
            (si_item){.policy = SI_UNBOUND_REMOVE, .owner = 7, .release = release_nothing};
    }
    si_waiter_arm(&a_waiter);
}

static void
setup_one_place(void)
{
    setup();
    ch.maxsize = 1;
}

static void
put(si_item *item)
{
    si_waiter w;
    while (si_channel_try_put(&ch, item) != SI_OK) {
        si_waiter_arm(&w);
        model_expect(si_channel_wait(&ch, SI_SIDE_PUT, &w, SI_FOREVER) == SI_OK,
                     "woken to put");
    }
}

static void
setup_full(void)
{
    setup_one_place();
    put(&items[2]);
}

static si_item *
get(void)
{
    si_waiter w;
    si_item *item;
    while (si_channel_try_get(&ch, &item) != SI_OK) {
        si_waiter_arm(&w);
        model_expect(si_channel_wait(&ch, SI_SIDE_GET, &w, SI_FOREVER) == SI_OK,
                     "woken to get");
    }
    return item;
}

static void
take(void)
{
    taken[get() - items]++;
}

static void
take_twice(void)
{
    take();
    take();
}

static void
put_first(void)
{
    put(&items[0]);
}

static void
put_second(void)
{
    put(&items[1]);
}

static void
put_two(void)
{
    put_first();
    put_second();
}

/* One wait that may end early; what it gets it puts back, and a wake-up that it does
 * not use it passes on. So somebody else can always have the item. */
static void
wait_once(si_waiter *w, int64_t deadline)
{
    si_item *item;
    if (si_channel_wait(&ch, SI_SIDE_GET, w, deadline) == SI_OK &&
        si_channel_try_get(&ch, &item) == SI_OK) {
        si_channel_unget(&ch, item);
    }
}

static void
wait_a_little(void)
{
    si_waiter w;
    si_waiter_arm(&w);
    wait_once(&w, SOME_TIME);
    model_free(&w, sizeof(w));
}

static void
wait_until_interrupted(void)
{
    wait_once(&a_waiter, SI_FOREVER);
}

static void
interrupt(void)
{
    if (si_waiter_interrupt(&a_waiter)) {
        si_waiter_kick(&a_waiter);
    }
}

static void
wait_but_do_not_try(void)
{
    si_waiter w;
    si_waiter_arm(&w);
    if (si_channel_wait(&ch, SI_SIDE_GET, &w, SOME_TIME) == SI_OK) {
        si_channel_pass_on(&ch, SI_SIDE_GET);
    }
    model_free(&w, sizeof(w));
}

static void
put_as_another(void)
{
    items[0].owner = 8;
    put(&items[0]);
}

typedef struct bell {
    si_watch watch; /* first */
    si_waiter w;
} bell;

static void
ring(si_watch *watch)
{
    bell *b = (bell *)watch;
    if (si_waiter_signal(&b->w)) {
        si_waiter_kick(&b->w);
    }
}

/* As an event loop takes an item: it never lists a waiter. */
static void
take_when_told(void)
{
    si_item *item;
    bell b;
    while (si_channel_try_get(&ch, &item) != SI_OK) {
        b.watch.fire = ring;
        si_waiter_arm(&b.w);
        if (si_channel_watch(&ch, SI_SIDE_GET, &b.watch)) {
            model_expect(si_waiter_park(&b.w, SI_FOREVER) == SI_OK, "told");
        }
    }
    taken[item - items]++;
    model_free(&b, sizeof(b));
}

static bell nobodys;

/* As an event loop whose task was cancelled: it is told and does nothing. */
static void
watch_in_vain(void)
{
    nobodys.watch.fire = ring;
    si_waiter_arm(&nobodys.w);
    (void)!si_channel_watch(&ch, SI_SIDE_GET, &nobodys.watch);
}

static void
end_owner(void)
{
    si_channel_owner_gone(&ch, 7);
}

static void
expect_nobody_listed(void)
{
    for (int side = 0; side < 2; side++) {
        model_expect(ch.waiting[side].head == NULL && ch.waiting[side].tail == NULL,
                     "nobody is listed at the end");
    }
}

static void
one_taken(void)
{
    expect_nobody_listed();
    model_expect(ch.count == 0 && ch.head == NULL && ch.tail == NULL, "empty");
    model_expect(taken[0] == 1, "taken once");
}

static void
two_taken(void)
{
    one_taken();
    model_expect(taken[1] == 1, "taken once");
}

static void
one_inside(void)
{
    expect_nobody_listed();
    model_expect(ch.count == 1 && ch.head != NULL && ch.tail == ch.head, "one inside");
}

static void
test_two_consumers(void **state)
{
    model_scenario s = {setup, {take, take, put_two}, two_taken};
    assert_true(model_explore("channel, two consumers", &s) > 1);
}

static void
test_two_producers_one_place(void **state)
{
    model_scenario s = {setup_one_place, {put_first, put_second, take_twice}, two_taken};
    assert_true(model_explore("channel, two producers, one place", &s) > 1);
}

static void
test_timeout_passes_the_wake_up_on(void **state)
{
    model_scenario s = {setup, {wait_a_little, take, put_first}, one_taken};
    assert_true(model_explore("channel, timeout", &s) > 1);
}

static void
test_interrupt_passes_the_wake_up_on(void **state)
{
    model_scenario s = {
        setup, {wait_until_interrupted, take, put_first, interrupt}, one_taken};
    assert_true(model_explore("channel, interrupt", &s) > 1);
}

static void
test_interrupt_always_ends_a_wait(void **state)
{
    model_scenario s = {setup, {wait_until_interrupted, interrupt}, expect_nobody_listed};
    assert_true(model_explore("channel, interrupt alone", &s) > 1);
}

static void
test_pass_on(void **state)
{
    model_scenario s = {setup, {wait_but_do_not_try, take, put_first}, one_taken};
    assert_true(model_explore("channel, pass on", &s) > 1);
}

static void
test_gone_owner_makes_room(void **state)
{
    model_scenario s = {setup_full, {put_as_another, end_owner}, one_inside};
    assert_true(model_explore("channel, owner gone", &s) > 1);
}

static void
test_watch_is_told(void **state)
{
    model_scenario s = {setup, {take_when_told, put_first}, one_taken};
    assert_true(model_explore("channel, watch", &s) > 1);
}

static void
test_watch_beside_a_waiter(void **state)
{
    model_scenario s = {setup, {take_when_told, take, put_two}, two_taken};
    assert_true(model_explore("channel, watch and waiter", &s) > 1);
}

static void
test_watch_takes_no_wake_up(void **state)
{
    model_scenario s = {setup, {watch_in_vain, take, put_first}, one_taken};
    assert_true(model_explore("channel, watch in vain", &s) > 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_consumers),
        cmocka_unit_test(test_two_producers_one_place),
        cmocka_unit_test(test_timeout_passes_the_wake_up_on),
        cmocka_unit_test(test_interrupt_passes_the_wake_up_on),
        cmocka_unit_test(test_interrupt_always_ends_a_wait),
        cmocka_unit_test(test_pass_on),
        cmocka_unit_test(test_gone_owner_makes_room),
        cmocka_unit_test(test_watch_is_told),
        cmocka_unit_test(test_watch_beside_a_waiter),
        cmocka_unit_test(test_watch_takes_no_wake_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
