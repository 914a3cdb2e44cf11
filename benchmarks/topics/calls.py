"""exec, call and call_in_thread: what it costs to run nothing somewhere else."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from harness.backends import OURS, STDLIB, modules
from harness.measure import Clock, Turn, statement, waiting
from harness.report import Goal, Report


def nothing():
    pass


def same(value):
    return value


# Functions of __main__ whose closure and globals must cross as well.
SCRIPT = """
def _make_adder(amount):
    def add(value):
        return value + amount
    return add
"""


def closure_of_main():
    main = vars(sys.modules["__main__"])
    exec(SCRIPT, main)
    return main["_make_adder"](1)


def on_new_thread(turn: Turn) -> Turn:
    """TURN, run as a whole on one thread that is not the process' main thread."""

    def run(loops: int) -> float:
        took: list[float] = []
        thread = threading.Thread(target=lambda: took.append(turn(loops)))
        thread.start()
        thread.join()
        return took[0]

    return run


def first_on_new_thread(turn: Turn) -> Turn:
    """As on_new_thread, but with a fresh thread for each single piece of work."""
    once = on_new_thread(turn)
    return lambda loops: sum(once(1) for _ in range(loops))


def timed_exec(interp) -> Turn:
    """A single exec between two looks at the clock: no loop around it."""

    def run(loops: int) -> float:
        start = Clock.now()
        interp.exec("pass")
        return Clock.now() - start

    return run


def submitting(pool: Executor) -> Turn | None:
    return waiting(statement("submit(f, 1).result()", submit=pool.submit, f=same))


def run(report: Report) -> None:
    with ExitStack() as stack:
        interps = {}
        for name, module in modules().items():
            interps[name] = module.create()
            stack.callback(interps[name].close)
        spawn = get_context("spawn")
        pools: dict[str, Executor] = {
            "ThreadPoolExecutor": ThreadPoolExecutor(1),
            "ProcessPoolExecutor": ProcessPoolExecutor(1, mp_context=spawn),
        }
        for pool in pools.values():
            stack.enter_context(pool)
        _on_main_thread(report, interps, pools)
        _on_threads(report, interps)


def _on_main_thread(report: Report, interps, pools: dict[str, Executor]) -> None:
    report.compare(
        'exec("pass")',
        {name: statement('e("pass")', e=i.exec) for name, i in interps.items()},
        [Goal(STDLIB, at_least=100)],
    )
    report.compare(
        "call(f), without arguments",
        {name: statement("c(f)", c=i.call, f=nothing) for name, i in interps.items()},
        [Goal(STDLIB, at_least=100)],
    )
    turns: dict[str, Turn | None] = {
        name: statement("c(f, 1)", c=i.call, f=same) for name, i in interps.items()
    }
    turns |= {name: submitting(pool) for name, pool in pools.items()}
    turns["f(1), the same interpreter"] = statement("f(1)", f=same)
    goals = [Goal(STDLIB, at_least=250), Goal(at_most=1e-6)]
    report.compare("call(f, 1); pools: submit + result", turns, goals)
    ours = interps[OURS].call
    report.compare(
        "call(closure of __main__, 1), after the first",
        {
            OURS: statement("c(f, 1)", c=ours, f=closure_of_main()),
            "subinterpreters, call(f, 1)": statement("c(f, 1)", c=ours, f=same),
        },
        [Goal("subinterpreters, call(f, 1)", at_least=1 / 1.5)],
    )


def _on_threads(report: Report, interps) -> None:
    report.compare(
        'exec("pass") on another thread than the main one',
        {
            name: on_new_thread(statement('e("pass")', e=i.exec))
            for name, i in interps.items()
        },
    )
    report.compare(
        'the first exec("pass") of a new thread',
        {name: first_on_new_thread(timed_exec(i)) for name, i in interps.items()},
    )
    turns = {
        name: waiting(statement("c(f).join()", c=i.call_in_thread, f=nothing))
        for name, i in interps.items()
    }
    plain = "t = T(target=f); t.start(); t.join()"
    turns["threading.Thread"] = waiting(statement(plain, T=threading.Thread, f=nothing))
    report.compare("call_in_thread(f) + join", turns)
