"""Interpreter.exec: what it takes, how it dedents, what it refuses."""

import itertools
import textwrap

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
            seen = here, __name__  # noqa: F821

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
        assert f"line {line}, in function" in caught.value.excinfo.errdisplay

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
        for this, following in itertools.pairwise(chain):
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
