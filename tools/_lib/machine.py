"""The machine as it is: its CPythons, and its package manager."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from common import WORK, ToolError, locked, progress, run_logged

PROBE = """
import importlib.util, json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "version": platform.python_version(),
    "xy": "%d.%d" % sys.version_info[:2],
    "cpython": sys.implementation.name == "cpython",
    "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "headers": os.path.exists(sysconfig.get_path("include") + "/Python.h"),
    "ensurepip": importlib.util.find_spec("ensurepip") is not None,
}))
"""


class Facts(TypedDict):
    """What PROBE prints."""

    executable: str
    version: str
    xy: str
    cpython: bool
    gil: bool
    headers: bool
    ensurepip: bool


@dataclass(frozen=True)
class Found:
    """A CPython of the machine that can build and run the package."""

    executable: str
    exact: str
    source: str


def find(version: str) -> Found | None:
    """The machine's CPython VERSION, or None; what it lacks is installed or said."""
    for executable, source in _candidates(version):
        facts = _probe(executable)
        if facts is None or facts["xy"] != version:
            continue
        lacking = _lacking(facts)
        if lacking == "packages" and _install_rest(version, facts["executable"]):
            facts = _probe(executable) or facts
            lacking = _lacking(facts)
        if not lacking:
            return Found(facts["executable"], facts["version"], source)
        if lacking == "packages":
            lacking = (
                "it lacks Python.h or ensurepip; on Debian: "
                f"apt-get install python{version}-dev python{version}-venv"
            )
        progress(f"{executable} is passed over: {lacking}")
    return None


def _candidates(version: str) -> Iterator[tuple[str, str]]:
    name = f"python{version}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield os.path.join(folder or ".", name), "PATH"
    roots = [os.environ.get("PYENV_ROOT"), "~/.pyenv", "/opt/pyenv", "/usr/local/pyenv"]
    for root in roots:
        if root:
            pattern = f"{os.path.expanduser(root)}/versions/{version}.*/bin/{name}"
            for path in sorted(glob.glob(pattern), key=_patch_number, reverse=True):
                yield path, "pyenv"
    for folder in ("/usr/local/bin", "/usr/bin"):
        yield f"{folder}/{name}", folder


def _patch_number(path: str) -> tuple[int, bool]:
    """Order pyenv's folders: by patch number, releases after their candidates."""
    match = re.search(r"/versions/\d+\.\d+\.(\d+)([^/]*)", path)
    return (int(match.group(1)), match.group(2) == "") if match else (-1, False)


def _probe(executable: str) -> Facts | None:
    if not os.access(executable, os.X_OK):
        return None
    try:
        done = subprocess.run(
            [executable, "-I", "-c", PROBE],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        return cast(Facts, json.loads(done.stdout)) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _lacking(facts: Facts) -> str:
    if not facts["cpython"]:
        return "it is not CPython"
    if not facts["gil"]:
        return "it is a free-threaded build"
    return "" if facts["headers"] and facts["ensurepip"] else "packages"


def _install_rest(version: str, executable: str) -> bool:
    """Debian splits CPython: fetch the headers and venv of its own python."""
    if not (can_install() and executable.startswith("/usr/bin/")):
        return False
    install(f"python{version}-dev", f"python{version}-venv")
    return True


def can_install() -> bool:
    """Whether packages of Debian can be installed without asking anybody."""
    return (
        os.geteuid() == 0
        and Path("/etc/debian_version").exists()
        and shutil.which("apt-get") is not None
    )


def administrator() -> dict[str, str]:
    """The environment for Debian's own tools, which count on the sbin folders."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, "DEBIAN_FRONTEND": "noninteractive"}


def install(*packages: str) -> None:
    """Install Debian packages; the caller has checked can_install()."""
    log = WORK / "log" / "apt.log"
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600"]
    command = [*apt, "install", "-y", "--no-install-recommends", *packages]
    env = administrator()
    with locked("apt"):
        progress(f"apt-get install {' '.join(packages)}")
        try:
            run_logged(command, log, env)
        except ToolError:
            # A fresh machine has no package lists, or old ones.
            run_logged([*apt, "update"], log, env)
            run_logged(command, log, env)


def need_compiler() -> None:
    named = os.environ.get("CC", "").split()
    if named or any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return
    if not can_install():
        raise ToolError("no C compiler found; on Debian: apt-get install gcc libc6-dev")
    install("gcc", "libc6-dev")
