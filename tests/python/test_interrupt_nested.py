"""What stops a run stops what that runs in other interpreters, or ends there."""

import pytest

START = """
    import subinterpreters, threading
    queue = subinterpreters.create_queue()
    interp = subinterpreters.create()
    interp.prepare_main(queue=queue)
    interp.exec('''
    import subinterpreters, threading
    inner = subinterpreters.create()
    inner.prepare_main(queue=queue)
    ''')

    def run(source):
        '''Runs the source in interp, until it has said that it is under way.'''
        def target():
            try:
                interp.exec(source)
            except subinterpreters.ExecutionFailed as exc:
                print('ended by', exc.excinfo.type.__name__, flush=True)
        thread = threading.Thread(target=target)
        thread.start()
        queue.get(timeout=30)
        return thread
    """

STUCK = {
    "loop": "inner.exec('queue.put(1)\\nwhile True: pass')",
    "sleep": "inner.exec('import time; queue.put(1); time.sleep(9999)')",
    "queue": "inner.exec('import subinterpreters; queue.put(1);"
    " subinterpreters.create_queue().get()')",
    "third": "inner.exec('import subinterpreters; third = subinterpreters.create();"
    " third.prepare_main(queue=queue);"
    ' third.exec("queue.put(1)\\\\nwhile True: pass")\')',
    "atexit": "inner.exec('import atexit\\ndef last(queue=queue):"
    "\\n queue.put(1)\\n while True: pass\\natexit.register(last)');"
    " inner.close()\nfor _ in range(9): pass",
}


@pytest.mark.parametrize("stuck", STUCK)
def test_interrupt(script, stuck):
    done = script.run(
        START
        + f"""
    thread = run({STUCK[stuck]!r})
    assert interp.interrupt()
    thread.join()
    interp.exec('print("goes on", flush=True)')
"""
    )
    assert done.stdout == "ended by KeyboardInterrupt\ngoes on\n", done.stderr
    assert done.returncode == 0, done.stderr


def test_the_outer_run_goes_on(script):
    out = script.ok(
        START
        + """
    inner = subinterpreters.Interpreter(interp.id + 1)
    thread = run('''
    try:
        inner.exec('queue.put(1)\\\\nwhile True: pass')
    except subinterpreters.ExecutionFailed:
        print('goes on', flush=True)
    ''')
    inner.interrupt()
    thread.join()
"""
    )
    assert out == "goes on\n"


@pytest.mark.parametrize("stuck", ["loop", "sleep", "third"])
def test_timeout_of_a_task(script, stuck):
    out = script.ok(
        f"""
    import subinterpreters
    def task(queue):
        global inner
        inner = subinterpreters.create()
        inner.prepare_main(queue=queue)
        {STUCK[stuck]}
    queue = subinterpreters.create_queue()
    with subinterpreters.InterpreterPoolExecutor(1) as pool:
        future = pool.options(timeout=0.2).submit(task, queue)
        print(type(future.exception()).__name__)
        future = pool.submit(task, queue)
        queue.get(); queue.get()
        print(future.interrupt())
        print(pool.stats()['replaced'])
"""
    )
    assert out.split() == ["TimeoutError", "True", "0"]


@pytest.mark.parametrize("stuck", ["loop", "sleep", "queue", "third"])
@pytest.mark.parametrize("thread", [False, True])
def test_close(script, stuck, thread):
    source = STUCK[stuck]
    if thread:
        source = f"threading.Thread(target=exec, args=({source!r}, globals())).start()"
    out = script.run(
        START
        + f"""
    thread = run({source!r})
    interp.close(interrupt=True)
    print('closed', flush=True)
"""
    ).stdout
    assert "closed\n" in out


# The code that close() waits for goes on, in a thread of the main interpreter.
CLOSING = (
    START
    + """
    busy = subinterpreters.create()
    busy.prepare_main(queue=queue)
    release = subinterpreters.create_queue()
    busy.prepare_main(release=release)
    thread_of_busy = threading.Thread(
        target=busy.exec, args=("queue.put(1)\\nrelease.get()",)
    )
    thread_of_busy.start()
    queue.get(timeout=30)
    interp.exec(f'busy = subinterpreters.Interpreter({busy.id})')
    """
)
FINISH = """
    release.put(1)
    thread_of_busy.join()
    busy.exec('print("busy goes on", flush=True)')
"""


def test_close_that_waits(script):
    done = script.run(
        CLOSING
        + """
    thread = run("queue.put(1); busy.close(timeout=9999)")
    assert interp.interrupt()
    thread.join()
    interp.exec('print("goes on", flush=True)')
"""
        + FINISH
    )
    assert done.stdout == "ended by KeyboardInterrupt\ngoes on\nbusy goes on\n", done
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["timeout", "interrupt"])
def test_task_whose_close_waits(script, how):
    out = script.ok(
        CLOSING
        + f"""
    def task(busy, queue):
        queue.put(1)
        busy.close(timeout=9999)
    with subinterpreters.InterpreterPoolExecutor(1) as pool:
        timeout = 0.1 if {how!r} == "timeout" else None
        future = pool.options(timeout=timeout).submit(task, busy, queue)
        queue.get(timeout=30)
        if timeout is None:
            future.interrupt()
        try:
            print(type(future.exception()).__name__)
        except BaseException as exc:
            print(type(exc).__name__)
        print(pool.stats()['replaced'], flush=True)
"""
        + FINISH
    )
    first = {"timeout": "TimeoutError", "interrupt": "CancelledError"}[how]
    assert out == f"{first}\n0\nbusy goes on\n"


@pytest.mark.parametrize("own", [False, True], ids=["run", "own"])
def test_close_of_what_waits_for_another_close(script, own):
    source = "queue.put(1); busy.close(timeout=9999)"
    if own:
        source = f"threading.Thread(target=exec, args=({source!r}, globals())).start()"
    done = script.run(
        CLOSING
        + f"""
    thread = run({source!r})
    interp.close(interrupt=True)
    print('closed', flush=True)
"""
        + FINISH
    )
    assert done.stdout.endswith("closed\nbusy goes on\n"), done.stderr


OWN_THREAD = "import threading, time; threading.Thread(target={}).start()"
OWN = {
    "sleep": OWN_THREAD.format("time.sleep, args=(9999,)"),
    "loop": OWN_THREAD.format("exec, args=('while True: pass',)"),
}


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("closed", [False, True], ids=["handle", "close"])
def test_own_threads_of_what_ends_inside(script, own, closed):
    out = script.run(
        START
        + f"""
    interp.exec({f"inner.exec({OWN[own]!r})"!r})
    if {closed}:
        interp.exec('import atexit; atexit.register(inner.close)')
    interp.close(interrupt=True)
    print('closed', [i.id for i in subinterpreters.list_all()])
"""
    ).stdout
    assert out == "closed [0]\n"


@pytest.mark.parametrize("stuck", ["loop", "sleep", "queue"])
def test_exit(script, stuck):
    out = script.ok(
        """
    import atexit
    atexit.register(lambda: thread.join())  # after what the package does at the exit
    """
        + START
        + f"""
    def target():
        try:
            interp.exec({STUCK[stuck]!r})
        finally:
            print('ended', flush=True)
    threading.excepthook = lambda args: None
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    queue.get()
"""
    )
    assert out == "ended\n"
