"""What an interpreter printed is out when the call that printed it returns."""

import pytest

# The parts are written by different interpreters; buffered, they would come out in
# another order, or not at all where the process ends by os._exit.
ORDER = """
    import os, subinterpreters, sys
    interp = subinterpreters.create()
    def show(text):
        print(text)
    sys.stdout.flush()
    {first}
    os.write(1, b'2\\n')
    {second}
    os.write(1, b'4\\n')
    os._exit(0)
    """


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("interp.exec('print(1)')", "interp.exec('print(3)')"),
        ("interp.call(print, 1)", "interp.call(print, 3)"),
        ("interp.call(exec, 'print(1)')", "interp.exec('print(3)')"),
        (
            "interp.call_in_thread(print, 1).join()",
            "interp.call_in_thread(print, 3).join()",
        ),
        (
            "interp.exec('import sys; sys.stdout.write(\"1\\\\n\")')",
            "interp.exec('import sys; print(3, file=sys.stdout)')",
        ),
    ],
    ids=["exec", "call", "call exec", "call_in_thread", "write"],
)
def test_order(script, first, second):
    assert script.ok(ORDER.format(first=first, second=second)) == "1\n2\n3\n4\n"


def test_also_when_it_failed(script):
    out = script.ok("""
        import os, subinterpreters
        interp = subinterpreters.create()
        try:
            interp.exec('print(1); 1/0')
        except subinterpreters.ExecutionFailed:
            os.write(1, b'2\\n')
        os._exit(0)
        """)
    assert out == "1\n2\n"


def test_standard_error(script):
    done = script.run("""
        import os, subinterpreters
        interp = subinterpreters.create()
        interp.exec('import sys; sys.stderr.write("1")')
        os.write(2, b'2')
        os._exit(0)
        """)
    assert done.stderr == "12"


def test_replaced_streams(script):
    out = script.ok("""
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec('''
        import sys
        class Stream:
            def __init__(self): self.flushed = 0
            def write(self, text): return len(text)
            def flush(self): self.flushed += 1
        sys.stdout = stream = Stream()
        print('into the void')
        ''')
        print(interp.call(eval, 'stream.flushed') >= 1)
        """)
    assert out == "True\n"


@pytest.mark.parametrize(
    "stream",
    [
        "None",
        "5",
        "type('S', (), {'flush': lambda self: 1/0})()",
        "type('S', (), {'flush': 3})()",
        "open('/dev/full', 'w')",
    ],
)
def test_streams_that_cannot_be_flushed(script, stream):
    done = script.run(f"""
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec('''
        import sys
        sys.stdout = {stream}
        ''')
        interp.exec('x = 1')
        print(interp.call(eval, 'x'), flush=True)
        interp.exec('import sys; sys.stdout = sys.__stdout__')
        interp.exec('print(2)')
        """)
    assert done.stdout == "1\n2\n", done.stderr
    assert done.returncode == 0


def test_deleted_streams(script):
    out = script.ok("""
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec('import sys; del sys.stdout, sys.stderr')
        interp.exec('x = 1')
        print(interp.call(eval, 'x'))
        """)
    assert out == "1\n"


def test_capture(interp, capfd):
    interp.exec("print('spam')")
    interp.call(print, "eggs")
    assert capfd.readouterr().out == "spam\neggs\n"


def test_large_output(script):
    out = script.ok("""
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec('for n in range(20000): print(n)')
        """)
    assert out.split() == [str(n) for n in range(20_000)]


def test_a_closed_pipe_does_not_kill(script):
    import os

    r, w = os.pipe()
    process = script.start(
        """
        import sys, subinterpreters
        interp = subinterpreters.create()
        sys.stdin.read()
        try:
            interp.exec('print("spam" * 10000, flush=True)')
        except subinterpreters.ExecutionFailed as exc:
            sys.stderr.write(exc.excinfo.type.__name__)
        """,
        stdout=w,
        stdin=-1,
    )
    os.close(w)
    os.close(r)
    done = script.finish(process)
    assert done.stderr.startswith("BrokenPipeError")


def test_not_lost_by_os_exit(script):
    out = script.ok("""
        import os, subinterpreters
        interp = subinterpreters.create()
        interp.exec('print("exec")')
        interp.call(print, "call")
        interp.call_in_thread(print, "thread").join()
        os._exit(0)
        """)
    assert out.split() == ["exec", "call", "thread"]
