/* test_channel.c — what a channel does in one thread. */
#include "tests/core/channel/items.h"

/* Takes an item that must be there, releases it and returns its number. */
static uint32_t
take_number(si_channel *ch)
{
    si_item *item = NULL;
    assert_int_equal(si_channel_try_get(ch, &item), SI_OK);
    uint32_t number = number_of(item);
    item->release(item);
    return number;
}

static void
put_number(si_channel *ch, uint32_t number, int64_t owner, si_unbound policy)
{
    assert_int_equal(si_channel_try_put(ch, new_item(number, owner, policy)), SI_OK);
}

static void
test_items_leave_in_order(void **state)
{
    si_channel *ch = new_channel(0);
    si_item *none = NULL;
    for (uint32_t round = 0; round < 3; round++) {
        assert_int_equal(si_channel_try_get(ch, &none), SI_EMPTY);
        for (uint32_t i = 0; i < 10; i++) {
            put_number(ch, i, 1, SI_UNBOUND_KEEP);
        }
        assert_int_equal(si_channel_count(ch), 10);
        assert_false(si_channel_is_full(ch));
        for (uint32_t i = 0; i < 10; i++) {
            assert_int_equal(take_number(ch), i);
        }
        assert_int_equal(si_channel_count(ch), 0);
    }
    assert_null(none);
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
test_a_full_channel_refuses(void **state)
{
    si_channel *ch = new_channel(2);
    put_number(ch, 1, 1, SI_UNBOUND_KEEP);
    assert_false(si_channel_is_full(ch));
    put_number(ch, 2, 1, SI_UNBOUND_KEEP);
    assert_true(si_channel_is_full(ch));
    si_item *third = new_item(3, 1, SI_UNBOUND_KEEP);
    assert_int_equal(si_channel_try_put(ch, third), SI_FULL);
    assert_int_equal(take_number(ch), 1);
    assert_int_equal(si_channel_try_put(ch, third), SI_OK);
    assert_int_equal(take_number(ch), 2);
    assert_int_equal(take_number(ch), 3);
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
test_unget_goes_in_front_even_if_full(void **state)
{
    si_channel *ch = new_channel(2);
    put_number(ch, 1, 1, SI_UNBOUND_KEEP);
    si_item *first = NULL;
    assert_int_equal(si_channel_try_get(ch, &first), SI_OK);
    si_channel_unget(ch, first); /* into an empty one */
    assert_int_equal(si_channel_try_get(ch, &first), SI_OK);
    put_number(ch, 2, 1, SI_UNBOUND_KEEP);
    put_number(ch, 3, 1, SI_UNBOUND_KEEP);
    si_channel_unget(ch, first);
    assert_int_equal(si_channel_count(ch), 3);
    assert_int_equal(take_number(ch), 1);
    assert_true(si_channel_is_full(ch));
    assert_int_equal(take_number(ch), 2);
    put_number(ch, 4, 1, SI_UNBOUND_KEEP);
    assert_int_equal(take_number(ch), 3);
    assert_int_equal(take_number(ch), 4);
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
test_destroying_releases_what_is_inside(void **state)
{
    si_registry r = SI_REGISTRY_INIT;
    si_channel *ch = new_channel(0);
    assert_int_equal(si_registry_add(&r, &ch->entry, si_channel_destroy), SI_OK);
    for (uint32_t i = 0; i < 5; i++) {
        put_number(ch, i, 1, SI_UNBOUND_REMOVE);
    }
    assert_int_equal(si_load_seq_cst(&items_alive), 5);
    assert_ptr_equal(si_registry_find(&r, ch->entry.id), &ch->entry);
    si_entry_drop(&ch->entry);
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
    assert_null(si_registry_find(&r, 1));
    si_registry_fini(&r);
}

static void
test_properties_stay_as_given(void **state)
{
    si_channel *ch = NULL;
    assert_int_equal(si_channel_new(-5, 42, &ch), SI_OK);
    assert_int_equal(ch->maxsize, -5);
    assert_int_equal(ch->tag, 42);
    assert_true(ch->entry.id < 0);
    put_number(ch, 1, 1, SI_UNBOUND_KEEP);
    assert_false(si_channel_is_full(ch));
    si_entry_drop(&ch->entry);
}

/* Items 0..11 of owners 7 and 8 in turn, all with that policy. */
static si_channel *
mixed_channel(si_unbound policy)
{
    si_channel *ch = new_channel(0);
    for (uint32_t i = 0; i < 12; i++) {
        put_number(ch, i, 7 + i % 2, policy);
    }
    return ch;
}

static void
test_items_of_a_gone_owner_disappear(void **state)
{
    si_channel *ch = mixed_channel(SI_UNBOUND_REMOVE);
    si_channel_owner_gone(ch, 9);
    assert_int_equal(si_channel_count(ch), 12);
    si_channel_owner_gone(ch, 7);
    assert_int_equal(si_channel_count(ch), 6);
    assert_int_equal(si_load_seq_cst(&items_alive), 6);
    put_number(ch, 99, 7, SI_UNBOUND_KEEP); /* the tail is still right */
    for (uint32_t i = 1; i < 12; i += 2) {
        assert_int_equal(take_number(ch), i);
    }
    assert_int_equal(take_number(ch), 99);
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
test_the_last_item_may_disappear(void **state)
{
    si_channel *ch = mixed_channel(SI_UNBOUND_REMOVE);
    si_channel_owner_gone(ch, 8); /* the last one among them */
    put_number(ch, 50, 1, SI_UNBOUND_KEEP);
    si_channel_owner_gone(ch, 7);
    assert_int_equal(take_number(ch), 50);
    put_number(ch, 51, 1, SI_UNBOUND_REMOVE);
    si_channel_owner_gone(ch, 1); /* now it is empty */
    si_item *none;
    assert_int_equal(si_channel_try_get(ch, &none), SI_EMPTY);
    put_number(ch, 52, 1, SI_UNBOUND_KEEP);
    assert_int_equal(take_number(ch), 52);
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
expect_marks(si_unbound policy, bool marked)
{
    si_channel *ch = mixed_channel(policy);
    si_channel_owner_gone(ch, 7);
    si_channel_owner_gone(ch, 7);
    for (uint32_t i = 0; i < 12; i++) {
        si_item *item = NULL;
        assert_int_equal(si_channel_try_get(ch, &item), SI_OK);
        assert_int_equal(number_of(item), i);
        assert_int_equal(item->unbound, marked && i % 2 == 0);
        assert_int_equal(item->policy, policy);
        item->release(item);
    }
    si_entry_drop(&ch->entry);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void
test_items_of_a_gone_owner_are_marked(void **state)
{
    expect_marks(SI_UNBOUND_ERROR, true);
    expect_marks(SI_UNBOUND_PLACEHOLDER, true);
}

static void
test_items_of_a_gone_owner_can_stay(void **state)
{
    expect_marks(SI_UNBOUND_KEEP, false);
}

static void
test_allocation_may_fail(void **state)
{
    si_channel *ch = NULL;
    si_alloc_fail_nth(1);
    assert_int_equal(si_channel_new(0, 0, &ch), SI_NOMEM);
    assert_true(si_alloc_failed());
    assert_null(ch);
    /* After that nothing needs memory. */
    ch = new_channel(0);
    si_alloc_fail_nth(1);
    put_number(ch, 1, 1, SI_UNBOUND_KEEP);
    assert_int_equal(take_number(ch), 1);
    si_channel_owner_gone(ch, 1);
    si_waiter w;
    si_waiter_arm(&w);
    assert_int_equal(si_channel_wait(ch, SI_SIDE_GET, &w, si_now_ns()), SI_TIMEOUT);
    assert_false(si_alloc_failed());
    si_alloc_fail_nth(0);
    si_entry_drop(&ch->entry);
}

static void
test_wait_returns_at_once_if_a_try_would_do(void **state)
{
    si_channel *ch = new_channel(1);
    si_waiter w;
    si_waiter_arm(&w);
    assert_int_equal(si_channel_wait(ch, SI_SIDE_PUT, &w, SI_FOREVER), SI_OK);
    put_number(ch, 1, 1, SI_UNBOUND_KEEP);
    si_waiter_arm(&w);
    assert_int_equal(si_channel_wait(ch, SI_SIDE_GET, &w, SI_FOREVER), SI_OK);
    si_waiter_arm(&w);
    int64_t deadline = si_deadline_after(5 * MS);
    assert_int_equal(si_channel_wait(ch, SI_SIDE_PUT, &w, deadline), SI_TIMEOUT);
    assert_true(si_now_ns() >= deadline);
    assert_null(ch->waiting[SI_SIDE_PUT].head);
    assert_null(ch->waiting[SI_SIDE_PUT].tail);
    si_entry_drop(&ch->entry);
}

static void
test_earlier_interrupt_ends_the_wait(void **state)
{
    si_channel *ch = new_channel(1);
    si_waiter w;
    si_waiter_arm(&w);
    assert_false(si_waiter_interrupt(&w));
    assert_int_equal(si_channel_wait(ch, SI_SIDE_GET, &w, SI_FOREVER), SI_INTERRUPTED);
    assert_null(ch->waiting[SI_SIDE_GET].head);
    si_entry_drop(&ch->entry);
}

static void
test_spinning_ends(void **state)
{
    si_channel *ch = new_channel(1);
    si_waiter w;
    si_waiter_arm(&w);
    assert_int_equal(si_channel_spin(ch, SI_SIDE_GET, &w, SI_FOREVER), SI_TIMEOUT);
    assert_int_equal(si_channel_spin(ch, SI_SIDE_GET, &w, si_now_ns()), SI_TIMEOUT);
    assert_null(ch->waiting[SI_SIDE_GET].head);
    if (si_cpu_count() > 1) {
        assert_int_equal(si_channel_spin(ch, SI_SIDE_PUT, &w, SI_FOREVER), SI_OK);
        assert_false(si_waiter_interrupt(&w));
        assert_int_equal(si_channel_spin(ch, SI_SIDE_PUT, &w, SI_FOREVER), SI_INTERRUPTED);
    }
    assert_int_equal(si_channel_park(ch, SI_SIDE_PUT, &w, SI_FOREVER), SI_OK);
    si_entry_drop(&ch->entry);
}

typedef struct counting_watch {
    si_watch watch; /* first */
    int fired;
} counting_watch;

static void
count_it(si_watch *watch)
{
    ((counting_watch *)watch)->fired++;
}

static void
test_a_watch_is_fired_once(void **state)
{
    si_channel *ch = new_channel(0);
    counting_watch a = {{NULL, count_it}, 0};
    counting_watch b = {{NULL, count_it}, 0};
    assert_true(si_channel_watch(ch, SI_SIDE_GET, &a.watch));
    assert_true(si_channel_watch(ch, SI_SIDE_GET, &b.watch));
    assert_int_equal(a.fired + b.fired, 0);
    put_number(ch, 1, 1, SI_UNBOUND_KEEP);
    put_number(ch, 2, 1, SI_UNBOUND_KEEP);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 1);
    assert_false(si_channel_watch(ch, SI_SIDE_GET, &a.watch)); /* there are items */
    assert_int_equal(take_number(ch), 1);
    assert_int_equal(take_number(ch), 2);
    assert_true(si_channel_watch(ch, SI_SIDE_GET, &a.watch));
    si_entry_drop(&ch->entry);
    assert_int_equal(a.fired, 2); /* by the channel's end */
    assert_int_equal(b.fired, 1);
}

static void
test_a_watch_for_room(void **state)
{
    si_channel *ch = new_channel(1);
    counting_watch a = {{NULL, count_it}, 0};
    assert_false(si_channel_watch(ch, SI_SIDE_PUT, &a.watch));
    put_number(ch, 1, 7, SI_UNBOUND_REMOVE);
    assert_true(si_channel_watch(ch, SI_SIDE_PUT, &a.watch));
    assert_int_equal(take_number(ch), 1);
    assert_int_equal(a.fired, 1);
    put_number(ch, 2, 7, SI_UNBOUND_REMOVE);
    assert_true(si_channel_watch(ch, SI_SIDE_PUT, &a.watch));
    si_channel_owner_gone(ch, 7);
    assert_int_equal(a.fired, 2);
    si_entry_drop(&ch->entry);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_leave_in_order),
        cmocka_unit_test(test_a_full_channel_refuses),
        cmocka_unit_test(test_unget_goes_in_front_even_if_full),
        cmocka_unit_test(test_destroying_releases_what_is_inside),
        cmocka_unit_test(test_properties_stay_as_given),
        cmocka_unit_test(test_items_of_a_gone_owner_disappear),
        cmocka_unit_test(test_the_last_item_may_disappear),
        cmocka_unit_test(test_items_of_a_gone_owner_are_marked),
        cmocka_unit_test(test_items_of_a_gone_owner_can_stay),
        cmocka_unit_test(test_allocation_may_fail),
        cmocka_unit_test(test_wait_returns_at_once_if_a_try_would_do),
        cmocka_unit_test(test_earlier_interrupt_ends_the_wait),
        cmocka_unit_test(test_spinning_ends),
        cmocka_unit_test(test_a_watch_is_fired_once),
        cmocka_unit_test(test_a_watch_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
