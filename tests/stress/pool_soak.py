"""Random use of pools, each task with an outcome that is known when it is submitted.

    python tests/stress/pool_soak.py [--seconds N | --rounds N] [--seed S] [--first R]

A round makes a pool with settings drawn by lot, submits to it from one to three
threads, ends it in one of several ways and looks at what every future came to. All
that is drawn comes from the seed and the number of the round, so a round that failed
can be run again alone: --seed S --first R --rounds 1. How threads interleave is up to
the machine.

Checked: each future ends, with the outcome that it must have, or cancelled where
something that was done to it may cancel it; each callback is called once; no worker is
left when the round ends, and no descriptor at the end of all.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import faulthandler
import gc
import itertools
import os
import random
import sys
import threading
import time
import traceback

import subinterpreters
from subinterpreters import InterpreterPoolExecutor

LIMIT = 60
CANCELLED = ("cancelled", None)
WEIGHTS = {
    "give": 40,
    "fail": 10,
    "retried": 6,
    "flaky": 6,
    "nap": 10,
    "interrupted": 6,
    "timed_out": 6,
    "in_time": 6,
    "held": 4,
    "mapped": 3,
    "awaited": 3,
    "nested": 0.3,
}


def give(value):
    return value


def fail(value):
    raise LookupError(value)


def flaky(tries, needed, value):
    tries.put(None)
    if tries.qsize() < needed:
        raise OSError("not yet")
    return value


def nap(seconds):
    import time

    time.sleep(seconds)
    return seconds


def spin():
    while True:
        pass


def hold(release, value):
    release.get()
    return value


def inside(value):
    from subinterpreters import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as inner:
        return inner.submit(abs, -value).result()


class Round:
    """One pool: its settings, what was submitted, and what that must come to."""

    ENDINGS = ("leave", "no_wait", "cancel", "drop", "cut")

    def __init__(self, seed, number):
        self.others = thread_count()  # what is no pool's: a watchdog, say
        self.seed = f"{seed}/{number}"
        draw = random.Random(self.seed)
        self.ending = draw.choice(self.ENDINGS)
        self.threads = draw.randint(1, 3)
        self.each = draw.randint(5, 40)
        self.settings = {
            "max_workers": draw.randint(1, 3),
            "max_tasks_per_child": draw.choice([None, None, None, 1, 7]),
            "idle_timeout": draw.choice([None, None, 0.001, 0.02]),
            "max_pending": draw.choice([None, None, 1, 10]),
        }
        self.cut_after = draw.random() * 0.05
        self.may_hold = draw.random() < 0.3 and self.settings["max_pending"] is None
        self.pool = InterpreterPoolExecutor(**self.settings)
        self.lock = threading.Lock()
        self.entries = []  # (future, outcomes that are right)
        self.releases = []
        self.called = collections.Counter()  # futures by id
        self.calls = threading.Semaphore(0)
        self.problems = []
        self.count = 0

    # What submits

    def note(self, draw, future, *outcomes):
        if draw.random() < 0.2 and future.cancel():
            outcomes = (CANCELLED,)
        with self.lock:
            self.entries.append((future, outcomes))
        if draw.random() < 0.3:
            future.add_done_callback(self.call_back)
            with self.lock:
                self.called[id(future)] += 0
        return future

    def call_back(self, future):
        with self.lock:
            self.called[id(future)] += 1
            if not future.done():
                self.problems.append(f"{future!r} called back before its end")
        self.calls.release()

    def do_give(self, draw):
        value = draw.choice([draw.random(), "text", [1, {"a": None}], b"x" * 70_000])
        self.note(draw, self.pool.submit(give, value), ("value", value))

    def do_fail(self, draw):
        value = draw.random()
        self.note(draw, self.pool.submit(fail, value), ("error", LookupError))

    def do_retried(self, draw):
        submit = self.pool.options(retries=draw.randint(1, 3)).submit
        self.note(draw, submit(fail, 1), ("error", LookupError))

    def do_flaky(self, draw):
        needed, value = draw.randint(1, 4), draw.random()
        retries = draw.randint(0, 4)
        tries = subinterpreters.create_queue()
        future = self.pool.options(retries=retries).submit(flaky, tries, needed, value)
        right = [("value", value)] if retries + 1 >= needed else [("error", OSError)]
        if self.ending in ("cancel", "cut"):  # after which nothing is tried again
            right.append(("error", OSError))
        self.note(draw, future, *right)

    def do_nap(self, draw):
        seconds = draw.random() * 0.003
        future = self.note(draw, self.pool.submit(nap, seconds), ("value", seconds))
        if draw.random() < 0.5 and future.interrupt():
            with self.lock:
                self.entries.append((future, (("value", seconds), CANCELLED)))
                self.forget(future)

    def forget(self, future):
        """Drop the first entry of *future*, which a second one replaces."""
        index = next(i for i, (f, _) in enumerate(self.entries) if f is future)
        del self.entries[index]

    def do_interrupted(self, draw):
        future = self.pool.submit(spin)
        wait = draw.choice([0, 0, 0.001, 0.005])
        if wait:
            concurrent.futures.wait([future], wait)
        if not future.interrupt() and self.ending != "cut":
            raise AssertionError("an endless task could not be interrupted")
        self.note(draw, future, CANCELLED)

    def do_timed_out(self, draw):
        submit = self.pool.options(timeout=draw.choice([0.0005, 0.001, 0.005])).submit
        self.note(draw, submit(spin), ("error", TimeoutError))

    def do_in_time(self, draw):
        value = draw.random()
        submit = self.pool.options(timeout=LIMIT, retries=draw.randint(0, 1)).submit
        self.note(draw, submit(give, value), ("value", value))

    def do_held(self, draw):
        if not self.may_hold:
            return
        release = subinterpreters.create_queue()
        with self.lock:
            self.releases.append(release)
        value = draw.random()
        self.note(draw, self.pool.submit(hold, release, value), ("value", value))

    def do_mapped(self, draw):
        if self.may_hold:  # nothing would let the held ones go
            return
        # Where each worker does little, each item may cost an interpreter.
        most = 10 if self.settings["max_tasks_per_child"] else 300
        items = list(range(min(most, draw.choice([0, 1, 30, 300]))))
        ordered = draw.random() < 0.7
        found = self.pool.map(
            give,
            items,
            chunksize=draw.choice([None, 1, 7]),
            buffersize=draw.choice([None, 1, 20]),
            ordered=ordered,
        )
        found = list(found) if ordered else sorted(found)
        assert found == items, f"map gave {found}"

    def do_awaited(self, draw):
        if self.may_hold:
            return
        asyncio.run(self.await_some(draw))

    async def await_some(self, draw):
        values = [draw.random() for _ in range(draw.randint(1, 10))]
        calls = [self.pool.run(give, value) for value in values]
        endless = self.pool.run(spin)
        await asyncio.sleep(0)
        endless.cancel()
        found = await asyncio.gather(*calls, endless, return_exceptions=True)
        last = found.pop()
        if self.ending == "cut":
            return
        assert found == values, f"awaited {found} for {values}"
        assert isinstance(last, asyncio.CancelledError), f"cancelled gave {last!r}"

    def do_nested(self, draw):
        value = draw.randint(1, 9)
        self.note(draw, self.pool.submit(inside, value), ("value", value))

    def submit_all(self, number):
        draw = random.Random(f"{self.seed}/{number}")
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        try:
            for _ in range(self.each):
                name = draw.choices(names, weights)[0]
                getattr(self, f"do_{name}")(draw)
                with self.lock:
                    self.count += 1
        except BaseException as exc:
            over = isinstance(exc, concurrent.futures.CancelledError) or (
                isinstance(exc, RuntimeError) and "after shutdown" in str(exc)
            )
            if self.ending == "cut" and over:
                return
            text = "".join(traceback.format_exception(exc))
            self.problems.append(f"{name} in thread {number}: {text}")

    # The end

    def run(self):
        threads = [
            threading.Thread(target=self.submit_all, args=(number,))
            for number in range(self.threads)
        ]
        for thread in threads:
            thread.start()
        if self.ending == "cut":
            threads[0].join(self.cut_after)
            self.pool.shutdown(wait=False, cancel_futures=True)
        for thread in threads:
            thread.join()
        if self.ending in ("no_wait", "cancel"):
            self.pool.shutdown(wait=False, cancel_futures=self.ending == "cancel")
        for release in self.releases:
            release.put(None)
        if self.ending == "leave":
            self.pool.shutdown()
        self.pool = None
        self.check()

    def check(self):
        futures = [future for future, _ in self.entries]
        seen = list(concurrent.futures.as_completed(futures, LIMIT))
        if len(seen) != len(set(futures)):
            self.problems.append(f"as_completed gave {len(seen)} of {len(futures)}")
        for _ in self.called:
            if not self.calls.acquire(timeout=LIMIT):
                self.problems.append("a callback was not called")
                break
        if any(times != 1 for times in self.called.values()):
            self.problems.append(f"callbacks were called {self.called}")
        for future, right in self.entries:
            found = self.outcome(future)
            if self.ending in ("cancel", "cut"):
                right = (*right, CANCELLED)
            if found not in right:
                self.problems.append(f"{found} instead of one of {right}")
        # A worker that has just started may make its interpreter when all is done.
        end = time.monotonic() + LIMIT
        while thread_count() > self.others and time.monotonic() < end:
            threading.Event().wait(0.001)
        if (left := thread_count()) > self.others:
            names, _ = thread_names(), gc.collect()
            nap(1)
            self.problems.append(
                f"{left - self.others} threads left: {names}; after a collection and a "
                f"second {thread_names()}"
            )
        if len(left := subinterpreters.list_all()) > 1:
            self.problems.append(f"interpreters left: {left}")

    def outcome(self, future):
        try:
            return "value", future.result(LIMIT)
        except concurrent.futures.CancelledError:
            return CANCELLED
        except Exception as exc:
            return "error", type(exc)


def thread_count():
    return len(os.listdir("/proc/self/task"))


def thread_names():
    names = []
    for thread in os.listdir("/proc/self/task"):
        with (
            contextlib.suppress(FileNotFoundError),
            open(f"/proc/self/task/{thread}/comm") as file,
        ):
            names.append(file.read().strip())
    return names


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def soak(seed, numbers, seconds):
    """The counts of rounds, of tasks and of problems, which are printed."""
    end = time.monotonic() + seconds
    rounds = tasks = problems = 0
    before = None
    for number in numbers:
        if time.monotonic() >= end:
            break
        one = Round(seed, number)
        one.run()
        rounds += 1
        tasks += one.count
        for problem in one.problems:
            print(f"round {number} ({one.ending}, {one.settings}): {problem}")
        problems += len(one.problems)
        if before is None:
            before = descriptors()
    if rounds and descriptors() > before + 8:
        print(f"descriptors: {before} after the first round, {descriptors()} now")
        problems += 1
    return rounds, tasks, problems


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--hang", type=float, default=0, help="seconds until a dump")
    options = parser.parse_args(argv)
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    version = sys.version.split()[0]
    print(f"pool soak: --seed {seed} --first {options.first} on {version}", flush=True)
    if options.hang:
        faulthandler.dump_traceback_later(options.hang, exit=True)
    numbers = itertools.count(options.first)
    if options.rounds is not None:
        numbers = itertools.islice(numbers, options.rounds)
    elif options.seconds == float("inf"):
        options.seconds = 60
    rounds, tasks, problems = soak(seed, numbers, options.seconds)
    print(f"pool soak: {rounds} rounds, {tasks} operations, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
