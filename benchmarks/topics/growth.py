"""How much memory a process has gained after many interpreters came and went.

Each measurement is a process of its own. As a script: growth.py MODULE CYCLES.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import subprocess
import sys

_libc = ctypes.CDLL(None)
WARM_UP = 20  # cycles until CPython's own caches and the allocators are filled


def resident() -> int:
    """Resident memory of this process, in bytes, without what is merely free in it.

    The top of the heap comes and goes by hundreds of KB, with either module.
    """
    gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cycle(module) -> None:
    interp = module.create()
    if isinstance(interp, int):
        # CPython's low-level module, where there is no better one (3.12 and 3.13).
        run_string = getattr(module, "exec", module.run_string)
        run_string(interp, "x = 1")
        module.destroy(interp)
        return
    interp.exec("x = 1")
    interp.close()


def measure(name: str, cycles: int) -> int:
    module = importlib.import_module(name)
    for _ in range(WARM_UP):
        cycle(module)
    before = resident()
    for _ in range(cycles):
        cycle(module)
    return resident() - before


def _in_new_process(name: str, cycles: int) -> float:
    command = [sys.executable, __file__, name, str(cycles)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: exit status {done.returncode}\n{done.stderr}")
    return float(done.stdout)


def run(report) -> None:
    from harness.backends import LOW_LEVEL, OURS, STDLIB, stdlib
    from harness.measure import Series
    from harness.report import Goal

    other = STDLIB if stdlib() is not None else LOW_LEVEL
    cycles, repeats = (50, 1) if report.settings.quick else (1000, 3)
    results = {OURS: Series(cycles), other: Series(cycles)}
    for _ in range(repeats):
        for name, series in results.items():
            series.values.append(_in_new_process(name, cycles))
    # Less than all cycles say nothing about the limit; before 3.14, CPython leaks.
    judged = other == STDLIB and not report.settings.quick
    goals = [Goal(STDLIB, margin=300 << 10)] if judged else []
    report.add(f"growth in {cycles:,} create/exec/close cycles", "B", results, goals)
    if other == LOW_LEVEL:
        report.note("before 3.14 CPython itself leaks with every interpreter that ends")


if __name__ == "__main__":
    print(measure(sys.argv[1], int(sys.argv[2])))
