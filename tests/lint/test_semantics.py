"""docs/internals/semantics.md names tests that exist."""

import re

from gate import tree

TABLE = "docs/internals/semantics.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:::(\w+))?`")


def problems(text):
    """What is wrong with the rows of a table of points and tests."""
    found = []
    for line in text.split("\n"):
        if not line.startswith("| ") or line.startswith("| point"):
            continue
        named = TEST.findall(line)
        if not named:
            found.append(f"no test: {line}")
        for file, *names in named:
            source = tree.read(file)
            for name in filter(None, names):
                if not re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE):
                    found.append(f"{file} has no {name}")
    return found


def test_named_tests_exist():
    assert not problems(tree.read(TABLE))


def test_a_missing_one_is_found():
    here = "tests/lint/test_semantics.py"
    assert not problems(f"| a | `{here}::test_named_tests_exist` |")
    assert problems(f"| a | `{here}::test_nothing` |")
    assert problems("| a | b |")
