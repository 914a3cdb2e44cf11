"""Computing in two interpreters at once: a fixed amount of work, split in two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from harness.backends import modules
from harness.measure import Clock, function
from harness.report import Goal, Report

ONE = "one interpreter"


def crunch(start, stop):
    """The total length of the Collatz sequences of these numbers: pure Python."""
    steps = 0
    for number in range(start, stop):
        while number != 1:
            number = number // 2 if number % 2 == 0 else 3 * number + 1
            steps += 1
    return steps


def halves(count: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two ranges up to COUNT that take about equally long."""
    # The sequences grow slowly, so the first half must be a little longer.
    middle = round(count * 0.517)
    return (1, middle), (middle, count)


def in_two_threads(calls: list[Callable[[int, int], object]], count: int) -> None:
    threads = [
        threading.Thread(target=call, args=half)
        for call, half in zip(calls, halves(count), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(report: Report) -> None:
    if Clock.processor:
        report.note("not measured: two at once take as much processor time as one")
        return
    count = 5_000 if report.settings.quick else 60_000
    turns = {}
    with ExitStack() as stack:
        interps = {}
        for name, module in modules().items():
            interps[name] = [module.create(), module.create()]
            for interp in interps[name]:
                stack.callback(interp.close)
        for name, two in interps.items():
            calls = [
                lambda a, b, interp=interp: interp.call(crunch, a, b) for interp in two
            ]
            turns[f"{name}, two"] = function(
                lambda calls=calls: in_two_threads(calls, count)
            )
        first = next(iter(interps.values()))[0]
        turns[ONE] = function(lambda: first.call(crunch, 1, count))
        turns["two threads, one interpreter"] = function(
            lambda: in_two_threads([crunch, crunch], count)
        )
        pool = stack.enter_context(
            ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        )
        turns["two processes"] = function(
            lambda: list(pool.map(crunch, *zip(*halves(count), strict=True)))
        )
        report.compare(
            "pure Python numbers, split in two", turns, [Goal(ONE, at_least=1.9)]
        )
