"""What fuzz_transfer.c starts with; it runs this with `engine`, the module under test.

`donor` is a packet with holds of all kinds, to which images may refer. With FUZZ_CORPUS
in the environment, the images of values of every type are written into that folder.
"""

import array
import collections
import datetime
import decimal
import enum
import fractions
import hashlib
import os
import pathlib
import pickle
import typing
import uuid

LARGE = 70_000


def closure():
    limit = [1]

    def inner(x, y=2):
        return limit, x, y

    return inner


class Local:
    def __init__(self, part):
        self.part = part


class Kind(enum.Enum):
    A = 1


HELD = [
    bytes(LARGE),
    "a" * LARGE,
    "\xe9" * LARGE,
    "\u20ac" * LARGE,
    "\U0001f600" * LARGE,
    bytearray(LARGE),
    memoryview(b"in place"),
    memoryview(bytearray(8)),
    pickle.PickleBuffer(b"buffer"),
    array.array("d", bytes(LARGE - LARGE % 8)),
    closure(),
    closure().__code__,
    Local,
    typing.TypeVar("T"),
    type(iter([])),
]
donor = engine.encode(HELD)  # noqa: F821

shared = [1, {"a": 2}]
cycle = [1]
cycle.append(cycle)
chained = ValueError("top")
chained.__cause__ = ExceptionGroup("g", [ValueError(iter(shared)), KeyError([shared])])
chained.__cause__.attribute = Local({"a": iter, "b": (iter(()), shared)})
chained.__context__ = KeyError(iter([]), chained)
VALUES = [
    *HELD,
    HELD,
    *(None, True, ..., NotImplemented, 0, -1, 1000, 2**40, 2**100, -(2**100), 1.5, 2j),
    *(
        "",
        "x",
        "name",
        "text with spaces",
        "\xe9t\xe9",
        "\u20ac",
        "\U0001f600",
        "\ud800",
    ),
    *(b"", b"bytes", bytearray(b"bytes"), (), (1, "a"), [], [1.0, 2.0, 3.0]),
    [shared, shared, (shared,)],
    cycle,
    [{"id": 1, "name": "n", "v": [1.0]}, {"id": 2, "name": "m", "v": []}],
    [{"a": 1, "b": 2}, {"a": 1, "c": 2}, {"b": 1, "a": 2}, {1: 2}],
    *(
        {1, "a", (2, 3)},
        frozenset({1, frozenset({2})}),
        range(0, 10**30, 7),
        slice(1, 2),
    ),
    datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    *(datetime.date(2020, 1, 2), datetime.time(1, 2, 3), datetime.timedelta(1, 2, 3)),
    *(decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=7)),
    *(pathlib.PurePosixPath("/a/b"), array.array("i", [1, 2])),
    *(collections.OrderedDict(a=1), collections.defaultdict(list, a=[1])),
    *(collections.Counter("hello"), collections.deque([1, 2], maxlen=3)),
    *(int, len, Local([1]), [Local(1), Local(2)], Kind.A),
    ExceptionGroup("g", [ValueError("v"), KeyError("k")]),
    chained,
]

if "FUZZ_CORPUS" in os.environ:
    for value in VALUES:
        image = engine.dump(value)  # noqa: F821
        name = hashlib.sha1(image).hexdigest()[:12]
        pathlib.Path(os.environ["FUZZ_CORPUS"], name).write_bytes(image)

# These end the process, and raise no audit event that could refuse them.
import posix  # noqa: E402

for module in (os, posix):
    for name in ("_exit", "abort", "nice", "umask"):
        delattr(module, name)
