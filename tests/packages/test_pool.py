"""The pool with what is not among the requirements of the other tests."""

import asyncio
import pathlib
import re
import subprocess
import sys

import pytest
from subinterpreters import InterpreterPoolExecutor

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def test_the_example_uses_numpy():
    pytest.importorskip("numpy")
    # Without NumPy so many darts would take minutes.
    command = [sys.executable, EXAMPLES / "monte_carlo.py", "20000000"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.fullmatch(r"pi is about 3\.14\d+, off by 0\.00\d+\n", done.stdout)


def test_an_event_loop_of_uvloop():
    uvloop = pytest.importorskip("uvloop")

    async def main():
        loop = asyncio.get_running_loop()
        assert type(loop).__module__.startswith("uvloop")
        with InterpreterPoolExecutor(2) as pool:
            calls = [pool.run(abs, -n) for n in range(2000)]
            assert await asyncio.gather(*calls) == list(range(2000))
            stopped = pool.run(exec, "while True: pass")
            stopped.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopped
            return await pool.run(abs, -1)

    assert uvloop.run(main()) == 1
