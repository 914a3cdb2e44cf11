"""How the pool compares with the executors of the standard library.

    python benchmarks/pool.py [--tasks 20000] [--only NAME]

Prints microseconds per task and how many times slower each other executor is. Run it on
a machine that is otherwise idle, never on an editable install.
"""

import argparse
import asyncio
import concurrent.futures as futures
import multiprocessing
import sys
import time

from subinterpreters.executor import InterpreterPoolExecutor

WORKERS = 2


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


def executors():
    yield "ours", lambda: InterpreterPoolExecutor(WORKERS)
    yield "threads", lambda: futures.ThreadPoolExecutor(WORKERS)
    stock = getattr(futures, "InterpreterPoolExecutor", None)
    if stock is not None:
        yield "stock interpreters", lambda: stock(WORKERS)
    spawn = multiprocessing.get_context("spawn")
    yield "processes", lambda: futures.ProcessPoolExecutor(WORKERS, mp_context=spawn)


def pipelined(pool, tasks):
    submitted = [pool.submit(double, i) for i in range(tasks)]
    for i, future in enumerate(submitted):
        assert future.result() == 2 * i
    return tasks


def one_at_a_time(pool, tasks):
    for i in range(tasks // 10):
        assert pool.submit(double, i).result() == 2 * i
    return tasks // 10


def mapped(pool, tasks):
    for i, result in enumerate(pool.map(double, range(tasks))):
        assert result == 2 * i
    return tasks


def measure(work, pool, tasks):
    list(pool.map(double, range(100)))
    best = None
    for _ in range(3):
        start = time.perf_counter()
        done = work(pool, tasks)
        spent = (time.perf_counter() - start) / done * 1e6
        best = spent if best is None else min(best, spent)
    return best


def compare(name, work, tasks, only):
    ours = None
    for kind, make in executors():
        if only and kind not in only:
            continue
        with make() as pool:
            spent = measure(work, pool, tasks)
        ours = spent if ours is None else ours
        print(f"{name:16} {kind:20} {spent:9.2f} us  {spent / ours:7.1f} x", flush=True)


def cold(only):
    for kind, make in executors():
        if only and kind not in only:
            continue
        start = time.perf_counter()
        with make() as pool:
            pool.submit(double, 1).result()
            spent = time.perf_counter() - start
        print(f"{'first result':16} {kind:20} {spent * 1e3:9.2f} ms", flush=True)


def big_map():
    with InterpreterPoolExecutor(WORKERS) as pool:
        list(pool.map(double, range(1000)))
        start = time.perf_counter()
        total = sum(pool.map(double, range(1_000_000)))
        spent = time.perf_counter() - start
    assert total == 999_999 * 1_000_000
    print(f"{'map of 1,000,000':16} {'ours':20} {spent:9.2f} us", flush=True)


def scaling():
    spent = {}
    for workers in (1, 2):
        with InterpreterPoolExecutor(workers) as pool:
            futures.wait([pool.submit(count, 1000) for _ in range(8)])
            start = time.perf_counter()
            for future in [pool.submit(count, 1_000_000) for _ in range(40)]:
                future.result()
            spent[workers] = time.perf_counter() - start
    print(f"{'2 workers':16} {'ours':20} {spent[1] / spent[2]:9.2f} x", flush=True)


def mixed():
    with InterpreterPoolExecutor(WORKERS) as pool:
        futures.wait([pool.submit(spin, 0.001) for _ in range(8)])
        start = time.perf_counter()
        before = pool.stats()["busy"]
        submitted = []
        for _ in range(1000):
            submitted.append(pool.submit(spin, 0.001))
            submitted.append(pool.submit(spin, 0.000001))
        for future in submitted:
            future.result()
        spent = time.perf_counter() - start
        stats = pool.stats()
    busy = (stats["busy"] - before) / spent / WORKERS
    print(f"{'mixed load':16} {'ours':20} {busy:9.1%} busy", flush=True)


def endless():
    while True:
        pass


def timeouts(tasks):
    """How late a loop without an end is stopped, and whether anybody else is hit."""
    limit = 0.002
    with InterpreterPoolExecutor(WORKERS) as pool:
        futures.wait([pool.submit(double, 1) for _ in range(8)])
        workers = pool.stats()["workers"]
        bounded = pool.options(timeout=limit)
        stopped = []
        for i in range(tasks):
            stopped.append(bounded.submit(endless))
            if i % 10 == 0:
                neighbour = pool.submit(double, i)
                assert neighbour.result() == 2 * i
        lost = sum(not isinstance(f.exception(), TimeoutError) for f in stopped)
        stats = pool.stats()
    late = sorted(future.run_time - limit for future in stopped)
    print(
        f"{'timeouts':16} {'ours':20} {late[int(tasks * 0.999)] * 1e3:9.2f} ms late at "
        f"99.9 %, {late[-1] * 1e3:.2f} ms at worst, {lost} lost, "
        f"{stats['replaced']} of {workers} workers replaced",
        flush=True,
    )


async def awaited(calls):
    with InterpreterPoolExecutor(WORKERS) as pool:
        futures.wait([pool.submit(double, 1) for _ in range(8)])
        start = time.perf_counter()
        for future in [pool.submit(double, i) for i in range(calls)]:
            future.result()
        submitted = time.perf_counter() - start
        worst = 0.0
        stop = False

        async def watch():
            nonlocal worst
            while not stop:
                asked = time.perf_counter()
                await asyncio.sleep(0)
                worst = max(worst, time.perf_counter() - asked)
                await asyncio.sleep(0.0005)

        watcher = asyncio.create_task(watch())
        start = time.perf_counter()
        waiting = []
        for i in range(calls):
            waiting.append(pool.run(double, i))
            if i % 256 == 255:
                await asyncio.sleep(0)
        for i, future in enumerate(waiting):
            assert await future == 2 * i
            if i % 256 == 255:
                await asyncio.sleep(0)
        spent = time.perf_counter() - start
        stop = True
        await watcher
    print(
        f"{'awaited':16} {'ours':20} {spent / calls * 1e6:9.2f} us  "
        f"{spent / submitted:.2f} x submit, loop late by {worst * 1e3:.1f} ms"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    print(sys.version)
    cold(options.only)
    compare("pipelined", pipelined, options.tasks, options.only)
    compare("one at a time", one_at_a_time, options.tasks, options.only)
    if options.only is None or "ours" in options.only:
        big_map()
        scaling()
        mixed()
        timeouts(10_000)
        asyncio.run(awaited(100_000))


if __name__ == "__main__":
    main()
