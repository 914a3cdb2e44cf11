"""Count the instructions of the short paths, and compare with what they were.

    python benchmarks/instructions.py [--only CASE] [--update] [--profile CASE]

Unlike a time, a count is the same on a busy machine. Needs valgrind, on PATH or where
the environment variable VALGRIND says. Each case runs twice under callgrind, with few
and with many loops: the difference is what the loops cost, whatever the interpreter's
start took. The stored counts are per CPython build: another compiler, another count.

Exit status: 0 if no count is more than TOLERANCE above the stored one, 1 if one is, 2
if nothing could be compared (no valgrind, nothing stored for this CPython).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

from harness.machine import plain_environment

STORED = Path(__file__).with_name("instructions.json")
VALGRIND = os.environ.get("VALGRIND", "valgrind")
TOLERANCE = 0.03
NOTHING = 2  # exit status
FEW, MANY = 100, 600
NESTED = {"id": 7, "name": "spam", "tags": ["a", "b"], "size": {"x": 1.5, "y": 2.5}}
# Inside which functions of the extension --profile looks.
ENTRIES = ("interpreter_exec", "interpreter_call", "queue_put", "queue_get")


def nothing():
    pass


def same(value):
    return value


def _adder(amount):
    return lambda value: value + amount


def _cases() -> dict[str, Callable[[], object]]:
    """What one loop does. Runs in the measured process only."""
    import subinterpreters

    interp = subinterpreters.create()
    queue = subinterpreters.create_queue()
    records = [{"id": i, "name": f"n{i}", "v": [i + 0.5, 1.5, 2.5]} for i in range(100)]
    closure = _adder(1)

    def through(value: object) -> Callable[[], object]:
        return lambda: (queue.put(value), queue.get())

    return {
        "exec": lambda: interp.exec("pass"),
        "call": lambda: interp.call(nothing),
        "call with an int": lambda: interp.call(same, 1),
        "call of a closure": lambda: interp.call(closure, 1),
        "call with a dict": lambda: interp.call(same, NESTED),
        "queue, int": through(1),
        "queue, str": through("spam and eggs"),
        "queue, dict": through(NESTED),
        "queue, 100 dicts": through(records),
        "queue, 64 KB": through(bytes(1 << 16)),
    }


NAMES = (
    "exec",
    "call",
    "call with an int",
    "call of a closure",
    "call with a dict",
    "queue, int",
    "queue, str",
    "queue, dict",
    "queue, 100 dicts",
    "queue, 64 KB",
)


def _loop(name: str, loops: int) -> None:
    """In the measured process."""
    work = _cases()[name]
    gc.collect()
    gc.disable()
    for _ in repeat(None, loops):
        work()


def _callgrind(name: str, loops: int, output: Path, *options: str) -> int:
    """Run a case under callgrind -> the instructions of the whole process."""
    command = [VALGRIND, "--tool=callgrind", f"--callgrind-out-file={output}"]
    command += [
        *options,
        sys.executable,
        __file__,
        "--case",
        name,
        "--loops",
        str(loops),
    ]
    variables = plain_environment() | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: exit status {done.returncode}\n{done.stderr}")
    found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{name}: callgrind wrote no total")
    return int(found[1])


def count(name: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "callgrind.out")
        few = _callgrind(name, FEW, output)
        return round((_callgrind(name, MANY, output) - few) / (MANY - FEW))


def profile(name: str) -> None:
    """Print where the instructions of one case go, per loop and function."""
    options = [f"--toggle-collect={entry}" for entry in ENTRIES]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "callgrind.out")
        _callgrind(name, MANY, output, *options)
        for kind in ("no", "yes"):
            command = ["callgrind_annotate", "--auto=no", f"--inclusive={kind}", output]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"\n{name}: instructions per loop, {kind} callees included")
            line = r"^\s*([\d,]+) \(.*?\)\s+(\S+)"
            rows = re.findall(line, done.stdout, re.MULTILINE)
            for number, where in rows[1:40]:
                each = int(number.replace(",", "")) / MANY
                print(f"{each:9.1f}  {where.rpartition('/')[2]}")


def _key() -> str:
    return f"CPython {sys.version}, {platform.machine()}"


def _verdict(now: int, before: int | None) -> tuple[str, bool]:
    if before is None:
        return "not stored", False
    change = now / before - 1
    text = f"{before:>9}  {change:+7.1%}"
    if change > TOLERANCE:
        return f"{text}  MORE than the tolerance of {TOLERANCE:.0%}", False
    return text + ("  (less: store it with --update)" * (change < -TOLERANCE)), True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=NAMES, metavar="CASE")
    parser.add_argument("--update", action="store_true", help="store the new counts")
    parser.add_argument("--profile", choices=NAMES, metavar="CASE",
                        help="show where the instructions go")  # fmt: skip
    # How the measured process is told what to do.
    parser.add_argument("--case", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--loops", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    if arguments.case:
        _loop(arguments.case, arguments.loops)
        return 0
    if shutil.which(VALGRIND) is None:
        print("valgrind is not installed")
        return NOTHING
    if arguments.profile:
        profile(arguments.profile)
        return 0
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    counts = stored.setdefault(_key(), {})
    print(f"instructions per loop on {_key()}\n{'':20} {'now':>9} {'stored':>9}")
    if not counts and not arguments.update:
        print("nothing is stored for this CPython")
        return NOTHING
    good = True
    for name in arguments.only or NAMES:
        now = count(name)
        text, same_as_before = _verdict(now, counts.get(name))
        good &= same_as_before or arguments.update
        text += "  (stored now)" * arguments.update
        print(f"{name:20} {now:>9} {text}", flush=True)
        counts[name] = now
    if arguments.update:
        STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
