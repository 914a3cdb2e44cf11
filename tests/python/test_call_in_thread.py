"""Interpreter.call_in_thread."""

import os
import threading

import pytest
import subinterpreters
from subinterpreters import ExecutionFailed, InterpreterError


@pytest.fixture
def failures(monkeypatch):
    """What threads died of."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args))
    yield seen
    seen.clear()


def test_gives_a_started_thread(interp):
    r, w = os.pipe()

    def function(fd):
        import os

        os.read(fd, 1)

    thread = interp.call_in_thread(function, r)
    assert isinstance(thread, threading.Thread)
    assert thread.is_alive()
    assert not thread.daemon
    assert thread in threading.enumerate()
    os.write(w, b"1")
    thread.join()
    assert not thread.is_alive()
    os.close(r)
    os.close(w)


def test_runs_in_the_interpreter(interp):
    queue = subinterpreters.create_queue()

    def function(queue, *args, **kwargs):
        import threading

        import subinterpreters

        here = subinterpreters.get_current().id
        queue.put((here, threading.get_ident(), args, kwargs))

    thread = interp.call_in_thread(function, queue, 1, [2], k="v")
    here, ident, args, kwargs = queue.get(timeout=30)
    thread.join()
    assert here == interp.id
    assert ident == thread.ident != threading.get_ident()
    assert (args, kwargs) == ((1, [2]), {"k": "v"})


def test_state_stays(interp):
    def function(value):
        globals()["x"] = value

    interp.call_in_thread(function, "spam").join()
    assert interp.call(eval, "x") == "spam"


def test_is_running_meanwhile(interp):
    r, w = os.pipe()
    queue = subinterpreters.create_queue()

    def function(queue, fd):
        import os

        queue.put("started")
        os.read(fd, 1)

    thread = interp.call_in_thread(function, queue, r)
    assert queue.get(timeout=30) == "started"
    assert interp.is_running()
    with pytest.raises(InterpreterError, match="already running"):
        interp.exec("1")
    with pytest.raises(InterpreterError, match="running"):
        interp.close()
    os.write(w, b"1")
    thread.join()
    assert not interp.is_running()
    os.close(r)
    os.close(w)


def test_the_result_is_discarded(interp, failures):
    interp.call_in_thread(eval, "[1, 2]").join()
    assert failures == []


def test_an_error_goes_to_the_threads_hook(interp, failures):
    thread = interp.call_in_thread(eval, "1/0")
    thread.join()
    (failure,) = failures
    assert failure.exc_type is ExecutionFailed
    assert failure.exc_value.excinfo.type.__name__ == "ZeroDivisionError"
    assert failure.thread is thread


def test_an_error_is_printed(script):
    done = script.run("""
        import subinterpreters
        interp = subinterpreters.create()
        interp.call_in_thread(eval, '1/0').join()
        interp.close()
        print('alive')
        """)
    assert done.returncode == 0
    assert done.stdout == "alive\n"
    assert "ExecutionFailed: ZeroDivisionError: division by zero" in done.stderr
    assert "Exception in thread" in done.stderr


@pytest.mark.parametrize("bad", [3, None])
def test_not_callable(interp, failures, bad):
    interp.call_in_thread(bad).join()
    (failure,) = failures
    assert failure.exc_type is TypeError
    assert str(failure.exc_value) == f"expected a callable, got {bad!r}"


def test_closed(failures):
    interp = subinterpreters.create()
    interp.close()
    # CPython says so in the thread; ours must know before it starts one.
    with pytest.raises(subinterpreters.InterpreterNotFoundError):
        interp.call_in_thread(len, ())
    assert failures == []


def test_busy(interp, running, failures):
    with running(interp):
        interp.call_in_thread(len, ()).join()
    (failure,) = failures
    assert failure.exc_type is InterpreterError
    assert str(failure.exc_value) == "interpreter already running"


def test_no_callable(interp):
    with pytest.raises(TypeError):
        interp.call_in_thread()


def test_side_by_side():
    # Each waits for the other: they finish only if both run at the same time.
    interps = [subinterpreters.create() for _ in range(2)]
    ping, pong = subinterpreters.create_queue(), subinterpreters.create_queue()

    def first(ping, pong):
        for number in range(50):
            ping.put(number)
            assert pong.get(timeout=30) == number

    def second(ping, pong):
        for _ in range(50):
            pong.put(ping.get(timeout=30))

    threads = [
        interps[0].call_in_thread(first, ping, pong),
        interps[1].call_in_thread(second, ping, pong),
    ]
    for thread in threads:
        thread.join()
    assert ping.empty()
    assert pong.empty()
    for interp in interps:
        interp.close()


def test_from_another_interpreter(interp):
    other = subinterpreters.create()
    interp.prepare_main(other=other.id)
    interp.exec("""
        import subinterpreters
        thread = subinterpreters.Interpreter(other).call_in_thread(exec, 'x = 42')
        thread.join()
        """)
    assert other.call(eval, "x") == 42
    interp.exec("del thread")
    other.close()


def test_the_handle_lives_as_long_as_the_thread():
    r, w = os.pipe()

    def function(r, w):
        import os

        os.read(r, 1)
        os.write(w, b"done")

    back_r, back_w = os.pipe()
    thread = subinterpreters.create().call_in_thread(function, r, back_w)
    os.write(w, b"1")
    thread.join()
    assert os.read(back_r, 10) == b"done"
    del thread
    for fd in (r, w, back_r, back_w):
        os.close(fd)
