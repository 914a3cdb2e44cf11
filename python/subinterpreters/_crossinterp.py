"""The names that CPython keeps in ``concurrent.interpreters._crossinterp``."""

from __future__ import annotations

from ._core import (
    UNBOUND,
    UNBOUND_ERROR,
    UNBOUND_REMOVE,
    ItemInterpreterDestroyed,
)

__all__ = [
    "UNBOUND",
    "UNBOUND_ERROR",
    "UNBOUND_REMOVE",
    "ItemInterpreterDestroyed",
    "UnboundItem",
    "resolve_unbound",
    "serialize_unbound",
]

# The numbers that CPython's private modules for queues and channels take.
_UNBOUND_CONSTANT_TO_FLAG: dict[object, int] = {
    UNBOUND_REMOVE: 1,
    UNBOUND_ERROR: 2,
    UNBOUND: 3,
}
_UNBOUND_FLAG_TO_CONSTANT = {
    flag: constant for constant, flag in _UNBOUND_CONSTANT_TO_FLAG.items()
}


class UnboundItem:
    """What stands for an item whose interpreter has ended."""

    __slots__ = ()

    _MODULE = __name__
    _NAME = "UNBOUND"

    def __init__(self) -> None:
        raise TypeError(f"use {self!r}")

    def __repr__(self) -> str:
        return f"{self._MODULE}.{self._NAME}"

    @classmethod
    def singleton(cls, kind: str, module: str, name: str = "UNBOUND") -> UnboundItem:
        """Return the item of its own that *module* has for a kind of container."""
        title = f"Unbound{kind.capitalize()}Item"
        own = type(title, (cls,), {"__slots__": (), "_MODULE": module, "_NAME": name})
        return object.__new__(own)


def serialize_unbound(unbound: object) -> tuple[int]:
    """Return the flag for one of the three constants, alone in a tuple."""
    try:
        return (_UNBOUND_CONSTANT_TO_FLAG[unbound],)
    except KeyError:
        raise NotImplementedError(
            f"unsupported unbound replacement op {unbound!r}"
        ) from None


def resolve_unbound(flag: int, exctype_destroyed: type[Exception]) -> object:
    """Return what get() gives for the flag, or raise what it raises."""
    constant = _UNBOUND_FLAG_TO_CONSTANT.get(flag)
    if constant is UNBOUND_ERROR:
        raise exctype_destroyed("item's original interpreter destroyed")
    if constant is not UNBOUND:
        raise NotImplementedError(f"unsupported unbound replacement op {flag!r}")
    return UNBOUND
