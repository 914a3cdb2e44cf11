"""create(capture=): what an interpreter prints comes out in the one that created it."""

import queue
import threading

import pytest
import subinterpreters

LIMIT = 30


@pytest.fixture
def captured():
    """An interpreter named "worker" and a function that returns its next line."""
    lines = queue.Queue()
    with subinterpreters.create(name="worker", capture=lambda *a: lines.put(a)) as made:
        yield made, lambda: lines.get(timeout=LIMIT)


def test_lines_of_both_streams(captured):
    interp, following = captured
    interp.exec(
        "import sys; print('one'); print('two', file=sys.stderr); print('3\\n4')"
    )
    assert following() == ("worker", "stdout", "one")
    assert following() == ("worker", "stderr", "two")
    assert following() == ("worker", "stdout", "3")
    assert following() == ("worker", "stdout", "4")


def test_a_line_in_pieces(captured):
    interp, following = captured
    interp.exec("print('a', end='', flush=True)")
    interp.exec("print('b', end='', flush=True)")
    interp.exec("print('c')")
    assert following() == ("worker", "stdout", "abc")


def test_the_rest_of_a_line_comes_with_the_end(captured):
    interp, following = captured
    interp.exec("print('no newline', end='')")
    interp.close()
    assert following() == ("worker", "stdout", "no newline")


def test_close_waits_for_the_last_line():
    lines = []
    gate = threading.Event()

    def keep(*line):
        gate.wait(LIMIT)
        lines.append(line[2])

    with subinterpreters.create(capture=keep) as interp:
        interp.exec("for n in range(100): print(n)")
        threading.Thread(target=gate.set).start()
    assert lines == [str(n) for n in range(100)]


def test_close_waits_no_longer_than_its_timeout():
    gate = threading.Event()
    interp = subinterpreters.create(capture=lambda *line: gate.wait())
    interp.exec("print(1)")
    interp.close(timeout=1)  # does not return otherwise: what follows opens the gate
    gate.set()


def test_close_by_what_handles_the_lines():
    closed = queue.Queue()

    def close(name, stream, line):
        interp.close(timeout=LIMIT)
        closed.put(line)

    interp = subinterpreters.create(capture=close)
    interp.exec("print('enough')")
    assert closed.get(timeout=LIMIT) == "enough"


def test_the_end_comes_although_a_forked_process_lives(script):
    """It has the pipe, too. close() would give up waiting, with one thread left."""
    out = script.ok(
        """
        import os, subinterpreters, threading
        interp = subinterpreters.create(capture=lambda *line: print(*line[1:]))
        ours, its = os.pipe()
        threads = threading.active_count()
        pid = os.fork()
        if pid == 0:
            os.close(its)
            os.read(ours, 1)
            os._exit(0)
        os.close(ours)
        interp.exec("print('eggs')")
        interp.close()
        print(threads, threading.active_count())
        os.close(its)
        os.waitpid(pid, 0)
        """,
        options=("-W", "ignore"),  # forking with threads
    )
    assert out == "stdout eggs\n2 1\n"


def test_writing_to_a_stream_that_has_ended(script):
    """Its descriptor may be somebody else's by then."""
    done = script.run(
        '''
        import subinterpreters
        lines = []
        interp = subinterpreters.create(capture=lambda *line: lines.append(line[2]))
        interp.exec("""
        import sys
        class Late:
            def __init__(self):
                self.stream = sys.stdout
            def __del__(self):
                try:
                    self.stream.write('late\\\\n')
                except ValueError as error:
                    sys.__stdout__.write(f'{error}\\\\n')
                    sys.__stdout__.flush()
        late = Late()
        print('before')
        """)
        interp.close()
        print(lines)
        '''
    )
    assert done.stderr == ""
    assert done.stdout == "I/O operation on closed file.\n['before']\n"


def test_any_text(captured):
    interp, following = captured
    text = "\x00 \r \ud800 \N{SNOWMAN} " + "x" * 200_000
    interp.call(print, text)
    assert following() == ("worker", "stdout", text)


def test_logging_and_warnings(captured):
    interp, following = captured
    interp.exec("import logging; logging.warning('careful')")
    assert following() == ("worker", "stderr", "WARNING:root:careful")
    interp.exec("import warnings; warnings.warn('old')")
    assert "old" in following()[2]


def test_submitted_calls(captured):
    interp, following = captured
    interp.submit(print, "from its thread").result(LIMIT)
    assert following() == ("worker", "stdout", "from its thread")


def test_a_callable_that_fails(script):
    source = """
        import subinterpreters
        def fail(*args):
            raise LookupError(args[2])
        with subinterpreters.create(capture=fail) as interp:
            interp.exec("print(1); print(2)")
        """
    done = script.run(source)
    assert done.returncode == 0
    assert "LookupError: 1" in done.stderr
    assert "LookupError: 2" in done.stderr


@pytest.mark.parametrize("name", ["'spam'", "None"])
@pytest.mark.parametrize("end", ["interp.close()", "", "del interp", "sys.exit()"])
def test_true_writes_to_the_streams_here(script, name, end):
    source = f"""
        import subinterpreters, sys
        interp = subinterpreters.create(name={name}, capture=True)
        tag = interp.name or f'interpreter {{interp.id}}'
        interp.exec("print('eggs'); print('ham', end='')")
        print(tag, file=sys.stderr)
        {end}
        """
    done = script.run(source)
    assert done.returncode == 0, done.stderr
    tag = done.stderr.strip()
    assert done.stdout == f"[{tag}] eggs\n[{tag}] ham\n"


def test_inside_another_interpreter(interp):
    def outer():
        import queue

        import subinterpreters

        lines = queue.Queue()
        inner = subinterpreters.create(name="in", capture=lambda *a: lines.put(a))
        inner.exec("print('deep')")
        return lines.get(timeout=20)  # and it is left alive

    assert interp.call(outer) == ("in", "stdout", "deep")


@pytest.mark.parametrize("bad", [1, "stdout", object()])
def test_bad_arguments(bad):
    with pytest.raises(TypeError, match="capture"):
        subinterpreters.create(capture=bad)


@pytest.mark.parametrize("nothing", [None, False])
def test_no_capture(nothing):
    with subinterpreters.create(capture=nothing) as interp:
        assert interp.call(eval, "type(__import__('sys').stdout).__name__") != "_Stream"


def test_no_thread_for_it(script):
    """create() says so, and leaves neither the interpreter nor the pipe."""
    out = script.ok(
        """
        import os, subinterpreters, threading

        def none(*args, **kwargs):
            raise RuntimeError("can't start new thread")

        def state():
            return os.listdir('/proc/self/fd'), len(subinterpreters.list_all())

        subinterpreters.create(capture=True).close()
        before, names = state(), ('_start_new_thread', '_start_joinable_thread')
        kept = {name: getattr(threading, name, None) for name in names}
        for name in names:
            setattr(threading, name, none)
        try:
            subinterpreters.create(capture=True)
        except RuntimeError as error:
            print(error)
        assert state() == before, (state(), before)
        for name in names:
            setattr(threading, name, kept[name])
        subinterpreters.create(capture=True).close()
        """
    )
    assert out == "can't start new thread\n"
