"""Enums of a script: their members are as they are, whatever made them."""

import textwrap

import pytest

HEAD = """
import dataclasses, datetime, decimal, enum, sys
import subinterpreters
call = subinterpreters.create().call
def same(value): return value
"""

CASES = {
    "what __init__ and __new__ made": """
        class Planet(enum.Enum):
            EARTH = 5, 6
            def __init__(self, mass, radius): self.mass, self.radius = mass, radius
            @property
            def gravity(self): return self.mass / self.radius
        class Unit(bytes, enum.Enum):
            def __new__(cls, value, label):
                member = bytes.__new__(cls, [value])
                member._value_, member.label = value, label
                return member
            PX = 0, "P.X"
            PY = 1, "P.Y"
        class Later(enum.Enum):
            A = 1
        Later.A.mark, Later.more = "marked", 2
        def f():
            return (Planet.EARTH.gravity, Unit(1).label, bytes(Unit.PX), Unit.PX.value,
                    Later.A.mark, Later.more)
        assert call(f) == f()
        assert call(same, Unit.PY) is Unit.PY
        """,
    "members of other types": """
        class Day(datetime.date, enum.Enum): FIRST = 2020, 1, 2
        class Time(datetime.datetime, enum.Enum): FIRST = 2020, 1, 2, 3
        class Price(decimal.Decimal, enum.Enum): LOW = "1.5"
        class Pair(tuple, enum.Enum): A = 1, 2
        class Many(list, enum.Enum): A = [1, 2]
        class Named(dict, enum.Enum): A = {1: 2}
        class Set(frozenset, enum.Enum): A = ((1, 2),)
        def f():
            return (Day.FIRST.day, Time.FIRST.hour, Price.LOW + 1, Pair.A[1],
                    list(Many.A), dict(Named.A), sorted(Set.A),
                    Day(datetime.date(2020, 1, 2)).name)
        assert call(f) == f()
        for cls in (Day, Time, Price, Pair, Many, Named, Set):
            member = next(iter(cls))
            assert call(same, member) is member
        """,
    "members that are data classes, or say what their state is": """
        @dataclasses.dataclass(frozen=True, slots=sys.version_info >= (3, 14))
        class Info:
            a: int
            b: str = "b"
        class Kind(Info, enum.Enum):
            ONE = 1, "one"
            TWO = 2
        class Odd(enum.Enum):
            A = 1
            def __getstate__(self): return "odd"
            def __setstate__(self, state): raise RuntimeError(state)
            def __reduce__(self): return getattr, (Odd, self.name)
        def f():
            return Kind.ONE.b, Kind.TWO.a, Kind.TWO.name, repr(Kind.ONE), Odd(1).name
        assert call(f) == f()
        assert call(same, Kind.TWO) is Kind.TWO
        """,
    "members and classes that lead to each other": """
        class Shape:
            def kind(self): return Kind.SHAPE
        class Kind(enum.Enum):
            SHAPE = Shape
            OTHER = int
            def partner(self, default=None): return Kind.OTHER
            def default(self, value=None): return value
        Kind.default.__defaults__ = (Kind.SHAPE,)
        Kind.OTHER.next = Kind.SHAPE
        Shape.other = Kind.OTHER
        def f():
            return (Kind.SHAPE.value().kind() is Kind.SHAPE, Shape.other is Kind.OTHER,
                    Kind.SHAPE.default() is Kind.SHAPE, Kind(Shape) is Kind.SHAPE,
                    Kind.SHAPE.partner() is Kind.OTHER, Kind.OTHER.next is Kind.SHAPE)
        def g(): return Shape.other is Kind.OTHER
        assert call(f) == f() == (True,) * 6
        assert subinterpreters.create().call(g)
        assert subinterpreters.create().call(same, Kind.OTHER) is Kind.OTHER
        """,
    "flags and aliases": """
        class Right(enum.Flag):
            READ, WRITE = 1, 2
            BOTH = 3
        class Names(enum.IntEnum):
            real = 1
            name = 2
            again = 1
        both = Right.READ | Right.WRITE
        def f():
            return (list(Right.BOTH), repr(~Right.READ), Right(0).name, repr(Right(0)),
                    Names.real.value, Names.again is Names.real,
                    list(Names.__members__))
        assert repr(call(lambda: repr(f()))) == repr(repr(f()))
        assert call(same, both) is both
        """,
    "what the members refuse": """
        class Kind(enum.Enum): A = 1
        def f():
            told = []
            for act in (lambda: setattr(Kind, "A", 3), lambda: delattr(Kind, "A"),
                        lambda: Kind(9), lambda: type("Sub", (Kind,), {})):
                try:
                    act()
                except Exception as error:
                    told.append(repr(error))
            return told
        assert call(f) == f() and len(f()) == 4
        """,
    "what cannot cross": """
        class Kind(enum.Enum):
            A = 1
            def __init__(self, value): self.lock = open(0)
        try:
            call(same, Kind.A)
        except subinterpreters.NotShareableError as error:
            assert "members" in str(error) and "TextIOWrapper" in str(error), error
        else:
            raise AssertionError
        """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_enum(script, case):
    assert script.ok(HEAD + textwrap.dedent(CASES[case])) == ""
