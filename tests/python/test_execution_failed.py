"""ExecutionFailed: what it tells of any exception, however badly it behaves."""

import copy
import pickle
import sys
import textwrap
import traceback
import types

import pytest
import subinterpreters
from subinterpreters import ExecutionFailed, InterpreterError


def failure(interp, source):
    with pytest.raises(ExecutionFailed) as caught:
        interp.exec(source)
    return caught.value


class TestExcinfo:
    def test_shape(self, interp):
        exc = failure(interp, "raise ValueError('hi')")
        info = exc.excinfo
        assert type(info) is types.SimpleNamespace
        assert type(info.type) is types.SimpleNamespace
        assert vars(info.type) == {
            "__name__": "ValueError",
            "__qualname__": "ValueError",
            "__module__": "builtins",
        }
        assert info.msg == "hi"
        assert info.formatted == "ValueError: hi"
        assert info.errdisplay == textwrap.dedent("""\
            Traceback (most recent call last):
              File "<script>", line 1, in <module>
            ValueError: hi""")

    def test_the_error_itself(self, interp):
        exc = failure(interp, "raise ValueError('hi')")
        assert isinstance(exc, InterpreterError)
        assert exc.args == ("ValueError: hi",)
        assert repr(exc) == "ExecutionFailed('ValueError: hi')"
        assert str(exc) == (
            "ValueError: hi\n\nUncaught in the interpreter:\n\n"
            + exc.excinfo.errdisplay
        )

    def test_class_elsewhere(self, interp):
        exc = failure(interp, "import json; json.loads('{')")
        assert vars(exc.excinfo.type) == {
            "__name__": "JSONDecodeError",
            "__qualname__": "JSONDecodeError",
            "__module__": "json.decoder",
        }
        assert exc.args[0].startswith("json.decoder.JSONDecodeError: Expecting prop")

    def test_class_in_main(self, interp):
        exc = failure(
            interp,
            """
            class Outer:
                class Oops(Exception):
                    pass
            raise Outer.Oops('x')
            """,
        )
        assert vars(exc.excinfo.type) == {
            "__name__": "Oops",
            "__qualname__": "Outer.Oops",
            "__module__": "__main__",
        }
        assert exc.excinfo.formatted == "Outer.Oops: x"
        assert exc.excinfo.errdisplay.splitlines()[-1].endswith("Outer.Oops: x")

    def test_without_a_message(self, interp):
        exc = failure(interp, "raise ValueError")
        assert exc.excinfo.msg == ""
        assert exc.excinfo.formatted == "ValueError: "
        assert exc.excinfo.errdisplay.splitlines()[-1] == "ValueError"

    def test_cause_and_context(self, interp):
        exc = failure(
            interp,
            """
            try:
                1/0
            except Exception as e:
                raise KeyError('k') from e
            """,
        )
        assert exc.excinfo.formatted == "KeyError: 'k'"
        display = exc.excinfo.errdisplay
        assert "ZeroDivisionError: division by zero" in display
        assert "direct cause of the following exception" in display
        assert display.endswith("KeyError: 'k'")

    def test_notes(self, interp):
        exc = failure(interp, "e = ValueError('m'); e.add_note('a note'); raise e")
        assert exc.excinfo.errdisplay.endswith("ValueError: m\na note")

    def test_group(self, interp):
        exc = failure(interp, "raise ExceptionGroup('g', [ValueError(1), KeyError(2)])")
        assert exc.excinfo.msg == "g (2 sub-exceptions)"
        assert "Exception Group Traceback" in exc.excinfo.errdisplay
        assert "KeyError: 2" in exc.excinfo.errdisplay

    def test_syntax_error_there(self, interp):
        exc = failure(interp, "exec('x = = 1')")
        assert exc.excinfo.type.__name__ == "SyntaxError"
        assert "x = = 1" in exc.excinfo.errdisplay

    def test_the_text_is_the_tracebacks(self, interp):
        interp.exec("""
            import traceback
            def inner():
                raise LookupError('spam')
            def outer():
                inner()
            try:
                outer()
            except LookupError as exc:
                # The frames below <module> are the same in both runs.
                expected = traceback.format_exc().rstrip('\\n').splitlines()[2:]
            """)
        exc = failure(interp, "outer()")
        assert exc.excinfo.errdisplay.splitlines()[2:] == interp.call(eval, "expected")

    def test_source_lines_of_files(self, interp, tmp_path):
        path = tmp_path / "spam.py"
        path.write_text("def ham():\n    raise RuntimeError('uh-oh!')\n")
        interp.prepare_main(folder=str(tmp_path))
        interp.exec("import sys; sys.path.insert(0, folder); import spam")
        exc = failure(interp, "spam.ham()")
        assert f'File "{path}", line 2, in ham' in exc.excinfo.errdisplay
        assert "    raise RuntimeError('uh-oh!')" in exc.excinfo.errdisplay

    def test_long_tracebacks_are_shortened(self, interp):
        exc = failure(interp, "def f(): f()\nf()")
        assert exc.excinfo.type.__name__ == "RecursionError"
        assert "Previous line repeated" in exc.excinfo.errdisplay
        assert len(exc.excinfo.errdisplay.splitlines()) < 30


class TestAwkwardMessages:
    def test_traceback_that_cannot_be_written(self, interp):
        """The traceback module fails, too: then the message stands in its place."""
        with pytest.raises(ExecutionFailed) as caught:
            interp.exec("""
                class Meta(type):
                    @property
                    def __module__(cls):
                        raise RuntimeError("no module")
                class E(Exception, metaclass=Meta):
                    pass
                raise E("text")
                """)
        assert caught.value.excinfo.errdisplay.endswith("E: text")
        assert "Uncaught in the interpreter" in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        ["a\0b", "\0", "\udc80", "a\ud800b\udfffc", "é🐍", "x" * 100_000, "a\nb\r\nc"],
        ids=lambda text: ascii(text)[:20],
    )
    def test_crosses_intact(self, script, text):
        out = script.ok(f"""
            import subinterpreters
            text = {text!a}
            interp = subinterpreters.create()
            for use in (lambda: interp.exec('raise ValueError(' + ascii(text) + ')'),
                        lambda: interp.call(exec, f'raise ValueError({{text!a}})')):
                try:
                    use()
                except subinterpreters.ExecutionFailed as exc:
                    info = exc.excinfo
                    print(info.msg == text, info.formatted == 'ValueError: ' + text,
                          exc.args == (info.formatted,), text in str(exc),
                          info.type.__name__)
            """)
        assert out.split() == ["True", "True", "True", "True", "ValueError"] * 2

    @pytest.mark.parametrize(
        "body",
        [
            "raise RuntimeError('no')",
            "raise KeyboardInterrupt",
            "raise SystemExit",
            "return 42",
            "return None",
            "1/0",
            "return self.__str__()",
        ],
    )
    def test_failing_str(self, script, body):
        out = script.ok(f"""
            import subinterpreters
            interp = subinterpreters.create()
            for _ in range(2):
                try:
                    interp.exec('''
            class Awkward(Exception):
                def __str__(self):
                    {body}
            raise Awkward
                        ''')
                except subinterpreters.ExecutionFailed as exc:
                    print(exc.excinfo.type.__name__, exc.excinfo.msg)
            interp.exec('x = 1')
            print(interp.call(eval, 'x'))
            """)
        assert out.splitlines() == [
            "Awkward <unprintable Awkward object>",
            "Awkward <unprintable Awkward object>",
            "1",
        ]

    @pytest.mark.parametrize(
        "body",
        [
            "__module__ = property(lambda self: 1/0)",
            "__notes__ = 5",
            "__notes__ = [object(), 1]",
            "__cause__ = property(lambda self: 1/0)",
            "__reduce__ = property(lambda self: 1/0)",
            "def __reduce_ex__(self, protocol): raise KeyboardInterrupt",
            "def __getattribute__(self, name): raise SystemExit",
            "def __repr__(self): raise ValueError",
            "def __eq__(self, other): raise ValueError",
            "__hash__ = None",
            "def __bool__(self): raise ValueError",
            "def __setattr__(self, *args): raise ValueError",
        ],
    )
    def test_other_misbehaviour(self, script, body):
        out = script.ok(f"""
            import subinterpreters
            interp = subinterpreters.create()
            try:
                interp.exec('''
            class Awkward(Exception):
                {body}
            raise Awkward('spam')
                    ''')
            except subinterpreters.ExecutionFailed as exc:
                print(exc.excinfo.type.__name__)
            interp.exec('x = 1')
            print(interp.call(eval, 'x'))
            """)
        assert out.split() == ["Awkward", "1"]

    def test_str_subclass_as_message(self, interp):
        exc = failure(
            interp,
            """
            class S(str):
                pass
            class Awkward(Exception):
                def __str__(self):
                    return S('spam')
            raise Awkward
            """,
        )
        assert exc.excinfo.msg == "spam"
        assert type(exc.excinfo.msg) is str

    def test_raised_while_unwinding(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            try:
                interp.exec('''
            class Bomb:
                def __del__(self):
                    import sys
                    sys.stderr = None
                    raise ValueError
            def f():
                bomb = Bomb()
                raise KeyError('k')
            f()
                    ''')
            except subinterpreters.ExecutionFailed as exc:
                print(exc.excinfo.type.__name__)
            """)
        assert out == "KeyError\n"


class TestOtherBaseExceptions:
    @pytest.mark.parametrize(
        ("source", "name", "msg"),
        [
            ("raise SystemExit", "SystemExit", ""),
            ("raise SystemExit(3)", "SystemExit", "3"),
            ("import sys; sys.exit('bye')", "SystemExit", "bye"),
            ("exit(2)", "SystemExit", "2"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
            ("raise GeneratorExit('g')", "GeneratorExit", "g"),
            ("raise MemoryError", "MemoryError", ""),
            ("raise MemoryError('m')", "MemoryError", "m"),
            pytest.param(
                *("bytearray(2**62)", "MemoryError", ""),
                marks=pytest.mark.unsanitized("it warns of sizes that do not fit"),
            ),
            ("class B(BaseException): pass\nraise B('b')", "B", "b"),
            ("raise StopIteration(1)", "StopIteration", "1"),
            (
                "raise ExceptionGroup('g', [MemoryError()])",
                "ExceptionGroup",
                "g (1 sub-exception)",
            ),
        ],
    )
    def test_told_as_any_other(self, script, source, name, msg):
        out = script.ok(f"""
            import subinterpreters
            interp = subinterpreters.create()
            for use in interp.exec, lambda source: interp.call(exec, source):
                try:
                    use({source!r})
                except subinterpreters.ExecutionFailed as exc:
                    print(exc.excinfo.type.__name__, repr(exc.excinfo.msg))
            print(subinterpreters.create().call(eval, '42'))
            """)
        assert out.splitlines() == [f"{name} {msg!r}"] * 2 + ["42"]


class TestOriginal:
    def test_what_can_cross(self, interp):
        exc = failure(interp, "raise ValueError('hi', 1)")
        assert type(exc.original) is ValueError
        assert exc.original.args == ("hi", 1)

    def test_attributes(self, interp):
        exc = failure(interp, "open('/no/such/file')")
        assert type(exc.original) is FileNotFoundError
        assert exc.original.filename == "/no/such/file"

    def test_what_cannot(self, interp):
        exc = failure(
            interp,
            """
            class Refusing(ValueError):
                def __reduce__(self):
                    1/0
            raise Refusing("hi")
            """,
        )
        assert exc.original is None
        assert exc.excinfo.type.__name__ == "Refusing"

    def test_an_argument_that_cannot(self, interp):
        exc = failure(interp, "import threading; raise ValueError(threading.Lock())")
        (stand_in,) = exc.original.args
        assert type(stand_in) is subinterpreters.NotShareableError
        assert "cannot send '_thread.lock' object" in str(stand_in)


class TestTravels:
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, interp, protocol):
        exc = failure(interp, "raise ValueError('hi')")
        back = pickle.loads(pickle.dumps(exc, protocol))
        assert type(back) is ExecutionFailed
        assert back.args == exc.args
        assert back.excinfo == exc.excinfo
        assert str(back) == str(exc)

    def test_copy(self, interp):
        exc = failure(interp, "raise ValueError('hi')")
        assert copy.copy(exc).excinfo == exc.excinfo
        assert copy.deepcopy(exc).excinfo == exc.excinfo

    def test_to_another_interpreter(self, interp):
        exc = failure(interp, "raise ValueError('hi')")

        def look(exc):
            return type(exc).__name__, exc.excinfo.formatted, str(exc)

        assert interp.call(look, exc) == ("ExecutionFailed", "ValueError: hi", str(exc))

    def test_through_a_queue(self, interp):
        exc = failure(interp, "raise ValueError('hi')")
        queue = subinterpreters.create_queue()
        queue.put(exc)
        assert queue.get().excinfo == exc.excinfo

    def test_made_by_hand(self):
        info = types.SimpleNamespace(
            type=types.SimpleNamespace(__name__="E", __qualname__="E", __module__="m"),
            msg="msg",
            formatted="m.E: msg",
        )
        exc = ExecutionFailed(info)
        assert exc.excinfo is info
        assert str(exc) == "m.E: msg"
        info.errdisplay = "display"
        assert str(exc) == "m.E: msg\n\nUncaught in the interpreter:\n\ndisplay"
        info.formatted = None
        assert ExecutionFailed(info).args == ("E: msg",)


class TestHere:
    def test_no_traceback_of_ours_is_mixed_in(self, interp):
        exc = failure(interp, "1/0")
        shown = "".join(traceback.format_exception(exc))
        assert "ExecutionFailed: ZeroDivisionError: division by zero" in shown
        assert "Uncaught in the interpreter:" in shown

    def test_uncaught_in_a_script(self, script):
        done = script.run("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('1/0')
            """)
        assert done.returncode == 1
        assert "ExecutionFailed: ZeroDivisionError: division by zero" in done.stderr
        assert 'File "<script>", line 1, in <module>' in done.stderr

    def test_errors_leave_no_references(self, script):
        out = script.ok("""
            import gc, sys, subinterpreters
            interp = subinterpreters.create()
            def fail():
                for source in (
                    '1/0', 'raise ValueError("a\\\\0b")', 'raise MemoryError'
                ):
                    try:
                        interp.exec(source)
                    except subinterpreters.ExecutionFailed as exc:
                        str(exc), exc.original
            def blocks():
                gc.collect()
                interp.exec('import gc, sys; gc.collect()')
                there = interp.call(eval, 'sys.getallocatedblocks()')
                return sys.getallocatedblocks(), there
            # Caches fill for a while; a leak shows in every round.
            grown = []
            before = blocks()
            for _ in range(5):
                for _ in range(300): fail()
                after = blocks()
                grown.append([b - a for a, b in zip(before, after)])
                before = after
            print(*map(min, zip(*grown)))
            """)
        here, there = map(int, out.split())
        assert here < 100
        assert there < 100

    def test_the_interpreters_own_exit_status_is_ours(self, script):
        # A KeyboardInterrupt that escaped there must not decide how this one ends.
        done = script.run("""
            import subinterpreters
            interp = subinterpreters.create()
            try:
                interp.exec('raise KeyboardInterrupt')
            except subinterpreters.ExecutionFailed:
                pass
            """)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_class_is_shown_as_in_cpython():
    assert ExecutionFailed.__name__ == "ExecutionFailed"
    assert sys.modules[ExecutionFailed.__module__].ExecutionFailed is ExecutionFailed
