"""Every operation while the 1st, 2nd, 3rd ... request for a resource fails.

Requests that our own C code makes of the system are failed by a preloaded library
(failing.c), allocations of Python objects by CPython's test module. An operation must
then raise MemoryError or one of our errors, or succeed; it must lose nothing, and work
once there is memory again.
"""

import signal
import sys

import pytest

# An operation: how to get ready each time, the operation, what holds after a failure.
OPERATIONS = {
    "create": ("", "subinterpreters.create().close()", ""),
    "create_in_another": (
        "",
        "interp.exec('import subinterpreters; subinterpreters.create().close()')",
        "",
    ),
    "create_with_capture": (
        "lines = []; keep = lambda name, stream, line: lines.append((stream, line))",
        "with subinterpreters.create(capture=keep) as captured:"
        " captured.exec('print(1)')\nassert lines == [('stdout', '1')], lines",
        "",
    ),
    "close": (
        "victim = subinterpreters.create(); victim.exec('import threading')",
        "victim.close()",
        "victim.close()",
    ),
    "close_with_items": (
        "victim = subinterpreters.create(); victim.prepare_main(q=queue);"
        "victim.exec('q.put([1]); q.put(bytes(5000))')",
        "victim.close(); unbound(2)",
        "close_again(victim); unbound(0)",
    ),
    "fork": ("", "fork()", ""),
    "drop": ("victim = subinterpreters.create()", "del victim", ""),
    "exec": ("", "interp.exec(f'x = {n}')", ""),
    "exec_of_code": (
        "code = compile(f'x = {n}', '', 'exec')",
        "interp.exec(code)",
        "",
    ),
    "exec_that_fails": ("", "failing(interp.exec, 'raise ValueError(1)')", ""),
    "call": (
        "",
        "assert interp.call(echo, VALUES, n=n) == (VALUES, n)",
        "",
    ),
    "call_of_a_new_function": (
        "exec('def fresh(a, b=VALUES): return a, b', globals())",
        "assert interp.call(fresh, n) == (n, VALUES)",
        "",
    ),
    "call_with_new_classes": (
        "exec(NEW_CLASSES, globals())",
        "assert interp.call(getattr, Fresh, 'kind') is Kind.A",
        "",
    ),
    "call_that_fails": ("", "failing(interp.call, int, 'x')", ""),
    "call_in_thread": ("", "interp.call_in_thread(len, ()).join()", ""),
    "prepare_main": ("", "interp.prepare_main(a=1, b='x' * 100, c=(queue,))", ""),
    "a_new_thread": (
        "",
        "caught = []; t = threading.Thread(target=attempt, args=(caught,)); t.start();"
        "t.join(); raise_first(caught)",
        "",
    ),
    "create_queue": ("", "subinterpreters.create_queue(3)", ""),
    "put": ("", "queue.put(VALUES); assert queue.get() == VALUES", "drain(VALUES)"),
    "get": (
        "queue.put(VALUES); item = None",
        "item = queue.get(); assert item == VALUES",
        "assert queue.get_nowait() == VALUES",
    ),
    "get_with_timeout": ("", "empty(queue.get, timeout=0.0005)", ""),
    "get_there": ("queue.put([n])", "interp.call(taker, queue)", "drain([n])"),
    "list_all": ("", "[i.is_running() for i in subinterpreters.list_all()]", ""),
    "lookup": ("", "subinterpreters.Interpreter(interp.id)", ""),
    "is_shareable": ("", "subinterpreters.is_shareable((1, 2))", ""),
    "interrupt": ("", "failing(interp.interrupt)", ""),
    "pool": (
        "subinterpreters.InterpreterPoolExecutor",
        "with subinterpreters.InterpreterPoolExecutor(1) as pool:"
        " assert pool.submit(pow, 2, 3).result() == 8",
        "",
    ),
    "submit": (
        "worker = subinterpreters.create()",
        "assert worker.submit(pow, 2, 3).result(timeout=60) == 8",
        "assert worker.submit(pow, 2, 3).result(timeout=60) == 8",
    ),
    "call_async": (
        "worker = subinterpreters.create()",
        "assert asyncio.run(call_async(worker)) == 8",
        "assert asyncio.run(call_async(worker)) == 8",
    ),
    "get_async": (
        "queue.put([n])",
        "assert asyncio.run(get_async()) == [n]",
        "drain([n])",
    ),
    "keep_ready": (
        "",
        "subinterpreters.keep_ready(1); subinterpreters.keep_ready(0)",
        "",
    ),
}

# Those during which we ask the system for nothing.
NO_REQUESTS = {
    "close",
    "close_with_items",
    "drop",
    "exec_of_code",
    "fork",
    "get_with_timeout",
    "interrupt",
    "is_shareable",
    "lookup",
}

SCRIPT = """
    import asyncio, ctypes, os, subinterpreters, sys, textwrap, threading, logging
    logging.disable()
    faults = ctypes.CDLL(None) if sys.argv[1] == "ours" else None
    VALUES = [1, 2.5, 2**70, 'x' * 300, b'y' * 5000, (1, {'a': None}), {7}]
    NEW_CLASSES = '''
    import enum
    class Kind(enum.Enum):
        A = 1, [2]
        def __init__(self, first, rest): self.rest = rest
    class Fresh:
        __slots__ = "x"
        kind = Kind.A
        def get(self): return self.x
    '''
    NEW_CLASSES = textwrap.dedent(NEW_CLASSES)
    interp = subinterpreters.create()
    queue = subinterpreters.create_queue()

    def echo(values, *, n):
        return values, n

    def taker(queue):
        queue.get_nowait()

    def failing(use, *args):
        try:
            use(*args)
        except subinterpreters.ExecutionFailed:
            pass

    def empty(use, **kwargs):
        try:
            use(**kwargs)
        except subinterpreters.QueueEmpty:
            pass

    def drain(value):
        while not queue.empty():
            assert queue.get_nowait() == value

    def close_again(victim):
        try:
            victim.close()
        except subinterpreters.InterpreterNotFoundError:
            pass

    def unbound(count):
        for _ in range(count):
            assert queue.get_nowait() is subinterpreters.UNBOUND
        while not queue.empty():
            assert queue.get_nowait() is subinterpreters.UNBOUND

    def fork():
        pid = os.fork()
        if pid == 0:
            try:
                assert not faults.fail_nth(0)
                try:
                    interp.exec('x = 2')
                except subinterpreters.InterpreterNotFoundError:
                    subinterpreters.create().exec('x = 3')
                    os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    async def call_async(worker):
        return await worker.call_async(pow, 2, 3)

    async def get_async():
        return await asyncio.wait_for(queue.get_async(), 60)

    def attempt(caught):
        try:
            interp.exec('x = 1')
        except BaseException as error:
            caught.append(error)

    def raise_first(caught):
        if caught:
            raise caught.pop()

    def perform(n):
        namespace = dict(globals(), n=n)
        exec(ready, namespace)
        error = None
        faults.fail_nth(n)
        try:
            exec(operation, namespace)
        except (MemoryError, subinterpreters.InterpreterError, OSError,
                subinterpreters.NotShareableError, RuntimeError) as exc:
            error = exc
        failed = faults.fail_nth(0)
        assert failed >= 0
        if error is not None:
            assert failed, error
            try:
                exec(after, namespace)
            except subinterpreters.InterpreterNotFoundError:
                pass
        drain(None) if queue.empty() else drain(VALUES)
        interp.exec('x = 1')
        assert interp.call(eval, 'x + 1') == 2
        return failed

    ready, operation, after = (compile(part, '', 'exec') for part in sys.argv[2:5])
    n = 1
    while perform(n):
        n += 1 if n < 700 else 61  # only what imports modules on 3.12 comes so far
    print(n - 1, 'failures')
    """


@pytest.mark.parametrize("name", OPERATIONS)
def test_requests_of_ours(script, failing, name):
    done = script.run(SCRIPT, "ours", *OPERATIONS[name], env=failing)
    assert done.returncode == 0, done.stdout + done.stderr
    failures = int(done.stdout.split()[0])
    print(f"{name}: {failures} failures")
    assert (failures == 0) == (name in NO_REQUESTS)


def test_no_threads_at_all(script, failing):
    """Not one failure but all: whoever has a worker waits for it, others are told."""
    done = script.run(
        """
        import ctypes, subinterpreters
        faults = ctypes.CDLL(None)
        queue = subinterpreters.create_queue()
        pool = subinterpreters.InterpreterPoolExecutor(4)
        other = subinterpreters.InterpreterPoolExecutor(4)
        interp = subinterpreters.create()
        busy = pool.submit(queue.get)
        while not busy.running():
            pass
        assert faults.fail_all_threads(1) == 0
        futures = [pool.submit(pow, 2, n) for n in range(8)]
        for submit in other.submit, interp.submit:
            try:
                submit(pow, 2, 3)
            except RuntimeError as error:
                print(error)
        queue.put('done')
        assert busy.result() == 'done'
        assert [f.result() for f in futures] == [2**n for n in range(8)]
        faults.fail_all_threads(0)
        assert other.submit(pow, 2, 3).result() == 8
        assert interp.submit(pow, 2, 3).result() == 8
        """,
        env=failing,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "can't start new thread\n" * 2


@pytest.mark.parametrize("again", [True, False])
def test_a_task_that_counts_on_a_thread_that_is_refused(script, failing, again):
    """It comes while the first worker is started, so it starts none of its own."""
    source = f"""
        import ctypes, subinterpreters
        faults = ctypes.CDLL(None)
        pool = subinterpreters.InterpreterPoolExecutor(1)
        later = []

        @ctypes.CFUNCTYPE(None)
        def submit():
            later.append(pool.submit(abs, -1))
            if {again}:
                faults.fail_all_threads(0)

        assert faults.fail_all_threads(1) == 0
        faults.call_at_refusal(submit)
        try:
            pool.submit(abs, -2)
        except RuntimeError as error:
            print(error)
        error = later[0].exception()
        print(error or later[0].result())
        faults.fail_all_threads(0)
        """
    done = script.run(source, env=failing, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    end = "1" if again else "no thread could be started"
    assert done.stdout == f"can't start new thread\n{end}\n"


def test_a_timeout_that_nobody_would_watch_over(script, failing):
    done = script.run(
        """
        import ctypes, subinterpreters, time
        faults = ctypes.CDLL(None)
        pool = subinterpreters.InterpreterPoolExecutor(1)
        assert pool.submit(abs, -1).result() == 1
        timed = pool.options(timeout=0.001)
        assert faults.fail_all_threads(1) == 0
        try:
            timed.submit(time.sleep, 60)
        except RuntimeError as error:
            print(error)
        assert pool.submit(abs, -2).result() == 2
        faults.fail_all_threads(0)
        try:
            timed.submit(time.sleep, 60).result()
        except TimeoutError:
            print('in time')
        """,
        env=failing,
        timeout=20,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "can't start new thread\nin time\n"


# Those that run Python code of CPython that does not survive this: os.fork() goes on
# without the functions that were to be called before, threading (which captures use)
# and asyncio leave threads and event loops that are half made.
CPYTHON_CRASHES = {("call_that_fails", (3, 15))}
ONLY_REQUESTS = {
    "fork",
    "create_with_capture",
    "call_in_thread",
    "a_new_thread",
    "call_async",
    "get_async",
}

NO_MEMORY = (
    """
    import sys

    class Faults:
        def __init__(self):
            self.library = ctypes.CDLL(None)
            if sys.version_info < (3, 14):
                # A def statement without memory frees its code object twice, and
                # the compiler uses memory that it did not get.
                self.library.spare(b"PyFunction_NewWithQualName")
                self.library.spare(b"Py_CompileStringObject")

        def fail_nth(self, n):
            while True:
                try:
                    return self.library.fail_nth_object(n, 1)
                except MemoryError:
                    pass  # it was ours

    """
    + SCRIPT.partition("n = 1\n")[0]
    + "faults = Faults()\n    n = 1\n"
    + SCRIPT.partition("n = 1\n")[2]
)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ONLY_REQUESTS])
def test_python_objects(script, failing, name):
    if (name, sys.version_info[:2]) in CPYTHON_CRASHES:
        pytest.skip("CPython crashes below this, in what it imports or compiles")
    done = script.run(NO_MEMORY, "pythons", *OPERATIONS[name], env=failing, timeout=200)
    innermost = done.stderr.partition("most recent call first):\n")[2].split("\n")[0]
    if done.returncode == -signal.SIGSEGV and "traceback.py" in innermost:
        # In Python code of the standard library: nothing of ours is on that stack.
        pytest.skip("CPython crashes when its traceback module runs out of memory")
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{name}: {done.stdout.strip()}")
