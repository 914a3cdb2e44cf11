"""Counting: what pytest's report and a printed total say, and their sum."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

TOTAL = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    retried: int = 0  # of those that passed: the first attempt failed
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.retried += other.retried
        self.reasons += other.reasons

    @property
    def good(self) -> bool:
        """Whether something ran and nothing failed."""
        return self.passed > 0 and self.failed == 0


def skip(reason: str) -> Outcome:
    return Outcome(skipped=1, reasons=Counter([reason]))


def from_total(line: str) -> Outcome | None:
    """The counts of a line that is a plain total, else None."""
    match = TOTAL.fullmatch(line.strip())
    if match is None:
        return None
    passed, failed, skipped = (int(count) for count in match.groups())
    return Outcome(passed, failed, skipped)


def from_junit(report: Path) -> Outcome:
    """The counts of a JUnit report; a test that fails anywhere failed once."""
    worst: dict[tuple[str, str], tuple[int, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        verdict, reason = 0, ""
        for note in case:
            if note.tag in ("failure", "error"):
                verdict = 2
            elif note.tag == "skipped" and verdict == 0:
                verdict, reason = 1, note.get("message", "")
                if note.get("type") == "pytest.xfail":
                    reason = f"expected to fail: {reason}"
        key = (case.get("classname", ""), case.get("name", ""))
        worst[key] = max(worst.get(key, (0, "")), (verdict, reason))
    result = Outcome()
    for verdict, reason in worst.values():
        result.passed += verdict == 0
        result.skipped += verdict == 1
        result.failed += verdict == 2
        if verdict == 1:
            result.reasons[reason] += 1
    return result
