"""Random use of interpreters and queues from many threads, checked against a model.

    python tests/stress/stress.py [--ops N] [--seed S] [--threads T]

Every thread draws its operations from a generator of its own, seeded from the seed
that is printed, so the same seed gives each thread the same operations; how they
interleave is up to the machine. Checked all the time:

* what an interpreter holds is what the thread that owns it put there;
* what a thread gets from a queue was put there by somebody, once, and in the order of
  the one who put it; at the end all that was put has been got;
* one interpreter that all use is closed by any of them at any time: it is busy, gone,
  or does what it shall; what it put is got once, or is UNBOUND once it is gone;
* an operation that must fail does, with the documented error;
* at the end no interpreter is left.

The last line says how many operations ran; the exit status is 1 after a difference.
"""

import argparse
import collections
import faulthandler
import random
import sys
import threading
import time

import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    InterpreterError,
    InterpreterNotFoundError,
    QueueEmpty,
    QueueFull,
)

# Interpreters are dear (10 ms), so they are few beside the other operations.
WEIGHTS = {
    "exec": 30,
    "call": 30,
    "prepare_main": 10,
    "put": 25,
    "get": 25,
    "put_there": 12,
    "get_there": 12,
    "fail": 6,
    "nested": 5,
    "shared": 10,
    "inspect": 4,
    "bad": 4,
    "thread": 2,
    "renew": 0.15,
    "child": 0.05,
    "mortal": 15,
    "mortal_put": 15,
    "mortal_get": 15,
    "kill": 0.6,
}
VALUES = [
    None,
    7,
    2**80,
    1.25,
    "spam",
    "né\0\udc80",
    b"bytes",
    (1, ("two", b"3")),
    [1, [2, {"a": None}]],
    {"k": (1, 2), 5: "v"},
    "x" * 3000,
    b"y" * 70_000,
]


class Ledger:
    """Who put what in the shared queues, and who got it."""

    def __init__(self, threads):
        self.put = [0] * threads
        self.got = [collections.Counter() for _ in range(threads)]

    def check(self):
        problems = []
        total = collections.Counter()
        for counter in self.got:
            total.update(counter)
        for thread, count in enumerate(self.put):
            for number in range(count):
                times = total.pop((thread, number), 0)
                if times != 1:
                    problems.append(f"item {number} of thread {thread}: {times} times")
        problems += [f"item {item} came from nowhere" for item in total]
        return problems


def put_doomed(item):
    globals()["doomed"].put_nowait(item)


class Worker:
    """One thread: its own interpreters, and the queues that all share."""

    def __init__(self, stress, number):
        self.stress = stress
        self.number = number
        self.random = random.Random(f"{stress.seed}/{number}")
        self.owned = []
        self.last = collections.defaultdict(lambda: -1)
        self.count = 0
        self.mortal_puts = 0
        self.doomed = collections.Counter()
        self.unbound = 0
        self.choices = list(WEIGHTS)
        self.weights = list(WEIGHTS.values())

    # Interpreters

    def new(self):
        interp = subinterpreters.create()
        interp.exec("import subinterpreters; state = 0")
        interp.prepare_main(**{f"q{i}": q for i, q in enumerate(self.stress.queues)})
        return [interp, 0]

    def pick(self):
        return self.random.choice(self.owned)

    def do_exec(self):
        slot = self.pick()
        slot[0].exec("state += 1")
        slot[1] += 1

    def do_call(self):
        slot = self.pick()
        value = self.random.choice(VALUES)

        def echo(value, expected):
            assert globals()["state"] == expected, (globals()["state"], expected)
            globals()["state"] += 1
            return value

        back = slot[0].call(echo, value, slot[1])
        slot[1] += 1
        self.expect(back == value, f"call gave {back!r} for {value!r}")

    def do_prepare_main(self):
        slot = self.pick()
        slot[1] = self.random.randrange(1000)
        slot[0].prepare_main(state=slot[1])
        self.expect(slot[0].call(eval, "state") == slot[1], "prepare_main was lost")

    def do_thread(self):
        slot = self.pick()
        slot[0].call_in_thread(exec, "state += 1").join()
        slot[1] += 1
        self.expect(slot[0].call(eval, "state") == slot[1], "call_in_thread was lost")

    def do_fail(self):
        slot = self.pick()
        source, name = self.random.choice(
            [
                ("1/0", "ZeroDivisionError"),
                ("raise ValueError('a\\0b\\udc80')", "ValueError"),
                ("raise MemoryError", "MemoryError"),
                ("raise SystemExit(3)", "SystemExit"),
                ("raise KeyboardInterrupt", "KeyboardInterrupt"),
                ("subinterpreters.get_current().exec('1')", "InterpreterError"),
                ("subinterpreters.get_main().exec('1')", "InterpreterError"),
                ("subinterpreters.create_queue().get_nowait()", "QueueEmpty"),
            ]
        )
        try:
            slot[0].exec(source)
        except ExecutionFailed as exc:
            seen = exc.excinfo.type.__name__
            self.expect(seen == name, f"{source}: {seen}")
        else:
            self.expect(False, f"{source} did not fail")

    def do_bad(self):
        slot = self.pick()
        use, error = self.random.choice(
            [
                (lambda: slot[0].exec("x = ("), SyntaxError),
                (lambda: slot[0].exec(5), TypeError),
                (lambda: slot[0].call(5), TypeError),
                (lambda: slot[0].call(len, threading.Lock()), TypeError),
                (lambda: slot[0].prepare_main(x=[]), TypeError),
                (lambda: subinterpreters.Interpreter(10**9), InterpreterNotFoundError),
                (lambda: subinterpreters.get_main().close(), InterpreterError),
            ]
        )
        try:
            use()
        except error:
            return
        self.expect(False, f"{error.__name__} was not raised")

    def do_nested(self):
        if len(self.owned) < 2:
            return
        outer, inner = self.random.sample(self.owned, 2)
        outer[0].prepare_main(inner=inner[0].id)
        outer[0].exec("subinterpreters.Interpreter(inner).exec('state += 1')")
        inner[1] += 1

    def do_shared(self):
        """An interpreter that all use: only one gets in at a time."""
        try:
            self.stress.shared.exec("count += 1")
        except InterpreterError as exc:
            message = str(exc)
            self.expect(message == "interpreter already running", message)
        else:
            with self.stress.lock:
                self.stress.shared_count += 1

    def do_inspect(self):
        slot = self.pick()
        self.expect(not slot[0].is_running(), "an idle interpreter runs")
        self.expect(slot[0] in subinterpreters.list_all(), "it is not listed")
        self.expect(
            subinterpreters.Interpreter(slot[0].id) is slot[0], "a second handle"
        )
        # Handles of the other threads' interpreters come and go meanwhile.
        for interp in subinterpreters.list_all():
            try:
                interp.is_running()
            except InterpreterNotFoundError:
                pass

    def do_renew(self):
        slot = self.pick()
        if self.random.random() < 0.5:
            number = slot[0].id
            slot[0].close()
            try:
                slot[0].exec("1")
            except InterpreterNotFoundError:
                pass
            else:
                self.expect(False, f"interpreter {number} runs after its end")
        slot[:] = self.new()

    def do_child(self):
        slot = self.pick()
        slot[0].exec(
            "child = subinterpreters.create(); child.exec('x = 1');"
            "assert child.call(eval, 'x') == 1; del child"
        )

    # The interpreter that anybody may close while others use it

    def in_mortal(self, use):
        """use(interpreter), or None if it was busy or gone."""
        try:
            return use(self.stress.mortal)
        except InterpreterNotFoundError:
            return None
        except InterpreterError as exc:
            self.expect(str(exc) == "interpreter already running", str(exc))
            return None

    def do_mortal(self):
        value = self.random.choice(VALUES)

        def use(interp):
            if self.random.random() < 0.3:
                return interp.exec("state += 1")
            return self.expect(
                interp.call(lambda value: (value, 1), value) == (value, 1), "changed"
            )

        self.in_mortal(use)

    def do_mortal_put(self):
        item = self.number, self.mortal_puts, self.random.choice(VALUES)
        put = self.in_mortal(lambda interp: interp.call(put_doomed, item) or True)
        self.mortal_puts += put is not None

    def do_mortal_get(self):
        try:
            item = self.stress.doomed.get(timeout=self.timeout())
        except QueueEmpty:
            return
        self.got_doomed(item)

    def got_doomed(self, item):
        if item is subinterpreters.UNBOUND:
            self.unbound += 1
            return
        self.doomed[item[:2]] += 1
        self.expect(item[2] in VALUES, f"a changed value: {item[2]!r}")

    def do_kill(self):
        victim = self.stress.mortal
        try:
            victim.close()
        except InterpreterNotFoundError:
            return  # another thread has closed it, and puts a new one there
        except InterpreterError as exc:
            self.expect(str(exc).startswith("interpreter running"), str(exc))
            return
        self.stress.renew_mortal()
        self.stress.kills += 1

    # Queues: an item is (thread, number, value)

    def item(self):
        number = self.stress.ledger.put[self.number]
        return self.number, number, self.random.choice(VALUES)

    def was_put(self):
        self.stress.ledger.put[self.number] += 1

    def got(self, index, item):
        thread, number, value = item
        self.stress.ledger.got[self.number][thread, number] += 1
        self.expect(value in VALUES, f"a changed value: {value!r}")
        # What one thread put in one queue comes in its order.
        before = self.last[index, thread]
        self.expect(before < number, f"item {number} of {thread} after {before}")
        self.last[index, thread] = number

    def timeout(self):
        return self.random.choice([0, 0, 0.0001, 0.002])

    def do_put(self):
        queue = self.random.choice(self.stress.queues)
        try:
            queue.put(self.item(), timeout=self.timeout())
        except QueueFull:
            return
        self.was_put()

    def do_get(self):
        index = self.random.randrange(len(self.stress.queues))
        try:
            item = self.stress.queues[index].get(timeout=self.timeout())
        except QueueEmpty:
            return
        self.got(index, item)

    def do_put_there(self):
        """An interpreter puts, and lives on: its items must stay what they are."""
        index = self.random.randrange(len(self.stress.queues))

        def put(index, item):
            try:
                globals()[f"q{index}"].put_nowait(item)
            except RuntimeError as exc:
                return type(exc).__name__
            return "put"

        # Its own last interpreter is never renewed: see Stress.run().
        outcome = self.owned_for_queues.call(put, index, self.item())
        if outcome == "put":
            self.was_put()
        else:
            self.expect(outcome == "QueueFull", outcome)

    def do_get_there(self):
        index = self.random.randrange(len(self.stress.queues))
        slot = self.pick()

        def get(index, timeout):
            try:
                return globals()[f"q{index}"].get(timeout=timeout)
            except RuntimeError as exc:
                return type(exc).__name__

        item = slot[0].call(get, index, self.timeout())
        if isinstance(item, str):
            self.expect(item == "QueueEmpty", item)
        else:
            self.got(index, item)

    # All

    def expect(self, condition, message):
        if not condition:
            raise AssertionError(f"thread {self.number}: {message}")

    def run(self, ops):
        try:
            self.owned_for_queues = self.new()[0]
            self.owned = [self.new() for _ in range(3)]
            for _ in range(ops):
                if self.stress.failed.is_set():
                    return
                name = self.random.choices(self.choices, self.weights)[0]
                getattr(self, f"do_{name}")()
                self.count += 1
            for interp, state in self.owned:
                self.expect(interp.call(eval, "state") == state, "a lost update")
        except BaseException as exc:
            self.stress.fail(self.number, self.count, exc)
        finally:
            for interp, _ in self.owned:
                interp.close()
            self.owned = []


class Stress:
    def __init__(self, seed, threads):
        self.seed = seed
        self.failed = threading.Event()
        self.lock = threading.Lock()
        self.problems = []
        self.ledger = Ledger(threads)
        self.queues = [subinterpreters.create_queue(size) for size in (0, 1, 5, 50)]
        self.shared = subinterpreters.create()
        self.shared.exec("count = 0")
        self.shared_count = 0
        self.doomed = subinterpreters.create_queue()
        self.kills = 0
        self.renew_mortal()
        self.workers = [Worker(self, number) for number in range(threads)]

    def renew_mortal(self):
        interp = subinterpreters.create()
        interp.exec("state = 0")
        interp.prepare_main(doomed=self.doomed)
        self.mortal = interp

    def check_doomed(self):
        """Once its owner is gone nothing real is left; nothing is lost or doubled."""
        self.mortal.close()
        first = self.workers[0]
        while not self.doomed.empty():
            item = self.doomed.get_nowait()
            if item is not subinterpreters.UNBOUND:
                self.problems.append(f"{item[:2]} has outlived its interpreter")
            first.got_doomed(item)
        puts = sum(worker.mortal_puts for worker in self.workers)
        gone = sum(worker.unbound for worker in self.workers)
        got = collections.Counter()
        for worker in self.workers:
            got.update(worker.doomed)
        if puts != gone + got.total():
            self.problems.append(f"{puts} items of mortals, {gone} + {got.total()} got")
        for (thread, number), times in got.items():
            if times != 1 or number >= self.workers[thread].mortal_puts:
                self.problems.append(f"mortal item {number} of {thread}: {times} times")

    def fail(self, number, count, exc):
        import traceback

        with self.lock:
            text = "".join(traceback.format_exception(exc))
            self.problems.append(f"thread {number}, operation {count}: {text}")
        self.failed.set()

    def run(self, ops):
        each = -(-ops // len(self.workers))
        threads = [
            threading.Thread(target=worker.run, args=(each,)) for worker in self.workers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed.is_set():
            return
        self.check_doomed()
        # Those that put in these lived until here, so nothing became unbound.
        for queue in self.queues:
            while not queue.empty():
                thread, number, _ = queue.get_nowait()
                self.ledger.got[0][thread, number] += 1
        self.problems += self.ledger.check()[:20]
        if self.shared.call(eval, "count") != self.shared_count:
            self.problems.append("the shared interpreter's count is wrong")
        for worker in self.workers:
            worker.owned_for_queues.close()
        self.shared.close()
        left = subinterpreters.list_all()
        if len(left) != 1:
            self.problems.append(f"interpreters left: {left}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--hang", type=float, default=0, help="seconds until a dump")
    parser.add_argument(
        "--switch", type=float, default=None, help="the switch interval in seconds"
    )
    options = parser.parse_args(argv)
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    again = f"--ops {options.ops} --seed {seed} --threads {options.threads}"
    print(f"stress: {again} on CPython {sys.version.split()[0]}", flush=True)
    if options.hang:
        faulthandler.dump_traceback_later(options.hang, exit=True)
    if options.switch:
        sys.setswitchinterval(options.switch)
    begin = time.monotonic()
    stress = Stress(seed, options.threads)
    stress.run(options.ops)
    seconds = time.monotonic() - begin
    for problem in stress.problems:
        print(problem)
    ops = sum(worker.count for worker in stress.workers)
    items = sum(stress.ledger.put)
    print(f"stress: {ops} operations, {items} items, ", end="")
    print(f"{stress.kills} closed under use, {seconds:.1f} s: ", end="")
    print(f"{len(stress.problems)} problems" if stress.problems else "no problem")
    return 1 if stress.problems else 0


if __name__ == "__main__":
    sys.exit(main())
