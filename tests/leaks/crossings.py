"""Send values of a type many times, and say what that left behind.

    python crossings.py [--count N] [--rounds N] [--warm-up N] [--kind KIND]...

A value crosses four times: there and back by a call, there and back through queues.
Prints a JSON object for each kind, on a line of its own: growth of CPython's memory
blocks and of the resident memory in KB, in a round of at least N crossings after the
warm-up; of several rounds the least, as what leaks does so in each.
"""

import argparse
import array
import ctypes
import datetime
import decimal
import fractions
import functools
import gc
import json
import os
import pathlib
import sys
import uuid

import subinterpreters

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python" / "transfer"))

import samples

# Values per batch: so many are in a queue at once.
BATCH = 100


def echo(value):
    return value


def closure(number):
    def inner(value=number):
        return number, value

    return inner


def local_class(number):
    class Local:
        value = number

        def method(self):
            return Local, number

    return Local()


def raised(number):
    try:
        try:
            raise KeyError(number)
        except KeyError as inner:
            raise samples.Custom("outer", number) from inner
    except samples.Custom as exc:
        exc.add_note("a note")
        exc.__traceback__ = None
        return exc


def picky(number):
    """Parts of it cannot cross, or cannot be built where they arrive."""
    return samples.error(
        ValueError(number),
        samples.error(samples.Refusing(number), lock=LOCKED),
        samples.Picky(number),
    )


def always(value):
    return lambda number: value


LOCKED = samples.Locked()
ONE_CLOSURE, ONE_LOCAL = closure(1), local_class(1)
SHARED = [1, "shared"]
RING = [SHARED]
RING.append(RING)

# What makes value number n of each kind. Where caches could grow with each new value,
# each is a new one, unless it interns names: CPython 3.12 keeps those for ever.
KINDS = {
    "None": always(None),
    "bool": always(True),
    "singletons": always((..., NotImplemented)),
    "small int": lambda n: n % 250,
    "int": lambda n: n * 1000,
    "64-bit int": lambda n: -(2**62) - n,
    "huge int": lambda n: 7**100 + n,
    "float": lambda n: n + 0.5,
    "complex": lambda n: complex(n, 1),
    "empty str": always(""),
    "ascii str": lambda n: f"text {n}",
    "latin1 str": lambda n: f"t\xe9xt {n}",
    "ucs2 str": lambda n: f"\u65e5\u672c {n}",
    "ucs4 str": lambda n: f"\U0001f600 {n}",
    "lone surrogate": lambda n: f"\ud800 {n}",
    "interned str": lambda n: sys.intern(f"name{n % 500}"),
    "long str": always("x" * 70_000),
    "bytes": lambda n: b"%d" % n,
    "long bytes": always(b"x" * 70_000),
    "bytearray": lambda n: bytearray(b"%d" % n),
    "long bytearray": always(bytearray(70_000)),
    "tuple": lambda n: (n, "a", None),
    "list": lambda n: [n, 2.5, "x", [n]],
    "dict": lambda n: {"a": n, 2: [3], (4, n): {"b": ()}},
    "dict with new names": lambda n: {f"key{n}": n, f"other{n}": {f"inner{n}": n}},
    "set": lambda n: {n, "a", (2, n)},
    "frozenset": lambda n: frozenset({n, frozenset({n})}),
    "shared and cyclic": lambda n: [SHARED, SHARED, RING],
    "range": lambda n: range(n, 10**30, 7),
    "slice": lambda n: slice(n, None, "x"),
    "datetime": lambda n: datetime.datetime.fromtimestamp(n, datetime.UTC),
    "date": lambda n: datetime.date.fromordinal(n % 10**6 + 1),
    "time": lambda n: datetime.time(microsecond=n % 10**6),
    "timedelta": lambda n: datetime.timedelta(n % 1000, n),
    "timezone": lambda n: datetime.timezone(datetime.timedelta(seconds=n % 80_000)),
    "Decimal": lambda n: decimal.Decimal(n).scaleb(-2),
    "Fraction": lambda n: fractions.Fraction(n, 7),
    "UUID": lambda n: uuid.UUID(int=n),
    "PurePath": lambda n: pathlib.PurePosixPath(f"/a/{n % 500}"),
    "enum": always(samples.Colour.GREEN),
    "flags": always(samples.Flags.A | samples.Flags.B),
    "namedtuple": lambda n: samples.Point(n, (2,)),
    "dataclass": lambda n: samples.Data(n, [n]),
    "frozen dataclass": lambda n: samples.Frozen(n, "a"),
    "slots": lambda n: samples.Slots(n, [2]),
    "plain instance": lambda n: samples.Plain([n]),
    "subclass of list": lambda n: samples.MyList([n]),
    "class by reference": always(samples.Plain),
    "function by reference": always(samples.function),
    "bound method": always("a b".split),
    "partial": lambda n: functools.partial(samples.function, n, key=n),
    "closure": always(ONE_CLOSURE),
    "new closures": closure,
    "local class": always(ONE_LOCAL),
    "new local classes": local_class,
    "array": lambda n: array.array("d", [n, 2.0]),
    "long array": always(array.array("d", bytes(80_000))),
    "memoryview": lambda n: memoryview(bytearray(b"%d" % n)),
    "exception": raised,
    "group": lambda n: ExceptionGroup("g", [ValueError(n), raised(n)]),
    "exception with bad parts": picky,
    "pickled by state": samples.Stateful,
    "ordered, counted, queued": always(
        [v for v in samples.VALUES if type(v).__module__ == "collections"]
    ),
}


def resident():
    """In KB, without what is merely free in the C library's heap."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Target:
    """The other interpreter, and the queues to it and back."""

    def __init__(self):
        self.interp = subinterpreters.create()
        self.there = subinterpreters.create_queue()
        self.back = subinterpreters.create_queue()
        self.made = 0
        self.interp.prepare_main(
            there=self.there, back=self.back, folder=sys.path[0], batch=BATCH
        )
        self.interp.exec(
            "import gc, sys\n"
            "sys.path.insert(0, folder)\n"
            "def relay():\n"
            "    for _ in range(batch):\n"
            "        back.put(there.get())\n"
        )

    def cross(self, make, crossings):
        """Both ways in turn, with new values."""
        call, put, get = self.interp.call, self.there.put, self.back.get
        for _ in range(-(-crossings // (4 * BATCH))):
            for number in range(self.made, self.made + BATCH):
                value = make(number)
                call(echo, value)
                put(value)
            self.interp.exec("relay()")
            for _ in range(BATCH):
                get()
            self.made += BATCH

    def measure(self):
        gc.collect()
        self.interp.exec("gc.collect()")
        # CPython counts those of all interpreters together.
        return {"blocks": sys.getallocatedblocks(), "rss": resident()}

    def growth(self, make, crossings, rounds):
        before, least = self.measure(), None
        for _ in range(rounds):
            self.cross(make, crossings)
            after = self.measure()
            grown = {name: after[name] - before[name] for name in before}
            least = {name: min((least or grown)[name], grown[name]) for name in grown}
            before = after
        return least


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=10_000)
    parser.add_argument("--kind", choices=KINDS, action="append")
    options = parser.parse_args()
    target = Target()
    for kind in options.kind or KINDS:
        target.cross(KINDS[kind], options.warm_up)
        target.measure()  # what the first measuring itself leaves behind does not count
        grown = target.growth(KINDS[kind], options.count, options.rounds)
        print(json.dumps({"kind": kind, **grown}), flush=True)
    target.interp.close()


if __name__ == "__main__":
    main()
