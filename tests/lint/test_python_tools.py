"""ruff, mypy and stubtest have nothing to say; the settings are in pyproject.toml."""

import importlib.util
import re
import sys

import pytest

from gate import tools, tree

ALLOWLIST = "tests/lint/stubtest-allowlist.txt"

# Code that looks at sys.version_info is checked on both sides of it.
TARGETS = ("3.12", "3.15")


def python_folders():
    return tree.some(
        (folder for folder in tree.ALL_PYTHON if (tree.ROOT / folder).is_dir()),
        "folders with Python",
    )


def python_files():
    return [*python_folders(), *tree.scripts("python", "python3")]


def test_ruff_check():
    command = [tools.program("ruff"), "check", *python_files()]
    files = tools.accept([*command, "--show-files"]).split()
    tree.some(files, "files that ruff checks")
    tools.accept([*command, "--output-format=concise"])


def test_ruff_format():
    output = tools.accept([tools.program("ruff"), "format", "--check", *python_files()])
    count = re.search(r"(\d+) files? already formatted", output)
    assert count, f"no file was checked\n{output}"
    assert int(count.group(1)) > 0, output


def test_ruff_bites():
    options = ["check", "--stdin-filename", "python/sample.py", "-"]
    status, output = tools.run([tools.program("ruff"), *options], input="import os\n")
    assert status != 0, "an unused import was accepted"
    assert "F401" in output, output


@pytest.mark.parametrize("target", TARGETS)
def test_mypy(target):
    tools.require("mypy")
    options = ["--strict", f"--python-version={target}", "python"]
    output = tools.accept([sys.executable, "-m", "mypy", *options])
    count = re.search(r"no issues found in (\d+) source files?", output)
    assert count, output
    assert int(count.group(1)) > 0, output


def test_mypy_bites(tmp_path):
    tools.require("mypy")
    (tmp_path / "sample.py").write_text("def f(x):\n    return x\n")
    command = [sys.executable, "-m", "mypy", "--strict", tmp_path / "sample.py"]
    status, output = tools.run(command)
    assert status != 0, "a function without types was accepted"
    assert "no-untyped-def" in output, output


def test_stubs_tell_the_truth():
    tools.require("mypy")
    if importlib.util.find_spec("subinterpreters") is None:
        tools.missing("the package is not installed")
    options = ["--allowlist", ALLOWLIST, "--mypy-config-file", "pyproject.toml"]
    command = [sys.executable, "-m", "mypy.stubtest", *options, "subinterpreters"]
    output = tools.accept(command)
    count = re.search(r"no issues found in (\d+) modules?", output)
    assert count, output
    assert int(count.group(1)) > 0, output


def test_every_allowance_has_a_reason():
    lines = [line.strip() for line in tree.read(ALLOWLIST).split("\n")]
    problems = []
    for number, line in enumerate(lines):
        allowance, _, reason = line.partition("#")
        before = lines[number - 1] if number else ""
        if allowance.strip() and not reason.strip() and not before.startswith("#"):
            problems.append(f"{ALLOWLIST}:{number + 1}: {line}: no reason")
    tree.report(problems)
