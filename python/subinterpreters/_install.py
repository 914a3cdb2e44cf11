"""Give this package out as ``concurrent.interpreters``.

A function at the front of ``sys.meta_path`` answers for ``concurrent.interpreters``
and its submodules, and for what ``concurrent.futures`` needs to hand out our
``InterpreterPoolExecutor``, and leaves every other import alone. Other interpreters get
the same function from the extension, before they are handed out: it is source text, so
nothing is imported there until somebody asks for the module.
"""

import _thread
import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from . import _core

_PACKAGE = __name__.rpartition(".")[0]
# What is given out as what.
_ALIASES = {
    "concurrent.interpreters": _PACKAGE,
    "concurrent.futures.interpreter": f"{_PACKAGE}.executor",
}
_FUTURES = "concurrent.futures"
_EXECUTOR = "InterpreterPoolExecutor"
_FINDER_NAME = "find_subinterpreters"

# What every new interpreter runs. Keep it short: create() waits for it.
_PROLOGUE = f"""\
import sys
def {_FINDER_NAME}(name, path=None, target=None):
    if name.startswith("concurrent."):
        from {__name__} import find_alias
        return find_alias(name)
{_FINDER_NAME}.find_spec = {_FINDER_NAME}
sys.meta_path.insert(0, {_FINDER_NAME})
"""

_lock = _thread.allocate_lock()


class _AliasLoader:
    """Loads ``concurrent.interpreters[.x]`` as ``subinterpreters[.x]`` itself."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make the module that exec_module() replaces."""

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes what is in sys.modules afterwards. Handing our
        # module to it directly would overwrite the module's own __spec__.
        original = _original(module.__name__)
        assert original is not None
        sys.modules[module.__name__] = importlib.import_module(original)


class _FuturesLoader:
    """Loads ``concurrent.futures`` as always and adds the name that came with 3.14."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _add_executor(module)


def _add_executor(module: ModuleType) -> None:
    """Have ``concurrent.futures`` before 3.14 find the executor when asked for it."""
    if sys.version_info >= (3, 14) or _EXECUTOR in module.__all__:
        return
    find = module.__dict__["__getattr__"]

    def find_name(name: str) -> Any:
        if name != _EXECUTOR:
            return find(name)
        executor = importlib.import_module("concurrent.futures.interpreter")
        return getattr(executor, name)

    module.__dict__["__getattr__"] = find_name
    module.__dict__["__all__"] = (*module.__all__, _EXECUTOR)


def _original(name: str) -> str | None:
    """Return the name of the module of ours that *name* shall mean, if there is one."""
    for alias, original in _ALIASES.items():
        if name == alias or name.startswith(alias + "."):
            return original + name.removeprefix(alias)
    return None


def find_alias(name: str) -> ModuleSpec | None:
    """Return how to load the module *name*, or None if it is not one of ours."""
    if name == _FUTURES and sys.version_info < (3, 14):
        import concurrent  # noqa: PLC0415 - only who asks for it has to load it

        spec = PathFinder.find_spec(name, concurrent.__path__)
        if spec is not None:
            spec.loader = _FuturesLoader(spec.loader)  # type: ignore[assignment]
        return spec
    original = _original(name)
    if original is None or importlib.util.find_spec(original) is None:
        return None
    return ModuleSpec(name, _AliasLoader())  # type: ignore[arg-type]


def _replace_imported() -> None:
    """Put our modules in the place of those that were imported already."""
    for name in list(sys.modules):
        original = _original(name)
        if original is not None and find_alias(name) is not None:
            module = sys.modules[name] = importlib.import_module(original)
            parent, _, child = name.rpartition(".")
            setattr(sys.modules[parent], child, module)
    futures = sys.modules.get(_FUTURES)
    if futures is not None:
        _add_executor(futures)
        if _EXECUTOR in futures.__dict__:  # as the stdlib caches it
            executor = importlib.import_module("concurrent.futures.interpreter")
            futures.__dict__[_EXECUTOR] = getattr(executor, _EXECUTOR)


def install() -> None:
    """See :func:`subinterpreters.install`."""
    with _lock:
        _core._set_prologue(_PROLOGUE)
        if not any(
            getattr(finder, "__name__", None) == _FINDER_NAME
            for finder in sys.meta_path
        ):
            exec(_PROLOGUE, {"__name__": __name__})
        _replace_imported()
