"""Short runs of the stress program; by hand it runs for as long as one likes."""

import pathlib
import subprocess
import sys

import pytest

STRESS = pathlib.Path(__file__).with_name("stress.py")


def run(ops, *options, timeout):
    command = [sys.executable, STRESS, "--ops", ops, "--hang", timeout - 10, *options]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=timeout
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"{ops} operations" in done.stdout, said
    assert done.stderr == "", said


@pytest.mark.parametrize("threads", [1, 4])
def test_short(threads):
    run(6000, "--threads", threads, timeout=100)


def test_switching_often():
    run(2000, "--threads", 4, "--switch", "1e-6", timeout=100)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_long():
    run(200_000, "--threads", 8, timeout=1700)
