"""Pools at the end of the process, in a child of fork, and at Ctrl-C."""

import pytest

SCRIPT_START = """
    import sys, os, time, threading, subinterpreters
    from subinterpreters.executor import InterpreterPoolExecutor
    def say(x):
        print(x)
"""


@pytest.mark.parametrize(
    "end",
    [
        "pool = InterpreterPoolExecutor(2); pool.submit(say, 'done')",
        "InterpreterPoolExecutor(2).submit(say, 'done')",
        "pool = InterpreterPoolExecutor(2); pool.submit(say, 'done'); sys.exit()",
        "pool = InterpreterPoolExecutor(2); pool.submit(say, 'done'); "
        "pool.shutdown(wait=False)",
        "pool = InterpreterPoolExecutor(2); "
        "pool.submit(int).add_done_callback(lambda f: print('done'))",
        "pool = InterpreterPoolExecutor(2); "
        "threading.Thread(target=pool.submit, args=(say, 'done')).start()",
        "import atexit; pool = InterpreterPoolExecutor(2); "
        "atexit.register(pool.shutdown); pool.submit(say, 'done')",
    ],
)
def test_exit_waits_for_the_work(script, end):
    assert script.ok(SCRIPT_START + "    " + end) == "done\n"


def test_exit_right_after_the_first_submit(script):
    source = SCRIPT_START + "    pool = InterpreterPoolExecutor(8)\n"
    source += "    futures = [pool.submit(abs, 1) for _ in range(100)]\n"
    assert script.ok(source) == ""


def test_ctrl_c_while_waiting(script):
    source = SCRIPT_START + (
        "    import signal, _thread\n"
        "    def loop(q):\n"
        "        q.put(1)\n"
        "        while True: pass\n"
        "    q = subinterpreters.create_queue()\n"
        "    pool = InterpreterPoolExecutor(1)\n"
        "    future = pool.submit(loop, q)\n"
        "    q.get()\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    try:\n"
        "        future.result()\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', future.interrupt())\n"
    )
    assert script.ok(source) == "interrupted True\n"


ONE_CTRL_C = """
    import signal
    def loop(q):
        q.put(1)
        while True: pass
    class Pool(InterpreterPoolExecutor):
        def shutdown(self, *args, **options):
            if LATE and not options.get('interrupt'):
                signal.raise_signal(signal.SIGINT)  # as if it came during the wait
            super().shutdown(*args, **options)
    q = subinterpreters.create_queue()
    try:
        with Pool(1) as pool:
            futures = [pool.submit(loop, q) for _ in range(2)]
            q.get()
            if not LATE:
                signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print(repr(futures[0].exception(0)), futures[1].cancelled())
"""


@pytest.mark.parametrize("late", [False, True])
def test_one_ctrl_c_ends_a_block_whose_tasks_never_end(script, late):
    source = SCRIPT_START + ONE_CTRL_C.replace("LATE", str(late))
    assert script.ok(source) == "KeyboardInterrupt() True\n"


def test_shutdown_that_interrupts(script):
    source = SCRIPT_START + (
        "    def loop(q):\n"
        "        q.put(1)\n"
        "        while True: pass\n"
        "    q = subinterpreters.create_queue()\n"
        "    pool = InterpreterPoolExecutor(2)\n"
        "    futures = [pool.submit(loop, q) for _ in range(3)]\n"
        "    q.get(), q.get()\n"
        "    pool.shutdown(interrupt=True)\n"
        "    print({repr(f.exception(0)) for f in futures[:2]})\n"
        "    print(futures[2].cancelled())\n"
    )
    assert script.ok(source) == "{'KeyboardInterrupt()'}\nTrue\n"


def test_another_exception_in_the_block_does_not_stop_the_work(script):
    source = SCRIPT_START + (
        "    gate = subinterpreters.create_queue()\n"
        "    try:\n"
        "        with InterpreterPoolExecutor(1) as pool:\n"
        "            futures = [pool.submit(gate.get) for _ in range(2)]\n"
        "            gate.put(1), gate.put(2)\n"
        "            raise SystemExit(3)\n"
        "    except SystemExit:\n"
        "        print([f.result(0) for f in futures])\n"
    )
    assert script.ok(source) == "[1, 2]\n"


def test_fork_leaves_a_usable_child(script):
    source = SCRIPT_START + (
        "    import warnings\n"
        "    warnings.simplefilter('ignore')\n"
        "    pool = InterpreterPoolExecutor(2)\n"
        "    pool.submit(abs, -1).result()\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try:\n"
        "            pool.submit(abs, -1)\n"
        "        except Exception as error:\n"
        "            print(type(error).__name__)\n"
        "        del pool\n"
        "        with InterpreterPoolExecutor(1) as other:\n"
        "            print(other.submit(abs, -2).result())\n"
        "        sys.stdout.flush()\n"
        "        os._exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    print(pool.submit(abs, -3).result())\n"
    )
    assert script.ok(source) == "BrokenInterpreterPool\n2\n3\n"


def test_os_exit_in_a_task(script):
    source = SCRIPT_START + "    InterpreterPoolExecutor(1).submit(os._exit, 7)"
    assert script.run(source).returncode == 7


STUCK_START = """
    started = subinterpreters.create_queue()
    never = subinterpreters.create_queue()
    def initialize(started, never):
        import time
        started.put(1)
        {stuck}
    pool = InterpreterPoolExecutor(
        1, thread_name_prefix="mine", initializer=initialize, initargs=(started, never))
    future = pool.submit(abs, -1)
    started.get()
"""


@pytest.mark.parametrize(
    "stuck", ["while True: pass", "time.sleep(9999)", "never.get()"]
)
def test_shutdown_stops_a_worker_that_starts(script, stuck):
    source = SCRIPT_START + STUCK_START.format(stuck=stuck)
    source += """
    pool.shutdown(cancel_futures=True)
    print(future.cancelled(), [i.id for i in subinterpreters.list_all()])
    try:
        pool.submit(abs, -1)
    except RuntimeError as error:
        print(error)
"""
    assert script.ok(source).splitlines() == [
        "True [0]",
        "cannot schedule new futures after shutdown",
    ]


@pytest.mark.parametrize("tries", [1, 3])
def test_shutdown_that_cancels_lets_no_task_be_tried_again(script, tries):
    """The next try would need another worker, and none starts: the task ends with what
    it has raised, and the pool is not broken."""
    source = (
        SCRIPT_START
        + f"""
    started, gate = subinterpreters.create_queue(), subinterpreters.create_queue()
    def work(started, gate):
        started.put(1)
        gate.get()
        raise LookupError("once")
    pool = InterpreterPoolExecutor(1, max_tasks_per_child=1)
    future = pool.options(retries=9).submit(work, started, gate)
    for _ in range({tries} - 1):
        started.get()
        gate.put(1)
    started.get()
    pool.shutdown(wait=False, cancel_futures=True)
    gate.put(1)
    print(repr(future.exception()), started.qsize())
"""
    )
    assert script.ok(source) == "LookupError('once') 0\n"


def test_shutdown_lets_a_task_that_runs_end(script):
    source = (
        SCRIPT_START
        + """
    started, gate = subinterpreters.create_queue(), subinterpreters.create_queue()
    def work(started, gate):
        started.put(1)
        return gate.get()
    pool = InterpreterPoolExecutor(1)
    future = pool.submit(work, started, gate)
    started.get()
    pool.shutdown(wait=False, cancel_futures=True)
    gate.put("done")
    print(future.result())
"""
    )
    assert script.ok(source) == "done\n"


@pytest.mark.parametrize(
    "stuck", ["while True: pass", "time.sleep(9999)", "never.get()"]
)
def test_exit_after_ctrl_c_stops_a_worker_that_starts(script, stuck):
    # The Ctrl-C ends the wait for the pool, as one in the middle of it would.
    source = """
    import atexit
    @atexit.register
    def last():
        print(future.exception())
"""
    source += SCRIPT_START + STUCK_START.format(stuck=stuck)
    source += """
    import signal
    threading._register_atexit(os.kill, os.getpid(), signal.SIGINT)
"""
    done = script.run(source)
    assert done.stdout == "worker 0 of mine was stopped while it started\n", done.stderr
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode == 0


def test_exception_of_a_task_that_the_exit_stops(script):
    source = (
        SCRIPT_START
        + """
    import signal
    started = subinterpreters.create_queue()
    def spin(started):
        started.put(1)
        while True:
            pass
    pool = InterpreterPoolExecutor(1)
    future = pool.submit(spin, started)
    def tell(future):
        error = future.exception()
        print(type(error).__name__, type(error.__cause__).__name__, flush=True)
    future.add_done_callback(tell)
    started.get()
    threading._register_atexit(os.kill, os.getpid(), signal.SIGINT)
"""
    )
    result = script.run(source)
    assert result.stdout == "SystemExit ExecutionFailed\n"
    assert "exception calling callback" not in result.stderr
