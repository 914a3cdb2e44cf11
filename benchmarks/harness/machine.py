"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _commit() -> str:
    """The commit of this checkout, with + if something was changed since."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def describe() -> dict[str, object]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return {
        "python": sys.version,
        "python_options": sysconfig.get_config_var("CONFIG_ARGS"),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cpus": cpus or os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "load": [round(value, 2) for value in os.getloadavg()],
        "commit": _commit(),
    }


# Switches of CPython that change what is measured.
_SWITCHES = (
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONFAULTHANDLER",
    "PYTHONMALLOC",
    "PYTHONMALLOCSTATS",
    "PYTHONOPTIMIZE",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC",
    "PYTHONUNBUFFERED",
)


def plain_environment() -> dict[str, str]:
    """The environment for a process that is measured."""
    return {name: v for name, v in os.environ.items() if name not in _SWITCHES}
