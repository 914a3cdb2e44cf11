"""Tasks that misbehave, interrupts at bad moments, submitting from odd places."""

import os
import sys
import threading
from concurrent.futures import CancelledError, wait

import pytest
import subinterpreters
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(1) as made:
        yield made


def signalled(pool, function, *args):
    """A future of function(queue, *args), once that has put something."""
    started = subinterpreters.create_queue()
    future = pool.submit(function, started, *args)
    started.get(timeout=LIMIT)
    return future


def assert_cancelled(future):
    with pytest.raises(CancelledError):
        future.result(LIMIT)


@pytest.mark.parametrize("status", [None, 0, 3, "bye"])
def test_sys_exit_ends_the_task_only(pool, status):
    with pytest.raises(SystemExit) as caught:
        pool.submit(sys.exit, status).result(LIMIT)
    assert caught.value.code == status
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_interrupt_during_import(pool, tmp_path):
    (tmp_path / "module_that_waits.py").write_text(
        "import __main__, time\n"
        "if __main__.first:\n"
        "    __main__.first = False\n"
        "    __main__.started.put(None)\n"
        "    time.sleep(100)\n"
        "answer = 42\n"
    )

    def load(started, path):
        import sys

        import __main__

        if path not in sys.path:
            sys.path.insert(0, path)
            __main__.first = True
        __main__.started = started
        import module_that_waits

        return module_that_waits.answer

    future = signalled(pool, load, str(tmp_path))
    assert future.interrupt()
    assert_cancelled(future)
    queue = subinterpreters.create_queue()
    assert pool.submit(load, queue, str(tmp_path)).result(LIMIT) == 42


def test_interrupt_during_finally(pool):
    def clean_up(started):
        try:
            started.put(None)
            while True:
                started.qsize()
        finally:
            started.put(None)
            while True:
                started.qsize()

    started = subinterpreters.create_queue()
    future = pool.submit(clean_up, started)
    for _ in range(2):
        started.get(timeout=LIMIT)
        assert future.interrupt()
    assert_cancelled(future)
    assert pool.submit(abs, -1).result(LIMIT) == 1


class Slow:
    """Takes for ever to be rebuilt."""

    def __init__(self, started):
        self.started = started

    def __getstate__(self):
        return self.started

    def __setstate__(self, started):
        started.put(None)
        while True:
            started.qsize()


def test_interrupt_during_decode(pool):
    started = subinterpreters.create_queue()
    future = pool.submit(repr, Slow(started))
    started.get(timeout=LIMIT)
    assert future.interrupt()
    assert_cancelled(future)
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_interrupt_strikes_where_the_call_into_c_was_made(pool):
    """Not one boundary later, when code may have left the block around it."""

    def read(started, fd):
        import os

        try:
            started.put(None)
            os.read(fd, 1)
        except KeyboardInterrupt:
            return "inside"
        return "outside"

    fd, write = os.pipe()
    try:
        future = signalled(pool, read, fd)
        assert future.interrupt()
        os.write(write, b"1")
        assert future.result(LIMIT) == "inside"
    finally:
        os.close(fd)
        os.close(write)


def stay(started):
    started.put(None)
    while True:
        started.qsize()


class EndlessText(Exception):
    def __str__(self):
        stay(*self.args)


class EndlessCopy(Exception):
    def __reduce__(self):
        stay(*self.args)


class EndlessResult:
    def __init__(self, started):
        self.started = started

    def __reduce__(self):
        stay(self.started)


def raise_text(started):
    raise EndlessText(started)


def raise_copy(started):
    raise EndlessCopy(started)


def take_argument(value):
    pass


# What is sent, and who makes it run for ever.
ENDLESS = [raise_text, raise_copy, EndlessResult, take_argument]


def start_endless(submit, function):
    started = subinterpreters.create_queue()
    argument = Slow(started) if function is take_argument else started
    return started, submit(function, argument)


@pytest.mark.parametrize("function", ENDLESS)
def test_interrupt_of_what_describes_or_sends(pool, function):
    started, future = start_endless(pool.submit, function)
    started.get(timeout=LIMIT)
    assert future.interrupt()
    assert_cancelled(future)
    assert pool.submit(abs, -1).result(LIMIT) == 1


@pytest.mark.parametrize("function", ENDLESS)
def test_timeout_of_what_describes_or_sends(pool, function):
    pool.submit(take_argument, None).result(LIMIT)  # has this module imported
    _, future = start_endless(pool.options(timeout=0.2).submit, function)
    with pytest.raises(TimeoutError, match="exceeded its timeout"):
        future.result(LIMIT)
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_shutdown_while_the_failure_of_an_initializer_is_described():
    started = subinterpreters.create_queue()
    pool = InterpreterPoolExecutor(1, initializer=raise_text, initargs=(started,))
    future = pool.submit(abs, -1)
    started.get(timeout=LIMIT)
    pool.shutdown(cancel_futures=True)
    assert_cancelled(future)


def test_interrupt_of_what_is_tried_again():
    def endless(started):
        started.put(None)
        while True:
            started.qsize()

    started = subinterpreters.create_queue()
    with InterpreterPoolExecutor(1) as pool:
        future = pool.options(retries=1000).submit(endless, started)
        started.get(timeout=LIMIT)
        assert future.interrupt()
        assert_cancelled(future)
        assert started.empty()


def test_interrupting_at_any_moment(pool):
    """Each future ends, as cancelled or with its result, and the worker lives on."""
    for count in range(300):
        future = pool.submit(abs, -count)
        stopped = future.interrupt()
        try:
            assert future.result(LIMIT) == count
        except CancelledError:
            assert stopped
    assert pool.submit(abs, -1).result(LIMIT) == 1


class NoMemory:
    """Finds none when it is taken apart, or where it is rebuilt."""

    def __init__(self, rebuilt):
        self.rebuilt = rebuilt

    def __reduce__(self):
        if self.rebuilt:
            return raise_memory_error, ()
        raise MemoryError("too big")


def raise_memory_error():
    raise MemoryError("too big")


@pytest.mark.parametrize("call", [(NoMemory, False), (repr, NoMemory(True))])
def test_no_memory_to_cross(pool, call):
    for use in (lambda *call: pool.submit(*call).result(LIMIT), call_elsewhere):
        with pytest.raises(MemoryError, match="too big"):
            use(*call)


def call_elsewhere(*call):
    with subinterpreters.create() as interp:
        return interp.call(*call)


@pytest.mark.unsanitized("it needs more memory than the limit")
def test_memory_that_runs_out(script):
    source = """
        import resource
        from subinterpreters import InterpreterPoolExecutor

        def hoard():
            kept = []
            while True:
                kept.append(bytes(10_000_000))

        with InterpreterPoolExecutor(1) as pool:
            assert pool.submit(abs, -1).result() == 1
            resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, 3_000_000_000))
            for _ in range(2):
                try:
                    pool.submit(hoard).result()
                except MemoryError:
                    print("no memory")
            print(pool.submit(abs, -1).result())
        """
    assert script.ok(source) == "no memory\nno memory\n1\n"


def test_a_pool_inside_a_task(pool):
    def outer():
        from subinterpreters import InterpreterPoolExecutor

        with InterpreterPoolExecutor(2) as inner:
            return list(inner.map(abs, range(-5, 0)))

    assert pool.submit(outer).result(LIMIT) == [5, 4, 3, 2, 1]


def test_submit_from_a_thread_that_ends(pool):
    futures = []
    threads = [
        threading.Thread(target=lambda n=n: futures.append(pool.submit(abs, -n)))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(future.result(LIMIT) for future in futures) == list(range(20))


def test_submit_after_shutdown(pool):
    future = pool.submit(abs, -1)
    pool.shutdown(wait=False)
    for submit in (pool.submit, pool.options(retries=1).submit):
        with pytest.raises(RuntimeError, match="after shutdown"):
            submit(abs, -1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(abs, [1])
    assert future.result(LIMIT) == 1


@pytest.mark.parametrize(
    "late",
    [
        "import atexit; atexit.register(late)",
        "import threading; threading._register_atexit(late)",
        "class Late:\n    def __del__(self): late()\nkept = Late()",
    ],
)
def test_submit_while_the_process_exits(script, late):
    source = f"""if True:
import os
from subinterpreters import InterpreterPoolExecutor
pool = InterpreterPoolExecutor(1)
print(pool.submit(abs, -1).result(), flush=True)
def late(pool=pool, write=os.write, RuntimeError=RuntimeError, abs=abs):
    try:
        write(1, b"%d\\n" % pool.submit(abs, -2).result(20))
    except RuntimeError as exc:
        write(1, b"refused\\n")
{late}
"""
    lines = script.ok(source.removeprefix("if True:\n")).split()
    assert lines[0] == "1"
    assert lines[1:] in (["2"], ["refused"])


def test_a_thousand_cancelled_ones(pool):
    started, release = (subinterpreters.create_queue() for _ in range(2))

    def hold(started, release):
        started.put(None)
        release.get()

    held = pool.submit(hold, started, release)
    started.get(timeout=LIMIT)
    futures = [pool.submit(abs, -n) for n in range(1000)]
    assert all(future.cancel() for future in futures[::2])
    release.put(None)
    done, _ = wait(futures, LIMIT)
    assert len(done) == 1000
    assert sum(future.cancelled() for future in futures) == 500
    assert held.result(LIMIT) is None


def test_cpu_time_of_a_task(pool):
    def sleep(seconds):
        import time

        time.sleep(seconds)

    def work(seconds):
        import time

        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    asleep = pool.submit(sleep, 0.2)
    awake = pool.submit(work, 0.05)
    wait([asleep, awake], LIMIT)
    assert asleep.run_time >= 0.2
    assert asleep.cpu_time < 0.1
    assert 0.05 <= awake.cpu_time <= awake.run_time + 0.01
    assert pool.stats()["cpu"] >= 0.05
    assert pool.submit(abs, -1).cancelled() is False


STUCK_IN_C = """if True:
    import os, subinterpreters
    from subinterpreters import InterpreterPoolExecutor

    def in_a_system_call(started, fd):
        started.put(None)
        os.read(fd, 1)

    def keeping_the_gil(started, view):
        from collections import deque
        from functools import partial
        from operator import getitem

        started.put(None)
        # Not one bytecode until the other side changes the memory.
        deque(iter(partial(getitem, view, 0), 1), maxlen=0)

    def where():
        return subinterpreters.get_current().id

    def alive(worker):
        return worker in [i.id for i in subinterpreters.list_all()]

    memory = bytearray(1)
    read, write = os.pipe()
    argument = {"in_a_system_call": read, "keeping_the_gil": memoryview(memory)}
    with InterpreterPoolExecutor(1) as pool:
        worker = pool.submit(where).result()
        started = subinterpreters.create_queue()
        submit = pool.options(timeout=0.05).submit
        future = submit(TASK, started, argument[TASK.__name__])
        started.get()
        try:
            future.result()
        except TimeoutError as error:
            print("replaced" in str(error))
        print(pool.submit(where).result() != worker, pool.stats()["replaced"])
        print(alive(worker))
        memory[0] = 1
        os.write(write, b"1")
        while alive(worker):
            pass
"""


@pytest.mark.parametrize("task", ["in_a_system_call", "keeping_the_gil"])
def test_stuck_in_c(script, task):
    """It is replaced, the pool works on, and the stuck one ends once it can."""
    assert script.ok(STUCK_IN_C.replace("TASK", task)) == "True\nTrue 1\nTrue\n"


SIGNALLED = """if True:
    import os, signal, subinterpreters
    from subinterpreters import InterpreterPoolExecutor

    def hold(started, release):
        started.put(None)
        return release.get()

    started, release = (subinterpreters.create_queue() for _ in range(2))
    pool = InterpreterPoolExecutor(1)
    held = pool.submit(hold, started, release)
    queued = [pool.submit(abs, -n) for n in range(3)]
    started.get()

    def on_signal(*_):
        HANDLER

    signal.signal(signal.SIGTERM, on_signal)
    os.kill(os.getpid(), signal.SIGTERM)
    WAIT
    print(held.cancelled(), [f.cancelled() for f in queued])
    try:
        pool.submit(abs, -1)
    except RuntimeError as error:
        print("after shutdown" in str(error))
"""


@pytest.mark.parametrize(
    ("handler", "wait", "cancelled"),
    [
        (
            "release.put(1); pool.shutdown()",
            "held.result()",
            "False [False, False, False]",
        ),
        (
            "pool.shutdown(wait=False, cancel_futures=True); release.put(1)",
            "held.result()",
            "False [True, True, True]",
        ),
        (
            "held.interrupt(); pool.shutdown(cancel_futures=True)",
            "pool.shutdown()",
            "True [True, True, True]",
        ),
    ],
)
def test_shutdown_from_a_signal(script, handler, wait, cancelled):
    source = SIGNALLED.replace("HANDLER", handler).replace("WAIT", wait)
    assert script.ok(source) == f"{cancelled}\nTrue\n"
