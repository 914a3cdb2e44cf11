"""os.fork() in main while other interpreters live, and what works in the child."""

import pytest

FORK = """
    import os, subinterpreters, sys, threading, time, warnings
    warnings.simplefilter('ignore', DeprecationWarning)

    def fork(child):
        '''Runs the function in a forked child, which must end well and soon.'''
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child()
                sys.stdout.flush()
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return 'hung'
    """


def test_idle_interpreters(script):
    out = script.ok(
        FORK
        + """
    interps = [subinterpreters.create() for _ in range(3)]
    for interp in interps:
        interp.exec('import json, threading')
    print(*[fork(lambda: None) for _ in range(20)])
    for interp in interps:
        interp.exec('x = 1')
    print([interp.call(eval, 'x') for interp in interps])
    """
    )
    assert out == " ".join("0" * 20) + "\n[1, 1, 1]\n"


def test_the_childs_handles(script):
    out = script.ok(
        FORK
        + """
    interp = subinterpreters.create()
    interp.exec('x = 1')

    def child():
        for use in (interp.is_running, interp.close, lambda: interp.exec('1'),
                    lambda: interp.call(len, ()), lambda: interp.prepare_main(a=1),
                    lambda: subinterpreters.Interpreter(interp.id + 1000)):
            try:
                use()
            except subinterpreters.InterpreterNotFoundError:
                print('gone')
        print(interp.id > 0, repr(interp) == f'Interpreter({interp.id})')
        print([i.id for i in subinterpreters.list_all()])
        print(subinterpreters.get_current() is subinterpreters.get_main())

    print(fork(child))
    print(interp.call(eval, 'x'))
    """
    )
    assert out.split() == ["gone"] * 6 + ["True", "True", "[0]", "True", "0", "1"]


def test_new_interpreters_in_the_child(script):
    out = script.ok(
        FORK
        + """
    old = subinterpreters.create()

    def child():
        for _ in range(3):
            interp = subinterpreters.create()
            interp.exec('import json; x = 1')
            print(interp.call(eval, 'x + 1'), interp.id != old.id)
            thread = interp.call_in_thread(exec, 'x = 5')
            thread.join()
            print(interp.call(eval, 'x'))
            interp.close()
        subinterpreters.create().exec('y = 1')

    print(fork(child))
    """
    )
    assert out.split() == ["2", "True", "5"] * 3 + ["0"]


def test_the_child_ends_the_usual_way(script):
    # Not by os._exit: the clean-up at exit must not touch what is gone.
    out = script.ok(
        FORK
        + """
    interp = subinterpreters.create()
    interp.exec('import threading')
    pid = os.fork()
    if pid == 0:
        new = subinterpreters.create()
        new.exec('print("child")')
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    )
    assert out == "child\n7\n"


def test_queues_in_the_child(script):
    out = script.ok(
        FORK
        + """
    interp = subinterpreters.create()
    queue = subinterpreters.create_queue()
    interp.prepare_main(queue=queue)
    queue.put('before')

    def child():
        mine = subinterpreters.create_queue()
        mine.put('spam')
        print(mine.get())
        queue.put('after')
        print(queue.get(timeout=5), queue.get(timeout=5))

    print(fork(child))
    print(queue.get(), queue.qsize())
    """
    )
    assert out.split() == ["spam", "before", "after", "0", "before", "0"]


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time\nwhile True: time.sleep(0.001)",
        "queue.get()",
        pytest.param(
            "import json\nwhile True: json.dumps(list(range(100)))",
            marks=pytest.mark.unsanitized(
                "its allocator may be locked when the process is copied"
            ),
        ),
    ],
    ids=["busy", "sleeping", "waiting", "working"],
)
def test_busy_interpreters(script, source):
    out = script.ok(
        FORK
        + f"""
    queue = subinterpreters.create_queue()
    started = subinterpreters.create_queue()
    def run(interp):
        try:
            interp.prepare_main(queue=queue, started=started)
            interp.exec('started.put(1)\\n' + {source!r})
        except BaseException:
            pass
    for _ in range(2):
        interp = subinterpreters.create()
        threading.Thread(target=run, args=(interp,), daemon=True).start()
        started.get()

    def child():
        new = subinterpreters.create()
        new.exec('x = 1')
        assert new.call(eval, 'x') == 1
        new.close()

    print(*[fork(child) for _ in range(10)])
    sys.stdout.flush()
    os._exit(0)
    """
    )
    assert out.split() == ["0"] * 10


@pytest.mark.unsanitized("its allocator may be locked when the process is copied")
def test_while_threads_create_and_close(script):
    out = script.ok(
        FORK
        + """
    stop = threading.Event()
    queue = subinterpreters.create_queue()
    def churn():
        while not stop.is_set():
            interp = subinterpreters.create()
            interp.exec('x = 1')
            queue.put(1)
            interp.close()
            queue.get()
    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads: thread.start()

    def child():
        new = subinterpreters.create()
        new.exec('x = 1')
        mine = subinterpreters.create_queue()
        mine.put(1)
        assert mine.get() == 1
        new.close()

    print(*[fork(child) for _ in range(15)])
    stop.set()
    for thread in threads: thread.join()
    """
    )
    assert out.split() == ["0"] * 15


def test_in_a_thread_of_main(script):
    out = script.ok(
        FORK
        + """
    interp = subinterpreters.create()
    interp.exec('x = 1')
    def run():
        print(fork(lambda: subinterpreters.create().exec('print("child")')))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    print(interp.call(eval, 'x'))
    """
    )
    assert out.split() == ["child", "0", "1"]


def test_grandchildren(script):
    out = script.ok(
        FORK
        + """
    interp = subinterpreters.create()

    def child():
        subinterpreters.create().exec('x = 1')
        keep = subinterpreters.create()
        print(fork(lambda: subinterpreters.create().exec('print("grandchild")')))

    print(fork(child))
    """
    )
    assert out.split() == ["grandchild", "0", "0"]


def test_subprocess(script):
    out = script.ok("""
        import subinterpreters, subprocess, sys
        interp = subinterpreters.create()
        interp.exec('import subprocess, sys')
        print(subprocess.check_output([sys.executable, '-c', 'print(1)'], text=True))
        interp.exec('''
        out = subprocess.check_output([sys.executable, '-c', 'print(2)'], text=True)
        ''')
        print(interp.call(eval, 'out'))
        """)
    assert out.split() == ["1", "2"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(script, method):
    out = script.ok(
        f"""
        import multiprocessing, subinterpreters, warnings

        def work(x):
            return x * x

        def use(x):
            import subinterpreters
            interp = subinterpreters.create()
            result = interp.call(eval, f'{{x}} + 1')
            interp.close()
            return result

        if __name__ == '__main__':
            warnings.simplefilter('ignore', DeprecationWarning)
            interp = subinterpreters.create()
            interp.exec('import threading; x = 1')
            context = multiprocessing.get_context({method!r})
            with context.Pool(2) as pool:
                print(pool.map(work, range(5)))
                print(pool.map(use, range(3)))
            process = context.Process(target=print, args=('process',))
            process.start()
            process.join()
            print(process.exitcode, interp.call(eval, 'x'))
        """
    )
    assert out.splitlines() == ["[0, 1, 4, 9, 16]", "[1, 2, 3]", "process", "0 1"]


def test_process_pool_executor(script):
    out = script.ok("""
        import concurrent.futures, multiprocessing, subinterpreters, warnings

        if __name__ == '__main__':
            warnings.simplefilter('ignore', DeprecationWarning)
            interp = subinterpreters.create()
            context = multiprocessing.get_context('fork')
            with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
                print(list(pool.map(abs, [-1, -2, -3])), flush=True)
            interp.exec('print("alive")')
        """)
    assert out.split("\n")[:2] == ["[1, 2, 3]", "alive"]


def test_without_other_interpreters(script):
    out = script.ok(
        FORK
        + """
    subinterpreters.create().close()
    def child():
        subinterpreters.create().exec('print("child")')
    print(fork(child), fork(child))
    """
    )
    assert out.split() == ["child", "child", "0", "0"]
