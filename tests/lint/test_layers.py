"""core <- binding <- python: a layer includes only what is to its left."""

import ast
import sys

import pytest

from gate import ctext, tree

# What C11 itself offers, plus POSIX headers that only declare types and constants.
STANDARD = {
    *("assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "signal.h"),
    *("stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"),
}

# Who may see which headers of the operating system, and why.
SYSTEM_HEADERS = {
    "core/base/atomic.h": ({"stdatomic.h"}, "the one place of atomics"),
    "core/platform/": (None, "the layer that hides the operating system"),
    "core/elf/": ({"elf.h"}, "reads the format of object files"),
    "binding/attach.c": (
        {"pthread.h"},
        "learns that a thread ends by a key's destructor",
    ),
    "binding/fork.c": ({"pthread.h"}, "registers what happens in a forked child"),
    "binding/compat/": (
        {
            "dlfcn.h",  # asks for symbols that only some versions have
            "patchlevel.h",
            "internal/pycore_obmalloc.h",  # layouts that are checked before use
            "internal/pycore_runtime.h",
        },
        "knows CPython's insides, version by version",
    ),
    "binding/loader/": (None, "loads copies of shared objects"),
}

PYTHON_HEADERS = {"Python.h", "marshal.h", "opcode.h", "structmember.h"}

# Whoever runs our code has these: the standard library is added below.
PYTHON_PACKAGES = {"subinterpreters", "tqdm", "__future__"}
STUB_PACKAGES = {"typing_extensions"}  # type checkers know it without installing it
DOCUMENTED = {"_thread"}  # public, in spite of its name


def includes(folder):
    found = [
        (file, line, quote, what)
        for file in tree.files([folder], ".c", ".h")
        for line, quote, what in ctext.includes(tree.read(file))
    ]
    return tree.some(found, f"#include in {folder}")


@pytest.mark.parametrize(
    ("folder", "visible"),
    [("core", ("core/",)), ("binding", ("core/", "binding/"))],
)
def test_own_headers_come_from_the_left(folder, visible):
    tree.report(
        f"{file}:{line}: {folder} may include only {' and '.join(visible)}: {what}"
        for file, line, quote, what in includes(folder)
        if quote == '"' and not what.startswith(visible)
    )


@pytest.mark.parametrize("folder", tree.PRODUCT_C)
def test_own_headers_are_named_from_the_root(folder):
    tree.report(
        f"{file}:{line}: no such file: {what}"
        for file, line, quote, what in includes(folder)
        if quote == '"' and not (tree.ROOT / what).is_file()
    )


def test_core_never_includes_python():
    tree.report(
        f"{file}:{line}: core knows no Python: <{what}>"
        for file, line, _, what in includes("core")
        if what in PYTHON_HEADERS or what.lower().startswith(("python", "pycore"))
    )


def test_python_h_comes_in_through_compat():
    """So that its set-up (PY_SSIZE_T_CLEAN, the version check) is always there."""
    tree.report(
        f"{file}:{line}: include binding/compat/compat.h instead of <{what}>"
        for file, line, _, what in includes("binding")
        if what == "Python.h" and not file.startswith("binding/compat/")
    )


def may_see(file, header):
    if header in STANDARD:
        return True
    if header in PYTHON_HEADERS and file.startswith("binding/"):
        return True
    return any(
        file.startswith(place) and (headers is None or header in headers)
        for place, (headers, _) in SYSTEM_HEADERS.items()
    )


@pytest.mark.parametrize("folder", tree.PRODUCT_C)
def test_the_system_is_seen_only_where_it_is_hidden(folder):
    tree.report(
        f"{file}:{line}: <{what}> is not for this file (SYSTEM_HEADERS)"
        for file, line, quote, what in includes(folder)
        if quote == "<" and not may_see(file, what)
    )


def test_every_exception_is_needed():
    seen = [
        (f, what) for folder in tree.PRODUCT_C for f, _, _, what in includes(folder)
    ]
    tree.report(
        f"SYSTEM_HEADERS: nothing of {place} includes {header or 'a system header'}"
        for place, (headers, _) in SYSTEM_HEADERS.items()
        for header in headers or {None}
        if not any(
            file.startswith(place)
            and (what == header if header else what not in STANDARD)
            for file, what in seen
        )
    )


def test_the_modules_of_core_have_an_order():
    """No module needs, through any others, itself."""
    needs = {}
    for file, _, quote, what in includes("core"):
        if quote == '"':
            user, used = file.split("/")[1], what.split("/")[1]
            needs.setdefault(user, set()).add(used)
            needs.setdefault(used, set())
            needs[user].discard(user)
    assert needs, "core has no modules"
    while free := {module for module, used in needs.items() if not used}:
        needs = {m: used - free for m, used in needs.items() if m not in free}
    assert not needs, f"these modules of core need each other: {needs}"


def test_the_package_needs_only_what_it_declares():
    problems, checked = [], 0
    for file in tree.files(["python"], ".py", ".pyi"):
        for node in ast.walk(ast.parse(tree.read(file))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                checked += 1
                top = name.partition(".")[0]
                public = top in sys.stdlib_module_names and not top.startswith("_")
                allowed = PYTHON_PACKAGES | DOCUMENTED
                if file.endswith(".pyi"):
                    allowed |= STUB_PACKAGES
                if not public and top not in allowed:
                    problems.append(f"{file}:{node.lineno}: {name}")
    assert checked > 0, "found no import to check"
    tree.report(problems)
