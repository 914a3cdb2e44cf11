"""Executor.map(): the input cut into chunks, the results handed out."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from itertools import islice
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from .executor import Future, _Options

_BATCH = 256  # chunks that are taken from the outbox at a time
_CHUNK_SECONDS = 0.002  # how long a chunk should take
_LONGEST_CHUNK = 16_384


class Mapping:
    """One call of ``map()``: cuts the input into chunks and hands the results out."""

    def __init__(
        self,
        options: _Options,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> None:
        if chunksize is not None:
            if not isinstance(chunksize, int):
                raise TypeError("chunksize must be an integer or None")
            if chunksize < 1:
                raise ValueError("chunksize must be >= 1.")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        self._options = options
        self._fn = fn
        self._star = len(iterables) != 1
        self._items: Iterator[Any]
        self._items = zip(*iterables, strict=False) if self._star else iter(*iterables)
        self._end = None if timeout is None else time.monotonic() + timeout
        self._left = self._length_of(iterables)
        self._chunksize = chunksize
        self._buffersize = buffersize
        self._progress = Progress(self._left) if progress else None
        self._in_flight = 0  # items
        self._seen = 0  # items whose time is known
        self._spent = 0.0
        # Futures and how many items each has: all that are to be handed out, in order
        # or, unordered, by future; those of them that are there; and those whose time
        # was not looked at.
        self._waiting: deque[tuple[Future[list[Any]], int]] = deque()
        self._sizes: dict[Future[list[Any]], int] = {}
        self._there: deque[Future[list[Any]]] = deque()
        self._outbox = None if ordered else _core._Outbox()
        self._untimed: deque[tuple[Future[list[Any]], int]] = deque()

    @staticmethod
    def _length_of(iterables: tuple[Any, ...]) -> int | None:
        try:
            return min([len(iterable) for iterable in iterables], default=0)
        except Exception:  # none, or one that cannot be told: only a hint for us
            return None

    def _next_size(self) -> int:
        if self._chunksize is not None:
            size = min(self._chunksize, sys.maxsize)
        elif self._options._timeout_ns:
            size = 1  # the timeout is that of one call
        else:
            size = self._automatic_size()
        if self._buffersize is not None:
            size = min(size, self._buffersize - self._in_flight)
        return size

    def _automatic_size(self) -> int:
        """As many items as take _CHUNK_SECONDS, as far as that is known, but not so
        many that a worker has nothing to do while another does the rest."""
        while self._untimed and self._untimed[0][0].done():
            future, items = self._untimed.popleft()
            self._seen += items
            self._spent += future._run_time()
        size = 1
        if self._seen:
            size = int(_CHUNK_SECONDS * self._seen / max(self._spent, 1e-9))
        if self._left is not None:
            size = min(size, self._left // (4 * self._options._pool._max_workers))
        return max(1, min(size, _LONGEST_CHUNK))

    def _send_chunk(self) -> bool:
        """Submit one chunk; False if there are no more items."""
        size = self._next_size()
        if size <= 0:
            return False
        chunk = list(islice(self._items, size))
        if not chunk:
            self._untimed.clear()  # or it would keep the results
            return False
        options = self._options
        future = options._pool._submit(
            options._timeout_ns,
            options._retries,
            _core._map_chunk,
            self._fn,
            chunk,
            self._star,
        )
        if self._outbox is None:
            self._waiting.append((future, len(chunk)))
        else:
            self._sizes[future] = len(chunk)
            if not future._subscribe(self._outbox):
                self._there.append(future)
        if self._chunksize is None:
            self._untimed.append((future, len(chunk)))
        self._in_flight += len(chunk)
        if self._left is not None:
            self._left = max(0, self._left - len(chunk))
        return True

    def start(self) -> Iterator[Any]:
        """Submit what may be under way and return the iterator over the results."""
        while self._send_chunk():
            pass
        return self._results()

    def _take(self) -> tuple[Future[list[Any]], int]:
        """The next chunk to hand out: its future and the number of its items."""
        if self._outbox is None:
            return self._waiting.popleft()
        if not self._there:
            if not self._outbox.wait(self._remaining()):
                raise TimeoutError
            self._there.extend(self._outbox.take(_BATCH))
        future = self._there.popleft()
        return future, self._sizes.pop(future)

    def _remaining(self) -> float | None:
        return None if self._end is None else self._end - time.monotonic()

    def _results(self) -> Iterator[Any]:
        try:
            while self._waiting or self._sizes:
                future, size = self._take()
                try:
                    results = future.result(self._remaining())
                except futures.CancelledError:
                    raise
                except BaseException:
                    if future.done():
                        yield from future._partial() or ()
                    else:
                        future.cancel()
                    raise
                finally:
                    del future  # its exception refers to this frame
                self._in_flight -= size
                if self._buffersize is not None:
                    while self._send_chunk():
                        pass
                if self._progress is not None:
                    self._progress.advance(size)
                yield from results
        finally:
            for future, _ in self._waiting:
                future.cancel()
            for future in self._sizes:
                future.cancel()
            if self._progress is not None:
                self._progress.close()


class Progress:
    """A bar on stderr; tqdm's where that is installed."""

    def __init__(self, total: int | None) -> None:
        self._bar: Any
        try:
            from tqdm import tqdm  # noqa: PLC0415 - only who wants a bar has it
        except ImportError:
            self._bar = None
        else:
            self._bar = tqdm(total=total)
        self._total = total
        self._done = 0

    def advance(self, items: int) -> None:
        if self._bar is not None:
            self._bar.update(items)
            return
        self._done += items
        total = "" if self._total is None else f"/{self._total}"
        print(f"\r{self._done}{total}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            print(file=sys.stderr)
