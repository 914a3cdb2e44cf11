"""CPython's own tests of module and pool, each suite one test of ours (see run.py)."""

import pathlib
import subprocess
import sys

import pytest

RUN = pathlib.Path(__file__).with_name("run.py")


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "suite",
    [
        "test.test_interpreters",
        "test.test_concurrent_futures.test_interpreter_pool",
    ],
)
def test_conformance(suite):
    done = subprocess.run(
        [sys.executable, RUN, "--suite", suite],
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    if done.returncode == 2 and "not run" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
