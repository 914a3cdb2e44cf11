"""A short run of the soak of pools; by hand it runs for as long as one likes."""

import pathlib
import subprocess
import sys

import pytest

SOAK = pathlib.Path(__file__).with_name("pool_soak.py")


def run(*options, timeout):
    command = [sys.executable, SOAK, "--hang", timeout - 10, *options]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=timeout
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert ", 0 problems" in done.stdout, said
    return done.stdout


@pytest.mark.timeout(300)
def test_short():
    said = run("--seconds", 4, timeout=200)
    assert "\npool soak: 0 rounds" not in said


def test_a_wrong_outcome_is_found():
    """The soak tells: a task that gives something else is a problem, and its round is
    named."""
    script = (
        "import sys; sys.argv = ['pool_soak.py', '--rounds', '1', '--seed', '3']\n"
        f"sys.path.insert(0, {str(SOAK.parent)!r})\n"
        "import pool_soak\n"
        "def give(value):\n"
        "    return 'something else'\n"
        "pool_soak.give = give\n"
        "pool_soak.WEIGHTS = {'give': 1}\n"
        "pool_soak.Round.ENDINGS = ('leave',)\n"
        "sys.exit(pool_soak.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "round 0 (leave," in done.stdout
    assert "something else" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_long():
    run("--seconds", 600, timeout=900)
