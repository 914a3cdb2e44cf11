"""Packages with C code: NumPy in parallel, its import and memory, and other imports.

NumPy must be importable (PYTHONPATH may name a folder with it). As a script:
packages.py interpreter|process prints the memory that importing NumPy takes there.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import subinterpreters

# Pure Python, and modules of the standard library that declare support.
PURE = "import json, textwrap, string, dataclasses, csv, email.message"
DECLARED = "import _struct, math, _random, _bisect, zlib, select"


def work(rounds):
    """Element-wise NumPy work, which starts no thread of its own."""
    import numpy

    values = numpy.linspace(0.1, 1.0, 20_000)
    for _ in range(rounds):
        values = numpy.sqrt(numpy.exp(numpy.sin(values)))
    return float(values.sum())


def resident() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise LookupError("VmRSS")


def measure(where: str) -> int:
    """Bytes that NumPy takes in a second interpreter, or in a process of its own."""
    if where == "process":
        import numpy

        assert numpy.ones(3).sum() == 3
        return resident()
    interps = [subinterpreters.create() for _ in range(2)]
    interps[0].exec("import numpy; assert numpy.ones(3).sum() == 3")
    interps[1].exec("import json")  # what every interpreter has does not count
    before = resident()
    interps[1].exec("import numpy; assert numpy.ones(3).sum() == 3")
    return resident() - before


def _in_new_process(where: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, where], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _in_parallel(report) -> None:
    from harness.measure import function
    from harness.report import Goal

    rounds = 40 if report.settings.quick else 400
    with ExitStack() as stack:
        two = [stack.enter_context(subinterpreters.create()) for _ in range(2)]

        def both() -> None:
            threads = [
                threading.Thread(target=interp.call, args=(work, rounds))
                for interp in two
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        def one() -> None:
            for _ in range(2):
                two[0].call(work, rounds)

        turns = {"two interpreters": function(both), "one interpreter": function(one)}
        goals = [Goal("one interpreter", at_least=1.9)]
        report.compare("NumPy work, split in two", turns, goals)


def _importing(report) -> None:
    from harness.backends import OURS
    from harness.measure import Clock, Series, Turn, function
    from harness.report import Goal

    def in_interpreter(source: str, extensions: str, whole: bool) -> Turn:
        def turn(loops: int) -> float:
            spent = 0.0
            for _ in range(loops):
                start = Clock.now()
                interp = subinterpreters.create(extensions=extensions)
                start = start if whole else Clock.now()
                interp.exec(source)
                spent += Clock.now() - start
                interp.close()
            return spent

        return turn

    command = [sys.executable, "-c", "import numpy"]
    turns = {
        OURS: in_interpreter("import numpy", "any", True),
        "a process": function(lambda: subprocess.run(command, check=True)),
    }
    goals = [Goal("a process", at_least=1)]
    report.compare("a new interpreter, or process, that imports NumPy", turns, goals)
    sizes = {OURS: Series(1), "a process": Series(1)}
    for _ in range(1 if report.settings.quick else 5):
        sizes[OURS].values.append(_in_new_process("interpreter"))
        sizes["a process"].values.append(_in_new_process("process"))
    goals = [Goal("a process", at_least=2)]
    report.add("memory of NumPy in a further interpreter", "B", sizes, goals)
    for what, source in (("Python code", PURE), ("modules that declare", DECLARED)):
        turns = {
            'extensions="any"': in_interpreter(source, "any", False),
            'extensions="declared"': in_interpreter(source, "declared", False),
        }
        goals = [Goal('extensions="declared"', at_least=1 / 1.05)]
        report.compare(f"import of {what}, with our hook and without", turns, goals)


def run(report) -> None:
    from harness.measure import Clock

    if Clock.processor:
        report.note("not measured: it is about parallel work and processes")
        return
    if importlib.util.find_spec("numpy") is None:
        report.note("not measured: NumPy is not installed")
        return
    _in_parallel(report)
    _importing(report)


if __name__ == "__main__":
    print(measure(sys.argv[1]))
