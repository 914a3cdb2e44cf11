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

MB = 1 << 20
COPY = "one memcpy into fresh memory"
MADE = {"bytes": "bytes(size)", "str": "'x' * size", "bytearray": "bytearray(size)"}


def give():
    import __main__

    return __main__.kept


def length(value):
    return len(value)


def _fits(size: int) -> bool:
    """Whether SIZE fits several times over."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return size * 6 < free


def run(report: Report) -> None:
    with ExitStack() as stack:
        interps = {}
        for name, module in modules().items():
            interps[name] = module.create()
            stack.callback(interps[name].close)
        _called(report, 64 * MB, interps)
        _returned(report, 64 * MB, interps)
        _queued(report, 64 * MB, modules())
        if not report.settings.quick and _fits(1024 * MB):
            # CPython's own module would take minutes.
            _called(report, 1024 * MB, {OURS: interps[OURS]})
        _shared(report, 64 * MB if report.settings.quick else 1024 * MB, interps)


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
        report.compare(f"call(len, {case} of {size // MB} MB)", turns, goals)


def _returned(report: Report, size: int, interps) -> None:
    """The result of a call: one copy as well."""
    for case in ("bytes", "str", "bytearray"):
        turns = {}
        for name, interp in interps.items():
            interp.exec(f"size = {size}")
            interp.exec("kept = " + MADE[case])
            turns[name] = statement("c(f)", c=interp.call, f=give)
        turns[COPY] = statement("bytearray(value)", value=bytes(size))
        report.compare(f"{case} of {size // MB} MB as the result of a call", turns)
        for interp in interps.values():
            interp.exec("del kept")


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
        report.compare(f"put + get: {case} of {size // MB} MB", turns)


def _shared(report: Report, size: int, interps) -> None:
    """Used in place by both sides."""
    value = array.array("d", bytes(size))
    for case, wrapped in (
        ("memoryview of an array", memoryview(value)),
        ("share(array)", subinterpreters.share(value)),
    ):
        turns = {
            name: statement("c(f, value)", c=interp.call, f=length, value=wrapped)
            for name, interp in interps.items()
            if name == OURS or "share" not in case
        }
        report.compare(
            f"call(len, {case} of {size // MB} MB)", turns, [Goal(at_most=10e-6)]
        )
