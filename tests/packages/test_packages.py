"""Real wheels, unmodified, in several interpreters at once.

requirements.txt beside this file pins them; tools/packages installs some and runs this.
What is not installed is not tested.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

WORKER = pathlib.Path(__file__).with_name("worker.py")
LIMIT = 600

# Set by the tools, which have installed what they want to be tested.
NONE_IS_WRONG = "SUBINTERPRETERS_PACKAGES" in os.environ


def is_installed(package):
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# The catalogue is for processes whose folder this is; it has two parts.
sys.path.insert(0, str(WORKER.parent))
catalogue = importlib.import_module("catalogue")
sys.path.pop(0)
INSTALLED = [package for package in catalogue.ALL if is_installed(package)]
packages = pytest.mark.parametrize("package", INSTALLED)


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", script, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT,
        check=False,
    )
    said = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    return done.stdout, said


def work(package, mode):
    out, said = run(WORKER, package, mode)
    assert json.loads(out.splitlines()[-1])["ok"], said


@pytest.mark.skipif(not NONE_IS_WRONG, reason="run by tools/packages")
def test_something_is_installed():
    assert "numpy" in INSTALLED


@packages
def test_two_at_once(package):
    work(package, "two")


@packages
def test_four_in_turn(package):
    work(package, "four")


@pytest.mark.slow
@packages
def test_twenty_cycles(package):
    work(package, "cycles")


def under_load(seconds):
    """For that long, and until each interpreter has done some rounds."""
    needed = {"numpy", "pydantic", "lxml", "greenlet"}
    if missing := needed - set(INSTALLED):
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")
    out, said = run(WORKER.with_name("stress.py"), str(seconds), "2")
    assert min(int(number) for number in out.split()) >= 2, said


def test_under_load():
    under_load(1)


@pytest.mark.slow
def test_under_load_for_a_minute():
    under_load(60)
