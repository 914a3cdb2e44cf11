"""What a cycle of creating, using and closing interpreters leaves behind."""

import json
import pathlib
import subprocess
import sys

import pytest

CYCLES = pathlib.Path(__file__).with_name("cycles.py")
USES = ["exec", "call", "error", "prepare_main", "imports", "thread", "queue"]


def run(**options):
    command = [sys.executable, CYCLES]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(
    sys.version_info < (3, 14),
    reason="3.12 and 3.13 count the blocks that ended interpreters leave behind",
)
@pytest.mark.parametrize("use", USES)
def test_nothing_is_left_in_this_interpreter(use):
    grown = run(count=40, rounds=6, warm_up=20, use=use)
    assert grown["files"] == 0
    assert grown["threads"] == 0
    # A block more for each cycle would be 40 in every round.
    assert grown["blocks"] < 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    sys.version_info < (3, 14),
    reason="CPython 3.12 and 3.13 leak 1.7 MB with every interpreter that ends",
)
@pytest.mark.parametrize("use", ["exec", "call", "queue"])
def test_growth_is_that_of_the_standard_library(use):
    count = {"count": 1000, "use": use}
    theirs = run(implementation="stdlib", **count)
    ours = run(implementation="ours", **count)
    print(f"growth over 1,000 cycles in KB: ours {ours['rss']}, stdlib {theirs['rss']}")
    assert ours["rss"] <= max(theirs["rss"], 0) + 300
    assert ours["blocks"] < 100
    assert ours["files"] == ours["threads"] == 0
