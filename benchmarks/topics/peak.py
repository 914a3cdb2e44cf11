"""The most memory that a crossing takes, beyond the objects of both sides.

Each measurement is a process of its own. As a script: peak.py CASE.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

KEPT = "short strings that others refer to as well"
CASES = (
    "10,000 small dicts, 30 times",
    "rows of tuples",
    "short strings",
    KEPT,
    "bytes",
)


def value_of(case: str) -> object:
    from topics.corpus import mixed
    from topics.queues import records

    if case == CASES[0]:
        return records(300_000)
    if case == "bytes":
        return [bytes([i]) * (4 << 20) for i in range(64)]
    if case == KEPT:
        return [f"n{i}" for i in range(3_000_000)]
    return mixed(case, 30)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == field:
            return int(value.split()[0]) << 10
    raise LookupError(field)


def measure(case: str) -> dict[str, int]:
    """How the resident memory went up and down, in bytes."""
    import subinterpreters

    value = value_of(case)
    others = list(value) if case == KEPT else []
    queue = subinterpreters.create_queue()
    queue.put(1)
    queue.get()
    gc.collect()
    # What building the value left free must not hide what crossing takes.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    start = _status("VmRSS")
    queue.put(value)
    image = _status("VmRSS") - start
    copy = queue.get()
    copied = _status("VmRSS") - start
    peak = _status("VmHWM") - start
    assert len(copy) == len(value)
    assert others == value[: len(others)]
    return {"image": image, "copy": copied, "peak": peak}


def _in_new_process(case: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, __file__, case], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{case}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def run(report) -> None:
    from harness.backends import OURS
    from harness.measure import Series
    from harness.report import Goal

    for case in CASES:
        found = [
            _in_new_process(case) for _ in range(1 if report.settings.quick else 3)
        ]
        # What is left of the image beside the copy, in images: at most 1.2 of them.
        extra = [(one["peak"] - one["copy"]) / max(one["image"], 1) for one in found]
        sizes = ", ".join(f"{key} {value >> 20} MB" for key, value in found[0].items())
        report.add(
            f"peak beyond both objects, in images: {case}",
            "images",
            {OURS: Series(1, extra)},
            [Goal(at_most=1.2)],
        )
        report.note(sizes)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(json.dumps(measure(sys.argv[1])))
