"""The end of an interpreter can be interrupted: by Ctrl-C, by the time that close() was
given, and at the exit of the process once its time is over."""

import signal

import pytest

# What an atexit function or a destructor may be stuck in, with what it needs around it.
# Not exec(): where one raises KeyboardInterrupt, 3.12 and 3.13 end with status 130.
SPIN = "sum(1 for _ in iter(int, 1))"
STUCK = ["time.sleep(9999)", "queue.get()", SPIN, "full.put(2)"]
WHERE = ["atexit", "destructor"]

SCRIPT_START = """
    import os, signal, subinterpreters, sys, threading, time
    queue, full = subinterpreters.create_queue(), subinterpreters.create_queue(1)
    full.put(1)
    interp = subinterpreters.create()
    interp.prepare_main(queue=queue, full=full)
    def ids():
        return [i.id for i in subinterpreters.list_all()]
"""


def stuck(stuck, where="atexit"):
    """A script whose interpreter says "ready" and is stuck when it is ended."""
    source = f"""
    interp.exec('''
    import atexit, time
    def last(print=print, queue=queue, full=full, time=time):
        print('ready', flush=True)
        {stuck}
    class Late:
        def __del__(self, last=last):
            last()
    late = Late() if {where!r} == 'destructor' else None
    if late is None:
        atexit.register(last)
    ''')
"""
    return SCRIPT_START + source


def press(script, source, number=signal.SIGINT):
    """Runs the source and sends the signal once it is ready."""
    process = script.start(source)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    return script.finish(process, timeout=30)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("what", STUCK)
class TestCtrlC:
    def test_close(self, script, what, where):
        source = (
            stuck(what, where)
            + """
    try:
        interp.close()
    except KeyboardInterrupt:
        print('interrupted', ids())
"""
        )
        done = press(script, source)
        assert done.stdout == "interrupted [0]\n", done.stderr
        assert done.returncode == 0
        assert done.stderr.count("KeyboardInterrupt") == 1  # CPython tells of it

    def test_last_handle(self, script, what, where):
        source = (
            stuck(what, where)
            + """
    try:
        del interp
        time.sleep(0)
    except KeyboardInterrupt:
        print('interrupted', ids())
"""
        )
        done = press(script, source)
        assert done.stdout == "interrupted [0]\n", done.stderr
        assert done.returncode == 0

    def test_exit(self, script, what, where):
        done = press(script, stuck(what, where))
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("KeyboardInterrupt") == 1


class TestCtrlCElsewhere:
    def test_close_inside_another_interpreter(self, script):
        source = (
            stuck("time.sleep(9999)")
            + """
    outer = subinterpreters.create()
    outer.prepare_main(number=interp.id)
    try:
        outer.exec('''
    import subinterpreters
    try:
        subinterpreters.Interpreter(number).close()
    finally:
        print('inside', flush=True)
    ''')
    except KeyboardInterrupt:
        outer.exec('')
        print('interrupted', ids() == [0, outer.id])
"""
        )
        done = press(script, source)
        assert done.stdout == "inside\ninterrupted True\n", done.stderr
        assert done.returncode == 0

    def test_one_press_stops_one_function(self, script):
        source = (
            stuck("time.sleep(9999)")
            + """
    interp.exec('import os; atexit._clear();'
                'atexit.register(os.write, 1, b"other\\\\n"); atexit.register(last)')
    try:
        interp.close()
    except KeyboardInterrupt:
        print('interrupted', flush=True)
"""
        )
        done = press(script, source)
        assert done.stdout == "other\ninterrupted\n", done.stderr

    def test_handler_of_another_signal(self, script):
        # It runs in the main interpreter, and there the end is not the place for it.
        source = (
            SCRIPT_START
            + """
    def handle(*args):
        raise LookupError
    signal.signal(signal.SIGUSR1, handle)
    interp.exec('''
    import threading
    threading._register_atexit(print, 'ready', flush=True)
    gate = threading.Lock()
    gate.acquire()
    threading.Thread(target=gate.acquire).start()
    ''')
    try:
        interp.close()
    except LookupError:
        interp.exec('gate.release()')
        interp.close()
        print('handled', ids())
"""
        )
        done = press(script, source, signal.SIGUSR1)
        assert (done.stdout, done.stderr) == ("handled [0]\n", "")


# An interpreter whose own threads keep it from ending until release() is called in it.
# What it has registered with threading, as executors do, is called by its end.
KEPT = {
    "lock": """
    import threading
    gate = threading.Lock()
    gate.acquire()
    threading.Thread(target=gate.acquire).start()
    release = gate.release
    """,
    "queue": """
    import threading
    threading.Thread(target=queue.get).start()
    def release():
        queue.put(None)
    """,
    "executor": """
    import concurrent.futures, threading
    gate = threading.Event()
    executor = concurrent.futures.ThreadPoolExecutor(2)
    executor.submit(gate.wait)
    release = gate.set
    """,
    "pool": """
    import subinterpreters, threading
    started = subinterpreters.create_queue()
    pool = subinterpreters.InterpreterPoolExecutor(1)
    def work(started, queue):
        started.put(1)
        queue.get()
    pool.submit(work, started, queue)
    started.get()
    def release():
        queue.put(None)
    """,
}
READY = """
    threading._register_atexit(print, 'ready', flush=True)
    """


def kept(how):
    return SCRIPT_START + f"    interp.exec('''{KEPT[how]}{READY}''')\n"


@pytest.mark.parametrize("how", list(KEPT))
class TestOwnThreads:
    def test_ctrl_c(self, script, how):
        source = (
            kept(how)
            + """
    try:
        interp.close()
    except KeyboardInterrupt:
        print('interrupted', interp.id in ids(), flush=True)
        interp.exec('release()')
        interp.close()
        print('closed', ids())
"""
        )
        done = press(script, source)
        assert done.stdout == "interrupted True\nclosed [0]\n", done.stderr
        assert (done.returncode, done.stderr) == (0, "")

    def test_ctrl_c_at_the_last_handle(self, script, how):
        source = (
            kept(how)
            + """
    number = interp.id
    try:
        del interp
        time.sleep(0)
    except KeyboardInterrupt:
        left = subinterpreters.Interpreter(number)
        print('interrupted', flush=True)
        left.exec('release()')
        left.close()
        print('closed', ids())
"""
        )
        done = press(script, source)
        assert done.stdout == "interrupted\nclosed [0]\n", done.stderr
        assert (done.returncode, done.stderr) == (0, "")

    def test_timeout(self, script, how):
        out = script.ok(
            kept(how)
            + """
    for timeout in 0, 0.01, 0.1:
        try:
            interp.close(timeout=timeout)
        except TimeoutError as error:
            print(error, interp.id in ids())
    interp.exec('release()')
    interp.close(timeout=60)
    print('closed', ids())
"""
        )
        late = "threads of interpreter 1, or work in its pools, still run True\n"
        assert out.replace("ready\n", "") == late * 3 + "closed [0]\n"

    def test_released_while_it_waits(self, script, how):
        out = script.ok(
            kept(how).replace(
                READY,
                """
    threading._register_atexit(lambda: threading.Thread(target=release).start())
    """,
            )
            + """
    interp.close()
    print('closed', ids())
"""
        )
        assert out == "closed [0]\n"


class TestInterrupt:
    @pytest.mark.parametrize("timeout", [None, 60])
    @pytest.mark.parametrize("what", STUCK)
    def test_own_threads(self, script, what, timeout):
        out = script.ok(
            SCRIPT_START
            + f"""
    started = subinterpreters.create_queue()
    interp.prepare_main(started=started)
    interp.exec('''
    import threading, time
    def work():
        started.put(1)
        try:
            {what}
        finally:
            print('left', flush=True)
    threading.Thread(target=work).start()
    ''')
    started.get()
    interp.close(interrupt=True, timeout={timeout})
    print('closed', ids())
"""
        )
        assert out == "left\nclosed [0]\n"

    def test_thread_with_the_ident_of_an_earlier_one(self, script):
        # That of the thread that called what was registered, at an earlier close().
        out = script.ok(
            SCRIPT_START
            + """
    interp.exec('''
    import threading
    told = []
    threading._register_atexit(lambda: told.append(threading.get_ident()))
    held = threading.Lock()
    held.acquire()
    keeper = threading.Thread(target=held.acquire)
    keeper.start()
    ''')
    try:
        interp.close(timeout=0.1)
    except TimeoutError:
        print('late')
    interp.exec('''
    held.release()
    keeper.join()
    others = threading.Event()
    def work():
        while threading.get_ident() in told:
            pass
        others.wait()
    threads = []
    while len(threads) < 5 and not (threads and threads[-1].ident in told):
        threads.append(threading.Thread(target=work))
        threads[-1].start()
    others.set()
    for thread in threads[:-1]:
        thread.join()
    threading.Thread(target=threads[-1].join).start()
    ''')
    interp.close(interrupt=True)
    print('closed', ids())
"""
        )
        assert out == "late\nclosed [0]\n"

    def test_idle_executor(self, script):
        done = script.run(
            SCRIPT_START
            + """
    interp.exec('''
    import concurrent.futures
    executor = concurrent.futures.ThreadPoolExecutor(2)
    executor.submit(len, ()).result()
    ''')
    interp.close(interrupt=True)
    print('closed', ids())
"""
        )
        assert (done.returncode, done.stdout) == (0, "closed [0]\n"), done.stderr

    @pytest.mark.parametrize("timeout", [None, 60])
    @pytest.mark.parametrize("what", STUCK)
    def test_pool(self, script, what, timeout):
        out = script.ok(
            SCRIPT_START
            + f"""
    started = subinterpreters.create_queue()
    interp.prepare_main(started=started)
    interp.exec('''
    import subinterpreters
    def work(started, queue, full):
        import time
        started.put(1)
        try:
            {what}
        finally:
            print('left', flush=True)
    pool = subinterpreters.InterpreterPoolExecutor(1)
    submit = pool.options(retries=9).submit
    tasks = [submit(work, started, queue, full) for _ in range(9)]
    ''')
    started.get()
    interp.close(interrupt=True, timeout={timeout})
    print('closed', ids())
"""
        )
        assert out == "left\nclosed [0]\n"

    def test_pool_that_starts(self, script):
        out = script.ok(
            SCRIPT_START
            + """
    started = subinterpreters.create_queue()
    interp.prepare_main(started=started)
    interp.exec('''
    import subinterpreters
    def start(started):
        started.put(1)
        while True: pass
    pool = subinterpreters.InterpreterPoolExecutor(
        1, initializer=start, initargs=(started,))
    pool.submit(len, ())
    ''')
    started.get()
    interp.close(interrupt=True)
    print('closed', ids())
"""
        )
        assert out == "closed [0]\n"

    def test_pool_that_refuses(self, script):
        out = script.ok(
            SCRIPT_START
            + """
    started = subinterpreters.create_queue()
    interp.prepare_main(started=started)
    interp.exec('''
    import subinterpreters
    def work(started):
        while True:
            try:
                started.put(1)
                while True: pass
            except BaseException: pass
    pool = subinterpreters.InterpreterPoolExecutor(1)
    pool.submit(work, started)
    ''')
    started.get()
    try:
        interp.close(interrupt=True, timeout=0.2)
    except TimeoutError as error:
        interp.exec("print('open')")
        print(error, flush=True)
    os._exit(0)
"""
        )
        assert out == (
            "open\nthreads of interpreter 1, or work in its pools, still run\n"
        )


class TestTimeout:
    """Reports are counted by how they begin: the next interrupt may cut one short."""

    @pytest.mark.parametrize("where", WHERE)
    @pytest.mark.parametrize("what", STUCK)
    def test_close(self, script, what, where):
        done = script.run(
            stuck(what, where)
            + """
    interp.close(timeout=0.2)
    print('closed', ids())
"""
        )
        assert done.stdout == "ready\nclosed [0]\n", done.stderr
        assert done.returncode == 0
        assert done.stderr.count("Exception ignored") == 1

    def test_each_function_is_interrupted(self, script):
        done = script.run(
            stuck("time.sleep(9999)")
            + """
    interp.exec('for _ in range(3): atexit.register(last)')
    interp.close(interrupt=True, timeout=0)
    print('closed', ids())
"""
        )
        assert done.stdout == "ready\n" * 4 + "closed [0]\n", done.stderr
        assert done.stderr.count("in atexit callback") == 4

    def test_a_short_function_is_not(self, script):
        out = script.ok(
            SCRIPT_START
            + """
    for _ in range(20):
        interp = subinterpreters.create()
        interp.exec('import atexit, json; atexit.register(json.dumps, [1])')
        interp.close(interrupt=True, timeout=0)
    print(ids())
"""
        )
        assert out == "[0]\n"

    def test_in_many_threads(self, script):
        done = script.run(
            SCRIPT_START
            + """
    def close():
        for _ in range(3):
            interp = subinterpreters.create()
            interp.exec('import atexit, time; atexit.register(time.sleep, 9999)')
            interp.close(timeout=0)
    threads = [threading.Thread(target=close) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(len(ids()))
"""
        )
        assert done.stdout == "2\n", done.stderr
        assert done.stderr.count("Exception ignored") == 12


class TestExit:
    @pytest.mark.parametrize("where", WHERE)
    @pytest.mark.parametrize("what", STUCK)
    def test_after_its_time(self, script, what, where):
        done = script.run(
            stuck(what, where)
            + """
    other = subinterpreters.create()
    other.exec('import atexit, os; atexit.register(os.write, 1, b"other\\\\n")')
"""
        )
        assert done.stdout == "ready\nother\n", done.stderr
        assert done.returncode == 0
        assert done.stderr.count("Exception ignored") == 1

    def test_of_a_worker(self, script):
        # The worker ends its interpreter itself; the exit has stopped waiting for it.
        source = (
            SCRIPT_START
            + """
    def work():
        import atexit, time
        def last():
            print('ready', flush=True)
            time.sleep(9999)
        atexit.register(last)
    pool = subinterpreters.InterpreterPoolExecutor(1)
    pool.submit(work).result()
    try:
        pool.shutdown()
    except KeyboardInterrupt:
        print('interrupted', flush=True)
    def go_on(*args):
        raise SystemExit
    threading._register_atexit(go_on)
"""
        )
        done = press(script, source)
        assert done.stdout == "interrupted\n", done.stderr
        assert done.returncode == 0
        assert "in atexit callback" in done.stderr

    def test_own_threads_of_several(self, script):
        # What the executors log of it is theirs.
        done = script.run(
            SCRIPT_START
            + """
    for number in range(3):
        one = subinterpreters.create()
        one.exec('''
    import concurrent.futures, threading, time
    executor = concurrent.futures.ThreadPoolExecutor(2)
    executor.submit(time.sleep, 9999)
    executor.submit(len, ()).result()
    ''')
        globals()[f'keep{number}'] = one
    print('end')
"""
        )
        assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


class TestLateThreads:
    def test_of_an_atexit_function(self, script):
        out = script.ok(
            SCRIPT_START
            + """
    started = subinterpreters.create_queue()
    interp.prepare_main(started=started)
    interp.exec('''
    import atexit, threading
    def work():
        started.put(1)
        queue.get()
        print('left', flush=True)
    def last():
        try:
            threading.Thread(target=work).start()
        except RuntimeError:  # 3.12 starts none at this time
            work()
    atexit.register(last)
    ''')
    def release():
        started.get()
        queue.put(None)
    helper = threading.Thread(target=release)
    helper.start()
    interp.close()
    helper.join()
    print('closed', ids())
"""
        )
        assert out == "left\nclosed [0]\n"
