"""Tasks of a pool: what each costs, both processors at work, how work is stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

import subinterpreters
from subinterpreters import InterpreterPoolExecutor

from harness.backends import OURS
from harness.measure import Clock, Series, Turn, function
from harness.report import Goal, Report

WORKERS = 2
THREADS = "ThreadPoolExecutor"
PROCESSES = "ProcessPoolExecutor"
STOCK = "InterpreterPoolExecutor of CPython"


def double(x):
    return x * 2


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def count(n):
    total = 0
    for i in range(n):
        total += i & 3
    return total


def endless():
    while True:
        pass


def executors() -> dict[str, Callable[[], Executor]]:
    """How to make each kind of pool with WORKERS workers, ours first."""
    spawn = get_context("spawn")
    found: dict[str, Callable[[], Executor]] = {
        OURS: lambda: InterpreterPoolExecutor(WORKERS),
        THREADS: lambda: futures.ThreadPoolExecutor(WORKERS),
        PROCESSES: lambda: futures.ProcessPoolExecutor(WORKERS, mp_context=spawn),
    }
    stock = getattr(futures, "InterpreterPoolExecutor", None)
    if stock is not None:
        found[STOCK] = lambda: stock(WORKERS)
    return found


def pipelined(pool: Executor, tasks: int) -> Turn:
    """All are submitted before the first result is asked for."""

    def turn(loops: int) -> float:
        start = Clock.now()
        for _ in range(loops):
            waiting = [pool.submit(double, i) for i in range(tasks)]
            for i, future in enumerate(waiting):
                assert future.result() == 2 * i
        return Clock.now() - start

    return turn


def one_at_a_time(pool: Executor) -> Turn:
    return function(lambda: pool.submit(double, 1).result())


def first_result(make: Callable[[], Executor]) -> Turn:
    """From making the pool to the result of its first task."""

    def turn(loops: int) -> float:
        spent = 0.0
        for _ in range(loops):
            start = Clock.now()
            pool = make()
            pool.submit(double, 1).result()
            spent += Clock.now() - start
            pool.shutdown()
        return spent

    return turn


def _submitting(report: Report) -> None:
    tasks = 1000 if report.settings.quick else 20_000
    with ExitStack() as stack:
        pools = {n: stack.enter_context(make()) for n, make in executors().items()}
        for pool in pools.values():
            futures.wait([pool.submit(double, i) for i in range(100)])
        report.compare(
            f"submit + result, {tasks:,} under way",
            {name: pipelined(pool, tasks) for name, pool in pools.items()},
            [
                Goal(STOCK, at_least=25),
                Goal(PROCESSES, at_least=25),
                Goal(THREADS, at_least=1),
            ],
        )
        report.compare(
            "submit + result, one at a time",
            {name: one_at_a_time(pool) for name, pool in pools.items()},
            [Goal(THREADS, at_least=1)],
        )
    report.compare(
        f"first result of a cold pool of {WORKERS}",
        {name: first_result(make) for name, make in executors().items()},
        [Goal(STOCK, at_least=2)],
    )


def _mapping(report: Report) -> None:
    calls = 20_000 if report.settings.quick else 1_000_000
    with InterpreterPoolExecutor(WORKERS) as pool:

        def turn(loops: int) -> float:
            start = Clock.now()
            for _ in range(loops):
                assert sum(pool.map(double, range(calls))) == calls * (calls - 1)
            return Clock.now() - start

        report.compare(
            f"map of {calls:,} calls", {OURS: turn}, [Goal(at_most=0.5e-6 * calls)]
        )


def _spares(report: Report) -> None:
    """create() from what keep_ready() has made, and the first exec."""

    def turn(loops: int) -> float:
        spent = 0.0
        for _ in range(loops):
            # One is ready when a second one that was made after it is.
            subinterpreters.keep_ready(2)
            time.sleep(0.1)
            start = Clock.now()
            interp = subinterpreters.create()
            interp.exec("x = 1")
            spent += Clock.now() - start
            interp.close()
        return spent

    try:
        report.compare(
            "create() from a spare + the first exec",
            {OURS: turn},
            [Goal(at_most=400e-6)],
        )
    finally:
        subinterpreters.keep_ready(0)


def _renewing(report: Report) -> None:
    """Workers that end after a few tasks, which wait: others can start meanwhile.

    The tasks need no module that a new worker would have to import first.
    """

    def turn_of(make: Callable[[], Executor]) -> Turn:
        def turn(loops: int) -> float:
            spent = 0.0
            for _ in range(loops):
                with make() as pool:
                    pool.submit(time.sleep, 0).result()
                    start = Clock.now()
                    for future in [pool.submit(time.sleep, 0.01) for _ in range(20)]:
                        future.result()
                    spent += Clock.now() - start
            return spent

        return turn

    for most in (1, 2, 5, 10):
        makers: dict[str, Callable[[], Executor]] = {
            OURS: partial(InterpreterPoolExecutor, 1, max_tasks_per_child=most)
        }
        for method in ("spawn", "forkserver"):
            makers[f"{PROCESSES}, {method}"] = partial(
                futures.ProcessPoolExecutor,
                1,
                max_tasks_per_child=most,
                mp_context=get_context(method),
            )
        report.compare(
            f"20 tasks that sleep 10 ms, one worker, a new one after {most}",
            {name: turn_of(make) for name, make in makers.items()},
            [Goal(f"{PROCESSES}, forkserver", at_least=1)],
        )


def _scaling(report: Report) -> None:
    def turn_of(pool: Executor) -> Turn:
        def work() -> None:
            for future in [pool.submit(count, 500_000) for _ in range(20)]:
                future.result()

        return function(work)

    with ExitStack() as stack:
        pools = {
            "2 workers": stack.enter_context(InterpreterPoolExecutor(2)),
            "1 worker": stack.enter_context(InterpreterPoolExecutor(1)),
            "2 processes": stack.enter_context(executors()[PROCESSES]()),
            "1 process": stack.enter_context(
                futures.ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            ),
        }
        turns = {name: turn_of(pool) for name, pool in pools.items()}
        # Processes show what the machine's processors can do at once.
        goals = [Goal("1 worker", at_least=1.95), Goal("2 processes", at_least=0.98)]
        report.compare("20 tasks of pure Python", turns, goals)


def _mixed(report: Report) -> None:
    """Tasks of 1 ms and of 1 us in turn: are both processors busy, is it fair?"""
    rounds = 1 if report.settings.quick else 5
    busy, waited = Series(1), Series(1)
    for _ in range(rounds):
        with InterpreterPoolExecutor(WORKERS) as pool:
            futures.wait([pool.submit(spin, 0.001) for _ in range(8)])
            start, before = time.perf_counter(), pool.stats()["busy"]
            submitted = [
                pool.submit(spin, seconds)
                for _ in range(1000)
                for seconds in (0.001, 0.000001)
            ]
            for future in submitted:
                future.result()
            spent = time.perf_counter() - start
            stats = pool.stats()
        busy.values.append((stats["busy"] - before) / spent / WORKERS * 100)
        waited.values.append(stats["wait_time"]["p99"] / spent)
    report.add("mixed tasks of 1 ms and 1 us: workers busy", "%", {OURS: busy})
    report.judge(f"at least 95 % busy: {busy.median:.1f} %", busy.median >= 95)
    # In a fair queue the last task waits for all others, and 99 % of them less long.
    report.add("the same: 99 % of the waits, in total times", "", {OURS: waited})
    fair = 0.9 <= waited.median <= 1.1
    report.judge(f"99 % of the waits within the total: {waited.median:.2f}", fair)


def _timeouts(report: Report) -> None:
    """How late a loop without an end is stopped, and what that leaves behind."""
    tasks, limit = (200 if report.settings.quick else 10_000), 0.002

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    with InterpreterPoolExecutor(WORKERS) as pool:
        futures.wait([pool.submit(double, 1) for _ in range(8)])
        bounded = pool.options(timeout=limit)
        stopped = []
        for i in range(tasks):
            stopped.append(bounded.submit(endless))
            if i % 10 == 0:
                assert pool.submit(double, i).result() == 2 * i  # a neighbour
        lost = sum(not isinstance(f.exception(), TimeoutError) for f in stopped)
        replaced = pool.stats()["replaced"]
    late = Series(1, sorted(future.run_time - limit for future in stopped))
    del stopped
    gc.collect()
    report.add(f"{tasks:,} time-outs: how late", "s", {OURS: late})
    nearly_all = late.values[int(tasks * 0.999)]
    report.judge(f"99.9 % within 20 ms: {nearly_all * 1e3:.2f} ms", nearly_all <= 0.02)
    left = threads() - before
    text = f"{lost} lost, {replaced} workers replaced, {left} threads left"
    report.judge(f"nothing lost or left: {text}", lost == replaced == left == 0)


class Lateness:
    """How many seconds late the running event loop was at worst, each ms, and for how
    many its own thread worked from one look to the next: the rest it waited for a
    processor."""

    def __init__(self) -> None:
        self.worst = 0.0
        self.work = 0.0
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            asked, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.worst = max(self.worst, time.perf_counter() - asked - 0.001)
            self.work = max(self.work, time.thread_time() - worked)

    def end(self) -> tuple[float, float]:
        self._watcher.cancel()
        return self.worst, self.work


async def _await_all(
    pool: InterpreterPoolExecutor, calls: int
) -> tuple[float, tuple[float, float]]:
    """-> seconds that awaiting CALLS calls took, and how late the loop was.

    The loop gets its turn every 1,000 calls: a program that never lets it run is late
    by itself.
    """
    lateness = Lateness()
    await asyncio.sleep(0)
    start = time.perf_counter()
    waiting = []
    for i in range(0, calls, 1000):
        waiting.append([pool.run(double, n) for n in range(i, min(i + 1000, calls))])
        await asyncio.sleep(0)
    for block, following in enumerate(waiting):
        for i, future in enumerate(following, block * 1000):
            assert await future == 2 * i
        await asyncio.sleep(0)
    return time.perf_counter() - start, lateness.end()


async def _keep_busy(seconds: float) -> tuple[float, float]:
    """-> how late a loop was that did nothing but compute, 0.3 ms at a time."""
    lateness = Lateness()
    await asyncio.sleep(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        spin(0.0003)
        await asyncio.sleep(0)
    return lateness.end()


def _beside_processes(seconds: float) -> float:
    """-> how late such a loop is beside WORKERS processes that compute."""
    context = get_context("spawn")
    ready = context.Barrier(WORKERS + 1)
    others = [context.Process(target=_burn, args=(ready,)) for _ in range(WORKERS)]
    for other in others:
        other.start()
    ready.wait()
    late, _ = asyncio.run(_keep_busy(seconds))
    for other in others:
        other.terminate()
        other.join()
    return late


def _burn(ready: Barrier) -> None:
    ready.wait()
    endless()


def _awaited(report: Report) -> None:
    calls = 2000 if report.settings.quick else 100_000
    rounds = 1 if report.settings.quick else 5
    awaited, submitted, late, control = Series(1), Series(1), Series(1), Series(1)
    work = Series(1)
    with InterpreterPoolExecutor(WORKERS) as pool:
        futures.wait([pool.submit(double, 1) for _ in range(8)])
        submit = pipelined(pool, calls)
        for _ in range(rounds):
            submitted.values.append(submit(1) / calls)
            spent, (worst, own) = asyncio.run(_await_all(pool, calls))
            awaited.values.append(spent / calls)
            late.values.append(worst)
            work.values.append(own)
            control.values.append(_beside_processes(spent))
    results = {"awaited": awaited, "submit + result": submitted}
    goals = [Goal("submit + result", at_least=1 / 1.3)]
    report.add(f"{calls:,} awaited calls in flight (per call)", "s", results, goals)
    report.add("the same: the loop was late by, at worst", "s",
               {OURS: late, f"no pool, {WORKERS} busy processes": control},
               [Goal(at_most=0.005)])  # fmt: skip
    report.add("the same: the loop's own work from turn to turn, at worst", "s",
               {OURS: work})  # fmt: skip


def run(report: Report) -> None:
    if Clock.processor:
        report.note("not measured: all of it waits for other threads")
        return
    _submitting(report)
    _mapping(report)
    _spares(report)
    _renewing(report)
    _scaling(report)
    _mixed(report)
    _timeouts(report)
    _awaited(report)
