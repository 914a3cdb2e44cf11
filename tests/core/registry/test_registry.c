/* test_registry.c — tests of registry. */
#include "tests/core/support.h"

#include "core/registry/registry.h"

typedef struct object {
    si_entry entry;
    uint64_t magic;
} object;

#define MAGIC UINT64_C(0x5ca1ab1e)

static si_atomic_i64 alive;

static void
destroy_object(si_entry *e)
{
    object *o = (object *)e;
    check(o->magic == MAGIC);
    o->magic = 0;
    si_free(o);
    si_add_seq_cst(&alive, -1);
}

static object *
new_object(int64_t id)
{
    object *o = calloc(1, sizeof(*o)); /* not si_calloc: it shall not fail here */
    check(o != NULL);
    o->entry.id = id;
    o->magic = MAGIC;
    si_add_seq_cst(&alive, 1);
    return o;
}

/* An object in r with one reference. */
static object *
add_object(si_registry *r, int64_t id)
{
    object *o = new_object(id);
    check(si_registry_add(r, &o->entry, destroy_object) == SI_OK);
    return o;
}

static void
test_ids_count_up_and_never_return(void **state)
{
    si_registry r = SI_REGISTRY_INIT;
    for (int64_t i = 1; i <= 100; i++) {
        object *o = add_object(&r, -1);
        assert_true(o->entry.id == i);
        si_entry_drop(&o->entry);
    }
    assert_int_equal(si_load_seq_cst(&alive), 0);
    si_registry_fini(&r);
}

static void
test_chosen_ids_are_kept_apart(void **state)
{
    si_registry r = SI_REGISTRY_INIT;
    object *zero = add_object(&r, 0);
    object *seven = add_object(&r, 7);
    object *next = add_object(&r, -1);
    assert_true(zero->entry.id == 0);
    assert_true(next->entry.id == 8);
    object *again = new_object(7);
    assert_int_equal(si_registry_add(&r, &again->entry, destroy_object), SI_EXISTS);
    assert_null(again->entry.registry);
    si_entry_drop(&seven->entry);
    assert_int_equal(si_registry_add(&r, &again->entry, destroy_object), SI_OK);
    si_entry_drop(&again->entry);
    si_entry_drop(&next->entry);
    si_entry_drop(&zero->entry);
    assert_int_equal(si_load_seq_cst(&alive), 0);
    si_registry_fini(&r);
}

static void
test_found_until_the_last_drop(void **state)
{
    si_registry r = SI_REGISTRY_INIT;
    assert_null(si_registry_find(&r, 1));
    object *o = add_object(&r, -1);
    assert_ptr_equal(si_registry_find(&r, 1), &o->entry);
    assert_null(si_registry_find(&r, 2));
    assert_null(si_registry_find(&r, -1));
    si_entry_drop(&o->entry);
    assert_int_equal(si_load_seq_cst(&alive), 1);
    si_entry_hold(&o->entry);
    si_entry_drop(&o->entry);
    si_entry_drop(&o->entry);
    assert_int_equal(si_load_seq_cst(&alive), 0);
    assert_null(si_registry_find(&r, 1));
    si_registry_fini(&r);
}

static void
test_removed_is_not_found_but_lives(void **state)
{
    si_registry r = SI_REGISTRY_INIT;
    object *o = add_object(&r, -1);
    si_registry_remove(&r, &o->entry);
    si_registry_remove(&r, &o->entry);
    assert_null(si_registry_find(&r, 1));
    assert_true(o->magic == MAGIC);
    si_entry_drop(&o->entry);
    assert_int_equal(si_load_seq_cst(&alive), 0);
    si_registry_fini(&r);
}

static void
test_list_is_sorted_and_holds(void **state)
{
    enum { COUNT = 1000 };
    si_registry r = SI_REGISTRY_INIT;
    object *objects[COUNT];
    for (int64_t i = 0; i < COUNT; i++) {
        objects[i] = add_object(&r, (i * 7919) % COUNT);
    }
    si_entry **entries;
    size_t count;
    assert_int_equal(si_registry_list(&r, &entries, &count), SI_OK);
    assert_int_equal(count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        si_entry_drop(&objects[i]->entry);
    }
    assert_int_equal(si_load_seq_cst(&alive), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(entries[i]->id == (int64_t)i);
        si_entry_drop(entries[i]);
    }
    si_free(entries);
    assert_int_equal(si_load_seq_cst(&alive), 0);
    assert_int_equal(si_registry_list(&r, &entries, &count), SI_OK);
    assert_int_equal(count, 0);
    assert_null(entries);
    si_registry_fini(&r);
}

static void
test_walk_is_sorted_and_outlives_removals(void **state)
{
    enum { COUNT = 50 };
    si_registry r = SI_REGISTRY_INIT;
    object *objects[COUNT];
    assert_null(si_registry_next(&r, NULL));
    for (int64_t i = 0; i < COUNT; i++) {
        objects[i] = add_object(&r, (i * 7) % COUNT);
    }
    si_alloc_fail_nth(1);
    int64_t expected = 0;
    si_entry *e = NULL;
    while ((e = si_registry_next(&r, e)) != NULL) {
        assert_true(e->id == expected);
        if (expected % 3 == 0) {
            si_registry_remove(&r, e); /* the walk goes on behind it */
        }
        expected++;
    }
    assert_int_equal(expected, COUNT);
    assert_false(si_alloc_failed());
    si_alloc_fail_nth(0);
    while ((e = si_registry_next(&r, e)) != NULL) {
        assert_true(e->id % 3 != 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        si_entry_drop(&objects[i]->entry);
    }
    assert_int_equal(si_load_seq_cst(&alive), 0);
    assert_null(si_registry_next(&r, NULL));
    si_registry_fini(&r);
}

static void
test_every_allocation_may_fail(void **state)
{
    si_registry r = SI_REGISTRY_INIT;
    object *objects[40];
    int failures = 0;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(-1);
        si_status status;
        int64_t nth = 1;
        do {
            si_alloc_fail_nth(nth++);
            status = si_registry_add(&r, &objects[i]->entry, destroy_object);
            bool failed = si_alloc_failed();
            si_alloc_fail_nth(0);
            assert_int_equal(status, failed ? SI_NOMEM : SI_OK);
            if (failed) {
                failures++;
                assert_true(objects[i]->entry.id == -1);
                assert_null(objects[i]->entry.registry);
            }
        } while (status != SI_OK);
        /* A failure uses up no number. */
        assert_true(objects[i]->entry.id == (int64_t)i + 1);
    }
    assert_int_equal(failures, 3); /* the first table, and two that are bigger */

    si_entry **entries = NULL;
    size_t count = 0;
    si_alloc_fail_nth(1);
    assert_int_equal(si_registry_list(&r, &entries, &count), SI_NOMEM);
    si_alloc_fail_nth(0);
    assert_null(entries);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        si_entry_drop(&objects[i]->entry);
    }
    assert_int_equal(si_load_seq_cst(&alive), 0);
    si_registry_fini(&r);
}

#define ROUNDS 3000
#define IDS 8

typedef struct crowd {
    team t;
    si_registry r;
    si_atomic_u32 next_slot;
    si_atomic_u32 stop;
} crowd;

/* Objects come and go under ids that others look for at the same time. */
static void *
come_and_go(void *arg)
{
    crowd *c = arg;
    int64_t base = (int64_t)si_add_seq_cst(&c->next_slot, 1) * IDS;
    team_wait_for_all(&c->t);
    for (int i = 0; i < ROUNDS; i++) {
        object *o = new_object(base + i % IDS);
        si_status status = si_registry_add(&c->r, &o->entry, destroy_object);
        if (status != SI_OK) {
            /* Somebody still holds the last one with this id. */
            check(status == SI_EXISTS);
            si_store_relaxed(&o->entry.refs, 1);
            o->entry.destroy = destroy_object;
        }
        if (i % 3 == 0 && status == SI_OK) {
            si_registry_remove(&c->r, &o->entry);
        }
        si_entry_drop(&o->entry);
    }
    return NULL;
}

static void *
look_around(void *arg)
{
    crowd *c = arg;
    team_wait_for_all(&c->t);
    for (int64_t i = 0; i < ROUNDS; i++) {
        si_entry *e = si_registry_find(&c->r, i % (2 * IDS));
        if (e != NULL) {
            check(((object *)e)->magic == MAGIC);
            check(e->id == i % (2 * IDS));
            si_entry_drop(e);
        }
        if (i % 16 == 0) {
            si_entry **entries;
            size_t count;
            check(si_registry_list(&c->r, &entries, &count) == SI_OK);
            int64_t last = -1;
            for (size_t j = 0; j < count; j++) {
                check(entries[j]->id >= last);
                last = entries[j]->id;
                si_entry_drop(entries[j]);
            }
            si_free(entries);
            last = -1;
            for (e = si_registry_next(&c->r, NULL); e != NULL;
                 e = si_registry_next(&c->r, e)) {
                check(((object *)e)->magic == MAGIC);
                check(e->id >= last);
                last = e->id;
            }
        }
    }
    return NULL;
}

static void
test_threads_find_only_the_living(void **state)
{
    crowd c = {.r = SI_REGISTRY_INIT};
    team_init(&c.t, 5);
    team_add(&c.t, come_and_go, &c);
    team_add(&c.t, come_and_go, &c);
    team_add(&c.t, look_around, &c);
    team_add(&c.t, look_around, &c);
    team_add(&c.t, look_around, &c);
    team_join(&c.t);
    assert_int_equal(si_load_seq_cst(&alive), 0);
    assert_int_equal(c.r.count, 0);
    si_registry_fini(&c.r);
}

static void *
add_many(void *arg)
{
    crowd *c = arg;
    team_wait_for_all(&c->t);
    for (int i = 0; i < ROUNDS; i++) {
        add_object(&c->r, -1);
    }
    return NULL;
}

static void
test_table_grows_under_concurrent_adds(void **state)
{
    enum { COUNT = 4 * ROUNDS };
    crowd c = {.r = SI_REGISTRY_INIT};
    team_init(&c.t, 4);
    for (int i = 0; i < 4; i++) {
        team_add(&c.t, add_many, &c);
    }
    team_join(&c.t);
    si_entry **entries;
    size_t count;
    assert_int_equal(si_registry_list(&c.r, &entries, &count), SI_OK);
    assert_int_equal(count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(entries[i]->id == (int64_t)i + 1);
        si_entry_drop(entries[i]); /* what the list holds */
        si_entry_drop(entries[i]); /* what add_many left */
    }
    si_free(entries);
    assert_int_equal(si_load_seq_cst(&alive), 0);
    si_registry_fini(&c.r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_count_up_and_never_return),
        cmocka_unit_test(test_chosen_ids_are_kept_apart),
        cmocka_unit_test(test_found_until_the_last_drop),
        cmocka_unit_test(test_removed_is_not_found_but_lives),
        cmocka_unit_test(test_list_is_sorted_and_holds),
        cmocka_unit_test(test_walk_is_sorted_and_outlives_removals),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_threads_find_only_the_living),
        cmocka_unit_test(test_table_grows_under_concurrent_adds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
