"""Futures of the pool, as concurrent.futures and its users see them."""

import concurrent.futures
import gc
import threading
import weakref

import pytest
import subinterpreters
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30


def wait_on(started, release):
    started.put(None)
    return release.get()


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(1) as made:
        yield made


@pytest.fixture
def held(pool):
    """A task that runs; held.put() ends it."""
    started = subinterpreters.create_queue()
    release = subinterpreters.create_queue()
    release.future = None
    return pool.submit(wait_on, started, release), started, release


@pytest.fixture
def busy(pool):
    """The only worker is busy until the returned function is called."""
    started = subinterpreters.create_queue()
    release = subinterpreters.create_queue()
    future = pool.submit(wait_on, started, release)
    started.get(timeout=LIMIT)

    def finish(value=None):
        release.put(value)
        return future.result(LIMIT)

    finish.future = future
    yield finish
    if not future.done():
        finish()


def test_is_a_future(pool):
    future = pool.submit(abs, -1)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(LIMIT) == 1
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    assert future.exception() is None


def test_the_same_object_each_time(pool):
    future = pool.submit(list, (1, 2))
    assert future.result(LIMIT) is future.result()


def test_states(pool, busy):
    future = pool.submit(abs, -1)
    assert busy.future.running()
    assert (future.done(), future.running(), future.cancelled()) == (
        False,
        False,
        False,
    )
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0)
    busy()
    assert future.result(LIMIT) == 1


def test_cancel(pool, busy):
    future = pool.submit(abs, -1)
    assert not busy.future.cancel()
    assert future.cancel()
    assert future.cancel()
    assert (future.done(), future.cancelled()) == (True, True)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    with pytest.raises(concurrent.futures.CancelledError):
        future.exception()


def test_cancelling_wakes_who_waits(pool, busy):
    future = pool.submit(abs, -1)
    errors = []

    def wait():
        try:
            future.result(LIMIT)
        except concurrent.futures.CancelledError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    future.cancel()
    for thread in threads:
        thread.join()
    assert len(errors) == 3


def test_done_cannot_be_cancelled(pool):
    future = pool.submit(abs, -1)
    future.result(LIMIT)
    assert not future.cancel()
    assert not future.interrupt()


def test_nobody_else_sets_the_result(pool):
    future = pool.submit(abs, -1)
    for method in (future.set_result, future.set_exception):
        with pytest.raises(concurrent.futures.InvalidStateError):
            method(None)


def test_repr(pool, busy):
    future = pool.submit(abs, -1)
    assert "pending" in repr(future)
    assert "running" in repr(busy.future)
    busy()
    future.result(LIMIT)
    assert "finished" in repr(future)


# --- interrupting ---


def test_interrupt_a_loop(pool):
    started = subinterpreters.create_queue()

    def loop(started):
        started.put(None)
        while True:
            pass

    future = pool.submit(loop, started)
    started.get(timeout=LIMIT)
    assert future.interrupt()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)
    assert future.cancelled()
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_interrupt_a_blocked_task(pool, busy):
    assert busy.future.interrupt()
    with pytest.raises(concurrent.futures.CancelledError):
        busy.future.result(LIMIT)


def test_interrupt_what_is_queued(pool, busy):
    future = pool.submit(abs, -1)
    assert future.interrupt()
    assert future.cancelled()


def test_a_task_may_catch_the_interrupt(pool):
    started = subinterpreters.create_queue()

    def stubborn(started):
        try:
            started.put(None)
            while True:
                pass
        except KeyboardInterrupt:
            return "cleaned up"

    future = pool.submit(stubborn, started)
    started.get(timeout=LIMIT)
    future.interrupt()
    assert future.result(LIMIT) == "cleaned up"


def test_interrupting_over_and_over(pool):
    for _ in range(200):
        future = pool.submit(exec, "while True: pass")
        assert future.interrupt()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(LIMIT)
        assert pool.submit(abs, -1).result(LIMIT) == 1


# --- wait, as_completed, callbacks ---


def test_wait_for_all(pool):
    futures = [pool.submit(abs, -i) for i in range(500)]
    done, rest = concurrent.futures.wait(futures, LIMIT)
    assert (done, rest) == (set(futures), set())


def test_wait_for_the_first(pool, busy):
    other = pool.submit(abs, -1)
    done, rest = concurrent.futures.wait([busy.future, other], timeout=0.01)
    assert not done
    assert len(rest) == 2
    timer = threading.Timer(0.02, busy)
    timer.start()
    done, _ = concurrent.futures.wait(
        [busy.future, other], LIMIT, concurrent.futures.FIRST_COMPLETED
    )
    assert busy.future in done
    timer.join()


def test_wait_for_the_first_exception(pool, busy):
    bad = pool.submit(int, "x")
    later = pool.submit(abs, -1)
    timer = threading.Timer(0.02, busy)
    timer.start()
    done, _ = concurrent.futures.wait(
        [bad, later], LIMIT, concurrent.futures.FIRST_EXCEPTION
    )
    assert bad in done
    assert isinstance(bad.exception(), ValueError)
    timer.join()


def test_as_completed(pool):
    futures = {pool.submit(abs, -i): i for i in range(500)}
    for future in concurrent.futures.as_completed(futures, LIMIT):
        assert future.result() == futures.pop(future)
    assert not futures


def test_as_completed_with_cancelled_and_foreign_futures(pool, busy):
    mine = pool.submit(abs, -1)
    gone = pool.submit(abs, -2)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        foreign = threads.submit(abs, -3)
        gone.cancel()
        timer = threading.Timer(0.02, busy)
        timer.start()
        seen = set(concurrent.futures.as_completed([mine, gone, foreign], LIMIT))
        timer.join()
    assert seen == {mine, gone, foreign}


def test_waiting_in_many_threads(pool):
    futures = [pool.submit(abs, -i) for i in range(300)]
    counts = []

    def wait():
        counts.append(len(list(concurrent.futures.as_completed(futures, LIMIT))))

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [300] * 5


def test_callbacks_run_in_order_and_once(pool, busy):
    calls = []
    done = threading.Event()
    future = pool.submit(abs, -1)
    for i in range(5):
        future.add_done_callback(lambda f, i=i: calls.append((i, f.result())))
    future.add_done_callback(lambda f: done.set())
    assert not calls
    busy()
    assert done.wait(LIMIT)
    assert calls == [(i, 1) for i in range(5)]


def test_callback_of_what_has_ended_runs_at_once(pool):
    future = pool.submit(abs, -1)
    future.result(LIMIT)
    threads = []
    future.add_done_callback(lambda f: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


def test_callback_after_cancelling(pool, busy):
    told = threading.Event()
    future = pool.submit(abs, -1)
    future.add_done_callback(lambda f: told.set())
    future.cancel()
    assert told.wait(LIMIT)


def test_failing_callback_is_logged(pool, busy, caplog):
    done = threading.Event()
    future = pool.submit(abs, -1)
    future.add_done_callback(lambda f: 1 // 0)
    future.add_done_callback(lambda f: done.set())
    busy()
    assert done.wait(LIMIT)
    assert "exception calling callback" in caplog.text


def test_submitting_from_a_callback(pool):
    chain = []
    done = threading.Event()

    def go_on(future):
        chain.append(future.result())
        if len(chain) == 20:
            done.set()
        else:
            pool.submit(abs, -len(chain)).add_done_callback(go_on)

    pool.submit(abs, 0).add_done_callback(go_on)
    assert done.wait(LIMIT)
    assert chain == list(range(20))


def test_waiting_in_a_callback(pool, busy):
    """Also where another one waits, and for what has ended together with the first."""
    late, told = [], threading.Semaphore(0)
    first, second, third = (pool.submit(abs, -n) for n in range(3))

    def wait_for(*those):
        late.extend(concurrent.futures.wait(those, LIMIT).not_done)
        assert len(list(concurrent.futures.as_completed(those, LIMIT))) == len(those)
        told.release()

    first.add_done_callback(lambda f: wait_for(second, first))
    second.add_done_callback(lambda f: wait_for(third))
    third.add_done_callback(lambda f: wait_for(pool.submit(abs, -3)))
    busy()
    assert all(told.acquire(timeout=LIMIT) for _ in range(3))
    assert late == []


def test_shutdown_waits_for_a_callback_that_waits():
    calls = []
    with InterpreterPoolExecutor(1) as pool:
        release = subinterpreters.create_queue()
        first, second = pool.submit(abs, -1), pool.submit(release.get)
        first.add_done_callback(
            lambda f: calls.append(concurrent.futures.wait([second], LIMIT).not_done)
        )
        second.add_done_callback(calls.append)
        release.put(None)
    assert len(calls) == 2
    assert second in calls
    assert set() in calls


def test_shutdown_does_not_wait_for_the_callbacks_of_another_pool(busy):
    done = threading.Event()
    busy.future.add_done_callback(lambda f: done.set())
    other = InterpreterPoolExecutor(1)
    other.submit(abs, -1).add_done_callback(lambda f: None)
    thread = threading.Thread(target=other.shutdown)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    busy()
    assert done.wait(LIMIT)


def test_shutdown_waits_for_callbacks():
    calls = []
    with InterpreterPoolExecutor(2) as pool:
        for i in range(200):
            pool.submit(abs, -i).add_done_callback(lambda f: calls.append(f.result()))
    assert sorted(calls) == list(range(200))


def test_nothing_is_kept(pool):
    class Thing(list):
        pass

    future = pool.submit(abs, -1)
    future.thing = Thing()
    future.cycle = future
    gone = weakref.ref(future.thing)
    future.result(LIMIT)
    del future
    gc.collect()
    assert gone() is None


def test_interrupt_wakes_time_sleep(pool):
    started = subinterpreters.create_queue()

    def doze(started):
        import time

        started.put(None)
        time.sleep(3600)

    future = pool.submit(doze, started)
    started.get(timeout=LIMIT)
    assert future.interrupt()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (1e300, OverflowError)],
)
def test_time_sleep_refuses(pool, seconds, error):
    with pytest.raises(error):
        pool.submit(eval, f"__import__('time').sleep(float('{seconds}'))").result(LIMIT)
