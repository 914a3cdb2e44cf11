"""How long files and functions are, and how files begin."""

import ast
import re

import pytest

from gate import ctext, tree

MAX_LINE = 92
MAX_FILE = 600
MAX_FUNCTION = 60

# Longer for a reason: {file: why} and {(file, function): why}.
LONG_FILES = {}
LONG_FUNCTIONS = {}

c_files = pytest.mark.parametrize("file", tree.files(tree.ALL_C, ".c", ".h"))
headers = pytest.mark.parametrize("file", tree.files(tree.PRODUCT_C, ".h"))

SAMPLE = """\
/* sample(
 */
static int
first(int a,
      int b)
{
    return a;
}

int
declared(void);

struct s {
    int x;
};

void
second(void)
{
}
"""


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def all_functions():
    for file in tree.files(tree.ALL_C, ".c", ".h"):
        for function in ctext.functions(tree.read(file)):
            yield file, *function
    for file in tree.files(tree.ALL_PYTHON, ".py"):
        for function in python_functions(tree.read(file)):
            yield file, *function


def test_functions_are_found():
    found = ctext.functions(SAMPLE)
    assert found == [("first", 4, 5), ("second", 18, 3)]
    assert list(python_functions("x = 1\ndef f():\n    a\n    b\n")) == [("f", 2, 3)]


def test_files_are_short():
    lengths = {
        file: tree.read(file).count("\n")
        for file in [
            *tree.files(tree.ALL_C, ".c", ".h"),
            *tree.files(tree.ALL_PYTHON, ".py", ".pyi"),
        ]
    }
    tree.report(
        f"{file}: {length} lines, at most {MAX_FILE}"
        for file, length in lengths.items()
        if length > MAX_FILE and file not in LONG_FILES
    )
    tree.report(
        f"LONG_FILES: {file} needs no exception"
        for file in LONG_FILES
        if lengths.get(file, 0) <= MAX_FILE
    )


def test_functions_are_short():
    functions = tree.some(all_functions(), "functions")
    long = {
        (file, name) for file, name, _, length in functions if length > MAX_FUNCTION
    }
    tree.report(
        f"{file}:{line}: {name} has {length} lines, at most {MAX_FUNCTION}"
        for file, name, line, length in functions
        if length > MAX_FUNCTION and (file, name) not in LONG_FUNCTIONS
    )
    tree.report(
        f"LONG_FUNCTIONS: {key} needs no exception"
        for key in set(LONG_FUNCTIONS) - long
    )


@c_files
def test_c_files_say_what_they_are(file):
    """`/* name.c — what it is`, as the first thing."""
    base = re.escape(file.rpartition("/")[2])
    first = tree.read(file).partition("\n")[0]
    wanted = rf"/\* {base} — \S+ .*\S.*"
    assert re.fullmatch(wanted, first), f"{file}:1: {first!r}"


@headers
def test_headers_have_the_guard_of_their_path(file):
    layer, rest = re.sub(r"\W", "_", file.upper()).split("_", 1)
    prefix = {"CORE": "SI", "BINDING": "SIPY"}[layer]
    guard = f"{prefix}_{rest}"
    text = tree.read(file)
    wanted = rf"\A/\*.*?\*/\n#ifndef {guard}\n#define {guard}\n"
    assert re.search(wanted, text, re.DOTALL), f"{file}: #ifndef {guard} is expected"
    assert text.endswith(f"\n#endif /* {guard} */\n"), f"{file}: #endif /* {guard} */"


def test_text_files_are_tidy():
    """UTF-8, no tab, no trailing space, one newline at the end, and C at most 92 wide:
    clang-format leaves comments alone, since their columns mean something."""
    suffixes = (".c", ".h", ".py", ".pyi", ".md", ".toml", ".build", ".options")
    folders = (*tree.ALL_C, *tree.ALL_PYTHON, "docs")
    problems = []
    for file in {
        *tree.files(folders, *suffixes),
        *(tree.name(path) for path in tree.ROOT.iterdir() if path.suffix in suffixes),
    }:
        text = (tree.ROOT / file).read_bytes().decode("utf-8")
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip() or "\t" in line:
                problems.append(f"{file}:{number}: tab or trailing space")
            if len(line) > MAX_LINE and file.endswith((".c", ".h")):
                problems.append(f"{file}:{number}: {len(line)} columns")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            problems.append(f"{file}: not exactly one newline at the end")
    tree.report(sorted(problems))
