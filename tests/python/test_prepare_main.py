"""Interpreter.prepare_main: what it binds, and that it binds all or nothing."""

import math
import threading

import pytest
import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    InterpreterError,
    InterpreterNotFoundError,
    NotShareableError,
)


class TestBinding:
    def test_mapping(self, interp):
        assert interp.prepare_main({"spam": 42, "eggs": "ham"}) is None
        assert interp.call(eval, "(spam, eggs)") == (42, "ham")

    def test_pairs(self, interp):
        interp.prepare_main([("spam", 42), ("eggs", "ham")])
        assert interp.call(eval, "(spam, eggs)") == (42, "ham")

    def test_keywords(self, interp):
        interp.prepare_main(spam=42, eggs="ham")
        assert interp.call(eval, "(spam, eggs)") == (42, "ham")

    def test_both_and_keywords_win(self, interp):
        interp.prepare_main({"spam": 1, "eggs": 2}, eggs=3, foo=4)
        assert interp.call(eval, "(spam, eggs, foo)") == (1, 3, 4)

    def test_ns_is_positional_only(self, interp):
        interp.prepare_main(ns=5)
        assert interp.call(eval, "ns") == 5
        interp.prepare_main({"x": 1}, ns=6)
        assert interp.call(eval, "(ns, x)") == (6, 1)

    def test_again(self, interp):
        interp.prepare_main(x=1)
        interp.prepare_main(x=2, y=3)
        assert interp.call(eval, "(x, y)") == (2, 3)

    def test_only_names_are_added(self, interp):
        before = interp.call(dir)
        interp.prepare_main(spam=1)
        assert interp.call(dir) == sorted([*before, "spam"])

    def test_the_callers_mapping_is_left_alone(self, interp):
        given = {"x": 1}
        interp.prepare_main(given, y=2)
        assert given == {"x": 1}

    def test_names_that_are_no_identifiers(self, interp):
        interp.prepare_main({"not a name": 1, "": 2, "né": 3})
        assert interp.call(
            eval, "[globals()[n] for n in ('not a name', '', 'né')]"
        ) == [1, 2, 3]

    def test_many(self, interp):
        interp.prepare_main({f"n{i}": i for i in range(1000)})
        assert interp.call(eval, "sum(globals()[f'n{i}'] for i in range(1000))") == sum(
            range(1000)
        )

    def test_from_another_interpreter(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id)
        interp.exec("""
            import subinterpreters
            subinterpreters.Interpreter(other).prepare_main(x='spam', y=(1, b'2'))
            """)
        assert other.call(eval, "(x, y)") == ("spam", (1, b"2"))
        other.close()

    def test_from_a_thread(self, interp):
        thread = threading.Thread(target=interp.prepare_main, kwargs={"x": "spam"})
        thread.start()
        thread.join()
        assert interp.call(eval, "x") == "spam"


VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    -(2**31),
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.5,
    math.inf,
    -math.inf,
    5e-324,
    "",
    "spam",
    "né",
    "ł",
    "🐍",
    "a\0b",
    "\udc80",
    "x" * 100_000,
    b"",
    b"spam",
    b"a\0b",
    b"x" * 100_000,
    (),
    (1,),
    (1, "a", (b"b", (None, 2.5)), ()),
]


class TestValues:
    @pytest.mark.parametrize("value", VALUES, ids=lambda v: ascii(v)[:30])
    def test_arrives(self, interp, value):
        interp.prepare_main(x=value)
        code = ascii(value).replace("inf", "float('inf')")
        assert interp.call(eval, f"type(x).__name__, repr(x) == repr({code})") == (
            type(value).__name__,
            True,
        )

    def test_nan(self, interp):
        interp.prepare_main(x=math.nan)
        assert interp.call(eval, "type(x) is float and x != x")

    def test_what_need_not_be_copied_is_itself(self, interp):
        interp.prepare_main(a=None, b=True, c=False)
        assert interp.call(eval, "a is None and b is True and c is False")

    def test_memoryview(self, interp):
        interp.prepare_main(x=memoryview(b"spam"))
        assert interp.call(eval, "type(x).__name__, bytes(x)") == (
            "memoryview",
            b"spam",
        )
        interp.exec("del x")

    def test_memoryview_is_the_same_memory(self, interp):
        data = bytearray(b"spam")
        interp.prepare_main(x=memoryview(data))
        interp.exec("x[0] = ord('S')")
        assert data == b"Spam"
        data[1] = ord("P")
        assert interp.call(eval, "bytes(x)") == b"SPam"
        interp.exec("del x")

    def test_queue(self, interp):
        queue = subinterpreters.create_queue()
        interp.prepare_main(queue=queue)
        interp.exec("queue.put('spam')")
        assert queue.get() == "spam"
        assert interp.call(eval, "queue.id") == queue.id
        interp.exec("del queue")


UNSHAREABLE = [
    [1],
    {"a": 1},
    {1},
    2**63,
    -(2**63) - 1,
    2**70,
    3 + 4j,
    bytearray(b"x"),
    object(),
    ...,
    len,
    lambda: 1,
    ValueError("x"),
    int,
    frozenset(),
    range(3),
]


class TestRefused:
    @pytest.mark.parametrize("empty", [{}, (), None])
    def test_empty(self, interp, empty):
        with pytest.raises(ValueError, match="non-empty dict"):
            interp.prepare_main(empty)

    def test_nothing(self, interp):
        with pytest.raises(ValueError, match="non-empty dict"):
            interp.prepare_main()

    def test_two_positionals(self, interp):
        with pytest.raises(TypeError):
            interp.prepare_main({"a": 1}, {"b": 2})

    @pytest.mark.parametrize("bad", [3, object(), "ab", [1, 2], [("a", 1, 2)]])
    def test_no_mapping(self, interp, bad):
        with pytest.raises((TypeError, ValueError)):
            interp.prepare_main(bad)

    @pytest.mark.parametrize("value", UNSHAREABLE, ids=lambda v: repr(v)[:30])
    def test_unshareable(self, interp, value):
        with pytest.raises(NotShareableError, match="does not support cross-interp"):
            interp.prepare_main(x=value)

    def test_int_subclass_and_the_like(self, interp):
        class Int(int):
            pass

        class Bytes(bytes):
            pass

        class Tuple(tuple):
            pass

        for value in (Int(1), Bytes(b"x"), Tuple((1,))):
            with pytest.raises(NotShareableError):
                interp.prepare_main(x=value)

    def test_big_int_says_why(self, interp):
        with pytest.raises(NotShareableError) as caught:
            interp.prepare_main(x=2**70)
        cause = caught.value.__cause__
        assert isinstance(cause, OverflowError)
        assert str(cause) == "try sending as bytes"

    def test_inside_a_tuple(self, interp):
        with pytest.raises(NotShareableError) as caught:
            interp.prepare_main(x=(1, (2, [3])))
        said = "[3] does not support cross-interpreter data (at x[1][1])"
        assert str(caught.value) == said

    def test_all_or_nothing(self, interp):
        interp.prepare_main(first=0)
        with pytest.raises(NotShareableError):
            interp.prepare_main({"first": 1, "second": [], "third": 3})
        assert interp.call(eval, "first") == 0
        with pytest.raises(ExecutionFailed, match="NameError"):
            interp.exec("third")

    def test_key_that_is_no_str(self, interp):
        with pytest.raises(TypeError):
            interp.prepare_main({1: 1})

    def test_key_with_null(self, interp):
        with pytest.raises(ValueError, match="embedded NULL"):
            interp.prepare_main({"a\0b": 1})

    def test_key_with_lone_surrogate(self, interp):
        with pytest.raises(UnicodeEncodeError):
            interp.prepare_main({"\udc80": 1})

    def test_main(self):
        with pytest.raises(
            InterpreterError,
            match="^cannot update __main__ for unrecognized interpreter 0$",
        ):
            subinterpreters.get_main().prepare_main(x=1)

    def test_while_it_runs(self, interp, running):
        interp.prepare_main(x=1)
        with running(interp):
            with pytest.raises(InterpreterError, match="^interpreter already running$"):
                interp.prepare_main(x=2)
        assert interp.call(eval, "x") == 1

    def test_itself(self, interp):
        with pytest.raises(ExecutionFailed, match="interpreter already running"):
            interp.exec(
                "import subinterpreters;subinterpreters.get_current().prepare_main(x=1)"
            )

    def test_closed(self):
        interp = subinterpreters.create()
        interp.close()
        with pytest.raises(InterpreterNotFoundError):
            interp.prepare_main(x=1)
