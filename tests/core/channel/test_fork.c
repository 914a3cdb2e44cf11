/* test_fork.c — a process that forks while threads use its channels: the child finds
 * whole channels, free locks and no waiters.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "core/platform/futex.h"
#include "tests/core/channel/items.h"

#define CHANNELS 3
#define TRADERS 3
#define FORKS 30

typedef struct town {
    team t;
    si_registry r;
    si_channel *channels[CHANNELS];
    si_atomic_u32 over;
} town;

static void
lock_channel(si_entry *e) SI_NO_THREAD_SAFETY
{
    si_mutex_lock(&((si_channel *)e)->mu);
}

static void
unlock_channel(si_entry *e) SI_NO_THREAD_SAFETY
{
    si_mutex_unlock(&((si_channel *)e)->mu);
}

/* Puts, gets and waits all the time, by number. */
static void *
trade_by_number(void *arg)
{
    town *in = arg;
    team_wait_for_all(&in->t);
    for (uint32_t i = 0; si_load_acquire(&in->over) == 0; i++) {
        si_entry *e = si_registry_find(&in->r, 1 + i % CHANNELS);
        check(e != NULL);
        si_channel *ch = (si_channel *)e;
        si_item *item = new_item(i, 1, SI_UNBOUND_REMOVE);
        if (si_channel_try_put(ch, item) != SI_OK) {
            item->release(item);
        }
        for (int j = 0; j < 2; j++) {
            si_waiter w;
            si_waiter_arm(&w);
            if (si_channel_try_get(ch, &item) == SI_OK) {
                item->release(item);
            }
            else {
                (void)(si_channel_wait(ch, SI_SIDE_GET, &w, si_deadline_after(20000)) ==
                       SI_OK);
            }
        }
        si_entry_drop(e);
    }
    return NULL;
}

/* In the child there is this thread alone. Returns the exit status. */
static int
use_channels(town *in)
{
    for (int64_t id = 1; id <= CHANNELS; id++) {
        si_channel *ch = (si_channel *)si_registry_find(&in->r, id);
        if (ch == NULL) {
            return 10;
        }
        si_channel_after_fork(ch);
        if (ch->waiting[SI_SIDE_GET].head != NULL) {
            return 11;
        }
        int64_t inside = 0;
        for (si_item *item = ch->head; item != NULL; item = item->next) {
            inside++;
        }
        if (inside != si_channel_count(ch)) {
            return 12;
        }
        si_item *item;
        while (si_channel_try_get(ch, &item) == SI_OK) {
        }
        numbered mine = {.number = 5};
        if (si_channel_try_put(ch, &mine.item) != SI_OK ||
            si_channel_try_get(ch, &item) != SI_OK || item != &mine.item) {
            return 13;
        }
        si_entry_drop(&ch->entry);
    }
    return 0;
}

static int
fork_and_wait(town *in)
{
    si_registry_fork_prepare(&in->r, lock_channel);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* A lock that is not free would make it wait for ever. */
    }
    si_registry_fork_done(&in->r, unlock_channel);
    if (child == 0) {
        _exit(use_channels(in));
    }
    int status = -1;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void
test_the_child_can_use_every_channel(void **state)
{
    town in = {.r = SI_REGISTRY_INIT};
    for (int i = 0; i < CHANNELS; i++) {
        in.channels[i] = new_channel(2);
        si_entry *e = &in.channels[i]->entry;
        assert_int_equal(si_registry_add(&in.r, e, si_channel_destroy), SI_OK);
    }
    team_init(&in.t, TRADERS + 1);
    for (int i = 0; i < TRADERS; i++) {
        team_add(&in.t, trade_by_number, &in);
    }
    team_wait_for_all(&in.t);
    for (int i = 0; i < FORKS; i++) {
        assert_int_equal(fork_and_wait(&in), 0);
    }
    si_store_release(&in.over, 1);
    team_join(&in.t);
    for (int i = 0; i < CHANNELS; i++) {
        si_entry_drop(&in.channels[i]->entry);
    }
    si_registry_fini(&in.r);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

static void *
wait_forever(void *arg)
{
    si_item *item = get_item(arg);
    item->release(item);
    return NULL;
}

static void
test_waiters_stay_behind(void **state)
{
    town in = {.r = SI_REGISTRY_INIT};
    si_channel *ch = new_channel(0);
    assert_int_equal(si_registry_add(&in.r, &ch->entry, si_channel_destroy), SI_OK);
    team_init(&in.t, 1);
    team_add(&in.t, wait_forever, ch);
    si_wait_list *waiting = &ch->waiting[SI_SIDE_GET];
    for (bool listed = false; !listed; sched_yield()) {
        si_mutex_lock(&ch->mu);
        listed = waiting->head != NULL;
        si_mutex_unlock(&ch->mu);
    }
    si_registry_fork_prepare(&in.r, lock_channel);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
    }
    si_registry_fork_done(&in.r, unlock_channel);
    if (child == 0) {
        si_channel_after_fork(ch);
        _exit(waiting->head == NULL && waiting->tail == NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* In the parent it still waits and is woken. */
    assert_int_equal(si_channel_try_put(ch, new_item(1, 1, SI_UNBOUND_KEEP)), SI_OK);
    team_join(&in.t);
    si_entry_drop(&ch->entry);
    si_registry_fini(&in.r);
    assert_int_equal(si_load_seq_cst(&items_alive), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_child_can_use_every_channel),
        cmocka_unit_test(test_waiters_stay_behind),
    };
    /* Makes what futexes stand on, if they are ours, before there are threads: a child
     * that is made meanwhile would wait for the maker for ever under TSan, whose
     * pthread_once knows of no forks. */
    si_atomic_u32 word;
    si_store_relaxed(&word, 0);
    si_futex_wake(&word, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
