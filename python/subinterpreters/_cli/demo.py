"""``python -m subinterpreters demo``: the main job on input that any machine has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from typing import NamedTuple

from ._arguments import Parser, count, default_workers

_DESCRIPTION = """\
Parse the source files of the standard library to syntax trees and measure them:
serially, with processes and with interpreters. Each way runs in a fresh Python; its
time is from the start of the workers to the last result, and its memory is the sum
of the peak resident set sizes of all its processes (VmHWM), which counts memory that
processes share once for each of them. The results of all three must be equal.
"""

#: Kinds of source files that a standard library ships but that are not its code.
_SKIPPED = {"site-packages", "dist-packages", "__pycache__"}
_MODES = ("serial", "processes", "interpreters")


class Figures(NamedTuple):
    """What one way of doing the job took, and gave."""

    seconds: float
    peak_kib: int  #: sum of the peak resident set sizes of its processes
    digest: str  #: of all results in order


def demo(args: list[str]) -> int:
    """Run the command with the arguments *args*; return the exit status.

    The status is 0, or 1 if the results of the ways are not equal, or one of them
    failed.
    """
    parser = Parser(prog="subinterpreters demo", description=_DESCRIPTION)
    parser.add_argument(
        "--workers",
        metavar="N",
        type=count,
        help="number of processes and of interpreters (default: CPUs of this process)",
    )
    parser.add_argument(
        "--megabytes",
        metavar="N",
        type=count,
        default=20,
        help="most source text to take, in units of 1,000,000 bytes (default: 20)",
    )
    options = parser.parse_args(args)
    workers: int = options.workers or default_workers()
    files, size = _source_files(options.megabytes * 1_000_000)
    print(
        f"{len(files):,} source files of the standard library, {size / 1e6:.1f} MB, "
        f"parsed and measured\nCPython {platform.python_version()}, {workers} workers"
        f"\n\n{'':14}{'seconds':>10}{'speed-up':>11}{'peak memory':>14}",
        flush=True,
    )
    all_figures = []
    for mode in _MODES:
        figures = _figures(mode, workers, files)
        if figures is None:
            return 1
        all_figures.append(figures)
        speed_up = all_figures[0].seconds / figures.seconds
        print(
            f"{mode:14}{figures.seconds:>10.2f}{speed_up:>10.2f}x"
            f"{figures.peak_kib / 1024:>10.0f} MiB",
            flush=True,
        )
    if len({figures.digest for figures in all_figures}) != 1:
        print("subinterpreters demo: the results differ", file=sys.stderr)
        return 1
    print("\nAll three gave the same results.")
    return 0


def _source_files(most: int) -> tuple[list[str], int]:
    """Return the paths of source files, at most *most* bytes in all, and their size.

    Reading their sizes also means that no way of doing the job is the first to look
    for them; their text is read here for the same reason.
    """
    paths: list[str] = []
    total = 0
    for folder, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                size = len(file.read())
            if total + size <= most:
                paths.append(path)
                total += size
    return paths, total


def _figures(mode: str, workers: int, files: list[str]) -> Figures | None:
    """Do the job in a fresh Python; None after telling what went wrong there."""
    done = subprocess.run(
        [sys.executable, "-m", "subinterpreters._cli.demo_mode", mode, str(workers)],
        input="\n".join(files),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(f"subinterpreters demo: {mode} failed", file=sys.stderr)
        return None
    seconds, peak_kib, digest = done.stdout.split()
    return Figures(float(seconds), int(peak_kib), digest)
