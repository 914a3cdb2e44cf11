"""What the commands' argument parsers have in common."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line; status 2, as usual."""

    def error(self, message: str) -> NoReturn:
        """Print *message* on standard error and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def count(text: str) -> int:
    """Return the number from 1 on that *text* is, for ``type=`` of an argument."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"not a number from 1 on: {text}")
    return value


def default_workers() -> int:
    """Return the number of CPUs that this process may use."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0))
