"""InterpreterPoolExecutor: what runs, what fails and how, and how pools end."""

import concurrent.futures
import itertools
import sys
import threading
import types

import pytest
import subinterpreters
from subinterpreters.executor import BrokenInterpreterPool, InterpreterPoolExecutor

LIMIT = 30


def identity(x):
    return x


def where():
    return subinterpreters.get_current().id


def fail(kind, *args):
    raise kind(*args)


def wait_on(started, release):
    started.put(None)
    return release.get()


class Held:
    """A task that runs until it is told to return."""

    def __init__(self, pool):
        self.started = subinterpreters.create_queue()
        self.release = subinterpreters.create_queue()
        self.future = pool.submit(wait_on, self.started, self.release)

    def until_it_runs(self):
        self.started.get(timeout=LIMIT)
        return self

    def let_go(self, value=None):
        self.release.put(value)
        return self.future.result(LIMIT)


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(2) as made:
        yield made


def test_runs_elsewhere(pool):
    assert pool.submit(where).result(LIMIT) != where()


def test_arguments(pool):
    assert pool.submit(divmod, 7, 2).result(LIMIT) == (3, 1)
    assert pool.submit(int, "ff", base=16).result(LIMIT) == 255
    assert pool.submit(lambda *a, **k: (a, k), 1, b=2).result(LIMIT) == ((1,), {"b": 2})


def test_many_tasks_lose_nothing(pool):
    futures = [pool.submit(identity, i) for i in range(20_000)]
    assert [f.result(LIMIT) for f in futures] == list(range(20_000))


def test_submitting_from_many_threads(pool):
    results = [None] * 8

    def submit(slot):
        futures = [pool.submit(identity, (slot, i)) for i in range(500)]
        results[slot] = [f.result(LIMIT) for f in futures]

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[(n, i) for i in range(500)] for n in range(8)]


def test_tasks_start_in_order():
    with InterpreterPoolExecutor(1) as pool:
        order = subinterpreters.create_queue()
        for i in range(200):
            pool.submit(order.put, i)
        assert [order.get(timeout=LIMIT) for _ in range(200)] == list(range(200))


def test_two_workers_run_at_once(pool):
    first, second = Held(pool), Held(pool)
    first.until_it_runs()
    second.until_it_runs()
    assert [second.let_go(2), first.let_go(1)] == [2, 1]


def test_a_worker_is_started_for_the_second_task(pool):
    held = Held(pool).until_it_runs()
    assert pool.submit(identity, 1).result(LIMIT) == 1
    held.let_go()


# --- failures ---


def test_exception_keeps_its_type_and_says_where(pool):
    future = pool.submit(fail, ValueError, "spam")
    with pytest.raises(ValueError, match="spam") as caught:
        future.result(LIMIT)
    cause = caught.value.__cause__
    assert isinstance(cause, subinterpreters.ExecutionFailed)
    assert "in fail" in str(cause)
    assert "in worker" in cause.__notes__[0]
    assert future.exception() is caught.value


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, BaseException])
def test_base_exceptions_come_back(pool, kind):
    future = pool.submit(fail, kind, 3)
    with pytest.raises(kind) as caught:
        future.result(LIMIT)
    assert type(caught.value) is kind
    assert pool.submit(identity, 1).result(LIMIT) == 1


def test_exception_that_cannot_cross(pool):
    def raise_one():
        import threading

        error = ValueError("stays")
        error.lock = threading.Lock()
        raise error

    with pytest.raises((subinterpreters.ExecutionFailed, ValueError), match="stays"):
        pool.submit(raise_one).result(LIMIT)


def test_what_cannot_be_sent(pool):
    with pytest.raises(subinterpreters.NotShareableError):
        pool.submit(identity, threading.Lock()).result(LIMIT)
    with pytest.raises(subinterpreters.NotShareableError):
        pool.submit(threading.Lock().acquire).result(LIMIT)


def test_what_cannot_come_back(pool):
    reason = r"cannot be sent back: .*\[1\]\['lock'\]: cannot send '_thread.lock'"
    with pytest.raises(subinterpreters.NotShareableError, match=reason):
        pool.submit(eval, "[1, {'lock': __import__('threading').Lock()}]").result(LIMIT)


def test_arguments_that_the_worker_cannot_rebuild(pool, monkeypatch):
    ghost = types.ModuleType("ghost")
    exec("class Spectre: pass", vars(ghost))
    monkeypatch.setitem(sys.modules, "ghost", ghost)
    reason = "args not shareable: .*cannot find 'Spectre' of module 'ghost'"
    with pytest.raises(subinterpreters.NotShareableError, match=reason):
        pool.submit(identity, ghost.Spectre()).result(LIMIT)


class Spam:
    def __init__(self, number):
        self.number = number

    def __call__(self, more=0):
        return self.number + more

    def method(self, more=0):
        return self.number - more


def callables(number):
    """A closure, a bound method and an instance, of local and of global classes."""

    class Local:
        def __call__(self, more=0):
            return number + more

        def method(self, more=0):
            return number - more

    def closure(more=0):
        return number + more

    return {
        "closure": closure,
        "method": Spam(number).method,
        "instance": Spam(number),
        "local method": Local().method,
        "local instance": Local(),
    }


@pytest.mark.parametrize("kind", callables(0))
def test_closures_and_methods_cross(pool, kind):
    expected = callables(7)[kind](2)
    assert pool.submit(callables(7)[kind], 2).result() == expected


@pytest.mark.parametrize("kind", callables(0))
def test_closures_and_methods_as_initializers(kind):
    with InterpreterPoolExecutor(1, initializer=callables(7)[kind]) as pool:
        assert pool.submit(abs, -1).result() == 1


def test_scripts_are_refused(pool):
    with pytest.raises(TypeError):
        pool.submit("print(1)")


def test_endless_recursion(pool):
    def recurse():
        return recurse()

    with pytest.raises(RecursionError):
        pool.submit(recurse).result(LIMIT)


def test_a_task_cannot_close_its_interpreter(pool):
    def close():
        import subinterpreters

        subinterpreters.get_current().close()

    with pytest.raises(Exception, match="current interpreter"):
        pool.submit(close).result(LIMIT)
    assert pool.submit(identity, 1).result(LIMIT) == 1


def test_nobody_drives_or_closes_a_worker(pool):
    worker = subinterpreters.Interpreter(pool.submit(where).result(LIMIT))
    with pytest.raises(subinterpreters.InterpreterError, match="running"):
        worker.close()
    with pytest.raises(subinterpreters.InterpreterError, match="running"):
        worker.exec("pass")
    assert pool.submit(where).result(LIMIT) == worker.id


def test_a_task_may_start_threads(pool):
    def in_thread():
        import threading

        seen = []
        thread = threading.Thread(target=seen.append, args=(1,))
        thread.start()
        thread.join()
        return seen

    assert pool.submit(in_thread).result(LIMIT) == [1]


# --- workers ---


def test_initializer_and_preload():
    def begin(value):
        import builtins

        builtins.begun = value

    with InterpreterPoolExecutor(
        1, initializer=begin, initargs=(7,), preload=["json"]
    ) as pool:
        found = pool.submit(eval, "(begun, 'json' in __import__('sys').modules)")
        assert found.result(LIMIT) == (7, True)


def test_failing_initializer_breaks_the_pool(caplog):
    with InterpreterPoolExecutor(1, initializer=fail, initargs=(OSError, "x")) as pool:
        future = pool.submit(identity, 1)
        with pytest.raises(BrokenInterpreterPool, match="initializer") as caught:
            future.result(LIMIT)
        assert isinstance(caught.value.__cause__, subinterpreters.ExecutionFailed)
        with pytest.raises(BrokenInterpreterPool):
            pool.submit(identity, 1)
    assert "Exception in initializer" in caplog.text


def test_worker_is_replaced_after_its_tasks():
    with InterpreterPoolExecutor(1, max_tasks_per_child=2) as pool:
        ids = [pool.submit(where).result(LIMIT) for _ in range(6)]
    assert [len(list(same)) for _, same in itertools.groupby(ids)] == [2, 2, 2]


def test_idle_worker_ends_and_comes_back():
    # A lambda crosses without this module, for which 3.12 makes private copies.
    here = lambda: subinterpreters.get_current().id  # noqa: E731
    with InterpreterPoolExecutor(1, idle_timeout=0.01) as pool:
        first = pool.submit(here).result(LIMIT)
        while pool.stats()["workers"]:
            threading.Event().wait(0.01)
        assert pool.submit(here).result(LIMIT) != first


def test_bounded_queue_makes_submit_wait():
    with InterpreterPoolExecutor(1, max_pending=1) as pool:
        held = Held(pool).until_it_runs()
        queued = pool.submit(identity, 1)
        done = threading.Event()

        def submit_third():
            pool.submit(identity, 2).result(LIMIT)
            done.set()

        third = threading.Thread(target=submit_third)
        third.start()
        assert not done.wait(0.05)
        held.let_go()
        third.join()
        assert queued.result(LIMIT) == 1


def test_bounded_queue_gets_room_by_cancelling():
    with InterpreterPoolExecutor(1, max_pending=1) as pool:
        held = Held(pool).until_it_runs()
        assert pool.submit(identity, 1).cancel()
        queued = pool.submit(identity, 2)
        held.let_go()
        assert queued.result(LIMIT) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_workers": 0},
        {"max_workers": -1},
        {"max_tasks_per_child": 0},
        {"idle_timeout": 0},
        {"max_pending": 0},
    ],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="must be greater|>= 1"):
        InterpreterPoolExecutor(**arguments)


# --- timeouts, retries ---


def test_timeout_stops_the_task_and_frees_the_worker():
    with InterpreterPoolExecutor(1) as pool:
        worker = pool.submit(where).result(LIMIT)
        future = pool.options(timeout=0.05).submit(exec, "while True: pass")
        with pytest.raises(TimeoutError, match="0.05 s"):
            future.result(LIMIT)
        assert pool.submit(where).result(LIMIT) == worker


def test_stuck_worker_is_replaced():
    with InterpreterPoolExecutor(1) as pool:
        worker = pool.submit(where).result(LIMIT)
        refuses = """
import subinterpreters
def refuse(release):
    while True:
        try:
            return release.get()
        except TimeoutError:
            pass
"""
        release = subinterpreters.create_queue()
        future = pool.options(timeout=0.05).submit(
            lambda r: (exec(refuses, globals()), eval("refuse")(r)), release
        )
        with pytest.raises(TimeoutError, match="replaced"):
            future.result(LIMIT)
        assert pool.submit(where).result(LIMIT) != worker
        assert pool.stats()["replaced"] == 1
        release.put(None)
        while worker in [i.id for i in subinterpreters.list_all()]:
            threading.Event().wait(0.01)


def test_retries():
    def flaky(tries):
        tries.put(None)
        if tries.qsize() < 3:
            raise OSError("not yet")
        return tries.qsize()

    with InterpreterPoolExecutor(1) as pool:
        tries = subinterpreters.create_queue()
        assert pool.options(retries=5).submit(flaky, tries).result(LIMIT) == 3
        future = pool.options(retries=2).submit(fail, OSError, "never")
        with pytest.raises(OSError, match="never"):
            future.result(LIMIT)


def test_many_timeouts_hit_nobody_else():
    with InterpreterPoolExecutor(2) as pool:
        timed = pool.options(timeout=0.002)
        endless = [timed.submit(exec, "while True: pass") for _ in range(100)]
        quick = [pool.submit(sum, range(1000)) for _ in range(100)]
        for future in endless:
            with pytest.raises(TimeoutError):
                future.result(LIMIT)
        assert [f.result(LIMIT) for f in quick] == [499_500] * 100
        assert pool.stats()["replaced"] == 0


# --- map ---


@pytest.mark.parametrize("chunksize", [None, 1, 7, 10_000])
def test_map(pool, chunksize):
    assert list(pool.map(abs, range(-500, 500), chunksize=chunksize)) == [
        abs(i) for i in range(-500, 500)
    ]


def test_map_of_several_iterables(pool):
    assert list(pool.map(pow, [2, 3, 4], [5, 2])) == [32, 9]
    assert list(pool.map(pow, [], [])) == []


def test_map_gives_what_came_before_the_failure(pool):
    results = pool.map(lambda x: 1 // x, [1, 1, 0, 1], chunksize=4)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_runs_without_being_iterated():
    seen = subinterpreters.create_queue()
    with InterpreterPoolExecutor(2) as pool:
        pool.map(seen.put, range(100))
    assert seen.qsize() == 100


def test_map_with_a_buffer_reads_as_results_are_taken(pool):
    read = []

    def source():
        for i in itertools.count():
            read.append(i)
            yield i

    results = pool.map(identity, source(), buffersize=10)
    assert len(read) <= 10
    assert list(itertools.islice(results, 100)) == list(range(100))
    assert len(read) <= 110
    results.close()


def test_unordered_map(pool):
    assert sorted(pool.map(identity, range(300), ordered=False)) == list(range(300))


@pytest.mark.parametrize("total", [True, False])
def test_progress(pool, monkeypatch, capsys, total):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    items = range(10) if total else iter(range(10))
    found = list(pool.map(identity, items, chunksize=4, progress=True))
    assert found == list(range(10))
    of = "/10" if total else ""
    assert capsys.readouterr().err == f"\r4{of}\r8{of}\r10{of}\n"


def test_progress_by_tqdm(pool, monkeypatch):
    told = []

    class Bar:
        def __init__(self, total):
            told.append(("total", total))

        def update(self, items):
            told.append(items)

        def close(self):
            told.append("closed")

    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    list(pool.map(identity, range(10), chunksize=4, progress=True))
    assert told == [("total", 10), 4, 4, 2, "closed"]
    told.clear()
    with pytest.raises(ZeroDivisionError):
        list(pool.map(lambda x: 1 // x, [1, 0], chunksize=1, progress=True))
    assert told == [("total", 2), 1, "closed"]


def test_map_times_out(pool):
    held = Held(pool).until_it_runs()
    results = pool.map(held.release.get, (), (), timeout=0.01)
    assert list(results) == []
    with pytest.raises(TimeoutError):
        list(pool.map(wait_on, [held.started], [held.release], timeout=0.01))
    held.let_go()
    held.release.put(None)


# --- the end ---


def test_shutdown_waits():
    with InterpreterPoolExecutor(2) as pool:
        futures = [pool.submit(identity, i) for i in range(100)]
    assert all(f.done() for f in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(identity, 1)


def test_shutdown_without_waiting():
    pool = InterpreterPoolExecutor(1)
    held = Held(pool).until_it_runs()
    last = pool.submit(identity, 1)
    pool.shutdown(wait=False)
    assert not last.done()
    held.let_go()
    assert last.result(LIMIT) == 1
    pool.shutdown()


def test_shutdown_cancels():
    pool = InterpreterPoolExecutor(1)
    held = Held(pool).until_it_runs()
    queued = [pool.submit(identity, 1) for _ in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(f.cancelled() for f in queued)
    held.let_go("done")
    pool.shutdown()


def test_collected_pool_does_its_work():
    pool = InterpreterPoolExecutor(1)
    futures = [pool.submit(identity, i) for i in range(50)]
    del pool
    assert [f.result(LIMIT) for f in futures] == list(range(50))
    while len(subinterpreters.list_all()) > 1:
        threading.Event().wait(0.01)


def test_shutdown_twice_and_unused():
    pool = InterpreterPoolExecutor()
    pool.shutdown()
    pool.shutdown()


def test_stats(pool):
    list(pool.map(identity, range(10), chunksize=1))
    stats = pool.stats()
    assert stats["done"] >= 9
    assert stats["queued"] == 0
    assert 0 < stats["run_time"]["p50"] <= stats["run_time"]["p99"]


def test_is_an_executor(pool):
    assert isinstance(pool, concurrent.futures.Executor)
    assert pool._max_workers == 2
