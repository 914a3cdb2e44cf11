"""worker.py PACKAGE MODE: one check of one package, in a process of its own.

Prints one line of JSON: {"ok": true, ...figures} or {"ok": false, "why": text}. Modes:

expect   the work in the main interpreter; prints the result's repr
two      in two interpreters at the same time, twice each
four     in four interpreters one after the other, all alive
cycles   twenty times: create, use, close; with the growth of the process
figures  time and memory of the import in a second interpreter and in a process
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
import types
from typing import TYPE_CHECKING

import catalogue

if TYPE_CHECKING:
    from subinterpreters import Interpreter

CYCLES = 20
SETTLED = 5  # cycles after which growth is counted


def rss_kb() -> int:
    """Resident memory of this process."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    raise AssertionError("the kernel tells no Pss")


def run(source: str, interp: Interpreter | None) -> str:
    """The repr of `result` after SOURCE, in INTERP or here."""
    read, write = os.pipe()
    pieces: list[bytes] = []

    def drain() -> None:
        while piece := os.read(read, 65536):
            pieces.append(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    source += (
        f"\nimport os\nos.write({write}, ascii(result).encode())\nos.close({write})\n"
    )
    try:
        if interp is None:
            fresh = types.ModuleType("__main__")
            sys.modules["__main__"] = fresh
            exec(source, fresh.__dict__)
        else:
            interp.exec(source)
    except BaseException:
        os.close(write)
        raise
    finally:
        reader.join()
        os.close(read)
    return b"".join(pieces).decode()


class Wrong(Exception):
    """Another result than the main interpreter's."""


def check(source: str, interp: Interpreter, expected: str) -> None:
    got = run(source, interp)
    if got != expected:
        raise Wrong(f"{got[:200]} instead of {expected[:200]}")


def two(source: str, expected: str) -> dict[str, int]:
    import subinterpreters

    interps = [subinterpreters.create() for _ in range(2)]
    errors: list[BaseException] = []

    def work(interp: Interpreter) -> None:
        try:
            for _ in range(2):
                check(source, interp, expected)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in interps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for interp in interps:
        interp.close()
    if errors:
        raise errors[0]
    return {}


def four(source: str, expected: str) -> dict[str, int]:
    import subinterpreters

    interps = []
    for _ in range(4):
        interps.append(subinterpreters.create())
        check(source, interps[-1], expected)
    for interp in interps:
        check(source, interp, expected)
        interp.close()
    return {}


def cycles(source: str, expected: str) -> dict[str, int]:
    import subinterpreters

    seen = []
    for _ in range(CYCLES):
        interp = subinterpreters.create()
        check(source, interp, expected)
        interp.close()
        gc.collect()
        seen.append(rss_kb())
    return {"growth_kb": (seen[-1] - seen[SETTLED - 1]) // (CYCLES - SETTLED)}


def figures(source: str, expected: str) -> dict[str, int]:
    """Of the whole work, its imports first; in the third interpreter, so that what the
    process does once is done, and in processes."""
    import subinterpreters

    interps, times, sizes = [], [], []
    for _ in range(3):
        interp = subinterpreters.create()
        before, start = rss_kb(), time.perf_counter()
        check(source, interp, expected)
        times.append(time.perf_counter() - start)
        sizes.append(rss_kb() - before)
        interps.append(interp)
    for interp in interps:
        interp.close()
    alone = [json.loads(child("alone")) for _ in range(2)]
    return {
        "time_ms": round(min(times[1:]) * 1000),
        "memory_kb": min(sizes[1:]),
        "process_time_ms": min(a["time_ms"] for a in alone),
        "process_memory_kb": min(a["memory_kb"] for a in alone),
    }


def alone(source: str) -> dict[str, int]:
    """The work in this process: from its start, and all its own memory."""
    run(source, None)
    with open("/proc/self/stat", encoding="ascii") as file:
        started = int(file.read().rsplit(")", 1)[1].split()[19])
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        "time_ms": round(
            (time.clock_gettime(time.CLOCK_BOOTTIME) - started / ticks) * 1000
        ),
        "memory_kb": rss_kb(),
    }


def child(mode: str) -> str:
    done = subprocess.run(
        [sys.executable, __file__, sys.argv[1], mode],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError("fails in the main interpreter: " + done.stderr[-300:])
    return done.stdout.splitlines()[-1]


def main() -> None:
    package, mode = sys.argv[1:]
    source = catalogue.ALL[package]
    # Nothing of this folder is in the way of packages: spaCy has another `catalogue`.
    del sys.modules["catalogue"], sys.path[0]
    if mode == "expect":
        print(run(source, None))
        return
    if mode == "alone":
        print(json.dumps(alone(source)))
        return
    try:
        found = globals()[mode](source, child("expect"))
        print(json.dumps({"ok": True, **found}), flush=True)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        why = f"{type(error).__name__}: {lines[0]} ... {lines[-1]}"
        print(json.dumps({"ok": False, "why": why}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
