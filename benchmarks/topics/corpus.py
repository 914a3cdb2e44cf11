"""Values that programs send: built the same way each time."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Point:
    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    customer: str
    amounts: list[float]
    paid: bool


WORDS = ("spam", "ham", "eggs", "bacon", "sausage", "lobster", "thermidor", "crevette")
FOREIGN = "Einhörner 北京 бутерброд "


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def _statuses(rng: random.Random, count: int) -> object:
    """A document as a web service sends it, after json.loads."""
    return {
        "statuses": [
            {
                "id": rng.getrandbits(60),
                "text": _text(rng, 18),
                "truncated": False,
                "user": {
                    "id": rng.getrandbits(32),
                    "name": _text(rng, 2),
                    "followers": rng.randrange(10_000),
                    "verified": rng.random() < 0.1,
                    "url": None,
                },
                "entities": {
                    "hashtags": [{"text": _text(rng, 1), "indices": [3, 9]}],
                    "urls": [],
                },
                "score": rng.random(),
            }
            for _ in range(count)
        ],
        "search_metadata": {"count": count, "completed_in": 0.035},
    }


def _shapes(rng: random.Random, count: int) -> object:
    """A document of coordinates."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"name": _text(rng, 3)},
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [
                        [[rng.uniform(-180, 180), rng.random()] for _ in range(60)]
                    ],
                },
            }
            for _ in range(count)
        ],
    }


def _row(rng: random.Random, i: int) -> tuple[object, ...]:
    return (i, _text(rng, 2), rng.random(), rng.random() < 0.5, None, f"row-{i}")


def _parsed(document: object) -> object:
    # Only a parsed document shares its keys as one does.
    return json.loads(json.dumps(document))


def _datetimes(rng: random.Random, count: int) -> object:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    minute = datetime.timedelta(minutes=1)
    return [start + rng.randrange(10**6) * minute for _ in range(count)]


def _orders(rng: random.Random, count: int) -> object:
    return [
        Order(i, _text(rng, 2), [rng.random(), 1.5], i % 2 == 0) for i in range(count)
    ]


def _points(rng: random.Random, count: int) -> object:
    return [Point(rng.random(), rng.random(), _text(rng, 1)) for _ in range(count)]


def _sets_of_str(rng: random.Random, count: int) -> object:
    def one() -> frozenset[str]:
        return frozenset(f"{_text(rng, 1)} {rng.randrange(1000)}" for _ in range(50))

    return [one() for _ in range(count)]


# The corpus whose geometric mean is a goal: how to make each value, and how large.
MIXED: dict[str, tuple[Callable[[random.Random, int], object], int]] = {
    "JSON, statuses": (lambda r, n: _parsed(_statuses(r, n)), 300),
    "JSON, coordinates": (lambda r, n: _parsed(_shapes(r, n)), 100),
    "rows of tuples": (lambda r, n: [_row(r, i) for i in range(n)], 10_000),
    "dataclasses": (_points, 3000),
    "dataclasses, frozen, slots": (_orders, 3000),
    "long strings, ASCII": (lambda r, n: [_text(r, 2000) for _ in range(n)], 100),
    "long strings, other": (
        lambda r, n: [FOREIGN * 200 + str(i) for i in range(n)],
        100,
    ),
    "short strings": (lambda r, n: [_text(r, 2) + str(i) for i in range(n)], 20_000),
    "sets of int": (
        lambda r, n: [{r.randrange(1000) for _ in range(50)} for _ in range(n)],
        200,
    ),
    "sets of str": (_sets_of_str, 200),
    "bytes, 1 KB each": (lambda r, n: [r.randbytes(1000) for _ in range(n)], 2000),
    "ints": (
        lambda r, n: [r.getrandbits(r.randrange(1, 64)) for _ in range(n)],
        50_000,
    ),
    "floats": (lambda r, n: [r.random() for _ in range(n)], 50_000),
    "datetimes": (_datetimes, 2000),
}


def mixed(name: str, scale: float = 1.0) -> object:
    """One value of the corpus, SCALE times its ordinary size."""
    make, count = MIXED[name]
    return make(random.Random(1729), round(count * scale))
