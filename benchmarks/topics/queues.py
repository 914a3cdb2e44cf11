"""Queues: put and get in one interpreter, and round trips between two."""

from __future__ import annotations

import marshal
import multiprocessing
import pickle
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from time import perf_counter
from types import ModuleType

from harness.backends import STDLIB, modules
from harness.measure import Clock, Turn, statement
from harness.report import Goal, Report

NESTED = {"id": 7, "name": "spam", "tags": ["a", "b"], "size": {"x": 1.5, "y": 2.5}}
ECHO = """
while (item := there.get()) is not None:
    back.put(item)
"""


def records(count: int) -> list[dict[str, object]]:
    return [
        {"id": i, "name": f"name {i}", "v": [i * 0.5, i * 0.25, i * 2.0]}
        for i in range(count)
    ]


def through(channel: object, value: object) -> Turn:
    names = {"put": channel.put, "get": channel.get, "value": value}
    return statement("put(value); get()", **names)


def dumped(module: ModuleType, value: object, *version: int) -> Turn:
    names = {"dumps": module.dumps, "loads": module.loads, "value": value}
    return statement("loads(dumps(value, *version))", version=version, **names)


def ping_pong(there, back) -> Turn:
    """Each piece of work: an int there and the same back."""

    def run(loops: int) -> float:
        put, get = there.put, back.get
        start = perf_counter()
        for _ in repeat(None, loops):
            put(1)
            get()
        return perf_counter() - start

    return run


def echo(there, back) -> None:
    while (item := there.get()) is not None:
        back.put(item)


@contextmanager
def between_interpreters(module: ModuleType) -> Iterator[Turn]:
    """The main interpreter on the main thread, another one on a thread of its own."""
    interp = module.create()
    there, back = module.create_queue(), module.create_queue()
    interp.prepare_main(there=there, back=back)
    thread = threading.Thread(target=interp.exec, args=(ECHO,))
    thread.start()
    try:
        yield ping_pong(there, back)
    finally:
        there.put(None)
        thread.join()
        interp.close()


@contextmanager
def between_threads() -> Iterator[Turn]:
    there: queue.SimpleQueue[object] = queue.SimpleQueue()
    back: queue.SimpleQueue[object] = queue.SimpleQueue()
    thread = threading.Thread(target=echo, args=(there, back))
    thread.start()
    try:
        yield ping_pong(there, back)
    finally:
        there.put(None)
        thread.join()


@contextmanager
def between_processes() -> Iterator[Turn]:
    spawn = multiprocessing.get_context("spawn")
    there, back = spawn.SimpleQueue(), spawn.SimpleQueue()
    process = spawn.Process(target=echo, args=(there, back))
    process.start()
    try:
        yield ping_pong(there, back)
    finally:
        there.put(None)
        process.join()


def run(report: Report) -> None:
    _one_interpreter(report)
    if Clock.processor:
        return  # a round trip is waiting
    with ExitStack() as stack:
        enter = stack.enter_context
        turns = {
            name: enter(between_interpreters(module))
            for name, module in modules().items()
        }
        turns["threads, queue.SimpleQueue"] = enter(between_threads())
        turns["processes, multiprocessing"] = enter(between_processes())
        report.compare(
            "round trip of an int between two", turns, [Goal(STDLIB, at_least=300)]
        )


def _one_interpreter(report: Report) -> None:
    made = {name: module.create_queue() for name, module in modules().items()}
    pipe = multiprocessing.get_context("spawn").SimpleQueue()
    small = {
        "queue.SimpleQueue, no copy": queue.SimpleQueue(),
        "multiprocessing.SimpleQueue": pipe,
    }
    for case, value, limit in (
        ("put + get of an int", 1, 0.15e-6),
        ("put + get of a small nested dict", NESTED, 0.8e-6),
    ):
        turns = {n: through(channel, value) for n, channel in (made | small).items()}
        turns["pickle 5 dumps + loads"] = dumped(pickle, value, 5)
        report.compare(case, turns, [Goal(at_most=limit)])
    value = records(10_000)
    turns = {name: through(channel, value) for name, channel in made.items()}
    turns["pickle 5 dumps + loads"] = dumped(pickle, value, 5)
    turns["marshal dumps + loads"] = dumped(marshal, value)
    goals = [Goal(STDLIB, at_least=6), Goal("marshal dumps + loads", at_least=1)]
    report.compare("put + get of 10,000 small dicts", turns, goals)
    pipe.close()
