"""Time several ways of doing one thing, in turns.

A round gives each contender one turn, in the same order: A B C, A B C, ... What slows
the machine down for a while slows all of them down, so the ratio of two turns of one
round is worth more than the ratio of two times that were taken minutes apart. A turn
repeats its work often enough to last a fixed time, found out in the warm-up.
"""

from __future__ import annotations

import gc
import statistics
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# Does the work that many times; returns the seconds that it took.
Turn = Callable[[int], float]


class Clock:
    """Which time is measured: set once, before any turn is made.

    Processor time of the measuring thread is what is left on a machine where others
    work as well. It knows nothing of waiting, so what waits for another thread or
    process is not measured then.
    """

    now: Callable[[], float] = time.perf_counter
    processor = False

    @classmethod
    def use_processor_time(cls) -> None:
        cls.now = time.thread_time
        cls.processor = True


CASE_SECONDS = 30  # about the longest that a case may take


@dataclass(frozen=True)
class Settings:
    rounds: int
    turn_seconds: float  # how long a turn should last
    quick: bool = False


FULL = Settings(rounds=15, turn_seconds=0.05)
QUICK = Settings(rounds=5, turn_seconds=0.01, quick=True)


@dataclass
class Series:
    """What one contender needed, per piece of work: a value for each round."""

    loops: int
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def statement(source: str, **names: object) -> Turn:
    """A turn that runs SOURCE in a loop, with NAMES as its globals.

    The garbage collector stays on, as it is in programs.
    """
    timer = timeit.Timer(source, "import gc; gc.enable()", Clock.now, globals=names)
    return timer.timeit


def function(work: Callable[[], object]) -> Turn:
    """A turn that calls WORK in a loop."""
    return statement("work()", work=work)


def waiting(turn: Turn) -> Turn | None:
    """TURN, whose work is done by others too; None if it cannot be measured."""
    return None if Clock.processor else turn


def _loops_for(turn: Turn, seconds: float) -> int:
    """Warm up, and find how often a turn must repeat to last SECONDS."""
    loops = 1
    while True:
        took = turn(loops)
        if took >= seconds / 2 or loops >= 1 << 26:
            return max(1, round(loops * seconds / max(took, 1e-9)))
        loops *= 2 if took > seconds / 20 else 10


def in_turns(turns: Mapping[str, Turn], settings: Settings) -> dict[str, Series]:
    """Measure TURNS round by round. An exception of any of them goes through."""
    series = {
        name: Series(_loops_for(turn, settings.turn_seconds))
        for name, turn in turns.items()
    }
    # A case of minutes gets fewer rounds.
    once = sum(turn(series[name].loops) for name, turn in turns.items())
    rounds = min(settings.rounds, max(3, round(CASE_SECONDS / max(once, 1e-9))))
    for _ in range(rounds):
        for name, turn in turns.items():
            gc.collect()
            one = series[name]
            one.values.append(turn(one.loops) / one.loops)
    return series


def ratios(series: Series, base: Series) -> list[float]:
    """SERIES as multiples of BASE, round by round."""
    return [a / b for a, b in zip(series.values, base.values, strict=True)]


def geometric_mean(values: Sequence[float]) -> float:
    return statistics.geometric_mean(values)
