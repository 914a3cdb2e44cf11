"""Real wheels, unmodified, in several interpreters at once.

requirements.txt beside this file pins them; what is not installed is skipped, except
where SUBINTERPRETERS_PACKAGES=all says that the set-up has installed everything.
"""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import catalogue

WORKER = pathlib.Path(__file__).with_name("worker.py")
ALL_INSTALLED = os.environ.get("SUBINTERPRETERS_PACKAGES") == "all"


def installed(package):
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def work(package, mode):
    if not ALL_INSTALLED and not installed(package):
        pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(WORKER), package, mode],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )
    said = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    assert json.loads(done.stdout.splitlines()[-1])["ok"], said


@pytest.mark.parametrize("package", catalogue.REQUIRED)
def test_two_at_once(package):
    work(package, "two")


@pytest.mark.slow
@pytest.mark.parametrize("package", catalogue.REQUIRED)
def test_four_in_turn(package):
    work(package, "four")


@pytest.mark.slow
@pytest.mark.parametrize("package", catalogue.REQUIRED)
def test_twenty_cycles(package):
    work(package, "cycles")


@pytest.mark.slow
@pytest.mark.parametrize("package", catalogue.MORE)
def test_others_two_at_once(package):
    if package in catalogue.LIMITED:
        pytest.skip(catalogue.LIMITED[package])
    work(package, "two")


@pytest.mark.slow
def test_under_load():
    for package in ("numpy", "pydantic", "lxml", "greenlet"):
        if not ALL_INSTALLED and not installed(package):
            pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            str(WORKER.with_name("stress.py")),
            "60",
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    said = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    assert min(int(number) for number in done.stdout.split()) > 5, said
