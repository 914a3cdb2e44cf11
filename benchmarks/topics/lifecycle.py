"""How long an interpreter takes to make and to close."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

from harness.backends import STDLIB, modules
from harness.measure import Turn, function, waiting
from harness.report import Goal, Report


def create_close(module: ModuleType) -> Turn:
    return function(lambda: module.create().close())


def create_use_close(module: ModuleType) -> Turn:
    def work() -> None:
        interp = module.create()
        interp.exec("import json")
        interp.close()

    return function(work)


def process(code: str) -> Turn | None:
    command = [sys.executable, "-c", code]
    return waiting(function(lambda: subprocess.run(command, check=True)))


def run(report: Report) -> None:
    # No slower than 1.05 times the standard library's.
    goals = [Goal(STDLIB, at_least=1 / 1.05)]
    turns: dict[str, Turn | None] = {
        name: create_close(module) for name, module in modules().items()
    }
    turns["a process"] = process("pass")
    report.compare("create + close", turns, goals)
    turns = {name: create_use_close(module) for name, module in modules().items()}
    turns["a process"] = process("import json")
    report.compare('create + exec("import json") + close', turns)
