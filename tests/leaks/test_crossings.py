"""What values that cross leave behind: nothing, whichever type they have."""

import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import crossings

# Descriptions of functions and classes are kept in bounded numbers, and what they refer
# to until the garbage collectors have found it: these go up and down.
KEPT = {"new closures", "new local classes"}


def run(*options, timeout):
    done = subprocess.run(
        [sys.executable, crossings.__file__, *options],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return {
        (found := json.loads(line)).pop("kind"): found
        for line in done.stdout.splitlines()
    }


def test_no_blocks_are_left():
    """A block for each crossing would be 2,000 in every round."""
    grown = run("--count=2000", "--warm-up=6000", "--rounds=3", timeout=110)
    assert grown.keys() == crossings.KINDS.keys()
    most = {kind: 1000 if kind in KEPT else 200 for kind in grown}
    assert {k: g for k, g in grown.items() if g["blocks"] > most[k]} == {}


@pytest.mark.slow
@pytest.mark.timeout(290)
@pytest.mark.parametrize("kind", crossings.KINDS)
def test_after_a_million_crossings_memory_is_where_it_was(kind):
    """Also that of no interpreter: a leak of 4 bytes each would be 4 MB."""
    count = ["--count=1000000", "--warm-up=200000"]
    (grown,) = run(*count, f"--kind={kind}", timeout=280).values()
    print(f"{kind}: {grown['blocks']} blocks, {grown['rss']} KB")
    assert grown["blocks"] < (10_000 if kind in KEPT else 500)
    assert grown["rss"] < (10_000 if kind in KEPT else 2000)
