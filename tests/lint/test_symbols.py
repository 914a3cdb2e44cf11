"""One law for names: si_ in core, sipy_ in the binding, one symbol for the world."""

import importlib.util
from pathlib import Path

import pytest

from gate import symbols, tools, tree

PREFIXES = {"core": ("si_",), "binding": ("sipy_", "PyInit_")}


@pytest.mark.parametrize("layer", PREFIXES)
def test_external_names_have_the_prefix(layer, objects):
    checked, problems = 0, set()
    for source, path in objects:
        if not source.startswith(f"{layer}/"):
            continue
        for symbol in symbols.of(path):
            if symbol.is_external:
                checked += 1
                if not symbol.name.startswith(PREFIXES[layer]):
                    problems.add(f"{source}: {symbol.name} must start with {layer}'s")
    assert checked > 0, f"found no external symbol in {layer}"
    tree.report(sorted(problems))


def test_core_needs_nothing_of_python(objects):
    checked, problems = 0, set()
    for source, path in objects:
        if source.startswith("core/"):
            for symbol in symbols.of(path):
                if symbol.kind == "U":
                    checked += 1
                    if symbol.name.startswith(("Py", "_Py", "sipy_")):
                        problems.add(f"{source}: {symbol.name}")
    assert checked > 0, "core needs no symbol at all"
    tree.report(sorted(problems))


def test_the_extension_exports_its_initialiser_only():
    spec = importlib.util.find_spec("subinterpreters")
    if spec is None:
        tools.missing("the package is not installed")
    found = Path(spec.origin).parent.glob("_core*.so")
    for library in tree.some(found, "installed extension"):
        names = {symbol.name for symbol in symbols.of(library, "-D", "--defined-only")}
        assert names == {"PyInit__core"}
