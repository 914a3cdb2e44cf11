"""CPython's own tests of the module, as one test of ours (see run.py)."""

import pathlib
import subprocess
import sys

import pytest

RUN = pathlib.Path(__file__).with_name("run.py")


@pytest.mark.timeout(280)
def test_conformance():
    done = subprocess.run(
        [sys.executable, RUN], capture_output=True, text=True, timeout=270, check=False
    )
    if done.returncode == 2 and "not run" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
