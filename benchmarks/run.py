"""Measure subinterpreters beside CPython's own module, threads and processes.

    python benchmarks/run.py [--only TOPIC] [--json FILE] [--quick]
                             [--check] [--processor-time]

Each topic runs in a process of its own, on its main thread. See README.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from harness.machine import describe, plain_environment
from harness.measure import FULL, QUICK, Clock
from harness.report import HEADER, Report
from topics import TOPICS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=TOPICS, metavar="TOPIC",
                        help=f"repeatable; one of {', '.join(TOPICS)}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--quick", action="store_true", help="less exact, much sooner")
    parser.add_argument("--check", action="store_true",
                        help="exit status 1 if a goal is missed")  # fmt: skip
    parser.add_argument("--processor-time", action="store_true",
                        help="on a busy machine: leave out what waits")  # fmt: skip
    # How the process of one topic is told what to do.
    parser.add_argument("--topic", choices=TOPICS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_topic(arguments: argparse.Namespace) -> int:
    """In the topic's process."""
    name = arguments.topic
    if arguments.processor_time:
        Clock.use_processor_time()
    report = Report(arguments.json, QUICK if arguments.quick else FULL)
    module = importlib.import_module(f"topics.{name}")
    print(f"\n=== {name}: {module.__doc__.splitlines()[0]}", flush=True)
    module.run(report)
    return 1 if report.failed else 0


def _start_topic(name: str, options: list[str]) -> tuple[list[dict[str, object]], bool]:
    """Run a topic in a new process -> (its cases, whether all of them worked)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cases.json")
        command = [sys.executable, __file__, "--topic", name, "--json", str(path)]
        command += options
        status = subprocess.run(command, env=plain_environment()).returncode
        if status != 0:
            print(f"  {name} failed: exit status {status}", flush=True)
        cases = path.read_text(encoding="utf-8") if path.exists() else "[]"
        return json.loads(cases), status == 0


def main() -> int:
    arguments = _arguments()
    if arguments.topic:
        return _run_topic(arguments)
    options = ["--quick"] * arguments.quick
    options += ["--processor-time"] * arguments.processor_time
    machine = describe()
    for key, value in machine.items():
        print(f"{key + ':':16} {value}")
    print(f"\n{HEADER}", flush=True)
    results = {}
    good = True
    for name in arguments.only or TOPICS:
        results[name], worked = _start_topic(name, options)
        good &= worked
    cases = [case for cases in results.values() for case in cases]
    goals = [goal for case in cases for goal in case["goals"]]
    missed = [goal for goal in goals if not goal["reached"]]
    print(f"\n{len(goals)} goals, {len(missed)} missed")
    if arguments.json:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        document = {"when": when, "options": options, "machine": machine}
        text = json.dumps(document | {"topics": results}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0 if good and not (arguments.check and missed) else 1


if __name__ == "__main__":
    sys.exit(main())
