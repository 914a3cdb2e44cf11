"""Wheels of other projects, installed beside an environment and not into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from common import CHECKOUT, WORK, ToolError, locked, progress, run_logged
from environment import Environment

PINS = CHECKOUT / "tests" / "packages" / "requirements.txt"

# What every change is checked with: each way of making an extension module, quickly
# installed. Their versions are those of PINS.
CHECKED = ("numpy", "pydantic", "orjson", "lxml", "greenlet", "uvloop")


def pinned() -> list[str]:
    """The lines of PINS that name a distribution."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def name_of(requirement: str) -> str:
    return requirement.partition("==")[0]


def install(environment: Environment, requirements: Sequence[str]) -> Path:
    """A folder for PYTHONPATH with exactly these; from wheels only."""
    folder = WORK / "wheels" / f"{environment.version}-{len(requirements)}"
    stamp = folder / ".stamp"
    wanted = "\n".join(requirements)
    with locked(folder.name):
        if stamp.is_file() and stamp.read_text() == wanted:
            return folder
        progress(f"{environment.version}: fetching {len(requirements)} packages")
        shutil.rmtree(folder, ignore_errors=True)
        _pip(environment, folder, requirements)
        stamp.write_text(wanted)
    return folder


def install_all(environment: Environment, names: Sequence[str]) -> Path:
    """A folder with those of PINS (without names: all) that have a wheel for it."""
    folder = WORK / "wheels" / f"{environment.version}-all"
    with locked(folder.name):
        for requirement in pinned():
            if names and name_of(requirement) not in names:
                continue
            stamp = folder / f".stamp-{name_of(requirement)}"
            if stamp.is_file() and stamp.read_text() == requirement:
                continue
            progress(f"{environment.version}: fetching {requirement}")
            try:
                _pip(environment, folder, [requirement])
            except ToolError:
                progress(f"no wheel of {requirement} for {environment.version}")
                continue
            stamp.write_text(requirement)
    return folder


def _pip(environment: Environment, folder: Path, requirements: Sequence[str]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env.setdefault("PIP_CACHE_DIR", str(WORK / "pip-cache"))
    options = ["--upgrade", "--only-binary", ":all:", "--target", str(folder)]
    options += ["--disable-pip-version-check", "--root-user-action", "ignore"]
    command = ["-m", "pip", "install", "--quiet", *options, *requirements]
    log = WORK / "log" / f"wheels-{environment.version}.log"
    run_logged(environment.command(command), log, environment.variables(env))
