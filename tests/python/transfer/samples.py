"""Types that the interpreters of a test import, and values of each type that cross."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import threading
import uuid
from typing import NamedTuple


def function(*args, key=0):
    return args, key


class Plain:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None


class Shadowed(Plain):
    """Its attributes are in its __dict__, behind properties of the same names."""

    def __init__(self, doubled, fixed):
        self.__dict__.update(doubled=doubled, fixed=fixed, plain=[fixed])

    @property
    def doubled(self):
        return self.__dict__["doubled"]

    @doubled.setter
    def doubled(self, value):
        self.__dict__["doubled"] = 2 * value

    @property
    def fixed(self):
        return "what the property says"


class Node:
    """Compared by identity."""


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)

    __hash__ = None


@dataclasses.dataclass
class Data:
    number: int
    items: list


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    number: int
    text: str


class Pair(NamedTuple):
    first: int
    second: str = "x"


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the older way too


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


class Flags(enum.Flag):
    A = 1
    B = 2


class MyList(list):
    pass


class MyDict(dict):
    pass


class MyInt(int):
    pass


class Stateful:
    def __init__(self, value):
        self.value = value

    def __getstate__(self):
        return {"kept": self.value}

    def __setstate__(self, state):
        self.value = state["kept"] + 1


class Locked:
    def __init__(self):
        self.lock = threading.Lock()


class Custom(Exception):
    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Failing:
    def __reduce_ex__(self, protocol):
        raise RuntimeError("not today")


class Lying:
    def __init__(self, reduced):
        self.reduced = reduced

    def __reduce_ex__(self, protocol):
        return self.reduced


class Shrinking:
    """Empties a container while it is being sent."""

    def __init__(self, container):
        self.container = container

    def __reduce_ex__(self, protocol):
        self.container.clear()
        return int, (1,)


class Refusing(Exception):
    def __reduce__(self):
        raise RuntimeError("not today")


class Picky(Exception):
    """Cannot be built where it arrives."""

    def __reduce__(self):
        return int, (str(self.args),), {"a": [self.args]}


def error(exc, cause=None, context=None, notes=(), **attributes):
    exc.__cause__, exc.__context__ = cause, context
    exc.__suppress_context__ = cause is not None
    for note in notes:
        exc.add_note(note)
    vars(exc).update(attributes)
    return exc


def chain(links):
    """An exception with that many others behind it, as context and cause in turn."""
    exc = None
    for i in range(links):
        exc = error(ValueError(i), *((exc, None) if i % 2 else (None, exc)))
    return exc


def errors():
    """Exceptions that cross, though not all of their parts can."""
    plain = {"a": [1], "b": Plain("b")}
    return [
        error(ValueError("v"), KeyError("k"), TypeError("t"), ["note"], plain=plain),
        ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError(plain)])]),
        Custom("text", 5),
        chain(20),
        error(ValueError(1), context=error(KeyError(1), lock=Locked(), plain=plain)),
        error(ValueError(1), Refusing(1, plain), KeyError(plain, plain), plain=plain),
        error(
            ValueError(1), Picky(plain, [plain]), error(KeyError(), Picky(), p=plain)
        ),
        error(
            ValueError(1),
            ExceptionGroup(
                "g", [KeyError([plain, Locked()]), Picky(plain), Refusing()]
            ),
        ),
    ]


VALUES = [
    None,
    True,
    False,
    ...,
    NotImplemented,
    *(
        sign * (2**bits + d)
        for bits in (0, 7, 15, 29, 30, 31, 60, 62, 63, 64, 200)
        for d in (-1, 0, 1)
        for sign in (1, -1)
    ),
    0.0,
    -0.0,
    1.5,
    float("inf"),
    1 + 2j,
    "",
    "a",
    "\xff",
    "ascii" * 20,
    "\xe9" * 10,
    "\u65e5\u672c",
    "\U0001f600x",
    "\ud800",
    "a\0b",
    "x" * 70000,
    "\xe9" * 70000,
    "\u65e5" * 70000,
    "\U0001f600" * 70000,
    b"",
    b"a",
    b"ab\0" * 100,
    b"z" * 70000,
    bytearray(b"xyz"),
    bytearray(b"q" * 70000),
    (),
    (1, "a", None),
    [],
    [1, 2.0, "x"],
    [1.0, 2.0],
    [1.0, "x"],
    {},
    {"a": 1, 2: [3], (4, 5): {"b": ()}},
    {f"k{i}": i for i in range(100)},
    [{"a": 1, "b": 2}, {"a": 1, "c": 2}, {"a": 3, "b": 4}, {"b": 1, "a": 2}],
    set(),
    {1, "a", (2, 3)},
    frozenset(),
    frozenset({1, frozenset({2})}),
    range(10),
    range(0, 10**30, 7),
    slice(1, None, "x"),
    datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
    datetime.date(2020, 1, 2),
    datetime.time(1, 2, 3),
    datetime.timedelta(1, 2, 3),
    datetime.timezone(datetime.timedelta(hours=2), "x"),
    decimal.Decimal("1.50"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=7),
    pathlib.PurePosixPath("/a/b"),
    array.array("d", [1.0, 2.0]),
    array.array("i", range(40000)),
    collections.OrderedDict(a=1, b=2),
    collections.defaultdict(list, a=[1]),
    collections.Counter("hello"),
    collections.deque([1, 2], maxlen=3),
    int,
    type(None),
    len,
    function,
    Plain,
    Plain([1]),
    [Plain(i) for i in range(3)],
    [Shadowed(i, str(i)) for i in range(3)],
    Slots(1, [2]),
    Data(1, [2]),
    Frozen(1, "a"),
    Pair(1),
    Point(1, (2,)),
    Colour.GREEN,
    Flags.A | Flags.B,
    MyList([1]),
    MyDict(a=1),
    MyInt(5),
]
