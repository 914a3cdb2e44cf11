"""Waiting for futures where others wait too, where they cannot end, and in a worker."""

import pytest

TWO_KINDS = """
        import concurrent.futures, threading
        from subinterpreters import InterpreterPoolExecutor, create_queue

        class Theirs(concurrent.futures.Future):
            @property
            def _condition(self):
                hook = hooks.pop(threading.current_thread().name, None)
                if hook is not None:
                    hook()
                return self.condition

            @_condition.setter
            def _condition(self, condition):
                self.condition = condition

        hooks = {}
        release = create_queue()
        pool = InterpreterPoolExecutor(1)
        ours = sorted((pool.submit(release.get) for _ in range(2)), key=id)
        between = [Theirs()]
        while not id(ours[0]) < id(between[-1]) < id(ours[1]):
            between.append(Theirs())
            ours = sorted([*ours[:1], pool.submit(release.get), *ours[-1:]], key=id)
            ours = [ours[0], ours[-1]]
        theirs = between[-1]
        holds_first, holds_theirs = threading.Event(), threading.Event()

        class Lock:
            def __init__(self, lock):
                self.lock = lock
            def acquire(self):
                self.lock.acquire()
                if threading.current_thread().name == "second":
                    holds_theirs.set()
            def release(self):
                self.lock.release()
            def __enter__(self):
                self.acquire()
            def __exit__(self, *_):
                self.release()

        theirs._condition = Lock(theirs._condition)

        def first():
            holds_first.set()
            holds_theirs.wait()

        hooks["first"] = first
        hooks["second"] = holds_first.wait
        threads = [
            threading.Thread(
                target=concurrent.futures.wait, args=(futures, 0.01), name=name
            )
            for name, futures in (
                ("first", [ours[0], theirs]), ("second", [theirs, ours[1]])
            )
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(len(between) + 1):
            release.put(None)
        pool.shutdown()
        print("no deadlock")
    """


def test_waiting_for_futures_of_two_kinds_in_two_threads(script):
    """Each thread comes to the other's lock while it holds its own: in the order that
    concurrent.futures takes them in, by address."""
    assert script.ok(TWO_KINDS, timeout=20) == "no deadlock\n"


@pytest.mark.unsanitized("a child of ASan's may wait for a lock of its allocator")
def test_a_child_cannot_wait_for_a_task_of_its_parent(script):
    source = """
        import concurrent.futures, os, sys, warnings
        from subinterpreters import InterpreterPoolExecutor, create_queue

        warnings.simplefilter("ignore")
        release = create_queue()
        with InterpreterPoolExecutor(1) as pool:
            future = pool.submit(release.get)
            child = os.fork()
            if child == 0:
                for ask in (
                    lambda: future.add_done_callback(print),
                    lambda: concurrent.futures.wait([future]),
                    lambda: list(concurrent.futures.as_completed([future])),
                ):
                    try:
                        ask()
                    except concurrent.futures.BrokenExecutor as error:
                        print(error, flush=True)
                sys.exit()
            status = os.waitpid(child, 0)[1]
            release.put(None)
        print(status)
    """
    refused = "the task runs in the process that this one was forked from\n"
    assert script.ok(source, timeout=20) == refused * 3 + "0\n"


def test_an_interrupt_wakes_an_unordered_map(script):
    source = """
        import threading
        from subinterpreters import InterpreterPoolExecutor, create_queue

        started, release = create_queue(), create_queue()

        def hold(item, started, release):
            started.put(None)
            release.get()

        def inner(hold, started, release):
            from subinterpreters import InterpreterPoolExecutor
            with InterpreterPoolExecutor(1) as pool:
                try:
                    list(pool.map(hold, [1], [started], [release], ordered=False))
                finally:
                    release.put(None)

        with InterpreterPoolExecutor(1) as pool:
            task = pool.submit(inner, hold, started, release)
            started.get()
            task.interrupt()
            try:
                task.result()
            except BaseException as error:
                print(type(error).__name__)
    """
    assert script.ok(source, timeout=20) == "CancelledError\n"
