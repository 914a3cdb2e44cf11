"""How interpreters end: by close(), and with the last object for them."""

import gc
import os
import threading

import pytest
import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    Interpreter,
    InterpreterError,
    InterpreterNotFoundError,
)


def ids():
    return [interp.id for interp in subinterpreters.list_all()]


def in_thread(function):
    """Runs the function in a new thread; returns its result or raises its error."""
    outcome = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as exc:
            outcome.append((None, exc))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ((result, error),) = outcome
    outcome.clear()
    if error is not None:
        raise error
    return result


class TestClose:
    def test_removes_only_that_one(self):
        one, two, three = [subinterpreters.create() for _ in range(3)]
        assert two.close() is None
        assert subinterpreters.list_all() == [subinterpreters.get_main(), one, three]
        one.close()
        three.close()

    def test_twice(self):
        interp = subinterpreters.create()
        interp.close()
        with pytest.raises(
            InterpreterNotFoundError,
            match=f"^unrecognized interpreter ID {interp.id}$",
        ):
            interp.close()

    @pytest.mark.parametrize(
        "use",
        [
            lambda i: i.exec("1"),
            lambda i: i.call(len, ()),
            lambda i: i.prepare_main(a=1),
            lambda i: i.is_running(),
        ],
        ids=["exec", "call", "prepare_main", "is_running"],
    )
    def test_use_afterwards(self, use):
        interp = subinterpreters.create()
        interp.close()
        with pytest.raises(InterpreterNotFoundError, match="unrecognized interpreter"):
            use(interp)

    def test_main(self):
        message = "^cannot destroy unrecognized interpreter 0$"
        main = subinterpreters.get_main()
        with pytest.raises(InterpreterError, match=message):
            main.close()
        with pytest.raises(InterpreterError, match=message):
            in_thread(main.close)

    def test_main_from_another(self, interp):
        with pytest.raises(ExecutionFailed, match="cannot destroy unrecognized"):
            interp.exec("import subinterpreters; subinterpreters.get_main().close()")

    def test_the_current(self, interp):
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec("import subinterpreters; subinterpreters.get_current().close()")
        assert caught.value.excinfo.type.__name__ == "InterpreterError"
        assert caught.value.excinfo.msg == "cannot destroy the current interpreter"
        assert interp in subinterpreters.list_all()

    def test_while_it_runs(self, interp, running):
        with running(interp):
            with pytest.raises(InterpreterError, match="interpreter running"):
                interp.close()
            assert interp.is_running()
        interp.exec("x = 1")

    def test_the_caller_from_its_callee(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id, me=interp.id)
        with pytest.raises(ExecutionFailed, match="interpreter running"):
            interp.exec("""
                import subinterpreters
                subinterpreters.Interpreter(other).exec(
                    f'import subinterpreters; subinterpreters.Interpreter({me}).close()'
                )
                """)
        interp.exec("del subinterpreters")
        other.close()

    def test_from_another_thread(self):
        interp = subinterpreters.create()
        interp.exec("import threading")
        in_thread(interp.close)
        assert ids() == [0]

    def test_from_a_sibling(self, interp):
        sibling = subinterpreters.create()
        interp.prepare_main(sibling=sibling.id)
        interp.exec("""
            import subinterpreters
            subinterpreters.Interpreter(sibling).close()
            subinterpreters.create().close()
            """)
        assert ids() == [0, interp.id]
        with pytest.raises(InterpreterNotFoundError):
            sibling.exec("1")

    def test_after_it_ran_in_many_threads(self):
        interp = subinterpreters.create()
        interp.exec("import threading; n = 0")
        for _ in range(5):
            in_thread(lambda: interp.exec("n += 1"))
        assert interp.call(eval, "n") == 5
        in_thread(interp.close)

    def test_threads_that_used_it_still_alive(self):
        interp = subinterpreters.create()
        used, leave = threading.Barrier(4), threading.Event()

        def use():
            while True:
                try:
                    interp.exec("x = 1")
                    break
                except InterpreterError as exc:
                    assert str(exc) == "interpreter already running"  # noqa: PT017
            used.wait()
            leave.wait()

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        used.wait()
        interp.close()
        leave.set()
        for thread in threads:
            thread.join()

    def test_waits_for_its_threads(self):
        r, w = os.pipe()
        interp = subinterpreters.create()
        interp.exec(f"""
            import os, threading, time
            def work():
                time.sleep(0.2)
                os.write({w}, b'1')
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            """)
        interp.close()
        assert os.read(r, 10) == b"111"
        os.close(r)
        os.close(w)

    def test_runs_its_atexit_functions(self):
        r, w = os.pipe()
        interp = subinterpreters.create()
        interp.exec(f"import atexit, os; atexit.register(os.write, {w}, b'bye')")
        interp.close()
        assert os.read(r, 10) == b"bye"
        os.close(r)
        os.close(w)

    def test_raced_for_by_threads(self):
        for _ in range(5):
            interp = subinterpreters.create()
            barrier = threading.Barrier(3)
            outcomes = []

            def close(interp=interp, barrier=barrier, outcomes=outcomes):
                barrier.wait()
                try:
                    interp.close()
                    outcomes.append("closed")
                except InterpreterError:
                    outcomes.append("refused")

            threads = [threading.Thread(target=close) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(outcomes) == ["closed", "refused", "refused"]
            assert ids() == [0]

    def test_raced_with_exec(self):
        for _ in range(10):
            interp = subinterpreters.create()
            barrier = threading.Barrier(2)

            def use(interp=interp, barrier=barrier):
                barrier.wait()
                while True:
                    try:
                        interp.exec("x = 1")
                    except InterpreterNotFoundError:
                        return

            thread = threading.Thread(target=use)
            thread.start()
            barrier.wait()
            while True:
                try:
                    interp.close()
                    break
                except InterpreterError as exc:
                    assert str(exc) == "interpreter running"  # noqa: PT017
            thread.join()


class TestDestruction:
    def test_with_the_last_reference(self):
        interp = subinterpreters.create()
        again = interp
        number = interp.id
        del interp
        assert number in ids()
        del again
        assert number not in ids()

    def test_of_a_temporary(self):
        subinterpreters.create().exec("x = 1")
        assert ids() == [0]

    def test_in_a_cycle(self):
        cycle = [subinterpreters.create()]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert ids() == [0]

    def test_in_another_thread(self):
        holder = [subinterpreters.create()]
        holder[0].exec("import threading")
        in_thread(holder.clear)
        assert ids() == [0]

    def test_a_lookup_does_not_outlive_the_owner(self):
        interp = subinterpreters.create()
        number = interp.id
        assert Interpreter(number).id == number
        del interp
        assert ids() == [0]

    def test_held_by_another_interpreter(self, interp):
        held = subinterpreters.create()
        number = held.id
        interp.prepare_main(number=number)
        interp.exec(
            "import subinterpreters; held = subinterpreters.Interpreter(number)"
        )
        del held
        assert number in ids()
        interp.exec("del held")
        assert number not in ids()

    def test_with_its_only_holder(self):
        holder = subinterpreters.create()
        holder.exec("import subinterpreters; held = subinterpreters.create()")
        assert len(ids()) == 3
        holder.close()
        assert ids() == [0]

    def test_adopted_from_its_creator(self, interp):
        interp.exec("import subinterpreters; made = subinterpreters.create()")
        made = Interpreter(interp.call(eval, "made.id"))
        interp.exec("del made")
        made.exec("x = 1")
        made.close()

    def test_while_a_thread_runs_in_it(self):
        interp = subinterpreters.create()
        number = interp.id
        r, w = os.pipe()
        started_r, started_w = os.pipe()
        thread = threading.Thread(
            target=interp.exec,
            args=(f"import os; os.write({started_w}, b'1'); os.read({r}, 1)",),
        )
        thread.start()
        os.read(started_r, 1)
        del interp
        assert number in ids()
        os.write(w, b"1")
        thread.join()
        del thread
        gc.collect()
        assert number not in ids()
        for fd in (r, w, started_r, started_w):
            os.close(fd)

    def test_by_a_destructor_in_another_interpreter(self, interp):
        interp.exec("""
            import subinterpreters
            class Holder:
                def __init__(self):
                    self.held = subinterpreters.create()
                def __del__(self):
                    self.held.exec('x = 1')
                    del self.held
            """)
        interp.exec("holder = Holder()")
        assert len(ids()) == 3
        interp.exec("del holder")
        assert ids() == [0, interp.id]


def test_thread_local_values_go_while_modules_work(script):
    assert (
        script.ok("""
    import subinterpreters
    interp = subinterpreters.create()
    interp.exec('''if True:
        import threading
        class Last:
            def __del__(self, threading=threading, print=print):
                print("modules work:", threading._active_limbo_lock is not None)
        threading.kept = threading.local()
        threading.kept.value = Last()
    ''')
    interp.close()
""")
        == "modules work: True\n"
    )


def test_a_thread_that_threading_did_not_start_leaves_quietly(script):
    """Its dummy thread, which 3.13 lets go of too late, is gone by then."""
    assert (
        script.ok("""
    import subinterpreters
    from subinterpreters import InterpreterPoolExecutor
    def inside():
        with InterpreterPoolExecutor(1) as pool:
            return pool.submit(abs, -1).result()
    with InterpreterPoolExecutor(1) as pool:
        print(pool.submit(inside).result())
""")
        == "1\n"
    )
