"""What is on disk is what meson builds and installs: it does not glob."""

import posixpath
import re

import pytest

from gate import tree


def quoted(text, suffixes):
    return [s for s in re.findall(r"'([^'\n]+)'", text) if s.endswith(suffixes)]


def listed_in(folder):
    """The .c files that the meson.build files below FOLDER name."""
    found = []
    for file in tree.files([folder], ".build"):
        here = posixpath.dirname(file)
        found += [f"{here}/{name}" for name in quoted(tree.read(file), ".c")]
    return tree.some(found, f"sources in the meson.build files of {folder}")


@pytest.mark.parametrize("folder", tree.PRODUCT_C)
def test_every_source_is_compiled(folder):
    listed = listed_in(folder)
    on_disk = tree.files([folder], ".c")
    tree.report(
        [f"{file}: in no meson.build" for file in on_disk if file not in listed]
        + [
            f"{file}: in a meson.build, not there"
            for file in set(listed) - set(on_disk)
        ]
        + [f"{file}: listed twice" for file in set(listed) if listed.count(file) > 1]
    )


def test_every_c_test_is_run(cc_build):
    """A test that no meson.build names would never fail."""
    if not cc_build.has_tests:
        cc_build.entries_for("tests/core/none.c")
    tree.report(
        f"{file}: in no meson.build"
        for file in tree.files(["tests/core"], ".c")
        if not cc_build.of(file)
    )


@pytest.mark.parametrize("folder", tree.PRODUCT_C)
def test_every_header_is_included(folder):
    sources = "\n".join(tree.read(file) for file in tree.files(tree.ALL_C, ".c", ".h"))
    tree.report(
        f"{file}: nobody includes it"
        for file in tree.files([folder], ".h")
        if f'#include "{file}"' not in sources
    )


def test_every_module_is_installed():
    """Each in the folder of the package that it has in the tree."""
    text = tree.read("python/meson.build")
    calls = re.findall(r"py\.install_sources\((.*?)\n\)", text, re.DOTALL)
    installed, problems = [], []
    for call in tree.some(calls, "py.install_sources"):
        folder = re.search(r"subdir: '([^']+)'", call).group(1)
        for name in quoted(call, (".py", ".pyi", "py.typed")):
            installed.append(f"python/{name}")
            if posixpath.dirname(name) != folder:
                problems.append(f"{name}: installed into {folder}")
    on_disk = tree.files(["python"], ".py", ".pyi", ".typed")
    problems += [f"{f}: not installed" for f in on_disk if f not in installed]
    problems += [f"{f}: not there" for f in set(installed) - set(on_disk)]
    tree.report(problems)
