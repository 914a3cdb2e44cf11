"""Awaiting the tasks of a pool, and queues.

One file descriptor per event loop tells it that tasks have ended and that queues can be
tried again: the news come in batches, and a loop that is busy is not woken for each.
Works with any loop that has ``add_reader()``.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, final
from weakref import WeakValueDictionary

from . import _core

if TYPE_CHECKING:
    from .executor import InterpreterPoolExecutor

__all__ = ["Call", "map", "shutdown"]

_T = TypeVar("_T")

_BATCH = 512  # futures dealt with before the loop gets to do something else


if TYPE_CHECKING:

    @final
    class Call(asyncio.Future[_T]):
        """An awaitable call of a pool. Cancelling it stops the work."""

else:
    Call = _core._call_type(asyncio.CancelledError, asyncio.InvalidStateError)


class _Loops(dict[asyncio.AbstractEventLoop, _core._Outbox]):
    """Event loop -> its box. Loops that are closed go when another one comes."""

    def __missing__(self, loop: asyncio.AbstractEventLoop) -> _core._Outbox:
        for other in list(self):  # other threads add and remove some meanwhile
            if other.is_closed():
                self.pop(other, None)
        box = _core._Outbox(loop)
        loop.add_reader(box.fileno(), box.deliver, _BATCH)
        self[loop] = box
        return box


_boxes = _Loops()
os.register_at_fork(after_in_child=_boxes.clear)  # no loop of the parent runs there


async def map[R](
    pool: InterpreterPoolExecutor,
    fn: Callable[..., R],
    *iterables: Iterable[Any],
    limit: int | None = None,
    ordered: bool = True,
) -> AsyncIterator[R]:
    """Iterate over ``fn(x)`` for each x of the iterables, zipped, as results come.

    limit: how many calls are under way at a time; None: four per worker. The iterables
    are read as results are taken. Leaving the iteration stops what is under way.
    """
    if limit is None:
        limit = 4 * pool._max_workers
    elif limit < 1:
        raise ValueError("limit must be >= 1")
    items = zip(*iterables, strict=False)
    calls: list[asyncio.Future[R]] = []
    try:
        while True:
            while len(calls) < limit and (item := next(items, None)) is not None:
                calls.append(pool.run(fn, *item))
            if not calls:
                return
            ready, _ = await asyncio.wait(
                calls[:1] if ordered else calls, return_when=asyncio.FIRST_COMPLETED
            )
            for call in ready:
                calls.remove(call)
                yield call.result()
    finally:
        for call in calls:
            call.cancel()


class _Line:
    """The tasks of one loop that wait for one side of one queue, served in order."""

    __slots__ = ("__weakref__", "bell", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.bell: asyncio.Future[None] | None
        self.bell = None  # done once the queue can be tried again; None: nobody watches

    def rung(self, bell: asyncio.Future[None]) -> None:
        self.bell = None

    async def wait(self, queue: _core.Queue, put: bool) -> None:
        """Wait until a try may succeed. The lock is held."""
        if self.bell is None:
            loop = get_running_loop()
            bell = loop.create_future()
            # It outlives a cancelled wait, so that the queue has one watch, not many.
            bell.add_done_callback(self.rung)
            if not queue._watch(put, _boxes[loop], bell):
                return
            self.bell = bell
        await asyncio.wait((self.bell,))


#: (loop, queue id, whether it puts) -> line, while somebody or a watch needs it.
_lines: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, int, bool], _Line]
_lines = WeakValueDictionary()


async def _in_turn[R](
    queue: _core.Queue,
    put: bool,
    attempt: Callable[[], R],
    refusal: type[_core.QueueError],
) -> R:
    key = (get_running_loop(), queue.id, put)
    line = _lines.get(key)
    if line is None:
        line = _lines[key] = _Line()
    async with line.lock:
        while True:
            try:
                return attempt()
            except refusal:
                await line.wait(queue, put)


def get_from(queue: _core.Queue) -> Coroutine[Any, Any, Any]:
    """Return the coroutine of ``queue.get_async()``."""
    return _in_turn(queue, False, queue.get_nowait, _core.QueueEmpty)


def put_into(
    queue: _core.Queue, obj: object, *, unbounditems: _core.UnboundItem | None = None
) -> Coroutine[Any, Any, None]:
    """Return the coroutine of ``queue.put_async(obj)``."""
    attempt = partial(queue.put_nowait, obj, unbounditems=unbounditems)
    return _in_turn(queue, True, attempt, _core.QueueFull)


async def shutdown(pool: InterpreterPoolExecutor, *, interrupt: bool = False) -> None:
    """Shut the pool down and wait for that while the loop goes on.

    interrupt: stop what runs, as pool.shutdown() does. So does cancelling this.
    """
    run = get_running_loop().run_in_executor
    end = run(None, partial(pool.shutdown, interrupt=interrupt))
    try:
        await asyncio.shield(end)
    except asyncio.CancelledError:
        pool.shutdown(wait=False, interrupt=True)
        await end
        raise
