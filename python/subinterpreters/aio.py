"""Awaiting the tasks of a pool.

One file descriptor per event loop tells it that tasks have ended: they come in batches,
and a loop that is busy is not woken for each. Works with any loop that has
``add_reader()``.
"""

import asyncio
import weakref
from concurrent.futures import CancelledError

from . import _core

__all__ = ["Call", "map", "run"]

_BATCH = 512  # futures dealt with before the loop gets to do something else

_boxes: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


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


def _box_of(loop):
    box = _boxes.get(loop)
    if box is None:
        box = _boxes[loop] = _core._Outbox(True)
        loop.add_reader(box.fileno(), _drain, box)
    return box


def _drain(box) -> None:
    for future in box.take(_BATCH):
        call, future._callbacks = future._callbacks, None
        if call is None or call.done():
            continue
        call._task = None
        try:
            call.set_result(future.result())
        except CancelledError:
            asyncio.Future.cancel(call)
        except BaseException as exception:
            _set_exception(call, exception)


def _set_exception(call, exception) -> None:
    try:
        call.set_exception(exception)
    except TypeError:  # a StopIteration cannot be raised into a coroutine
        error = RuntimeError("the task raised StopIteration")
        error.__cause__ = exception
        call.set_exception(error)


def run(pool, timeout_ns, retries, fn, args, kwargs) -> Call:
    """Submit a call to *pool* for the running loop."""
    loop = asyncio.get_running_loop()
    call = Call(loop=loop)
    future = pool._submit(timeout_ns, retries, _box_of(loop), call, fn, *args, **kwargs)
    if future.done() and not future._subscribed:
        _set_exception(call, future.exception())  # it could not be sent at all
    else:
        call._task = future
    return call


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
            if ordered:
                ready = calls[:1]
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
