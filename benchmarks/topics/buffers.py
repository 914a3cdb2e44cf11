"""Large memory: copied once, or not at all."""

from __future__ import annotations

import array
import os
from contextlib import ExitStack
from types import ModuleType

import subinterpreters

from harness.backends import OURS, modules
from harness.measure import statement
from harness.report import Goal, Report
from topics.queues import through

GB = 1 << 30
COPY = "one memcpy into fresh memory"


def length(value):
    return len(value)


def _size(quick: bool) -> int:
    """A GB, or less if that does not fit several times over."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = GB // 16 if quick else GB
    while size * 6 > free and size > 1 << 20:
        size //= 2
    return size


def run(report: Report) -> None:
    size = _size(report.settings.quick)
    report.note(f"each value: {size >> 20} MB")
    with ExitStack() as stack:
        interps = {}
        for name, module in modules().items():
            interps[name] = module.create()
            stack.callback(interps[name].close)
        _called(report, size, interps)
        _queued(report, size, modules())
        _shared(report, size, interps)


def _called(report: Report, size: int, interps) -> None:
    """The argument of a call: one copy, as the sender waits."""
    for case, value, goals in (
        ("bytes", bytes(size), ()),
        ("str", "x" * size, ()),
        ("bytearray", bytearray(size), ()),
        ("array.array", array.array("B", bytes(size)), [Goal(COPY, at_least=1 / 1.15)]),
    ):
        turns = {
            name: statement("c(f, value)", c=interp.call, f=length, value=value)
            for name, interp in interps.items()
        }
        source = value.encode() if isinstance(value, str) else value
        turns[COPY] = statement("bytearray(value)", value=source)
        report.compare(f"call(len, {case})", turns, goals)


def _queued(report: Report, size: int, found: dict[str, ModuleType]) -> None:
    for case, value in (
        ("bytes", bytes(size)),
        ("bytearray", bytearray(size)),
        ("array.array", array.array("B", bytes(size))),
    ):
        turns = {
            n: through(module.create_queue(), value) for n, module in found.items()
        }
        turns[COPY] = statement("bytearray(value)", value=value)
        report.compare(f"put + get: {case}", turns)


def _shared(report: Report, size: int, interps) -> None:
    """Used in place by both sides."""
    value = array.array("d", bytes(size))
    for case, wrapped in (
        ("memoryview of an array", memoryview(value)),
        ("share(array)", getattr(subinterpreters, "share", lambda array: None)(value)),
    ):
        if wrapped is None:
            report.note("share() is not there yet: not measured")
            continue
        turns = {
            name: statement("c(f, value)", c=interp.call, f=length, value=wrapped)
            for name, interp in interps.items()
            if name == OURS or "share" not in case
        }
        report.compare(f"call(len, {case})", turns, [Goal(at_most=10e-6)])
