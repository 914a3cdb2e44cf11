"""The examples of the pool run, and say what they should."""

import pathlib
import re
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"

SAYS = {
    "first_answer.py": (["3"], r"\d+ begins with 3 zeros; \d+ tasks were stopped"),
    "log_parser.py": ([], r"(?s).*200 200001\n.*404 +66666\n.*"),
    "monte_carlo.py": (["64000"], r"pi is about 3\.\d+, off by 0\.\d+"),
    "web_service.py": ([], r"(?s)(?=.*/1000 168)(?=.*/20000 2262)(?=.*ask for /N).*"),
    "parallel.py": (["2"], r"[\d,]+ primes below 400,000, 2 interpreters: .* s"),
}


@pytest.mark.parametrize("name", SAYS)
def test_example(name):
    arguments, expected = SAYS[name]
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(expected, done.stdout.strip()), done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", SAYS)
def test_examples_are_short(name):
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60
