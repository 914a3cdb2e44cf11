"""Interpreter.exec again and again: what stays, what must not, and limits."""

import os
import threading

import pytest
import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    InterpreterError,
)


class TestStateBetweenCalls:
    """Nothing of one exec is left in the thread for the next one."""

    def test_context_variables(self, interp):
        interp.exec("import contextvars; v = contextvars.ContextVar('v', default=0)")
        interp.exec("v.set(1); inside = v.get()")
        interp.exec("after = v.get()")
        assert interp.call(eval, "(inside, after)") == (1, 0)

    def test_decimal_context(self, interp):
        interp.exec("import decimal; before = decimal.getcontext().prec")
        interp.exec("decimal.getcontext().prec = 3")
        interp.exec("after = decimal.getcontext().prec")
        assert interp.call(eval, "before == after")

    def test_trace_and_profile_functions(self, interp):
        interp.exec("import sys; hook = lambda *args: None")
        interp.exec("sys.settrace(hook); sys.setprofile(hook)")
        interp.exec("left = sys.gettrace(), sys.getprofile()")
        interp.exec("sys.settrace(None); sys.setprofile(None)")
        assert interp.call(eval, "left == (None, None)")

    def test_threading_trace_function(self, interp):
        interp.exec("import sys, threading; hook = lambda *args: None")
        interp.exec("threading.settrace(hook); threading.setprofile(hook)")
        interp.exec("seen = sys.gettrace() is hook, sys.getprofile() is hook")
        interp.exec("threading.settrace(None); threading.setprofile(None)")
        interp.exec("after = sys.gettrace(), sys.getprofile()")
        assert interp.call(eval, "seen") == (True, True)
        assert interp.call(eval, "after == (None, None)")

    def test_the_handled_exception(self, interp):
        with pytest.raises(ExecutionFailed):
            interp.exec("try:\n  1/0\nexcept ZeroDivisionError:\n  raise")
        interp.exec("import sys; left = sys.exc_info()")
        assert interp.call(eval, "left == (None, None, None)")

    def test_the_callers_exception_is_not_context(self, interp):
        try:
            raise KeyError("mine")
        except KeyError:
            with pytest.raises(ExecutionFailed) as caught:
                interp.exec("raise ValueError('its')")
        assert "mine" not in caught.value.excinfo.errdisplay

    def test_thread_locals_stay(self, interp):
        interp.exec("import threading; local = threading.local()")
        interp.exec("local.x = 1")
        interp.exec("mine = hasattr(local, 'x')")
        assert interp.call(eval, "mine") is True

        thread = threading.Thread(
            target=interp.exec, args=("its = hasattr(local, 'x')",)
        )
        thread.start()
        thread.join()
        assert interp.call(eval, "its") is False

    def test_the_callers_state_is_kept(self, interp):
        import contextvars
        import decimal

        variable = contextvars.ContextVar("variable")
        variable.set("mine")
        with decimal.localcontext(decimal.Context(prec=5)):
            interp.exec("""
                import contextvars, decimal, sys
                contextvars.ContextVar('variable').set('its')
                decimal.getcontext().prec = 3
                """)
            assert decimal.getcontext().prec == 5
        assert variable.get() == "mine"


class TestThreads:
    def test_each_in_its_own_interpreter(self):
        interps = [subinterpreters.create() for _ in range(4)]
        barrier = threading.Barrier(4)

        def work(interp):
            barrier.wait()
            for _ in range(200):
                interp.exec("n = globals().get('n', 0) + 1")

        threads = [threading.Thread(target=work, args=(i,)) for i in interps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [interp.call(eval, "n") for interp in interps] == [200] * 4
        for interp in interps:
            interp.close()

    def test_one_interpreter_wanted_by_many(self, interp):
        interp.exec("n = 0")
        ran = []

        def work():
            mine = 0
            while mine < 50:
                try:
                    interp.exec("n += 1")
                    mine += 1
                except InterpreterError as exc:
                    if str(exc) != "interpreter already running":
                        raise
            ran.append(mine)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ran == [50] * 4
        assert interp.call(eval, "n") == 200

    def test_other_threads_run_meanwhile(self, interp):
        r, w = os.pipe()
        thread = threading.Thread(target=os.write, args=(w, b"1"))
        thread.start()
        interp.exec(f"import os; got = os.read({r}, 1)")
        thread.join()
        assert interp.call(eval, "got") == b"1"
        os.close(r)
        os.close(w)


class TestCompiledSources:
    """Compiled sources are remembered, but not without bound."""

    def test_the_same_text_runs_each_time(self, interp):
        interp.exec("n = 0")
        for _ in range(100):
            interp.exec("n += 1")
        assert interp.call(eval, "n") == 100

    def test_one_text_in_many_interpreters(self):
        interps = [subinterpreters.create() for _ in range(3)]
        for interp in interps:
            interp.exec("x = [1]")
            interp.exec("x.append(2)")
        assert [interp.call(eval, "x") for interp in interps] == [[1, 2]] * 3
        interps[0].close()
        interps[1].exec("x.append(3)")
        assert interps[1].call(eval, "x") == [1, 2, 3]
        for interp in interps[1:]:
            interp.close()

    def test_text_and_bytes_are_different_sources(self, interp):
        interp.exec(b"# -*- coding: latin-1 -*-\nx = '\xc3\xa9'")
        assert interp.call(eval, "x") == "Ã©"
        interp.exec("# -*- coding: latin-1 -*-\nx = 'é'")
        assert interp.call(eval, "x") == "é"

    def test_changed_buffer_is_read_again(self, interp):
        source = bytearray(b"x = 1")
        interp.exec(source)
        source[-1:] = b"2"
        interp.exec(source)
        assert interp.call(eval, "x") == 2

    @pytest.mark.parametrize("kind", [str, str.encode])
    def test_many_distinct_texts(self, script, kind):
        # Each remembered source would keep at least its code object, its text and
        # its names: several blocks on each side.
        out = script.ok(
            f"""
            import gc, sys, subinterpreters
            make = {kind.__qualname__}
            interp = subinterpreters.create()

            def blocks():
                gc.collect()
                interp.exec('import gc; gc.collect()')
                return sys.getallocatedblocks(), interp.call(eval,
                    "__import__('sys').getallocatedblocks()")

            def run(start, stop):
                for number in range(start, stop):
                    interp.exec(make(f'x = {{number}} + 1000000\\nif x: y = x'))
                assert interp.call(eval, 'x') == stop + 999999

            run(0, 3000)
            before = blocks()
            run(3000, 6000)
            after = blocks()
            print(after[0] - before[0], after[1] - before[1])
            """
        )
        here, there = map(int, out.split())
        assert here < 1500, "blocks that 3,000 more sources left in the caller"
        assert there < 1500, "blocks that 3,000 more sources left in the target"

    def test_a_huge_text_is_not_kept(self, script):
        # Forty scripts of 2 MB each: kept, they would be 80 MB.
        out = script.ok(
            """
            import resource, subinterpreters
            interp = subinterpreters.create()

            def run(count):
                for number in range(count):
                    interp.exec(f'x = {number}\\n#' + str(number) * 2_000_000)

            run(3)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(40):
                interp.exec(f'x = {number}\\n#' + 'x' * 2_000_000)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            """
        )
        assert int(out) < 40_000


class TestLimits:
    def test_endless_recursion(self, script):
        out = script.ok(
            """
            import subinterpreters
            interp = subinterpreters.create()
            for _ in range(3):
                try:
                    interp.exec('def f(): f()\\nf()')
                except subinterpreters.ExecutionFailed as exc:
                    print(exc.excinfo.type.__name__)
            interp.exec('x = 1')
            print(interp.call(eval, 'x'))
            """
        )
        assert out.split() == ["RecursionError"] * 3 + ["1"]

    def test_endless_recursion_in_a_thread(self, script):
        out = script.ok(
            """
            import subinterpreters, threading
            interp = subinterpreters.create()
            def run():
                try:
                    interp.exec('def f(): f()\\nf()')
                except subinterpreters.ExecutionFailed as exc:
                    print(exc.excinfo.type.__name__)
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            """
        )
        assert out.split() == ["RecursionError"]

    def test_what_isolated_interpreters_may_not(self, interp):
        with pytest.raises(ExecutionFailed, match="RuntimeError"):
            interp.exec("import os; os.fork()")
        with pytest.raises(ExecutionFailed, match="RuntimeError"):
            interp.exec("import os, sys; os.execv(sys.executable, [sys.executable])")
        with pytest.raises(ExecutionFailed, match="ValueError"):
            interp.exec("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)")
        with pytest.raises(ExecutionFailed, match="RuntimeError: daemon threads"):
            interp.exec("import threading; threading.Thread(daemon=True).start()")

    @pytest.mark.parametrize(
        "name", ["json", "re", "datetime", "decimal", "hashlib", "socket", "asyncio"]
    )
    def test_imports(self, interp, name):
        interp.exec(f"import {name}")
        assert interp.call(eval, f"{name}.__name__") == name
