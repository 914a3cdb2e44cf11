"""Interpreters with private copies end: closed, at exit, in a forked child."""

import os
import signal
import sys
import textwrap

import pytest
import subinterpreters


def test_close_waits_for_library_threads(ask, interp):
    read, write = os.pipe()
    ask(
        interp, f"from samples import multi as m; m.start_thread({read}); result = None"
    )
    # The thread is inside: closing names its library instead of pulling the
    # interpreter from under it.
    with pytest.raises(subinterpreters.InterpreterError, match=r"samples\.multi"):
        interp.close()
    assert ask(interp, "result = 5") == 5  # still usable
    os.close(write)
    interp.close()
    os.close(read)


def test_close_with_a_thread_state_that_a_library_keeps(ask, interp):
    ask(interp, "from samples import multi as m; m.make_state(); result = None")
    with pytest.raises(
        subinterpreters.InterpreterError,
        match=r"samples\.multi keeps a thread state of it \(PyThreadState_New\)$",
    ):
        interp.close()
    ask(interp, "m.delete_state(); result = None")
    interp.close()


@pytest.mark.parametrize("closer", ["interp.close()", "aside(interp.close)", ""])
def test_destructors_of_the_last_objects_are_called_back(script, closer):
    """Libraries give the GIL back for a call and take it for a callback, also in the
    thread that ends the interpreter, when it has shut itself to all others."""
    out = script.ok(
        f"""
        import subinterpreters, threading

        def aside(function):
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()

        interp = subinterpreters.create()
        interp.exec('''
        import ctypes, json, os
        item = ctypes.POINTER(ctypes.c_int)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, item, item)
        class Last:
            def __init__(self):
                self.compare = kind(lambda a, b: a[0] - b[0])
                self.sort = ctypes.CDLL(None).qsort
                self.array = (ctypes.c_int * 3)(3, 1, 2)
                self.write = os.write
            def __del__(self):
                self.sort(self.array, 3, 4, self.compare)
                self.write(1, b"%d%d%d " % tuple(self.array))
        json.last = Last()
        json.itself = json  # what scripts own is let go of earlier
        ''')
        {closer}
        print("closed", flush=True)
        """
    )
    assert sorted(out.split()) == ["123", "closed"]


def test_library_threads_find_a_closed_interpreter_shut(script, modules):
    out = script.ok(
        f"""
        import os, subinterpreters
        interp = subinterpreters.create()
        read, write = os.pipe()
        interp.exec(f'''
        import sys; sys.path.insert(0, {str(modules)!r})
        from samples import multi as m
        m.start_knocking({{read}})
        ''')
        os.write(write, b"1")
        interp.close()
        os.write(write, b"111")   # it must not come in, and not crash
        other = subinterpreters.create()
        other.exec("print(sum(range(10)))")
        other.close()
        print("done")
        """
    )
    assert out.split() == ["45", "done"]


def test_nothing_is_left_behind(script, modules):
    """No open descriptor after an import, no file anywhere."""
    out = script.ok(
        f"""
        import os, subinterpreters
        before = set(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm"))
        interp = subinterpreters.create()
        interp.exec('''
        import sys; sys.path.insert(0, {str(modules)!r})
        from samples import single, multi, one, two
        ''')
        interp.close()
        after = set(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm"))
        print(before == after)
        """
    )
    assert out.strip() == "True"


def test_nothing_is_left_behind_by_a_crash(script, modules):
    """What is mapped of a copy is the original or memory without a name anywhere."""
    (script.directory / "work").mkdir()
    done = script.run(
        with_samples(
            modules,
            """
            import signal
            with open('/proc/self/maps') as maps:
                rows = [line.split(maxsplit=5) for line in maps]
            for path in {row[5].strip() for row in rows if len(row) == 6}:
                print(path)
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
            """,
        ),
        cwd=script.directory / "work",
        env={"TMPDIR": str(script.directory / "work")},
    )
    assert done.returncode == -signal.SIGKILL
    copies = [line for line in done.stdout.splitlines() if "subinterpreters:" in line]
    assert len(copies) >= 5, done.stdout
    for line in copies:
        assert line.startswith("/memfd:subinterpreters:"), line
    assert all(
        os.path.exists(line)
        for line in done.stdout.splitlines()
        if line.startswith(str(modules))
    )
    assert not os.listdir(script.directory / "work")


def test_many_interpreters_in_turn(ask):
    """A copy's name is never used twice, so none gets the library of another."""
    for _ in range(30):
        interp = subinterpreters.create()
        assert ask(interp, "from samples import single as m; result = m.count()") == 1
        interp.close()


def with_samples(modules, source):
    """A script: two interpreters with copies of the samples, then source."""
    return f"""
        import os, sys, subinterpreters
        interps = [subinterpreters.create() for _ in range(2)]
        for interp in interps:
            interp.exec('''
            import sys; sys.path.insert(0, {str(modules)!r})
            from samples import single, multi, one, two, at_end
            multi.keep(multi.Thing())
            ''')
{textwrap.indent(textwrap.dedent(source), " " * 8)}
        """


def test_exit_with_copies_alive(script, modules):
    """Destructors of the libraries run after their interpreters."""
    out = script.ok(with_samples(modules, "print('end')"))
    assert out == "end\nat_end: 0 0\nat_end: 0 0\n"


def test_destructors_after_close(script, modules):
    out = script.ok(
        with_samples(
            modules,
            """
            for interp in interps:
                interp.close()
            print('end')
            """,
        )
    )
    assert out == "end\nat_end: 0 0\nat_end: 0 0\n"


def test_exit_with_library_threads(script, modules):
    """They knock all the time while the process exits."""
    out = script.ok(
        with_samples(
            modules,
            """
            fd = os.open('/dev/zero', os.O_RDONLY)
            for interp in interps:
                interp.prepare_main(fd=fd)
                interp.exec('for _ in range(2): multi.start_knocking(fd)')
            print('end')
            """,
        )
    )
    assert out.startswith("end\n")


def test_close_with_library_threads_at_the_door(script, modules):
    """Closing neither waits for threads that come and go nor lets one in afterwards."""
    out = script.ok(
        with_samples(
            modules,
            """
            fd = os.open('/dev/zero', os.O_RDONLY)
            for interp in interps:
                interp.prepare_main(fd=fd)
                interp.exec('for _ in range(2): multi.start_knocking(fd)')
            for interp in interps:
                interp.close()
            other = subinterpreters.create()
            other.exec('print(sum(range(10)))')
            other.close()
            """,
        )
    )
    assert out.startswith("45\n")


def test_exit_with_a_library_thread_inside(script, modules):
    """It does not leave: the exit goes on without it."""
    out = script.ok(
        with_samples(
            modules,
            """
            read, write = os.pipe()
            interps[0].prepare_main(fd=read)
            interps[0].exec('multi.start_thread(fd)')
            print('end')
            """,
        )
    )
    assert out.startswith("end\n")


def test_fork_with_copies_alive(script, modules):
    """The child exits by itself, destructors of the copies included, and can make
    interpreters with copies of its own."""
    out = script.ok(
        with_samples(
            modules,
            f"""
            import warnings
            warnings.simplefilter('ignore', DeprecationWarning)
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                fresh = subinterpreters.create()
                fresh.exec('''
                import sys; sys.path.insert(0, {str(modules)!r})
                from samples import single
                assert single.count() == 1
                ''')
                fresh.close()
                print('child', flush=True)
                sys.exit(7)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            for interp in interps:
                interp.exec('assert multi.is_main()')
            """,
        )
    )
    ends = "at_end: 0 0\n" * 2
    assert out == f"child\n{ends}7\n{ends}"


def test_thread_exits_after_the_interpreter(script, modules):
    """Destructors of thread-local variables reach their interpreter or nothing."""
    out = script.ok(
        with_samples(
            modules,
            """
            import threading
            marked, closed = threading.Event(), threading.Event()

            def run():
                for interp in interps:
                    interp.exec('multi.mark_thread()')
                marked.set()
                closed.wait()

            thread = threading.Thread(target=run)
            thread.start()
            marked.wait()
            interps[0].close()
            closed.set()
            thread.join()
            interps[1].exec('for _ in range(1000): pass')
            print(interps[1].call(eval, 'multi.count()'))
            """,
        )
    )
    assert out.startswith("102\n")


KEEPER = """
            calls, results = os.pipe(), os.pipe()
            interp, other = interps
            interp.prepare_main(fd=calls[0], results=results[1])
            interp.exec('''
            import threading
            seen = set()
            thread = multi.keep_state_in_thread(
                fd, results, lambda: seen.add(threading.get_ident()))
            ''')
            for _ in range(3):
                os.write(calls[1], b'.')
                assert os.read(results[0], 1) == b'.'
            assert interp.call(eval, 'seen == {thread}')
"""


def test_close_with_a_library_thread_that_keeps_its_state(script, modules):
    """Between its calls it is not inside, whatever it counts on its state. When it
    comes back it is stopped, and who joins it goes on."""
    out = script.ok(
        with_samples(
            modules,
            textwrap.dedent(KEEPER)
            + textwrap.dedent(
                """
                thread = interp.call(eval, 'thread')
                interp.close()
                os.write(calls[1], b'.')
                other.prepare_main(thread=thread)
                other.exec('multi.join(thread)')
                print('end')
                """
            ),
        )
    )
    assert out.startswith("end\n")


def test_close_after_a_library_thread_that_kept_its_state(script, modules):
    out = script.ok(
        with_samples(
            modules,
            textwrap.dedent(KEEPER)
            + textwrap.dedent(
                """
                os.close(calls[1])
                interp.exec('multi.join(thread)')
                interp.close()
                print('end')
                """
            ),
        )
    )
    assert out.startswith("end\n")


@pytest.mark.unsanitized("a thread that ends by the system call stays in its books")
def test_thread_enters_at_its_exit(script, modules):
    """A destructor of a thread-local variable that enters the interpreter does while
    that is there; else the thread ends without coming back from it."""
    out = script.ok(
        with_samples(
            modules,
            """
            import os, threading
            marked, closed = threading.Event(), threading.Event()

            def tasks():
                return len(os.listdir('/proc/self/task'))

            def run(interp):
                interp.exec('multi.keep_until_exit([])')
                marked.set()
                closed.wait()

            for interp in interps:
                marked.clear(), closed.clear()
                before = tasks()
                thread = threading.Thread(target=run, args=(interp,))
                thread.start()
                marked.wait()
                if interp is interps[0]:
                    interp.close()
                closed.set()
                thread.join()
                while tasks() > before:  # 3.12 joins it before it is gone
                    os.sched_yield()
                print(thread.is_alive())
            print(interps[1].call(eval, 'multi.count()'))
            """,
        )
    )
    assert out.startswith("False\nFalse\n101\n")


def test_thread_local_keys_do_not_run_out(script, modules):
    """A process has 1,024 of them, and a copy never gives its own back."""
    out = script.ok(
        with_samples(
            modules,
            """
            import ctypes
            for interp in interps:
                print(interp.call(eval, 'multi.use_keys(1500)'))
                interp.close()
            key = ctypes.c_uint()
            assert ctypes.CDLL(None).pthread_key_create(ctypes.byref(key), None) == 0
            """,
        )
    )
    assert out.startswith(f"{1499 * 1500}\n" * 2)


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="PyInterpreterGuard is of CPython 3.15"
)
def test_open_guard(script, modules):
    """CPython would wait for it for good; close() with a limit and the exit do not."""
    out = script.ok(
        with_samples(
            modules,
            """
            for interp in interps:
                interp.exec('multi.hold_guard()')
            try:
                interps[0].close(timeout=0)
            except TimeoutError as error:
                print(error)
            interps[0].exec('multi.drop_guard()')
            interps[0].close(timeout=60)
            print(len(subinterpreters.list_all()))
            """,
        )
    )
    assert out.startswith("interpreter 1 is kept by 1 open PyInterpreterGuard\n2\n")


def test_idle_worker_with_copies_stays(script, modules):
    """Two workers, one of them without copies, which idle_timeout ends."""
    out = script.ok(
        f"""
        import itertools, subinterpreters, sys, threading
        sys.path.insert(0, {str(modules)!r})
        met, leave = subinterpreters.create_queue(), subinterpreters.create_queue()

        def load(module):
            import importlib
            if module:
                importlib.import_module(module)
            met.put(None)
            leave.get()
            return subinterpreters.get_current().id

        def where():
            return subinterpreters.get_current().id

        with subinterpreters.InterpreterPoolExecutor(2, idle_timeout=0.01) as pool:
            kept = pool.submit(load, 'samples.multi')
            plain = pool.submit(load, None)
            for queue, use in itertools.product([met, leave], range(2)):
                queue.get() if queue is met else queue.put(None)
            assert kept.result() != plain.result()
            while pool.stats()['workers'] > 1:
                threading.Event().wait(0.01)
            for _ in range(3):
                assert pool.submit(where).result() == kept.result()
                threading.Event().wait(0.03)
        print([i.id for i in subinterpreters.list_all()])
        """
    )
    assert out.startswith("[0]\n")
