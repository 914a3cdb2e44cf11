"""The modules that are compared."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import subinterpreters

OURS = "subinterpreters"
STDLIB = "concurrent.interpreters"
# What CPython has where it lacks the module itself: good for create, exec and destroy.
LOW_LEVEL = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"


def stdlib() -> ModuleType | None:
    """CPython's own module; None before 3.14."""
    if sys.version_info < (3, 14):
        return None
    return importlib.import_module(STDLIB)


def modules() -> dict[str, ModuleType]:
    """What this CPython can compare, by name, ours first."""
    found: dict[str, ModuleType] = {OURS: subinterpreters}
    other = stdlib()
    if other is not None:
        found[STDLIB] = other
    return found
