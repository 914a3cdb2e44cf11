"""Corners where what arrived was once not what had been sent."""

import textwrap

import pytest

HEAD = """
import enum
import functools
import typing
import subinterpreters
interp = subinterpreters.create()
call = interp.call
def same(value): return value
"""

CASES = {
    "methods and private names of enums": """
        class Color(enum.Enum):
            RED = 1
            __secret = 5
            @classmethod
            def _missing_(cls, value): return cls.RED
            @staticmethod
            def _help(): return "helped"
            @property
            def _text(self): return self.name.lower()
            def secret(self): return self.__secret
        def f():
            red = Color(99)
            return red.name, Color._help(), red._text, red.secret()
        assert call(f) == f() == ("RED", "helped", "red", 5)
        assert call(same, Color.RED) is Color.RED
    """,
    "partialmethod": """
        class K:
            v = 2
            def m(self, *args, **kwargs): return self.v, args, kwargs
            p = functools.partialmethod(m, 1, b=9)
            q = functools.partialmethod(p, 5)
        def f(k): return k.p(3), k.q(4)
        assert call(f, K()) == f(K())
        assert f(K()) == ((2, (1, 3), {"b": 9}), (2, (1, 5, 4), {"b": 9}))
        assert call(K().p) == (2, (1,), {"b": 9})
    """,
    "typed dicts": """
        class Row(typing.TypedDict, total=False): a: int
        class Wide(Row): b: str
        T = typing.TypeVar("T")
        class Box(typing.TypedDict, typing.Generic[T]): item: T
        def f(): return Row(a=1), Wide(a=1, b="x"), Box(item=2), Row.__total__
        assert call(f) == f()
        assert call(lambda row: typing.is_typeddict(row), Row)
        assert call(same, Wide) is Wide
    """,
    "named tuples with a state": """
        class Point(typing.NamedTuple):
            log: list
            def __getstate__(self): return "state"
            def __setstate__(self, state): self.log.append(state)
        assert call(lambda p: p.log, Point([])) == ["state"]
    """,
    "arguments of subclasses of OSError": """
        class Lost(OSError):
            def __init__(self, *args, extra=None):
                super().__init__(*args)
                self.extra = extra
        exc = Lost(2, "no", "one", None, "two", extra=[1])
        got = call(same, exc)
        assert got.args == exc.args == (2, "no")
        assert (got.filename, got.filename2, got.extra) == ("one", "two", [1])
        assert repr(got) == repr(exc) and str(got) == str(exc)
    """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_corners(script, case):
    script.ok(HEAD + textwrap.dedent(CASES[case]) + "\ninterp.close()\n")
