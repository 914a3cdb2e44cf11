"""Interpreter.submit and call_async, its name, close() of what runs, stats, stack."""

import asyncio
import os
import re
import threading
import time
from concurrent.futures import CancelledError, wait

import pytest
import subinterpreters
from subinterpreters import InterpreterError, InterpreterNotFoundError
from subinterpreters.executor import Future


def block(started, finish):
    """Tell that it has begun, and end when told so: by pipes, with the GIL free."""
    import os

    os.write(started, b"1")
    return os.read(finish, 1)


class Blocked:
    """A call of block() that has begun."""

    def __init__(self, submit):
        self._pipes = os.pipe() + os.pipe()
        self.future = submit(block, self._pipes[1], self._pipes[2])
        os.read(self._pipes[0], 1)

    def finish(self):
        os.write(self._pipes[3], b"1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.finish()
        self.future.exception()
        for pipe in self._pipes:
            os.close(pipe)


def spin(started):
    import os

    os.write(started, b"1")
    while True:
        pass


@pytest.fixture
def spinning(interp):
    """interp, with a task that runs in a loop without an end."""
    read, write = os.pipe()
    future = interp.submit(spin, write)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    yield future
    future.interrupt()
    wait([future])


# --- submit -------------------------------------------------------------------------


def test_submit_returns_the_result(interp):
    future = interp.submit(divmod, 7, 2)
    assert isinstance(future, Future)
    assert future.result() == (3, 1)


def test_submit_raises_the_real_exception(interp):
    with pytest.raises(ZeroDivisionError) as caught:
        interp.submit(divmod, 1, 0).result()
    assert isinstance(caught.value.__cause__, subinterpreters.ExecutionFailed)
    note = caught.value.__cause__.__notes__[0]
    assert f"interpreter {interp.id}" in note


def test_tasks_run_in_order_in_one_thread(interp):
    interp.exec("seen = []")

    def note(n):
        import threading

        import __main__

        __main__.seen.append((n, threading.get_ident()))

    futures = [interp.submit(note, n) for n in range(50)]
    for future in futures:
        future.result()
    numbers, idents = zip(*interp.call(eval, "seen"), strict=True)
    assert numbers == tuple(range(50))
    assert len(set(idents)) == 1
    assert threading.get_ident() not in idents


def test_exec_between_tasks(interp):
    interp.submit(exec, "import __main__; __main__.x = 1").result()
    interp.exec("x += 1")
    assert interp.submit(eval, "__import__('__main__').x").result() == 2


def test_a_task_waits_for_who_is_there(interp):
    with Blocked(lambda f, *args: call_in_thread(interp, f, *args)) as running:
        future = interp.submit(abs, -1)
        assert not future.done()
        running.finish()
        assert future.result() == 1


def call_in_thread(interp, function, *args):
    """As submit(), by call() in a thread."""
    from concurrent.futures import Future

    future = Future()
    threading.Thread(
        target=lambda: future.set_result(interp.call(function, *args))
    ).start()
    return future


def test_it_is_running_while_a_task_runs(interp):
    with Blocked(interp.submit) as running:
        assert interp.is_running()
        with pytest.raises(InterpreterError, match="already running"):
            interp.exec("pass")
        with pytest.raises(InterpreterError, match="running"):
            interp.close()
        assert running.future.running()


def test_cancel_what_waits(interp):
    with Blocked(interp.submit):
        future = interp.submit(abs, -1)
        assert future.cancel()
        assert future.cancelled()


def test_interrupt_a_task(spinning, interp):
    assert spinning.interrupt()
    with pytest.raises(CancelledError):
        spinning.result()
    assert interp.submit(abs, -1).result() == 1


def test_the_interpreter_can_interrupt_its_task(spinning, interp):
    assert interp.interrupt(LookupError)
    with pytest.raises(LookupError):
        spinning.result()


@pytest.mark.parametrize("bad", [3, None, "print()"])
def test_submit_wants_a_function(interp, bad):
    with pytest.raises(TypeError):
        interp.submit(bad)


def test_submit_wants_an_argument(interp):
    with pytest.raises(TypeError, match="'fn'"):
        interp.submit()


def test_submit_to_main_is_refused():
    with pytest.raises(InterpreterError, match="unrecognized"):
        subinterpreters.get_main().submit(abs, 1)


def test_submit_after_close(interp):
    interp.submit(abs, 1).result()
    interp.close()
    with pytest.raises(InterpreterNotFoundError):
        interp.submit(abs, 1)


def test_what_waits_when_it_is_closed(interp):
    with Blocked(interp.submit) as running:
        waiting = [interp.submit(abs, n) for n in range(3)]
        closer = threading.Thread(target=interp.close, kwargs={"timeout": 60})
        closer.start()
        running.finish()
        closer.join()
        assert running.future.result() == b"1"
        for future in waiting:
            with pytest.raises(InterpreterNotFoundError):
                future.result()


def test_a_task_of_an_interpreter_that_nobody_holds():
    futures = [subinterpreters.create().submit(abs, -n) for n in range(3)]
    assert [future.result() for future in futures] == [0, 1, 2]
    before = len(subinterpreters.list_all())
    deadline = time.monotonic() + 60
    while len(subinterpreters.list_all()) > 1 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert len(subinterpreters.list_all()) == 1, before


def test_submit_from_inside_a_task(interp):
    def outer():
        import subinterpreters

        return subinterpreters.get_current().submit(abs, -5)._failed()

    assert interp.submit(outer).result() is False


def test_callbacks_and_wait(interp):
    called = threading.Event()
    future = interp.submit(abs, -1)
    future.add_done_callback(lambda _: called.set())
    done, pending = wait([future, interp.submit(abs, -2)])
    assert len(done) == 2
    assert not pending
    assert called.wait(60)


@pytest.mark.parametrize("end", ["", "sys.exit()", "raise SystemExit", "del interp"])
def test_exit_waits_for_submitted_calls(script, end):
    source = f"""
        import subinterpreters, sys
        interp = subinterpreters.create()
        def late():
            import time
            time.sleep(0.1)
            print('done', flush=True)
        interp.submit(late)
        {end}
        """
    assert script.ok(source) == "done\n"


def test_fork_leaves_the_child_without_it(script):
    source = """
        import os, subinterpreters, warnings
        warnings.simplefilter('ignore')
        interp = subinterpreters.create()
        assert interp.submit(abs, -1).result() == 1
        child = os.fork()
        if child == 0:
            try:
                interp.submit(abs, -1)
            except subinterpreters.InterpreterNotFoundError:
                os._exit(7)
            os._exit(8)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(interp.submit(abs, -2).result())
        """
    assert script.ok(source) == "7\n2\n"


# --- call_async ---------------------------------------------------------------------


def test_call_async(interp):
    async def main():
        return await asyncio.gather(*(interp.call_async(abs, -n) for n in range(20)))

    assert asyncio.run(main()) == list(range(20))


def test_call_async_raises(interp):
    async def main():
        await interp.call_async(divmod, 1, 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_cancelling_call_async_interrupts(interp):
    read, write = os.pipe()

    async def main():
        call = interp.call_async(spin, write)
        await asyncio.to_thread(os.read, read, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await interp.call_async(abs, -1)

    assert asyncio.run(main()) == 1
    os.close(read)
    os.close(write)


# --- name and preload ---------------------------------------------------------------


def test_name():
    with subinterpreters.create(name="écoute \ud800") as interp:
        assert interp.name == "écoute \ud800"
        assert repr(interp) == f"Interpreter({interp.id}, name={interp.name!r})"
        found = next(i for i in subinterpreters.list_all() if i.id == interp.id)
        assert found.name == interp.name
        name = "__import__('subinterpreters').get_current().name"
        assert interp.call(eval, name) == interp.name


def test_no_name(interp):
    assert interp.name is None
    assert repr(interp) == f"Interpreter({interp.id})"
    assert subinterpreters.get_main().name is None


@pytest.mark.parametrize("bad", [{"name": 3}, {"preload": "json"}, {"preload": [1]}])
def test_bad_arguments_of_create(bad):
    with pytest.raises(TypeError):
        subinterpreters.create(**bad)


def test_a_name_with_a_nul():
    with pytest.raises(ValueError, match="NUL"):
        subinterpreters.create(name="a\0b")


def test_preload():
    with subinterpreters.create(preload=["colorsys", "html.entities"]) as interp:
        loaded = interp.call(eval, "list(__import__('sys').modules)")
    assert {"colorsys", "html.entities"} <= set(loaded)


def test_preload_of_what_is_not_there():
    with pytest.raises(subinterpreters.ExecutionFailed, match="no_such_module"):
        subinterpreters.create(preload=["no_such_module"])


# --- close --------------------------------------------------------------------------


def test_close_interrupts(spinning, interp):
    interp.close(interrupt=True)
    with pytest.raises((KeyboardInterrupt, InterpreterNotFoundError)):
        spinning.result()
    with pytest.raises(InterpreterNotFoundError):
        interp.exec("pass")


def test_close_gives_up(interp):
    with Blocked(interp.submit) as running:
        with pytest.raises(TimeoutError, match=str(interp.id)):
            interp.close(timeout=0.01)
        with pytest.raises(TimeoutError):
            interp.close(interrupt=True, timeout=0.01)
        running.finish()
        wait([running.future])  # the interrupt may come too late for it
    assert interp.submit(abs, -1).result() == 1
    interp.close(timeout=60)


def test_close_of_what_catches_the_interrupt(interp):
    def stubborn(started):
        import os

        try:
            os.write(started, b"1")
            while True:
                pass
        except KeyboardInterrupt:
            return "as you like"

    read, write = os.pipe()
    future = interp.submit(stubborn, write)
    os.read(read, 1)
    interp.close(interrupt=True)
    assert future.result() == "as you like"
    os.close(read)
    os.close(write)


def test_close_of_what_this_thread_runs(interp):
    """The outer run goes on only when close() returns: it cannot be waited for."""

    def close_outer(outer):
        import subinterpreters

        inner = subinterpreters.create()
        try:
            inner.exec(f"""if True:
                import subinterpreters
                try:
                    subinterpreters.Interpreter({outer}).close(interrupt=True)
                except subinterpreters.InterpreterError as exc:
                    said = str(exc)
                """)
            return inner.call(eval, "said")
        finally:
            inner.close()

    assert "running" in interp.call(close_outer, interp.id)


@pytest.mark.parametrize("bad", ["1", float("nan"), object()])
def test_close_wants_a_number(interp, bad):
    with pytest.raises((TypeError, ValueError)):
        interp.close(timeout=bad)


def test_close_is_keyword_only(interp):
    with pytest.raises(TypeError):
        interp.close(True)


# --- stats and stack ----------------------------------------------------------------


def test_stats(interp):
    stats = interp.stats()
    assert stats["state"] == "idle"
    assert stats["running_for"] is None
    assert stats["runs"] == 0
    assert interp.call(len, b"x" * 1000) == 1000
    interp.exec("pass")
    interp.submit(abs, -1).result()
    with Blocked(interp.submit):
        stats = interp.stats()
        assert stats["state"] == "running"
        assert stats["running_for"] > 0
        assert stats["runs"] == 3
        assert stats["bytes_in"] > 1000
        assert stats["bytes_out"] > 0
        assert 0 < stats["busy"]
    interp.close()
    assert interp.stats()["state"] == "closed"


def test_cpu_time_is_not_waiting_time(interp):
    def work():
        end = __import__("time").thread_time() + 0.05
        while __import__("time").thread_time() < end:
            pass

    interp.submit(lambda: __import__("time").sleep(0.2)).result()
    assert interp.stats()["cpu"] < 0.15
    interp.submit(work).result()
    assert interp.stats()["cpu"] > 0.04


def test_stats_of_main_are_refused():
    with pytest.raises(InterpreterError):
        subinterpreters.get_main().stats()


def test_stack(spinning, interp):
    text = interp.stack()
    assert re.fullmatch(r'(  File ".*", line \d+, in .*\n)+', text)
    assert text.endswith("in spin\n")
    assert interp.is_running()


def test_stack_of_what_waits(interp):
    with Blocked(interp.submit):
        assert interp.stack().endswith("in block\n")
    assert interp.stack() == ""


def test_stack_of_what_keeps_the_gil(script):
    source = """
        import subinterpreters as s, os
        interp = s.create()
        read, write = os.pipe()
        def stuck(write):
            import os
            os.write(write, b'1')
            return sum(range(10**10))
        future = interp.submit(stuck, write)
        os.read(read, 1)
        while 'keeps the GIL' not in interp.stack():
            pass  # it is still on its way into sum()
        print('seen', flush=True)
        os._exit(0)
        """
    assert script.ok(source) == "seen\n"


def test_a_deep_stack(interp):
    def down(n, started, finish):
        import os

        if n:
            return down(n - 1, started, finish)
        os.write(started, b"1")
        return os.read(finish, 1)

    with Blocked(lambda _, *pipes: interp.submit(down, 500, *pipes)):
        text = interp.stack()
    assert 50 < text.count("in ") <= 502
