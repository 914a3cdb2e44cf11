/* test_task.c — tasks, their queue and the outbox, alone and between threads. */
#include "core/task/outbox.h"
#include "core/task/queue.h"
#include "tests/core/support.h"

#define WORKERS 3
#define PUTTERS 3
#define EACH 4000

static si_atomic_u32 destroyed;

static void
destroy(si_task *task)
{
    (void)si_add_relaxed(&destroyed, 1);
    si_free(task);
}

static si_task *
new_task(void)
{
    si_task *task = si_calloc(sizeof(*task));
    check(task != NULL);
    si_task_init(task, destroy);
    return task;
}

static void
end_task(si_task *task)
{
    check(si_task_claim(task));
    si_task_finish(task, SI_TASK_DONE);
}

static void
test_first_come_first_served(void **state)
{
    (void)state;
    si_task_queue q = {.limit = 3};
    si_task *tasks[4];
    for (int i = 0; i < 4; i++) {
        tasks[i] = new_task();
        assert_int_equal(si_task_queue_put(&q, tasks[i]), i < 3 ? SI_OK : SI_FULL);
    }
    for (int i = 0; i < 3; i++) {
        si_task *task = si_task_queue_try_get(&q);
        assert_ptr_equal(task, tasks[i]);
        assert_true(si_load_relaxed(&task->word) & SI_TASK_RUNNING);
        end_task(task);
        assert_true(si_task_ended(task));
        si_task_drop(task);
    }
    assert_null(si_task_queue_try_get(&q));
    for (int i = 0; i < 4; i++) { /* who cannot wait is let in beyond the limit */
        si_task *task = new_task();
        assert_int_equal(si_task_queue_put_over(&q, task), SI_OK);
        si_task_drop(task);
    }
    assert_int_equal(si_task_queue_count(&q), 4);
    assert_int_equal(si_task_queue_put(&q, tasks[3]), SI_FULL);
    si_task_queue_close(&q);
    assert_int_equal(si_task_queue_put(&q, tasks[3]), SI_CLOSED);
    assert_int_equal(si_task_queue_put_over(&q, tasks[3]), SI_CLOSED);
    si_task *rest;
    while ((rest = si_task_queue_remove_any(&q)) != NULL) {
        si_task_drop(rest);
    }
    for (int i = 0; i < 4; i++) {
        si_task_drop(tasks[i]);
    }
}

static void
test_cancel_takes_it_out(void **state)
{
    (void)state;
    si_task_queue q = {.limit = 1};
    si_task *task = new_task();
    assert_int_equal(si_task_queue_put(&q, task), SI_OK);
    assert_true(si_task_queue_cancel(&q, task));
    assert_false(si_task_queue_cancel(&q, task));
    assert_int_equal(si_load_relaxed(&task->word) & SI_TASK_ENDED, SI_TASK_CANCELLED);
    assert_int_equal(si_task_queue_count(&q), 0);
    si_task_drop(task);
    task = new_task();
    assert_int_equal(si_task_queue_put(&q, task), SI_OK);
    assert_ptr_equal(si_task_queue_try_get(&q), task);
    assert_false(si_task_queue_cancel(&q, task));
    si_task_queue_put_back(&q, task);
    assert_false(si_load_relaxed(&task->word) & SI_TASK_RUNNING);
    assert_true(si_task_queue_cancel(&q, task));
    si_task_drop(task);
    si_task_drop(task);
}

static void
test_retract_leaves_it_as_it_was(void **state)
{
    (void)state;
    si_task_queue q = {.limit = 1};
    si_task *task = new_task();
    assert_int_equal(si_task_queue_put(&q, task), SI_OK);
    uint32_t word = si_load_relaxed(&task->word);
    assert_true(si_task_queue_retract(&q, task));
    assert_false(si_task_queue_retract(&q, task));
    assert_int_equal(si_load_relaxed(&task->word), word);
    assert_int_equal(si_task_queue_count(&q), 0);
    assert_int_equal(si_task_queue_put(&q, task), SI_OK);
    assert_ptr_equal(si_task_queue_try_get(&q), task);
    assert_false(si_task_queue_retract(&q, task));
    si_task_drop(task);
    si_task_drop(task);
}

static void
test_places(void **state)
{
    (void)state;
    si_task_queue q = {.most = 1};
    si_waiter w;
    bool first = false;
    bool second = false;
    for (int i = 0; i < 3; i++) {
        si_task *task = new_task();
        assert_int_equal(si_task_queue_put(&q, task), SI_OK);
        si_task_drop(task);
    }
    for (int i = 0; i < 2; i++) { /* who has the place gets one after the other */
        si_task *task = si_task_queue_try_get_placed(&q, &first);
        assert_non_null(task);
        assert_true(first);
        end_task(task);
        si_task_drop(task);
        assert_null(si_task_queue_try_get_placed(&q, &second));
        assert_false(second);
        si_waiter_arm(&w);
        assert_int_equal(si_task_queue_wait_get(&q, &w, si_deadline_after(MS)), SI_TIMEOUT);
    }
    si_task_queue_close(&q);
    assert_false(si_task_queue_is_over(&q));
    si_waiter_arm(&w);
    assert_int_equal(si_task_queue_wait_get(&q, &w, si_deadline_after(MS)), SI_TIMEOUT);
    si_task_queue_leave(&q);
    si_waiter_arm(&w);
    assert_int_equal(si_task_queue_wait_get(&q, &w, SI_FOREVER), SI_OK);
    si_task *last = si_task_queue_try_get_placed(&q, &second);
    assert_non_null(last);
    end_task(last);
    si_task_drop(last);
    assert_true(si_task_queue_is_over(&q));
    assert_null(si_task_queue_try_get_placed(&q, &second)); /* gives the place back */
    assert_false(second);
    assert_int_equal(si_load_relaxed(&q.taken), 0);
}

static void
test_claimed_once(void **state)
{
    (void)state;
    si_task *task = new_task();
    assert_true(si_task_claim(task));
    assert_false(si_task_claim(task));
    si_task_finish(task, SI_TASK_DONE);
    si_task_drop(task);
}

static void
test_outbox(void **state)
{
    (void)state;
    si_outbox *box;
    si_waiter w;
    assert_int_equal(si_outbox_new(true, &box), SI_OK);
    si_task *early = new_task();
    si_task *late = new_task();
    assert_true(si_task_subscribe(early, box));
    end_task(early);
    end_task(late);
    assert_false(si_task_subscribe(late, box));
    assert_int_equal(si_outbox_count(box), 1);
    si_waiter_arm(&w);
    assert_int_equal(si_outbox_wait(box, &w, SI_FOREVER), SI_OK);
    si_task *taken = si_outbox_take(box);
    assert_ptr_equal(taken, early);
    assert_null(si_outbox_take(box));
    si_waiter_arm(&w);
    assert_int_equal(si_outbox_wait(box, &w, si_deadline_after(MS)), SI_TIMEOUT);
    si_outbox_stop(box);
    si_waiter_arm(&w);
    assert_int_equal(si_outbox_wait(box, &w, SI_FOREVER), SI_CLOSED);
    si_task_drop(taken);
    si_task_drop(early);
    si_task_drop(late);
    si_outbox_drop(box);
}

static void
test_waiting_times_out(void **state)
{
    (void)state;
    si_waiter w;
    si_task *task = new_task();
    si_waiter_arm(&w);
    assert_int_equal(si_task_wait(task, &w, si_deadline_after(MS)), SI_TIMEOUT);
    end_task(task);
    si_waiter_arm(&w);
    assert_int_equal(si_task_wait(task, &w, SI_FOREVER), SI_OK);
    si_task_drop(task);
}

/* --- between threads ------------------------------------------------------------------ */

typedef struct shop {
    si_task_queue queue;
    si_outbox *box;
    si_atomic_u32 inside; /* workers with a task */
    si_atomic_u32 worked;
    si_atomic_u32 cancelled;
} shop;

static void *
work(void *arg)
{
    shop *s = arg;
    bool placed = false;
    uint32_t left = s->queue.most == 0 ? 0 : 3; /* until it gives its place back */
    for (;;) {
        si_task *task = s->queue.most == 0
                            ? si_task_queue_try_get(&s->queue)
                            : si_task_queue_try_get_placed(&s->queue, &placed);
        if (task != NULL) {
            uint32_t inside = si_add_seq_cst(&s->inside, 1);
            check(s->queue.most == 0 || inside < s->queue.most);
            (void)si_add_relaxed(&s->worked, 1);
            end_task(task);
            si_task_drop(task);
            (void)si_sub_seq_cst(&s->inside, 1);
            if (placed && --left == 0) {
                left = 3;
                placed = false;
                si_task_queue_leave(&s->queue);
            }
            continue;
        }
        if (si_task_queue_is_over(&s->queue)) {
            return NULL;
        }
        si_waiter w;
        si_waiter_arm(&w);
        check(si_task_queue_wait_get(&s->queue, &w, SI_FOREVER) == SI_OK);
    }
}

static void
wait_for(si_task *task)
{
    si_waiter w;
    si_waiter_arm(&w);
    if (!si_task_spin(task, &w, SI_FOREVER)) {
        check(si_task_wait(task, &w, SI_FOREVER) == SI_OK);
    }
    check(si_task_ended(task));
}

static void *
put(void *arg)
{
    shop *s = arg;
    for (int i = 0; i < EACH; i++) {
        si_task *task = new_task();
        si_status status;
        if (i % 3 == 0) {
            check(si_task_subscribe(task, s->box));
        }
        while ((status = si_task_queue_put(&s->queue, task)) != SI_OK) {
            si_waiter w;
            check(status == SI_FULL);
            si_waiter_arm(&w);
            check(si_task_queue_wait_put(&s->queue, &w, SI_FOREVER) == SI_OK);
        }
        if (i % 5 == 0 && si_task_queue_cancel(&s->queue, task)) {
            (void)si_add_relaxed(&s->cancelled, 1);
        }
        if (i % 2 == 0) {
            wait_for(task);
        }
        si_task_drop(task);
    }
    return NULL;
}

static void *
read_box(void *arg)
{
    shop *s = arg;
    uintptr_t count = 0;
    for (;;) {
        si_waiter w;
        si_waiter_arm(&w);
        si_status status = si_outbox_wait(s->box, &w, SI_FOREVER);
        si_task *task;
        while ((task = si_outbox_take(s->box)) != NULL) {
            check(si_task_ended(task));
            si_task_drop(task);
            count++;
        }
        if (status == SI_CLOSED) {
            return (void *)count;
        }
    }
}

static void
lose_no_task(uint32_t places)
{
    shop s = {.queue = {.limit = 8, .most = places}};
    pthread_t workers[WORKERS];
    pthread_t putters[PUTTERS];
    pthread_t reader;
    void *seen;
    si_store_relaxed(&destroyed, 0);
    assert_int_equal(si_outbox_new(false, &s.box), SI_OK);
    assert_int_equal(pthread_create(&reader, NULL, read_box, &s), 0);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&workers[i], NULL, work, &s), 0);
    }
    for (int i = 0; i < PUTTERS; i++) {
        assert_int_equal(pthread_create(&putters[i], NULL, put, &s), 0);
    }
    for (int i = 0; i < PUTTERS; i++) {
        assert_int_equal(pthread_join(putters[i], NULL), 0);
    }
    si_task_queue_close(&s.queue);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i], NULL), 0);
    }
    si_outbox_stop(s.box);
    assert_int_equal(pthread_join(reader, &seen), 0);
    si_outbox_drop(s.box);
    assert_int_equal(si_load_relaxed(&s.worked) + si_load_relaxed(&s.cancelled),
                     PUTTERS * EACH);
    assert_int_equal((uintptr_t)seen, PUTTERS * ((EACH + 2) / 3));
    assert_int_equal(si_load_relaxed(&destroyed), PUTTERS * EACH);
}

static void
test_no_task_is_lost(void **state)
{
    (void)state;
    lose_no_task(0);
}

static void
test_no_task_is_lost_between_places(void **state)
{
    (void)state;
    lose_no_task(1);
    lose_no_task(2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_cancel_takes_it_out),
        cmocka_unit_test(test_retract_leaves_it_as_it_was),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_claimed_once),
        cmocka_unit_test(test_outbox),
        cmocka_unit_test(test_waiting_times_out),
        cmocka_unit_test(test_no_task_is_lost),
        cmocka_unit_test(test_no_task_is_lost_between_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
