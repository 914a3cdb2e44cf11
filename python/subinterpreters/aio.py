"""Awaiting the tasks of a pool.

One file descriptor per event loop tells it that tasks have ended: they come in batches,
and a loop that is busy is not woken for each. Works with any loop that has
``add_reader()``.
"""

import asyncio
from asyncio import get_running_loop
from concurrent.futures import CancelledError

from . import _core

__all__ = ["Call", "map"]

_BATCH = 512  # futures dealt with before the loop gets to do something else


class Call(asyncio.Future):
    """An awaitable call of a pool. Cancelling it stops the work."""

    _task = None

    def cancel(self, msg=None):
        """Cancel it: the task is taken out of the queue, or interrupted."""
        if not super().cancel(msg):
            return False
        if self._task is not None:
            self._task.interrupt()
        return True

    def _fail(self, future):
        """Take over what became of *future*, which has no result; return self."""
        try:
            exception = future.exception()
        except CancelledError:
            super().cancel()
            return self
        if isinstance(exception, StopIteration):  # cannot be raised into a coroutine
            cause = exception
            exception = RuntimeError("the task raised StopIteration")
            exception.__cause__ = cause
        if exception is None:
            self.set_result(future.result())
        else:
            self.set_exception(exception)
        return self


class _Loops(dict):
    """Event loop -> its box. Loops that are closed go when another one comes."""

    def __missing__(self, loop):
        for other in [other for other in self if other.is_closed()]:
            del self[other]
        box = self[loop] = _core._Outbox(True)
        loop.add_reader(box.fileno(), _drain, box)
        return box


_boxes = _Loops()


def begin():
    """Return a new Call of the running loop, and that loop's box."""
    loop = get_running_loop()
    return Call(loop=loop), _boxes[loop]


def _drain(box) -> None:
    for future in box.deliver(_BATCH):
        call, future._callbacks = future._callbacks, None
        if call is not None and not call.done():
            call._fail(future)


async def map(pool, fn, *iterables, limit=None, ordered=True):
    """Iterate over ``fn(x)`` for each x of the iterables, zipped, as results come.

    limit: how many calls are under way at a time; None: four per worker. The iterables
    are read as results are taken. Leaving the iteration stops what is under way.
    """
    if limit is None:
        limit = 4 * pool._max_workers
    items = zip(*iterables)
    calls: list = []
    try:
        while True:
            while len(calls) < limit and (item := next(items, None)) is not None:
                calls.append(pool.run(fn, *item))
            if not calls:
                return
            ready = calls[:1]
            if ordered:
                await asyncio.wait(ready)
            else:
                ready, _ = await asyncio.wait(
                    calls, return_when=asyncio.FIRST_COMPLETED
                )
            for call in ready:
                calls.remove(call)
                yield call.result()
    finally:
        for call in calls:
            call.cancel()


def call_in(interp, fn, /, *args, **kwargs):
    """Return a Call of ``interp.submit(fn, ...)``; see ``Interpreter.call_async``."""
    call, box = begin()
    call._task = future = interp._submit(box, call, fn, *args, **kwargs)
    return call if future._subscribed else call._fail(future)
