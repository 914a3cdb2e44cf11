"""Workers of a pool with max_tasks_per_child that are made ready before others end."""

import os
import time

import pytest
import subinterpreters
from subinterpreters.executor import BrokenInterpreterPool, InterpreterPoolExecutor

LIMIT = 30


def wait_on(started, release):
    started.put(None)
    return release.get()


class Relay:
    """A pool of one worker for one task, which runs; a second task waits, and a worker
    is ready for it. The initializer tells `ready`."""

    def __init__(self, **options):
        self.ready = subinterpreters.create_queue()
        self.started = subinterpreters.create_queue()
        self.release = subinterpreters.create_queue()
        self.pool = InterpreterPoolExecutor(
            1,
            max_tasks_per_child=1,
            initializer=self.ready.put,
            initargs=(None,),
            **options,
        )
        self.first = self.pool.submit(wait_on, self.started, self.release)
        self.started.get(timeout=LIMIT)
        self.ready.get(timeout=LIMIT)
        self.second = self.pool.submit(int, "2")
        self.ready.get(timeout=LIMIT)


def test_one_is_ready_before_the_last_task_ends():
    relay = Relay()
    with relay.pool as pool:
        assert (pool.stats()["running"], pool.stats()["queued"]) == (1, 1)
        assert not relay.second.running()
        relay.release.put(1)
        assert (relay.first.result(LIMIT), relay.second.result(LIMIT)) == (1, 2)
    assert relay.ready.qsize() == 0


def test_none_is_made_without_a_task_for_it():
    ready = subinterpreters.create_queue()
    with InterpreterPoolExecutor(
        2, max_tasks_per_child=1, initializer=ready.put, initargs=(1,)
    ) as pool:
        for i in range(5):
            assert pool.submit(abs, -i).result(LIMIT) == i
    assert ready.qsize() == 5


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tasks", [1, 3])
def test_no_more_tasks_than_workers_at_once(workers, tasks):
    read, write = os.pipe()
    task = f"import os; os.write({write}, b'+'); os.write({write}, b'-')"
    with InterpreterPoolExecutor(workers, max_tasks_per_child=tasks) as pool:
        futures = [pool.submit(exec, task) for _ in range(30)]
        for future in futures:
            future.result(LIMIT)
    trace = os.read(read, 100)
    os.close(read)
    os.close(write)
    running = [trace[:i].count(b"+") - trace[:i].count(b"-") for i in range(61)]
    assert running[60] == 0
    assert max(running) <= workers


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("cancel", [True, False])
def test_shutdown_while_one_waits(wait, cancel):
    relay = Relay()
    if wait:
        relay.release.put(1)
    relay.pool.shutdown(wait=wait, cancel_futures=cancel)
    relay.release.put(1)
    assert relay.first.result(LIMIT) == 1
    if not cancel:
        assert relay.second.result(LIMIT) == 2
    elif not wait:
        assert relay.second.cancelled()
    relay.pool.shutdown()


def test_a_pool_that_is_thrown_away_while_one_waits():
    relay = Relay()
    del relay.pool
    relay.release.put(1)
    assert (relay.first.result(LIMIT), relay.second.result(LIMIT)) == (1, 2)
    while len(subinterpreters.list_all()) > 1:
        time.sleep(0.01)


def test_an_initializer_that_fails_breaks_the_pool():
    turns = subinterpreters.create_queue()
    started = subinterpreters.create_queue()
    release = subinterpreters.create_queue()

    def begin():
        turns.get(timeout=0)  # fails in the second worker

    turns.put(1)
    with InterpreterPoolExecutor(1, max_tasks_per_child=1, initializer=begin) as pool:
        first = pool.submit(wait_on, started, release)
        started.get(timeout=LIMIT)
        second = pool.submit(int, "2")
        with pytest.raises(BrokenInterpreterPool, match="worker 1 .* initializer"):
            second.result(LIMIT)
        assert first.running()
        release.put(1)
        assert first.result(LIMIT) == 1


def test_one_that_waits_for_its_place_is_not_idle():
    relay = Relay(idle_timeout=0.01)
    time.sleep(0.1)
    with relay.pool:
        relay.release.put(1)
        assert relay.second.result(LIMIT) == 2
    assert relay.ready.qsize() == 0


def test_the_place_of_a_stuck_worker_is_free_again():
    started = subinterpreters.create_queue()
    release = subinterpreters.create_queue()

    def refuse(started, release):
        while True:
            try:
                started.put(None)
                return release.get()
            except BaseException:
                pass

    with InterpreterPoolExecutor(1, max_tasks_per_child=1) as pool:
        stuck = pool.options(timeout=0.05).submit(refuse, started, release)
        started.get(timeout=LIMIT)
        others = [pool.submit(abs, -i) for i in range(3)]
        with pytest.raises(TimeoutError, match="replaced"):
            stuck.result(LIMIT)
        assert [other.result(LIMIT) for other in others] == [0, 1, 2]
        release.put(None)
        assert pool.submit(abs, -4).result(LIMIT) == 4


def test_workers_take_what_was_kept_ready():
    subinterpreters.keep_ready(1, preload=["colorsys"])
    try:
        with InterpreterPoolExecutor(1, max_tasks_per_child=1) as pool:
            look = "'colorsys' in __import__('sys').modules"
            while not pool.submit(eval, look).result(LIMIT):
                time.sleep(0.02)
    finally:
        subinterpreters.keep_ready(0)


@pytest.mark.parametrize("end", ["pass", "pool.shutdown(wait=False)", "del pool"])
def test_exit_while_one_waits(script, end):
    source = """
        import subinterpreters, threading
        from subinterpreters.executor import InterpreterPoolExecutor

        def wait_on(started, release):
            started.put(None)
            release.get()

        ready, started, release = [subinterpreters.create_queue() for _ in range(3)]
        pool = InterpreterPoolExecutor(
            1, max_tasks_per_child=1, initializer=ready.put, initargs=(1,)
        )
        pool.submit(wait_on, started, release)
        pool.submit(print, "second")
        for _ in range(2):
            ready.get()
        started.get()
        threading._register_atexit(release.put, 1)
        """
    assert script.ok(source + end) == "second\n"
