"""Interpreter.call: functions, arguments and results that cross, and errors."""

import collections
import datetime
import fractions
import functools
import math
import operator
import os
import threading
import types

import pytest
import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    InterpreterError,
    InterpreterNotFoundError,
    InterpreterPoolExecutor,
    NotShareableError,
)

VALUES = [
    None,
    True,
    0,
    -1,
    2**63,
    2**1000,
    -(2**1000),
    1.5,
    math.inf,
    3 + 4j,
    "",
    "né 🐍",
    "a\0b",
    "\udc80",
    b"",
    b"a\0b",
    bytearray(b"spam"),
    (),
    (1, (2, "a")),
    [],
    [1, [2, [3]]],
    {},
    {"a": 1, 2: [3], (4,): {5: 6}},
    {1, 2},
    frozenset({1, 2}),
    ...,
    NotImplemented,
    range(1, 10, 3),
    slice(1, 2, None),
    int,
    ValueError,
    len,
    collections.OrderedDict(a=1, b=2),
    collections.Counter("spam"),
    collections.deque([1, 2], maxlen=5),
    fractions.Fraction(1, 3),
    datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC),
    datetime.timedelta(days=1, microseconds=5),
    types.SimpleNamespace(x=42),
    operator.itemgetter(1),
]


class TestFunctions:
    def test_without_arguments(self, interp):
        def function():
            return 6 * 7

        assert interp.call(function) == 42

    def test_returning_nothing(self, interp):
        def function():
            pass

        assert interp.call(function) is None

    def test_all_kinds_of_arguments(self, interp):
        def function(a, /, b, *args, c, **kwargs):
            return a, b, args, c, kwargs

        assert interp.call(function, 1, 2, 3, 4, c=5, d=6) == (
            1,
            2,
            (3, 4),
            5,
            {"d": 6},
        )
        assert interp.call(function, 1, b=2, c=3) == (1, 2, (), 3, {})

    def test_one_object_passed_twice_is_one_there(self, interp):
        def same(a, b):
            return a is b

        def append(a, b):
            a.append(2)
            return b

        # Only variables of a function: the stack may borrow their references.
        one, many, text = [1], [1], "".join(["a ", "text"])
        assert interp.call(same, one, one)
        assert interp.call(same, a=one, b=one)
        assert interp.call(same, one, b=one)
        assert interp.call(same, text, text)
        assert interp.call(append, many, many) == [1, 2]
        assert interp.submit(append, many, many).result() == [1, 2]
        assert not interp.call(same, [1], [1])
        with InterpreterPoolExecutor(1) as pool:
            assert pool.submit(append, many, many).result() == [1, 2]
            assert list(pool.map(same, [one], [one])) == [True]

        def among_many(*values):
            return values[0] is values[-1]

        assert interp.call(among_many, one, *range(20), one)

    def test_keywords_that_look_like_parameters(self, interp):
        def function(**kwargs):
            return kwargs

        given = {"callable": 1, "self": 2, "args": 3, "kwargs": 4}
        assert interp.call(function, **given) == given

    def test_bad_arguments_fail_there(self, interp):
        def function(a):
            return a

        with pytest.raises(ExecutionFailed) as caught:
            interp.call(function)
        assert caught.value.excinfo.type.__name__ == "TypeError"
        assert "missing 1 required positional" in caught.value.excinfo.msg

    def test_without_globals_it_runs_in_main(self, interp):
        def set_global(name, value):
            globals()[name] = value

        def get_global(name):
            return globals().get(name)

        assert interp.call(get_global, "__name__") == "__main__"
        assert interp.call(get_global, "spam") is None
        interp.call(set_global, "spam", 42)
        assert interp.call(eval, "spam") == 42
        interp.exec("spam = 43")
        assert interp.call(get_global, "spam") == 43

    def test_builtins_work_on_main(self, interp):
        assert interp.call(eval, "1 + 1") == 2
        assert interp.call(exec, "x = 5") is None
        assert interp.call(eval, "x") == 5
        assert "x" in interp.call(dir)

    def test_builtins(self, interp):
        assert interp.call(len, "spam") == 4
        assert interp.call(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
        assert interp.call(int, "12", base=3) == 5
        assert interp.call(dict, a=1) == {"a": 1}

    def test_from_the_standard_library(self, interp):
        assert interp.call(math.hypot, 3, 4) == 5
        assert interp.call(os.path.join, "a", "b") == os.path.join("a", "b")
        assert interp.call(fractions.Fraction, 2, 4) == fractions.Fraction(1, 2)
        assert interp.call(collections.Counter, "aab") == {"a": 2, "b": 1}
        assert interp.call(operator.methodcaller("upper"), "x") == "X"

    def test_methods(self, interp):
        assert interp.call("a,b".split, ",") == ["a", "b"]
        assert interp.call(fractions.Fraction(3, 2).limit_denominator, 1) in (1, 2)
        assert interp.call(fractions.Fraction.from_float, 0.5) == fractions.Fraction(
            1, 2
        )

    def test_partial(self, interp):
        assert interp.call(functools.partial(int, base=2), "101") == 5

    def test_defaults(self, interp):
        def function(a, b=(1, 2), *, c="c"):
            return a, b, c

        assert interp.call(function, 0) == (0, (1, 2), "c")
        assert interp.call(function, 0, 1, c=2) == (0, 1, 2)

    def test_lambda(self, interp):
        assert interp.call(lambda x, y=2: x * y, 21) == 42

    def test_closure(self, interp):
        factor = [2, 3]

        def function(x):
            return [x * f for f in factor]

        assert interp.call(function, 10) == [20, 30]

    def test_closure_over_a_function(self, interp):
        def double(x):
            return 2 * x

        def function(x):
            return double(x) + 1

        assert interp.call(function, 10) == 21

    def test_returned_closure(self, interp):
        def function(x):
            return lambda y: (x, y)

        assert interp.call(function, [1])(2) == ([1], 2)

    def test_nested(self, interp):
        def function(n):
            def inner(k):
                return 1 if k < 2 else k * inner(k - 1)

            return inner(n)

        assert interp.call(function, 10) == 3628800

    def test_imports_inside(self, interp):
        def function(text):
            import json

            return json.loads(text)

        assert interp.call(function, '{"a": [1, null]}') == {"a": [1, None]}

    def test_generator_and_comprehensions(self, interp):
        def function(n):
            def count():
                yield from range(n)

            return [x for x in count()], {x: x for x in range(2)}

        assert interp.call(function, 3) == ([0, 1, 2], {0: 0, 1: 1})

    def test_coroutine(self, interp):
        def function():
            import asyncio

            async def main():
                await asyncio.sleep(0)
                return 42

            return asyncio.run(main())

        assert interp.call(function) == 42

    def test_again_and_again(self, interp):
        def function(x):
            return x + 1

        value = 0
        for _ in range(500):
            value = interp.call(function, value)
        assert value == 500

    def test_many_functions(self, interp):
        for number in range(300):
            namespace = {}
            exec(f"def function(x): return x + {number}", namespace)
            assert interp.call(namespace["function"], 1) == number + 1

    def test_in_several_interpreters(self, interp):
        other = subinterpreters.create()

        def function():
            import subinterpreters

            return subinterpreters.get_current().id

        assert interp.call(function) == interp.id
        assert other.call(function) == other.id
        other.close()

    def test_from_another_interpreter(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id)
        interp.exec("""
            import subinterpreters
            other = subinterpreters.Interpreter(other)
            def function(x):
                return [x, {'x': x}]
            result = other.call(function, 'spam')
            """)
        assert interp.call(eval, "result") == ["spam", {"x": "spam"}]
        interp.exec("del other")
        other.close()


class TestValues:
    @pytest.mark.parametrize("value", VALUES, ids=lambda v: ascii(v)[:40])
    def test_there_and_back(self, interp, value):
        def identity(x):
            return x

        back = interp.call(identity, value)
        assert type(back) is type(value)
        if not isinstance(value, operator.itemgetter):
            assert back == value
        assert interp.call(identity, x=[value])[0].__class__ is type(value)

    def test_nan(self, interp):
        assert math.isnan(interp.call(float, math.nan))

    def test_arguments_are_copies(self, interp):
        given = [1, {"a": 2}]

        def function(x):
            x[1]["a"] = 3
            x.append(4)
            return x

        assert interp.call(function, given) == [1, {"a": 3}, 4]
        assert given == [1, {"a": 2}]

    def test_results_are_copies(self, interp):
        interp.exec("x = [1]")
        interp.call(eval, "x").append(2)
        assert interp.call(eval, "x") == [1]

    def test_large(self, interp):
        data = os.urandom(5_000_000)
        assert interp.call(bytes, data) == data
        assert interp.call(eval, "'é' * 3_000_000") == "é" * 3_000_000
        numbers = list(range(200_000))
        assert interp.call(list, numbers) == numbers

    def test_deep(self, interp):
        value = []
        for _ in range(50):
            value = [value]
        assert interp.call(list, value) == value

    def test_exceptions_as_values(self, interp):
        def identity(x):
            return x

        back = interp.call(identity, ValueError("spam", 1))
        assert type(back) is ValueError
        assert back.args == ("spam", 1)

    def test_exception_result_is_not_raised(self, interp):
        back = interp.call(eval, "KeyError('x')")
        assert type(back) is KeyError
        assert back.args == ("x",)

    def test_interpreter_and_queue(self, interp):
        queue = subinterpreters.create_queue()

        def function(interp, queue):
            queue.put(interp.id)
            return interp, queue

        main = subinterpreters.get_main()
        assert interp.call(function, main, queue) == (main, queue)
        assert queue.get() == 0

    def test_memoryview_is_the_same_memory(self, interp):
        data = bytearray(b"spam")

        def function(view):
            view[0] = 83
            return view.nbytes

        assert interp.call(function, memoryview(data)) == 4
        assert data == b"Spam"


class TestNotShareable:
    def test_argument(self, interp):
        with open(os.devnull) as file, pytest.raises(NotShareableError):
            interp.call(len, file)

    @pytest.mark.parametrize("value", ["lock", "module", "generator"])
    def test_kinds(self, interp, value):
        bad = {
            "lock": threading.Lock(),
            "module": os,
            "generator": (x for x in ()),
        }[value]
        with pytest.raises(NotShareableError):
            interp.call(id, bad)
        with pytest.raises(NotShareableError):
            interp.call(id, [bad])

    def test_result(self, interp):
        with pytest.raises(NotShareableError):
            interp.call(eval, "__import__('threading').Lock()")
        with pytest.raises(NotShareableError):
            interp.call(eval, "[1, (x for x in ())]")
        assert interp.call(eval, "1") == 1

    def test_callable(self, interp):
        class Callable:
            def __init__(self):
                self.lock = threading.Lock()

            def __call__(self):
                pass

        with pytest.raises(NotShareableError):
            interp.call(Callable())

    def test_nothing_ran(self, interp):
        def function(bad):
            globals()["ran"] = True

        with pytest.raises(NotShareableError):
            interp.call(function, threading.Lock())
        assert interp.call(eval, "'ran' in globals()") is False

    def test_pickling_that_raises(self, interp):
        class Bad:
            def __reduce__(self):
                raise RuntimeError("no way")

        with pytest.raises(NotShareableError) as caught:
            interp.call(id, [Bad()])
        chain, exc = [], caught.value
        while exc is not None:
            chain.append(str(exc))
            exc = exc.__cause__
        assert "no way" in "\n".join(chain)

    def test_unpickling_that_raises(self, interp):
        class Bad:
            def __reduce__(self):
                return int, ("spam",)

        with pytest.raises(NotShareableError):
            interp.call(id, [Bad()])
        assert interp.call(eval, "1") == 1


class TestRefused:
    @pytest.mark.parametrize("bad", [3, None, "len", [len]])
    def test_not_callable(self, interp, bad):
        with pytest.raises(TypeError) as caught:
            interp.call(bad)
        assert str(caught.value) == f"expected a callable, got {bad!r}"

    def test_nothing(self, interp):
        with pytest.raises(TypeError):
            interp.call()

    def test_main(self):
        with pytest.raises(
            InterpreterError, match="^cannot make a call in unrecognized interpreter 0$"
        ):
            subinterpreters.get_main().call(len, ())

    def test_while_it_runs(self, interp, running):
        with running(interp):
            with pytest.raises(InterpreterError, match="^interpreter already running$"):
                interp.call(len, ())
        assert interp.call(len, ()) == 0

    def test_itself(self, interp):
        def function():
            import subinterpreters

            subinterpreters.get_current().call(len, ())

        with pytest.raises(ExecutionFailed) as caught:
            interp.call(function)
        assert caught.value.excinfo.msg == "interpreter already running"

    def test_closed(self):
        interp = subinterpreters.create()
        interp.close()
        with pytest.raises(InterpreterNotFoundError):
            interp.call(len, ())


class TestErrors:
    def test_raised_there(self, interp):
        def function():
            raise ValueError("spam")

        with pytest.raises(ExecutionFailed) as caught:
            interp.call(function)
        info = caught.value.excinfo
        assert (info.type.__name__, info.msg) == ("ValueError", "spam")
        assert "in function" in info.errdisplay

    def test_the_interpreter_stays_usable(self, interp):
        for _ in range(20):
            with pytest.raises(ExecutionFailed):
                interp.call(eval, "1/0")
        assert interp.call(eval, "1") == 1

    def test_state_between_calls(self, interp):
        def change():
            import contextvars
            import decimal

            variable = contextvars.ContextVar("v", default=0)
            globals()["v"] = variable
            variable.set(1)
            decimal.getcontext().prec = 3
            return variable.get(), decimal.getcontext().prec

        assert interp.call(change) == (1, 3)
        look = "(v.get(), __import__('decimal').getcontext().prec)"
        assert interp.call(eval, look) == (0, 28)
        interp.exec(f"seen = {look}")
        assert interp.call(eval, "seen") == (0, 28)
