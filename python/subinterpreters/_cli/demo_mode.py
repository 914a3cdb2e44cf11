"""One way of doing the demonstration's job, in a Python of its own.

``python -m subinterpreters._cli.demo_mode MODE WORKERS`` reads the files' paths from
standard input and prints the seconds, the peak memory in KiB and a digest of the
results. MODE is serial, processes or interpreters.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

from ._engine import Engine
from ._inputs import batches
from ._worker import Job, Part, run_batch

_JOB = Job("subinterpreters._cli.syntax:measure", as_json=True, are_paths=True)
#: Files that a process gets at a time; more, or fewer, was not faster.
_PROCESS_CHUNK = 8


def main() -> None:
    """Do the job that the command line names."""
    mode, workers = sys.argv[1], int(sys.argv[2])
    files = sys.stdin.read().splitlines()
    started = time.perf_counter()
    match mode:
        case "serial":
            figures = _finish(started, (_measure(path) for path in files))
        case "processes":
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=spawn) as executor:
                results = executor.map(_measure, files, chunksize=_PROCESS_CHUNK)
                figures = _finish(started, results)
        case "interpreters":
            engine = Engine(_JOB, workers)
            source = batches(files, False, engine.batch_length)
            results = (part for _, part in engine.results(source))
            figures = _finish(started, results)
        case _:
            raise ValueError(f"unknown mode: {mode}")
    print(*figures)


def _measure(path: str) -> Part:
    return run_batch(_JOB, [path])


def _finish(started: float, parts: Iterable[Part]) -> tuple[float, int, str]:
    """Take all *parts*; return the time since *started*, the peak, a digest.

    The peak is that of this process and of those that it started: they must be
    alive still.
    """
    lines: list[str] = []
    for _, texts, failures in parts:
        lines.extend(text for text in texts if text is not None)
        lines.extend(f"{failure[1]}: {failure[2]}" for failure in failures)
    seconds = time.perf_counter() - started
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    return seconds, _peak_kib(), digest


def _peak_kib() -> int:
    """Return the sum of the peak resident set sizes (VmHWM) of this process tree."""
    ours = str(os.getpid())
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end while we look.
        with suppress(OSError):
            status = dict(
                line.split(":", 1)
                for line in (folder / "status").read_text().splitlines()
            )
            if ours in (folder.name, status["PPid"].strip()):
                total += int(status["VmHWM"].removesuffix("kB"))
    return total


if __name__ == "__main__":
    main()
