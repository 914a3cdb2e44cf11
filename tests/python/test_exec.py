"""Interpreter.exec: what it takes, how it dedents, what it refuses."""

import os
import sys
import textwrap
import threading

import pytest
import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    InterpreterError,
    InterpreterNotFoundError,
)


def failing_lines(caught):
    """The line numbers of <script> in the other side's traceback."""
    return [
        int(line.split("line ")[1].split(",")[0])
        for line in caught.value.excinfo.errdisplay.splitlines()
        if line.lstrip().startswith('File "<script>", line ')
    ]


class TestSource:
    def test_runs_in_main_and_persists(self, interp):
        assert interp.exec("x = 1\ny = __name__") is None
        interp.exec("x += 1")
        assert interp.call(eval, "(x, y)") == (2, "__main__")

    def test_leaves_nothing_behind(self, interp):
        names = interp.call(dir)
        interp.exec("pass")
        interp.exec(b"pass")
        assert interp.call(dir) == names

    @pytest.mark.parametrize(
        "source", [b"x = 1", bytearray(b"x = 1"), memoryview(b"x = 1"), "x = 1"]
    )
    def test_kinds_of_source(self, interp, source):
        interp.exec(source)
        assert interp.call(eval, "x") == 1

    @pytest.mark.parametrize("source", ["", b"", "\n\n", "# nothing", "    "])
    def test_empty(self, interp, source):
        interp.exec(source)

    def test_bytes_with_a_coding_cookie(self, interp):
        interp.exec(b"# -*- coding: latin-1 -*-\nx = '\xe9'")
        assert interp.call(eval, "x") == "é"

    def test_bytes_in_utf_8(self, interp):
        interp.exec("x = 'né 🐍'".encode())
        assert interp.call(eval, "x") == "né 🐍"

    def test_text_outside_ascii(self, interp):
        interp.exec("ñ = 'né 🐍 ł'")
        assert interp.call(eval, "ñ") == "né 🐍 ł"

    def test_large(self, interp):
        interp.exec("n = 0\n" + "n += 1\n" * 20_000)
        assert interp.call(eval, "n") == 20_000

    def test_the_file_name(self, interp):
        interp.exec("import sys; name = sys._getframe().f_code.co_filename")
        assert interp.call(eval, "name") == "<script>"
        assert not interp.call(eval, "'__file__' in globals()")

    def test_optimisation_is_that_of_the_process(self, interp):
        if __debug__:
            with pytest.raises(ExecutionFailed, match="AssertionError"):
                interp.exec("assert False")

    def test_future_statements_stay_in_their_script(self, interp):
        interp.exec("from __future__ import annotations\ndef f(x: int): pass")
        interp.exec("def g(x: int): pass")
        assert interp.call(eval, "f.__annotations__['x']") == "int"
        assert interp.call(eval, "g.__annotations__['x'] is int")


class TestDedent:
    def test_by_default(self, interp):
        interp.exec("""
            x = 1
            if x:
                y = 2
            """)
        assert interp.call(eval, "(x, y)") == (1, 2)

    def test_by_tabs(self, interp):
        interp.exec("\tx = 1\n\tif x:\n\t\ty = 2\n")
        assert interp.call(eval, "(x, y)") == (1, 2)

    def test_bytes(self, interp):
        interp.exec(b"\n    x = 1\n    y = 2\n")
        assert interp.call(eval, "(x, y)") == (1, 2)

    def test_like_textwrap(self, interp):
        source = '\n    x = """\n    a\n      b\n    """\n  \n'
        interp.exec(source)
        expected = {}
        exec(textwrap.dedent(source), expected)
        assert interp.call(eval, "x") == expected["x"] == "\na\n  b\n"

    @pytest.mark.parametrize("flag", [False, 0])
    def test_switched_off(self, interp, flag):
        with pytest.raises(IndentationError):
            interp.exec("    x = 1", dedent=flag)
        with pytest.raises(IndentationError):
            interp.exec(b"    x = 1", dedent=flag)
        interp.exec('x = """\n    a"""', dedent=flag)
        assert interp.call(eval, "x") == "\n    a"

    def test_both_ways_with_the_same_text(self, interp):
        for _ in range(3):
            interp.exec("    x = 1")
            with pytest.raises(IndentationError):
                interp.exec("    x = 1", dedent=False)

    def test_does_not_touch_code_and_functions(self, interp):
        def function():
            global x
            x = """
            a"""

        interp.exec(function)
        assert interp.call(eval, "x") == "\n            a"
        interp.exec(compile("x = '''\n  b'''", "f", "exec"), dedent=True)
        assert interp.call(eval, "x") == "\n  b"

    def test_uneven(self, interp):
        with pytest.raises(IndentationError):
            interp.exec("    x = 1\n  y = 2\n     z = 3\n")

    @pytest.mark.parametrize("dedent", [True, False])
    def test_lines_of_a_traceback(self, interp, dedent):
        source = "\n\nx = 1\n\nraise ValueError(x)\n"
        if dedent:
            source = textwrap.indent(source, " " * 8)
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec(source, dedent=dedent)
        assert failing_lines(caught) == [5]

    def test_lines_through_functions(self, interp):
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec("""
                def inner():
                    1 / 0

                def outer():
                    inner()

                outer()
                """)
        assert failing_lines(caught) == [8, 6, 3]


class TestSyntaxErrors:
    def test_raised_here_with_the_right_line(self, interp):
        with pytest.raises(SyntaxError) as caught:
            interp.exec("x = 1\ny = 2\nz = = 3\n")
        assert caught.value.filename == "<script>"
        assert caught.value.lineno == 3
        assert caught.value.text.rstrip("\n") == "z = = 3"
        with pytest.raises(ExecutionFailed, match="NameError"):
            interp.exec("x")

    def test_line_after_dedent(self, interp):
        with pytest.raises(SyntaxError) as caught:
            interp.exec("""
                x = 1

                z = = 3
                """)
        assert caught.value.lineno == 4

    def test_line_of_bytes(self, interp):
        with pytest.raises(SyntaxError) as caught:
            interp.exec(b"x = 1\n(")
        assert caught.value.lineno == 2

    @pytest.mark.parametrize(
        "source",
        [
            "10 +",
            "return 1",
            "await x",
            "def f(:",
            b"x = '\xe9'",
            "\ufeffx = 1",
            "nonlocal x",
            "'unterminated",
        ],
    )
    def test_kinds(self, interp, source):
        with pytest.raises(SyntaxError):
            interp.exec(source)
        interp.exec("x = 1")

    @pytest.mark.parametrize("source", ["a\0b", b"a\0b"])
    def test_null(self, interp, source):
        with pytest.raises(SyntaxError, match="cannot contain null bytes"):
            interp.exec(source)

    def test_lone_surrogate(self, interp):
        with pytest.raises(UnicodeEncodeError):
            interp.exec("x = '\udc80'")

    def test_again_and_again(self, interp):
        for _ in range(3):
            with pytest.raises(SyntaxError) as caught:
                interp.exec("x = (")
            assert caught.value.lineno == 1

    def test_in_another_interpreter(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id)
        interp.exec("""
            import subinterpreters
            try:
                subinterpreters.Interpreter(other).exec('x = \\n(')
            except SyntaxError as exc:
                line = exc.lineno
            """)
        assert interp.call(eval, "line") == 1
        other.close()

    def test_warnings_are_the_callers(self, interp):
        with pytest.warns(SyntaxWarning, match="invalid decimal literal|is.*literal"):
            interp.exec("x = 1; y = x is 1")


class TestCode:
    def test_code_object(self, interp):
        code = compile("x = 1\nif x:\n  y = __name__", "some file", "exec")
        interp.exec(code)
        assert interp.call(eval, "(x, y)") == (1, "__main__")

    def test_code_object_keeps_its_file_name(self, interp):
        code = compile("1 / 0", "some file", "exec")
        with pytest.raises(ExecutionFailed, match='File "some file", line 1'):
            interp.exec(code)

    def test_function_runs_with_the_other_globals(self, interp):
        def function():
            global seen
            seen = here, __name__

        interp.prepare_main(here="there")
        interp.exec(function)
        assert interp.call(eval, "seen") == ("there", "__main__")

    def test_function_with_a_body(self, interp):
        def function():
            import os.path

            parts = [len(part) for part in ("a", "bb")]

            def nested(x):
                return x + sum(parts)

            global total
            total = nested(10) + len(os.path.sep)

        interp.exec(function)
        assert interp.call(eval, "total") == 14

    def test_line_in_a_function(self, interp):
        def function():
            raise ValueError

        line = function.__code__.co_firstlineno + 1
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec(function)
        assert f'line {line}, in function' in caught.value.excinfo.errdisplay

    def test_functions_that_are_no_scripts(self, interp):
        bound = 1

        def argument(a):
            pass

        def optional(a=1):
            pass

        def star(*args):
            pass

        def keyword(*, k=1):
            pass

        def returns():
            return 1

        def generator():
            yield

        async def coroutine():
            pass

        def closure():
            bound  # noqa: B018

        for function in (argument, optional, star, keyword, lambda x: None):
            with pytest.raises(ValueError, match="^code with args not supported$"):
                interp.exec(function)
        for function in (returns, generator, coroutine, lambda: 3):
            with pytest.raises(ValueError, match="^code that returns a value is not"):
                interp.exec(function)
        with pytest.raises(ValueError, match="^closures not supported$"):
            interp.exec(closure)

    def test_expression_code(self, interp):
        with pytest.raises(ValueError, match="^code that returns a value is not a sc"):
            interp.exec(compile("1", "f", "eval"))


class TestArguments:
    @pytest.mark.parametrize("bad", [10, None, ["x = 1"], object(), len, str, 1.5])
    def test_of_the_wrong_type(self, interp, bad):
        with pytest.raises(TypeError) as caught:
            interp.exec(bad)
        assert str(caught.value) == f"unsupported script {bad!r}"

    def test_signature(self, interp):
        with pytest.raises(TypeError):
            interp.exec()
        with pytest.raises(TypeError):
            interp.exec(code="x = 1")
        with pytest.raises(TypeError):
            interp.exec("x = 1", spam=1)
        interp.exec("    x = 1", True)
        assert interp.call(eval, "x") == 1


class TestRefused:
    def test_main(self):
        with pytest.raises(
            InterpreterError, match="^cannot exec code for unrecognized interpreter 0$"
        ):
            subinterpreters.get_main().exec("1")

    def test_main_from_another(self, interp):
        with pytest.raises(ExecutionFailed, match="cannot exec code for unrecognized"):
            interp.exec("import subinterpreters; subinterpreters.get_main().exec('1')")

    def test_while_it_runs(self, interp, running):
        with running(interp):
            with pytest.raises(InterpreterError, match="^interpreter already running$"):
                interp.exec("x = 1")
        interp.exec("x = 2")

    def test_itself(self, interp):
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec(
                "import subinterpreters; subinterpreters.get_current().exec('x = 1')"
            )
        assert caught.value.excinfo.msg == "interpreter already running"
        assert caught.value.excinfo.type.__name__ == "InterpreterError"

    def test_the_caller(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id, me=interp.id)
        with pytest.raises(ExecutionFailed, match="interpreter already running"):
            interp.exec("""
                import subinterpreters
                subinterpreters.Interpreter(other).exec(
                    'import subinterpreters\\n'
                    f'subinterpreters.Interpreter({me}).exec("1")')
                """)
        other.close()

    def test_a_bad_script_is_told_before_a_closed_interpreter(self):
        interp = subinterpreters.create()
        interp.close()
        with pytest.raises(InterpreterNotFoundError):
            interp.exec("x = 1")


class TestNesting:
    def test_a_chain(self, interp):
        chain = [interp, *(subinterpreters.create() for _ in range(3))]
        for this, following in zip(chain, chain[1:], strict=False):
            this.prepare_main(following=following.id)
        chain[-1].exec("x = 42")
        step = (
            "import subinterpreters\n"
            "subinterpreters.Interpreter(following).exec({script!r})"
        )
        script = "x += 1"
        for _ in chain[1:]:
            script = step.format(script=script)
        interp.exec(script)
        assert chain[-1].call(eval, "x") == 43
        for link in chain[1:]:
            link.close()

    def test_an_error_through_a_chain(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id)
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec("""
                import subinterpreters
                subinterpreters.Interpreter(other).exec('raise ValueError("deep")')
                """)
        assert caught.value.excinfo.type.__name__ == "ExecutionFailed"
        assert "ValueError: deep" in caught.value.excinfo.msg
        other.close()


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
