"""Ctrl-C while the main thread runs code in another interpreter."""

import pytest

COMMON = """
    import os, signal, subinterpreters, sys, threading, time
    interp = subinterpreters.create()
    interp.exec('import os, subinterpreters, time')
    started_r, started_w = os.pipe()
    sent = None

    def press():
        '''Sends SIGINT once the other interpreter's code is under way.'''
        global sent
        os.read(started_r, 1)
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    def timed(use, source):
        '''Seconds from the signal to the exception, and the exception. START in the
        source is where it is under way, else its beginning.'''
        thread = threading.Thread(target=press)
        thread.start()
        try:
            start = f'os.write({started_w}, b"1")'
            source = source if 'START' in source else 'START\\n' + source
            use(source.replace('START', start))
        except BaseException as exc:
            return time.monotonic() - sent, exc
        finally:
            thread.join()
        return time.monotonic() - sent, None
    """

USES = {
    "exec": "interp.exec",
    "call": "(lambda source: interp.call(exec, source))",
}


@pytest.mark.parametrize("use", USES)
def test_busy_loop(script, use):
    out = script.ok(
        COMMON
        + f"""
    times = []
    for _ in range(5):
        seconds, exc = timed({USES[use]}, 'while True: pass')
        times.append(seconds)
        print(type(exc).__name__, type(exc.__cause__).__name__,
              exc.__cause__.excinfo.type.__name__)
    print(min(times))
    interp.exec('x = 1')
    print(interp.call(eval, 'x'))
    """
    )
    *told, best, after = out.splitlines()
    assert told == ["KeyboardInterrupt ExecutionFailed KeyboardInterrupt"] * 5
    assert float(best) < 0.05
    assert after == "1"


@pytest.mark.parametrize(
    "use",
    [
        "interp.exec('queue.put(1)\\nwhile True: pass')",
        "interp.exec('queue.put(1); import time; time.sleep(9999)')",
        "(queue.put(1), never.get())",
    ],
)
def test_signal_that_another_thread_gets(script, use):
    # The system may choose any thread of the process.
    out = script.ok(f"""
    import signal, subinterpreters, threading
    interp = subinterpreters.create()
    queue, never = subinterpreters.create_queue(), subinterpreters.create_queue()
    interp.prepare_main(queue=queue)
    def press():
        queue.get()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    for _ in range(5):
        thread = threading.Thread(target=press)
        thread.start()
        try:
            {use}
        except KeyboardInterrupt:
            print('interrupted')
        thread.join()
    """)
    assert out == "interrupted\n" * 5


@pytest.mark.parametrize(
    "source",
    [
        "time.sleep(60)",
        "subinterpreters.create_queue().get()",
        "subinterpreters.create_queue().get(timeout=60)",
        "sum(1 for _ in iter(int, 1))",
        "while True:\n  try:\n    pass\n  finally:\n    pass",
    ],
)
def test_kinds_of_waiting(script, source):
    out = script.ok(
        COMMON
        + f"""
    seconds, exc = timed(interp.exec, {source!r})
    print(type(exc).__name__, seconds < 5)
    interp.exec('x = 1')
    print(interp.call(eval, 'x'))
    """
    )
    assert out.split() == ["KeyboardInterrupt", "True", "1"]


def test_one_press_is_one_interrupt(script):
    out = script.ok(
        COMMON
        + """
    seconds, exc = timed(interp.exec, '''
    try:
        START
        for _ in range(6000):  # in the call: 3.12 does not catch it at a round's end
            time.sleep(0.01)
    except KeyboardInterrupt:
        print('there', flush=True)
    # Time for a second one to arrive, if there were one.
    end = time.monotonic() + 0.2
    while time.monotonic() < end: pass
    ''')
    end = time.monotonic() + 0.2
    while time.monotonic() < end: pass
    print(exc)
    """
    )
    assert out == "there\nNone\n"


def test_caught_there_is_not_raised_here(script):
    out = script.ok(
        COMMON
        + """
    seconds, exc = timed(interp.exec, '''
    try:
        START
        for _ in range(6000):  # in the call: 3.12 does not catch it at a round's end
            time.sleep(0.01)
    except KeyboardInterrupt:
        raise ValueError('instead')
    ''')
    print(type(exc).__name__, exc.excinfo.type.__name__)
    """
    )
    assert out == "ExecutionFailed ValueError\n"


def test_nested(script):
    out = script.ok(
        COMMON
        + """
    inner = subinterpreters.create()
    inner.exec('import os')
    interp.prepare_main(inner=inner.id, fd=started_w)
    seconds, exc = timed(lambda source: interp.exec('''
    import subinterpreters
    source = 'import os\\\\nos.write(' + str(fd) + ', b"1")\\\\nwhile True: pass'
    subinterpreters.Interpreter(inner).exec(source)
    '''), '')
    print(type(exc).__name__, seconds < 5)
    inner.exec('x = 1')
    """
    )
    assert out == "KeyboardInterrupt True\n"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        # Where a call in C ends by itself, no bytecode of the code there follows.
        (
            "import socket; a, b = socket.socketpair(); a.settimeout(0.3)\n"
            "START\na.recv(1)",
            "ExecutionFailed",
        ),
        (
            "class E(Exception):\n  def __str__(self):\n    START\n"
            "    end = time.monotonic() + 0.3\n"
            "    while time.monotonic() < end: pass\nraise E",
            "ExecutionFailed",
        ),
        (
            "import sys\nclass S:\n  def flush(self):\n    sys.stdout = None\n"
            "    START\n    while True: pass\nsys.stdout = S()",
            "NoneType",
        ),
        (
            "class E(Exception):\n  def __reduce__(self):\n    START\n"
            "    while True: pass\nraise E",
            "ExecutionFailed",
        ),
    ],
    ids=["in C", "describing", "flushing", "sending the exception"],
)
def test_after_the_code_there(script, source, cause):
    # Nobody there can have dealt with it: it is raised here, whatever the outcome is.
    out = script.ok(
        COMMON
        + f"""
    seconds, exc = timed(interp.exec, {source!r})
    print(type(exc).__name__, type(exc.__cause__).__name__, seconds < 5)
    print(interp.call(eval, '1'))
    """
    )
    assert out == f"KeyboardInterrupt {cause} True\n1\n"


@pytest.mark.parametrize(
    "use", ["interp.call(len, Slow())", "interp.call(eval, 'Slow()')"]
)
def test_while_values_cross(script, use):
    # Rebuilding an argument there, taking a result apart there.
    out = script.ok(
        COMMON
        + f"""
    import textwrap
    SLOW = '''
    def wait(fd=%d):
        import os, time
        os.write(fd, b'1')
        while True: pass

    class Slow:
        def __reduce__(self):
            return REDUCED
    ''' % started_w
    exec(textwrap.dedent(SLOW).replace('REDUCED', 'wait, ()'))
    interp.exec(SLOW.replace('REDUCED', 'wait()'))
    thread = threading.Thread(target=press)
    thread.start()
    try:
        {use}
    except BaseException as exc:
        print(type(exc).__name__, type(exc.__cause__).__name__)
    thread.join()
    print(interp.call(eval, '1'))
    """
    )
    assert out == "KeyboardInterrupt ExecutionFailed\n1\n"


@pytest.mark.parametrize("where", ["argument", "result"])
@pytest.mark.parametrize("stop", ["interrupt()", "close(interrupt=True)"])
def test_interrupted_while_values_are_built_or_described(script, where, stop):
    """It is an interrupt there, and no fault of the values."""
    out = script.ok(
        f"""
        import subinterpreters, threading
        begun = subinterpreters.create_queue()
        class Endless:
            def __init__(self, here):
                self.here = here
            def __reduce__(self):
                return (work, ()) if self.here else work()
        def work():
            begun.put(None)
            while True:
                pass
        def take(value):
            return value
        def give():
            return Endless(False)
        interp = subinterpreters.create()
        def stop():
            begun.get()
            interp.{stop}
        stopper = threading.Thread(target=stop)
        stopper.start()
        try:
            if {where!r} == "argument":
                interp.call(take, Endless(True))
            else:
                interp.call(give)
        except subinterpreters.ExecutionFailed as error:
            print(type(error.original).__name__)
        stopper.join()
        """
    )
    assert out == "KeyboardInterrupt\n"


def test_flushing_before_the_code_there(script):
    out = script.ok(
        COMMON
        + """
    class Slow:
        def flush(self):
            sys.stdout = sys.__stdout__
            os.write(started_w, b'1')
            while True: pass

    sys.stdout = Slow()
    seconds, exc = timed(interp.exec, 'started = 1  # START')
    print(type(exc).__name__, interp.call(eval, '"started" in globals()'))
    """
    )
    assert out == "KeyboardInterrupt False\n"


@pytest.mark.parametrize("failing", [False, True])
def test_every_press_is_heard(script, failing):
    # At random moments of short calls, most of which are spent outside the user's code.
    # CPython tells on standard error of one in a callback of its own; it is heard here.
    ended = script.run(
        COMMON
        + f"""
    import random
    random.seed(3)

    def fail():
        if {failing}:
            raise ValueError('spam')

    def tell(pause, done):
        time.sleep(pause)
        os.kill(os.getpid(), signal.SIGINT)
        done.set()

    heard = 0
    for _ in range(100):
        done = threading.Event()
        thread = threading.Thread(target=tell, args=(random.random() * 0.004, done))
        try:
            thread.start()
            while not done.is_set():
                try:
                    interp.call(fail)
                except subinterpreters.ExecutionFailed as exc:
                    pass
            time.sleep(2)
        except KeyboardInterrupt:
            heard += 1
        thread.join()
    print(heard)
    """
    )
    assert (ended.returncode, ended.stdout) == (0, "100\n"), ended.stderr


@pytest.mark.parametrize(
    "change",
    [
        "asyncio.run(nothing())",
        "signal.signal(2, print); signal.signal(2, signal.default_int_handler)",
        "signal.signal(2, signal.SIG_DFL); "
        "signal.signal(2, signal.default_int_handler)",
    ],
    ids=["asyncio", "a function", "SIG_DFL"],
)
def test_the_default_handler_comes_back(script, change):
    out = script.ok(
        COMMON
        + f"""
    import asyncio
    async def nothing(): pass
    {change}
    print(signal.getsignal(2) is signal.default_int_handler)
    seconds, exc = timed(interp.exec, 'while True: pass')
    print(type(exc).__name__)
    """
    )
    assert out == "True\nKeyboardInterrupt\n"


def test_signal_is_as_before(script):
    out = script.ok(
        """
    import inspect, signal, _signal
    told = lambda: (str(inspect.signature(_signal.signal)), _signal.signal.__name__,
                    _signal.signal.__module__)
    before = told()
    import subinterpreters
    for _ in range(2):
        subinterpreters.create()
    print(told() == before)
    for arguments in [(), (signal.SIGINT,), (0, print), (signal.SIGINT, 'spam')]:
        try:
            _signal.signal(*arguments)
        except (TypeError, ValueError) as exc:
            print(type(exc).__name__)
    print(signal.signal(signal.SIGUSR1, print).name)
    print(signal.getsignal(signal.SIGUSR1) is print)
    """
    )
    assert (
        out.split()
        == "True TypeError TypeError ValueError TypeError SIG_DFL True".split()
    )


def test_another_handler_runs_here(script):
    out = script.ok(
        COMMON
        + """
    seen = []
    signal.signal(signal.SIGINT, lambda *args: seen.append(
        subinterpreters.get_current().id))
    seconds, exc = timed(interp.exec, '''
    end = time.monotonic() + 0.2
    while time.monotonic() < end: pass
    ''')
    print(exc, seen)
    """
    )
    assert out == "None [0]\n"


def test_ignored(script):
    out = script.ok(
        COMMON
        + """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seconds, exc = timed(interp.exec, '''
    end = time.monotonic() + 0.2
    while time.monotonic() < end: pass
    ''')
    print(exc)
    """
    )
    assert out == "None\n"


def test_while_another_thread_runs_there(script):
    # The signal is the main thread's: code on other threads goes on.
    out = script.ok(
        COMMON
        + """
    finish_r, finish_w = os.pipe()
    thread = threading.Thread(target=interp.exec, args=(
        f'os.write({started_w}, b"1"); os.read({finish_r}, 1); done = 1',))
    try:
        presser = threading.Thread(target=press)
        presser.start()
        thread.start()
        presser.join()
        time.sleep(30)
    except KeyboardInterrupt:
        print('here')
    os.write(finish_w, b'1')
    thread.join()
    print(interp.call(eval, 'done'))
    """
    )
    assert out == "here\n1\n"


def test_uncaught_it_ends_the_process_as_ever(script):
    import signal

    done = script.run(
        COMMON
        + """
    threading.Thread(target=press).start()
    interp.exec(f'os.write({started_w}, b"1")\\nwhile True: pass')
    """
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "KeyboardInterrupt" in done.stderr


BEFORE_THE_RUN = """
    import subinterpreters, sys
    interp = subinterpreters.create()
    asked = []
    class Out:
        def write(self, text): pass
        def flush(self):
            '''The interpreter is taken, and its run has not begun.'''
            if not asked:
                asked.append((interp.is_running(), interp.interrupt()))
    out, sys.stdout = sys.stdout, Out()
    """


def test_a_run_that_is_about_to_begin(script):
    out = script.ok(
        BEFORE_THE_RUN
        + """
    print('something to flush')
    try:
        interp.exec('while True: pass')
    except subinterpreters.ExecutionFailed as error:
        print(type(error.original).__name__, asked, file=out)
    interp.exec('for i in range(100_000): pass')
    """
    )
    assert out == "KeyboardInterrupt [(True, True)]\n"


def test_a_run_that_does_not_begin(script):
    """What was asked of it does not hit the next one."""
    out = script.ok(
        BEFORE_THE_RUN
        + """
    print('something to flush')
    try:
        interp.exec('while True: pass)')
    except SyntaxError as error:
        print(type(error).__name__, asked, file=out)
    interp.exec('for i in range(100_000): pass')
    """
    )
    assert out == "SyntaxError [(True, True)]\n"
