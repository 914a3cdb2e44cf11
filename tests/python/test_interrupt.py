"""Ctrl-C while the main thread runs code in another interpreter."""

import pytest

COMMON = """
    import os, signal, subinterpreters, sys, threading, time
    interp = subinterpreters.create()
    interp.exec('import os, time')
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
    "source",
    [
        "time.sleep(60)",
        "import subinterpreters; subinterpreters.create_queue().get()",
        "import subinterpreters; subinterpreters.create_queue().get(timeout=60)",
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
        time.sleep(60)  # CPython 3.12 does not catch it at the end of a loop's round
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
        time.sleep(60)  # CPython 3.12 does not catch it at the end of a loop's round
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
