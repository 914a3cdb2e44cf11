"""What CPython 3.15 has for threads of libraries, around the end of an interpreter with
private copies: a guard keeps it, and its holder can do what it always can."""

import pathlib
import sys
import sysconfig
import textwrap

import pytest

SOURCES = pathlib.Path(__file__).parent / "loader_modules"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 15), reason="PyInterpreterGuard is of CPython 3.15"
)


@pytest.fixture
def guarded(script, compile_c, tmp_path):
    """guarded(source): the output of source, with an interpreter `interp` whose library
    thread does `tell(commands)` and gives the answers."""
    compile_c(SOURCES / "guarded.c", tmp_path / ("guarded" + SUFFIX))

    def guarded(source):
        start = f"""
            import os, select, subinterpreters, sys, threading
            sys.path.insert(0, {str(tmp_path)!r})
            calls, results = os.pipe(), os.pipe()
            interp = subinterpreters.create()
            interp.prepare_main(calls=calls[0], results=results[1])
            interp.exec('import guarded; guarded.start_obeying(calls, results)')

            def tell(commands):
                answers = ''
                for command in commands:
                    os.write(calls[1], command.encode())
                    if not select.select([results[0]], [], [], 30)[0]:
                        print(command, 'was never answered', flush=True)
                        os._exit(1)
                    answers += os.read(results[0], 1).decode()
                return answers
            """
        return script.ok(textwrap.dedent(start) + textwrap.dedent(source))

    return guarded


def test_nothing_comes_in_after_close(guarded):
    """What can say no does, and does not stop the thread."""
    out = guarded(
        """
        print(tell('vtmi'))
        interp.close()
        print(tell('vtmiv'))
        """
    )
    assert out == "1111\n00000\n"


def test_the_holder_of_a_guard_goes_on_while_close_waits(guarded):
    """Also by calls that would stop the thread without a guard."""
    out = guarded(
        """
        interp.exec('''
        import atexit, os
        told = os.pipe()
        guarded.hold()
        atexit.register(os.write, told[1], b'.')
        ''')
        told = interp.call(eval, 'told')[0]
        thread = threading.Thread(target=interp.close)
        thread.start()
        os.read(told, 1)
        print(tell('gevtmig'), thread.is_alive())
        tell('c')
        thread.join()
        print(tell('vtmi'))
        """
    )
    assert out == "1111111 True\n0000\n"


def test_close_waits_for_a_thread_that_came_by_a_view(guarded):
    out = guarded(
        """
        print(tell('s'))
        try:
            interp.close(timeout=0)
        except TimeoutError as error:
            print(error)
        thread = threading.Thread(target=interp.close)
        thread.start()
        print(tell('.'))
        thread.join()
        print(len(subinterpreters.list_all()))
        """
    )
    kept = "interpreter 1 is kept by 1 open PyInterpreterGuard"
    assert out == f"1\n{kept}\n1\n1\n"


def test_close_while_threads_come_and_go_by_views(guarded):
    """None of them is taken for a thread of the interpreter's own. (One each: CPython
    can wait for several for good, as there is always one inside.)"""
    out = guarded(
        """
        for _ in range(30):
            other = subinterpreters.create()
            other.exec('import guarded; guarded.start_knocking()')
            other.close()
        print('closed')
        """
    )
    assert out == "closed\n"


def test_counting_threads_while_others_come_and_go_by_views(guarded):
    """A thread that cannot be joined is found each time: those that leave delete their
    thread states whenever they like, not under the GIL."""
    out = guarded(
        """
        interp.exec('''
        import _thread
        lock, inside = _thread.allocate_lock(), _thread.allocate_lock()
        lock.acquire(), inside.acquire()

        def stay():
            inside.release()
            lock.acquire()

        _thread.start_new_thread(stay, ())
        inside.acquire()
        for _ in range(3): guarded.start_knocking()
        ''')
        refused = 0
        for _ in range(100_000):
            try:
                interp.close()
            except subinterpreters.InterpreterError:
                refused += 1
        print(refused, flush=True)
        os._exit(0)
        """
    )
    assert out == "100000\n"
