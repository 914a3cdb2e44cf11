"""Many Python interpreters in one process, each with its own GIL.

The names and their behaviour are those of ``concurrent.interpreters`` as CPython
3.14 documents it, on CPython 3.12 and later::

    import subinterpreters as interpreters

    interp = interpreters.create()
    interp.exec('print("spam!")')

Code that says ``from concurrent import interpreters`` gets this module after a call
of :func:`install`, or when it is started by ``python -m subinterpreters run``.

This module is imported inside every interpreter that uses it, so it loads nothing
but the C extension.
"""

from ._core import (
    UNBOUND,
    UNBOUND_ERROR,
    UNBOUND_REMOVE,
    ExecutionFailed,
    Interpreter,
    InterpreterError,
    InterpreterNotFoundError,
    ItemInterpreterDestroyed,
    NotShareableError,
    Queue,
    QueueEmpty,
    QueueError,
    QueueFull,
    QueueNotFoundError,
    create,
    create_queue,
    get_current,
    get_main,
    is_shareable,
    keep_ready,
    list_all,
    share,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio as aio
    from . import executor as executor
    from .executor import BrokenInterpreterPool, InterpreterPoolExecutor

    __version__: str

__all__ = [
    "UNBOUND",
    "UNBOUND_ERROR",
    "UNBOUND_REMOVE",
    "BrokenInterpreterPool",
    "ExecutionFailed",
    "Interpreter",
    "InterpreterError",
    "InterpreterNotFoundError",
    "InterpreterPoolExecutor",
    "ItemInterpreterDestroyed",
    "NotShareableError",
    "Queue",
    "QueueEmpty",
    "QueueError",
    "QueueFull",
    "QueueNotFoundError",
    "create",
    "create_queue",
    "get_current",
    "get_main",
    "install",
    "is_shareable",
    "keep_ready",
    "list_all",
    "share",
]


def install() -> None:
    """Make ``concurrent.interpreters`` mean this module, from now on.

    It holds for this interpreter and for every interpreter that is created later;
    those that exist already call ``install()`` themselves if they want it. A
    ``concurrent.interpreters`` that was imported before is replaced in
    ``sys.modules``; names that were taken out of it stay what they were. Calling it
    again changes nothing. May be called from any thread.
    """
    # Not at the top: only who installs it has to load it.
    from ._install import install as install_here  # noqa: PLC0415

    install_here()


def __getattr__(name: str) -> object:
    if name in ("BrokenInterpreterPool", "InterpreterPoolExecutor"):
        # It takes concurrent.futures with it, which most interpreters do not need.
        from . import executor  # noqa: PLC0415

        return getattr(executor, name)
    if name == "__version__":
        # Reading the package's metadata takes longer than importing the package.
        from importlib.metadata import version  # noqa: PLC0415

        return version("subinterpreters")
    if name in ("aio", "executor"):
        # `from . import` would ask here again.
        from importlib import import_module  # noqa: PLC0415

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "aio", "executor"})
