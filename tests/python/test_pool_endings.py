"""Each future ends and everybody is told, whatever goes wrong on the way."""

import asyncio
import gc
import os
import threading
import weakref
from concurrent.futures import as_completed, wait

import pytest
import subinterpreters
from subinterpreters import aio
from subinterpreters.executor import (
    BrokenInterpreterPool,
    Future,
    InterpreterPoolExecutor,
)

LIMIT = 30


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(1) as made:
        yield made


# --- results that cannot be rebuilt --------------------------------------------------


class NotHere:
    """Can be rebuilt only where there is no owner of a pool."""

    def __setstate__(self, state):
        import subinterpreters

        if subinterpreters.get_current() == subinterpreters.get_main():
            raise ValueError("cannot be rebuilt here")

    def __getstate__(self):
        return 1


def make_one(*_):
    return NotHere()


def ended(exception):
    return isinstance(exception, ValueError) and str(exception) == (
        "cannot be rebuilt here"
    )


def test_a_future_keeps_why_its_result_cannot_be_rebuilt(pool):
    future = pool.submit(make_one)
    with pytest.raises(ValueError, match="rebuilt here"):
        future.result(LIMIT)
    assert ended(future.exception(LIMIT))
    assert future.exception() is future.exception()
    assert "raised" in repr(future)


def test_those_who_wait_hear_of_it(pool):
    told = subinterpreters.create_queue()
    future = pool.submit(make_one)
    future.add_done_callback(lambda future: told.put(str(future.exception())))
    assert wait([future], LIMIT).done == {future}
    assert told.get(timeout=LIMIT) == "cannot be rebuilt here"
    assert [ended(f.exception()) for f in as_completed([future], LIMIT)] == [True]
    with pytest.raises(ValueError, match="rebuilt here"):
        list(pool.map(make_one, range(3)))


def test_awaiting_it_ends(script):
    source = """
        import asyncio
        from subinterpreters import InterpreterPoolExecutor, aio

        class NotHere:
            def __getstate__(self):
                return 1
            def __setstate__(self, state):
                import subinterpreters
                if subinterpreters.get_current() == subinterpreters.get_main():
                    raise ValueError("cannot be rebuilt here")

        def make_one(*_):
            return NotHere()

        async def main(pool):
            loop = asyncio.get_running_loop()
            calls = [pool.run(make_one), pool.run(int, "x"), pool.run(make_one),
                     loop.run_in_executor(pool, make_one), pool.run(abs, -1)]
            for found in await asyncio.gather(*calls, return_exceptions=True):
                print(found)
            try:
                async for _ in aio.map(pool, make_one, [1]):
                    pass
            except ValueError as error:
                print(error)

        with InterpreterPoolExecutor(1) as pool:
            asyncio.run(main(pool))
    """
    why = "cannot be rebuilt here\n"
    bad = "invalid literal for int() with base 10: 'x'\n"
    done = script.run(source)
    assert done.stdout == why + bad + why + why + "1\n" + why


def test_a_pool_that_has_timed_out_leaves_no_thread(script):
    source = """
        import os
        from subinterpreters import InterpreterPoolExecutor

        def watchers():
            tasks = "/proc/self/task"
            found = 0
            for thread in os.listdir(tasks):
                try:
                    with open(f"{tasks}/{thread}/comm") as file:
                        found += file.read() == "timeouts\\n"
                except OSError:
                    pass  # it has ended
            return found

        for _ in range(20):
            with InterpreterPoolExecutor(1) as pool:
                late = pool.options(timeout=0.01).submit(exec, "while True: pass")
                assert isinstance(late.exception(), TimeoutError)
        while watchers():  # one that does not end is what the time limit finds
            os.sched_yield()
        print("gone")
    """
    assert script.ok(source) == "gone\n"


def broken(gate):
    gate.get()
    raise ValueError("no")


def held(started, gate):
    started.put(None)
    gate.get()


@pytest.mark.parametrize("way", ["cancel", "interrupt", "shutdown", "broken"])
def test_what_a_task_that_is_not_run_holds_is_let_go(way):
    gate = subinterpreters.create_queue()
    argument = bytearray(10)
    if way == "broken":
        pool = InterpreterPoolExecutor(1, initializer=broken, initargs=(gate,))
        busy = None
    else:
        pool = InterpreterPoolExecutor(1)
        started = subinterpreters.create_queue()
        busy = pool.submit(held, started, gate)
        started.get(timeout=LIMIT)
    future = pool.submit(len, memoryview(argument))
    with pytest.raises(BufferError):
        argument.append(1)
    if way == "shutdown":
        pool.shutdown(wait=False, cancel_futures=True)
    elif way != "broken":
        assert getattr(future, way)()
    gate.put(None)
    if busy is not None:
        busy.result(LIMIT)
    assert future.cancelled() if busy else future.exception(LIMIT)
    argument.append(1)
    pool.shutdown()


# --- callbacks ----------------------------------------------------------------------


def test_a_callback_that_exits_stops_no_other(script):
    source = """
        import logging, sys, threading
        from subinterpreters import InterpreterPoolExecutor, create_queue

        logging.disable(logging.CRITICAL)
        release = create_queue()
        told = threading.Event()
        pool = InterpreterPoolExecutor(1)
        first, second = pool.submit(release.get), pool.submit(release.get)
        first.add_done_callback(lambda future: sys.exit())
        second.add_done_callback(lambda future: told.set())
        release.put(1)
        release.put(2)
        told.wait()
        pool.shutdown()
        print("told")
    """
    assert script.ok(source, timeout=20) == "told\n"


def test_a_callback_for_which_there_is_no_thread(script):
    source = """
        import threading
        from subinterpreters import InterpreterPoolExecutor, create_queue

        start = threading.Thread.start

        def fail(thread):
            raise RuntimeError("no thread")

        release = create_queue()
        told = threading.Event()
        with InterpreterPoolExecutor(1) as pool:
            future = pool.submit(release.get)
            threading.Thread.start = fail
            try:
                future.add_done_callback(print)
            except RuntimeError as error:
                print(error)
            threading.Thread.start = start
            future.add_done_callback(lambda future: told.set())
            release.put(1)
            told.wait()
        print("told")
    """
    assert script.ok(source, timeout=20) == "no thread\ntold\n"


@pytest.mark.unsanitized("a child of ASan's may wait for a lock of its allocator")
def test_a_child_of_a_process_with_a_callback_under_way(script):
    source = """
        import asyncio, os, warnings
        from subinterpreters import InterpreterPoolExecutor, create_queue

        warnings.simplefilter("ignore")
        release = create_queue()
        pool = InterpreterPoolExecutor(1)

        async def begin():
            pool.submit(release.get).add_done_callback(lambda future: None)
            return pool.run(release.get)

        async def use(pool):
            return await pool.run(abs, -1)

        def in_child():
            told = []
            with InterpreterPoolExecutor(1) as pool:
                future = pool.submit(abs, -2)
                future.add_done_callback(lambda future: told.append(future.result()))
                assert asyncio.run(use(pool)) == 1
            assert told == [2]

        loop = asyncio.new_event_loop()
        call = loop.run_until_complete(begin())
        child = os.fork()
        if child == 0:
            in_child()
            print("child", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        release.put(1)
        release.put(2)
        loop.run_until_complete(call)
        loop.close()
        pool.shutdown()
        print("parent")
    """
    assert script.ok(source, timeout=20) == "child\nparent\n"


# --- event loops --------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="has no /proc")
def test_calls_that_a_loop_leaves_behind_leave_nothing(pool):
    release = subinterpreters.create_queue()

    async def leave():
        return weakref.ref(pool.run(release.get))

    async def use():
        return await pool.run(abs, -1)

    left = [asyncio.run(leave())]
    before = len(os.listdir("/proc/self/fd"))
    left += [asyncio.run(leave()) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    for _ in left:
        release.put(None)
    assert asyncio.run(use()) == 1  # after all of them, by the same worker
    gc.collect()
    assert [call() for call in left] == [None] * 21


def test_a_loop_is_not_blocked_by_a_full_queue():
    started, release = subinterpreters.create_queue(), subinterpreters.create_queue()

    def take(started, release):
        started.put(None)
        return release.get()

    async def main(pool):
        calls = [pool.run(take, started, release)]
        await asyncio.to_thread(started.get, timeout=LIMIT)
        calls += [
            pool.run(release.get) for _ in range(3)
        ]  # would wait for the next line
        for number in range(4):
            release.put(number)
        return await asyncio.gather(*calls)

    with InterpreterPoolExecutor(1, max_pending=1) as pool:
        assert sorted(asyncio.run(main(pool))) == [0, 1, 2, 3]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_map_without_room_for_a_call(pool, limit):
    async def main():
        return [x async for x in aio.map(pool, abs, [1], limit=limit)]

    with pytest.raises(ValueError, match="limit"):
        asyncio.run(main())


class Hooked(asyncio.SelectorEventLoop):
    """A loop in which something happens when it is asked whether it is closed."""

    hook = None

    def is_closed(self):
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()
        return super().is_closed()


def test_loops_that_come_and_go_in_several_threads(pool):
    async def use():
        return await pool.run(abs, -1)

    async def use_with(hook):
        hooked.hook = hook
        return await pool.run(abs, -1)

    def in_thread():
        thread = threading.Thread(target=lambda: told.append(asyncio.run(use())))
        thread.start()
        thread.join()

    told = []
    hooked = Hooked()
    hooked.run_until_complete(use())
    assert asyncio.run(use_with(in_thread)) == 1
    assert told == [1]
    hooked.close()


def test_a_loop_that_cannot_watch_the_first_time(pool):
    gate = subinterpreters.create_queue()

    async def main():
        loop = asyncio.get_running_loop()
        watch = loop.add_reader
        loop.add_reader = lambda *_: 1 / 0
        with pytest.raises(ZeroDivisionError):
            pool.run(abs, -1)
        loop.add_reader = watch
        call = pool.run(gate.get)
        loop.call_soon(gate.put, "told")
        return await asyncio.wait_for(call, LIMIT)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(main()) == "told"


def test_what_a_lost_loop_reports_may_use_another_loop(pool):
    """The first call of a new loop lets go of the box of a closed one, and with it of
    calls whose exception is reported then."""
    gate = subinterpreters.create_queue()
    finished = threading.Event()
    told = []

    async def leave():
        call = pool.run(broken, gate)
        call.add_done_callback(print)
        return call

    async def other(used):
        told.append(await pool.run(abs, -3))
        used.set()
        await asyncio.to_thread(finished.wait, LIMIT)

    def report(loop, context):
        used = threading.Event()
        threads.append(threading.Thread(target=lambda: asyncio.run(other(used))))
        threads[0].start()
        used.wait(LIMIT)

    async def main():
        call = pool.run(gate.get)
        asyncio.get_running_loop().call_soon(gate.put, "told")
        return await asyncio.wait_for(call, LIMIT)

    threads = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(report)
    call = loop.run_until_complete(leave())
    loop.close()
    gate.put(None)
    pool.submit(abs, 1).result(LIMIT)
    del call
    try:
        assert asyncio.run(main()) == "told"
    finally:
        finished.set()
        threads[0].join()
    assert told == [3]


# --- map ----------------------------------------------------------------------------


def test_an_unordered_map_looks_at_each_chunk_once(pool, monkeypatch):
    looks = []
    monkeypatch.setattr(
        Future, "_condition", property(lambda future: looks.append(future))
    )
    found = list(pool.map(abs, range(-500, 0), chunksize=1, ordered=False))
    assert sorted(found) == list(range(1, 501))
    assert looks == []  # concurrent.futures.wait() takes it of every future it is given


def test_an_unordered_map_hands_out_what_is_there():
    gate = subinterpreters.create_queue()

    def work(item, gate):
        return gate.get() if item == 0 else item

    with InterpreterPoolExecutor(2) as pool:
        found = pool.map(work, range(20), [gate] * 20, chunksize=1, ordered=False)
        assert sorted(next(found) for _ in range(19)) == list(range(1, 20))
        gate.put("last")
        assert list(found) == ["last"]


def test_an_unordered_map_that_takes_too_long(pool):
    gate = subinterpreters.create_queue()
    found = pool.map(lambda _: gate.get(), [1, 2], ordered=False, timeout=0.01)
    with pytest.raises(TimeoutError):
        next(found)
    gate.put(None)


def test_a_map_that_takes_too_long_cancels_all_that_waits(pool):
    gate, seen = subinterpreters.create_queue(), subinterpreters.create_queue()
    busy = pool.submit(gate.get)
    found = pool.map(seen.put, [1, 2], chunksize=1, timeout=0.01)
    with pytest.raises(TimeoutError):
        next(found)
    gate.put(None)
    busy.result(LIMIT)
    pool.submit(abs, 1).result(LIMIT)  # after whatever is left of them
    assert seen.empty()


class Result:
    pass


def test_a_map_keeps_no_result_that_was_taken():
    gate = subinterpreters.create_queue()
    with InterpreterPoolExecutor(1) as pool:
        busy = pool.submit(gate.get)  # so that no chunk ends before all are sent
        found = pool.map(lambda _: Result(), range(8))
        gate.put(None)
        busy.result(LIMIT)
        taken = [weakref.ref(next(found)) for _ in range(7)]
        assert [result() for result in taken[:5]] == [None] * 5


class Bad(Exception):
    pass


def fail(item):
    raise Bad(item)


@pytest.mark.parametrize(
    "ask",
    [
        lambda pool: next(pool.map(fail, [1])),
        lambda pool: pool.submit(fail, 1).result(LIMIT),
    ],
)
def test_what_a_task_has_raised_is_in_no_cycle(pool, ask):
    gc.collect()
    gc.disable()
    try:
        try:
            ask(pool)
        except Bad as error:
            left = weakref.ref(error)
        assert left() is None
    finally:
        gc.enable()


class Unsure(list):
    """Does not say how long it is."""

    def __len__(self):
        raise ValueError("who knows")


def test_a_map_of_what_has_no_usable_length(pool):
    assert list(pool.map(abs, Unsure([-1, -2]))) == [1, 2]
    endless = pool.map(abs, range(-1, -(10**30), -1), buffersize=2)
    assert [next(endless), next(endless)] == [1, 2]
    endless.close()
    assert list(pool.map(abs, [-1], chunksize=2**70)) == [1]


# --- arguments ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"max_workers": 2**31}, ValueError, "max_workers must be < "),
        ({"max_tasks_per_child": 2**64}, ValueError, "max_tasks_per_child must be < "),
        ({"max_tasks_per_child": 2**64 + 1}, ValueError, "max_tasks_per_child must be"),
        ({"max_pending": 2**64}, ValueError, "max_pending must be < "),
        ({"preload": [3]}, TypeError, "iterable of module names"),
        ({"preload": "json"}, TypeError, "iterable of module names"),
    ],
)
def test_arguments_of_a_pool(bad, error, message):
    with pytest.raises(error, match=message):
        InterpreterPoolExecutor(**bad)


def test_arguments_of_a_task(pool):
    for timeout in (float("inf"), 10**400):
        assert pool.options(timeout=timeout).submit(abs, -1).result(LIMIT) == 1
    assert pool.options(retries=2**70).submit(abs, -1).result(LIMIT) == 1
    for retries, error in ((1.5, TypeError), (None, TypeError), (-1, ValueError)):
        with pytest.raises(error, match="retries must be"):
            pool.options(retries=retries)
    with pytest.raises(TypeError, match=r"map\(\) got an unexpected keyword"):
        pool.options().map(abs, [1], bogus=1)
    with pytest.raises(TypeError, match="chunksize must be an integer"):
        pool.map(abs, [1], chunksize=1.5)
    assert list(pool.options(retries=1).map(abs, [-1], chunksize=1, ordered=False)) == [
        1
    ]


def test_the_largest_pool_of_short_lived_workers():
    with InterpreterPoolExecutor(2**31 - 1, max_tasks_per_child=1) as pool:
        assert pool.submit(abs, -1).result(LIMIT) == 1


def test_a_name_that_is_cut_in_the_middle_of_a_character():
    name = "x" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 60
    with InterpreterPoolExecutor(1, name) as pool:
        late = pool.options(timeout=0.01).submit(exec, "while True: pass")
        with pytest.raises(TimeoutError, match="exceeded its timeout"):
            late.result(LIMIT)
    with InterpreterPoolExecutor(1, name, int, ("x",)) as pool:
        with pytest.raises(BrokenInterpreterPool, match="failed in its initializer"):
            pool.submit(abs, -1).result(LIMIT)


def test_whether_a_pool_was_shut_down(pool):
    assert not pool._shutdown  # as ThreadPoolExecutor has it, and people look at
    pool.shutdown()
    assert pool._shutdown


def test_a_module_to_preload_that_is_not_there():
    with InterpreterPoolExecutor(1, preload=["no_such_module"]) as pool:
        future = pool.submit(abs, -1)
        with pytest.raises(BrokenInterpreterPool, match="could not import") as caught:
            future.result(LIMIT)
        assert "no_such_module" in str(caught.value.__cause__)
