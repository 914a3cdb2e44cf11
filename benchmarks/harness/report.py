"""Results: judged by the goals of the project, printed as tables, kept as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.backends import OURS, STDLIB
from harness.measure import Series, Settings, Turn, in_turns, ratios

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"), (1, "B"))


Verdict = tuple[str, bool]  # a goal in words, and whether it was reached


@dataclass(frozen=True)
class Goal:
    """One thing that a result must reach. Exactly one limit is set.

    against says which contender's ratio is meant; a limit on our own value has none.
    """

    against: str = ""
    at_least: float | None = None  # that ratio
    at_most: float | None = None  # our own value
    margin: float | None = None  # our value is that contender's plus this, or less

    def judge(
        self, medians: Mapping[str, float], ratio: Mapping[str, float], unit: str
    ) -> Verdict | None:
        """-> (text, reached), or None if the contender was not measured."""
        ours = next(iter(medians.values()))
        if self.at_most is not None:
            text = f"at most {show(self.at_most, unit)}: {show(ours, unit)}"
            return text, ours <= self.at_most
        if self.against not in medians:
            return None
        if self.margin is not None:
            limit = medians[self.against] + self.margin
            text = f"at most {self.against} + {show(self.margin, unit)}"
            return f"{text}: {show(ours - medians[self.against], unit)}", ours <= limit
        assert self.at_least is not None
        value = ratio[self.against]
        text = f"{self.against} at least {self.at_least:.3g} times: {value:.4g}"
        return text, value >= self.at_least


def show(value: float, unit: str) -> str:
    scales = {"s": _SECONDS, "B": _BYTES}.get(unit)
    if scales is None:
        return f"{value:.3g} {unit}".rstrip()
    scale, name = next((s for s in scales if abs(value) >= s[0]), scales[-1])
    scaled = value / scale
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:.{digits}f} {name}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _range(low: str, high: str) -> str:
    return f"({low} .. {high})"


class Report:
    """Collects the results of one topic and prints each as soon as it is there."""

    def __init__(self, path: Path, settings: Settings):
        self.path = path
        self.settings = settings
        self.cases: list[dict[str, object]] = []
        self.failed = 0

    def compare(
        self, case: str, turns: Mapping[str, Turn | None], goals: Sequence[Goal] = ()
    ) -> dict[str, float]:
        """Time TURNS, the first of which is ours, and print the result.

        A contender that fails is left out and counted; if ours fails, so does the
        case. One that cannot be measured is None. Returns the median ratio of each
        contender to ours.
        """
        if next(iter(turns.values())) is None:
            return {}
        good: dict[str, Turn] = {}
        errors: dict[str, str] = {}
        for name, turn in turns.items():
            if turn is None:
                continue
            try:
                turn(1)
            except Exception as error:
                errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                good[name] = turn
        if next(iter(turns)) in errors:
            good = {}
        return self.add(case, "s", in_turns(good, self.settings), goals, errors)

    def add(
        self,
        case: str,
        unit: str,
        results: Mapping[str, Series],
        goals: Sequence[Goal] = (),
        errors: Mapping[str, str] | None = None,
    ) -> dict[str, float]:
        """Print and keep RESULTS, the first of which is ours."""
        errors = errors or {}
        self.failed += len(errors)
        base = next(iter(results.values())) if results else None
        against = {
            name: ratios(series, base)
            for name, series in results.items()
            if base is not None and series is not base and min(base.values) > 0
        }
        middle = {name: statistics.median(values) for name, values in against.items()}
        medians = {name: series.median for name, series in results.items()}
        verdicts: list[Verdict] = []
        for goal in goals if results else ():
            verdict = goal.judge(medians, middle, unit)
            if verdict is not None:
                verdicts.append(verdict)
        self._print(case, unit, results, against, errors, verdicts)
        self._keep(
            case,
            verdicts,
            unit=unit,
            values={name: series.values for name, series in results.items()},
            loops={name: series.loops for name, series in results.items()},
            median=medians,
            ratio=middle,
            errors=dict(errors),
        )
        return middle

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def judge(self, text: str, reached: bool) -> None:
        """A goal on several results together."""
        self.note(f"goal {'reached' if reached else 'MISSED '}  {text}")
        self._keep(text, [(text, reached)])

    def _keep(self, case: str, verdicts: Sequence[Verdict], **more: object) -> None:
        goals = [{"goal": text, "reached": reached} for text, reached in verdicts]
        self.cases.append({"case": case, **more, "goals": goals})
        # Each time, so that a crash later on loses nothing.
        self.path.write_text(json.dumps(self.cases), encoding="utf-8")

    def _print(
        self,
        case: str,
        unit: str,
        results: Mapping[str, Series],
        against: Mapping[str, Sequence[float]],
        errors: Mapping[str, str],
        verdicts: Sequence[Verdict],
    ) -> None:
        print(f"\n{case}")
        for name, series in results.items():
            values = against.get(name)
            ratio, spread = "1", ""
            if values is not None:
                ratio = _number(statistics.median(values))
                spread = _range(_number(min(values)), _number(max(values)))
            elif series is not next(iter(results.values())):
                ratio = "-"
            low, middle, high = (
                show(value, unit)
                for value in (min(series.values), series.median, max(series.values))
            )
            own = f"{middle:>8} {_range(low, high)}"
            print(f"  {name:30} {ratio:>7} {spread:>17}   {own}")
        for name, error in errors.items():
            print(f"  {name:30}  failed: {error}")
        for text, reached in verdicts:
            self.note(f"goal {'reached' if reached else 'MISSED '}  {text}")
        print(end="", flush=True)


HEADER = f"""\
ratio: how many times as long as the first row ({OURS}) it took, in the same
round; the median of all rounds (least .. greatest). Each round gives every row one
turn, A B C, A B C, after a warm-up; collector on. {STDLIB}: CPython's own."""
