"""InterpreterPoolExecutor: concurrent.futures on interpreters, with native workers.

The work is done in C (``_core._Pool``): this module holds what ``concurrent.futures``
defines in Python, and what runs rarely. A future decodes its result in the thread that
asks for it. Only callbacks, ``wait()`` and ``as_completed()`` need somebody to run them
when a task ends: one thread per interpreter, which starts with the first of them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import _base
from concurrent.futures.thread import BrokenThreadPool, ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from . import _core
from ._mapping import Mapping

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType
    from typing import Self

__all__ = ["BrokenInterpreterPool", "Future", "InterpreterPoolExecutor"]

_BATCH = 256  # futures that the notifying thread handles at a time

_numbers = count()
_P = ParamSpec("_P")
_T = TypeVar("_T")


class BrokenInterpreterPool(BrokenThreadPool):
    """A pool whose workers cannot be started, or failed in their initializer."""

    @staticmethod
    def _report(cause: BaseException) -> None:
        """Log, once per pool, why it is broken."""
        _base.LOGGER.critical("Exception in initializer:", exc_info=cause)


# --- telling of the end of tasks ----------------------------------------------------

# Guards what follows. Whoever holds it takes no guard of a future.
_condition = threading.Condition(threading.RLock())
_outbox = _core._Outbox()
_LINGER_SECONDS = 0.2  # that the notifying thread stays after the last future
_due: deque[Future[Any]] = deque()  # have ended, and nobody was told yet
_taken = 0  # how many have come to _due: each one's number is how many came before it
_telling: dict[threading.Thread, int] = {}  # who tells of a future -> its number
_notifier: threading.Thread | None = None  # who reads the outbox


def _guard_of(future: Future[Any]) -> Any:
    """Return the lock of _waiter_list, _callbacks and _notified of *future*.

    It is what concurrent.futures takes for its condition. One for each: wait() takes
    those of many futures at once, of other kinds too, in an order of the futures.
    """
    if future._guard is None:
        with _condition:
            if future._guard is None:
                future._guard = threading.RLock()
    return future._guard


def _tell(future: Future[Any]) -> None:
    """Tell everybody who asked to hear of the end of *future*."""
    with _guard_of(future):
        future._notified = True
        callbacks, future._callbacks = future._callbacks, None
        for waiter in future._waiter_list or ():
            if future.cancelled():
                waiter.add_cancelled(future)
            elif future._failed():
                waiter.add_exception(future)
            else:
                waiter.add_result(future)
    for callback in callbacks or ():
        try:
            _call_back(callback, future)
        except BaseException:  # sys.exit(), say: this thread serves others too
            _base.LOGGER.exception("exception calling callback for %r", future)


def _call_back(callback: Callable[[Future[Any]], object], future: Future[Any]) -> None:
    try:
        callback(future)
    except Exception:
        _base.LOGGER.exception("exception calling callback for %r", future)


def _notify() -> None:
    global _notifier
    me = threading.current_thread()
    while _notifier is me:  # a callback may have had another one take over
        there = bool(_due) or _outbox.wait(_LINGER_SECONDS)
        _take()
        while _notifier is me and _due:
            _tell_next(me)
        with _condition:
            if _notifier is me and not there and not _outbox.expected:
                _notifier = None


def _take() -> None:
    global _taken
    with _condition:
        batch = _outbox.take(_BATCH)
        _taken += len(batch)
        _due.extend(batch)


def _tell_next(me: threading.Thread) -> None:
    with _condition:
        _telling[me] = _taken - len(_due)
        future = _due.popleft()
    try:
        _tell(future)
    finally:
        del future
        with _condition:
            del _telling[me]
            _condition.notify_all()


def _expect(future: Future[Any]) -> bool:
    """Have the notifier tell of the end of *future*; False if it is over and everybody
    was told. Needs its guard."""
    if future._notified:
        return False
    if not future._subscribed:
        if future.done():
            return False
        with _condition:
            if _notifier is None:
                _start_notifier()  # first, for it may fail
            return future._subscribe(_outbox)
    return True


def _expect_and_wait(future: Future[Any]) -> None:
    """As _expect(), for who is about to wait: a callback, too, which keeps the notifier
    from its work. Another one then goes on with that. Needs the guard of *future*."""
    if _expect(future):
        with _condition:
            if threading.current_thread() is _notifier:
                _start_notifier()


def _start_notifier() -> None:
    global _notifier
    before = _notifier
    _notifier = threading.Thread(
        target=_notify, name="subinterpreters-callbacks", daemon=_may_be_daemon()
    )
    try:
        _notifier.start()
    except BaseException:
        _notifier = before
        raise


def _may_be_daemon() -> bool:
    return _core.get_current().id == _core.get_main().id


class Future(_core._TaskFuture, futures.Future[_T]):
    """The outcome of a task that a pool runs; a ``concurrent.futures.Future``.

    ``result()`` and ``exception()`` decode the outcome in the calling thread, once.
    ``interrupt()`` also stops a task that runs. Made by ``submit()`` only.
    """

    @property
    def run_time(self) -> float:
        """Seconds that the task ran, of its last try; 0.0 before it has ended."""
        return self._run_time()

    @property
    def cpu_time(self) -> float:
        """Seconds of processor time that its thread used for that.

        An estimate for a long task that follows short ones: it may be too high by what
        they took.
        """
        return self._cpu_time()

    def add_done_callback(self, fn: Callable[[Future[_T]], object]) -> None:
        """Have ``fn(self)`` called when the task has ended.

        It is called in a thread that all futures share, in the order in which callbacks
        were added; at once, if the task has ended already. One that blocks holds up the
        others, unless it is in ``wait()`` or ``as_completed()``.
        """
        with _guard_of(self):
            if _expect(self):
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        _call_back(fn, self)

    # What concurrent.futures.wait() and as_completed() look at. They hold _condition
    # and count on the state not to change meanwhile, so from then on it changes only
    # when the notifier says so.

    @property
    def _condition(self) -> Any:  # type: ignore[override]
        guard = _guard_of(self)
        with guard:
            _expect_and_wait(self)
        return guard

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        if self._waiter_list is None:
            self._waiter_list = []
        return self._waiter_list

    @property
    def _state(self) -> str:  # type: ignore[override]
        if self._subscribed and not self._notified:
            return _base.RUNNING if self.running() else _base.PENDING
        if self.cancelled():
            return _base.CANCELLED_AND_NOTIFIED
        if self.done():
            return _base.FINISHED
        return _base.RUNNING if self.running() else _base.PENDING

    def _get_snapshot(
        self,
    ) -> tuple[bool, bool, _T | None, BaseException | None]:
        done, cancelled = self.done(), self.cancelled()
        result = exception = None
        if done and not cancelled:
            exception = self.exception()
            result = self.result() if exception is None else None
        return done, cancelled, result, exception

    def set_running_or_notify_cancel(self) -> NoReturn:
        self._refuse()

    def set_result(self, result: _T) -> NoReturn:
        self._refuse()

    def set_exception(self, exception: BaseException | None) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise futures.InvalidStateError(f"the pool decides what {self!r} comes to")

    def __repr__(self) -> str:
        if self.cancelled():
            state = "cancelled"
        elif self.done():
            state = "finished" if not self._failed() else "finished, raised"
        else:
            state = "running" if self.running() else "pending"
        return f"<{type(self).__name__} at {id(self):#x} state={state}>"


_core._use_pool_classes(Future, futures.CancelledError, BrokenInterpreterPool)


def _await_callbacks() -> None:
    """Wait until everybody was told of the tasks that have ended by now."""
    with _condition:
        if threading.current_thread() in _telling:
            return
        end = _taken + len(_outbox)
        _condition.wait_for(
            lambda: (
                _taken - len(_due) >= end
                and all(number >= end for number in _telling.values())
            )
        )


def _at_exit() -> None:
    """Wait for all work of this interpreter, as concurrent.futures does."""
    _core._shutdown_pools()
    _outbox.stop()
    with _condition:
        threads = set(_telling)
        if _notifier is not None:
            threads.add(_notifier)
    for thread in threads - {threading.current_thread()}:
        thread.join()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]


def _after_fork() -> None:
    """In a child: nobody tells of the parent's tasks, and its locks may be held."""
    global _condition, _outbox, _notifier, _taken
    _condition = threading.Condition(threading.RLock())
    _outbox = _core._Outbox()
    _taken = 0
    _notifier = None
    _due.clear()
    _telling.clear()


os.register_at_fork(after_in_child=_after_fork)


# --- the executor -------------------------------------------------------------------


def _nanoseconds(seconds: float | None, name: str) -> int:
    if seconds is None:
        return 0
    if not seconds > 0:
        raise ValueError(f"{name} must be greater than 0")
    return max(1, int(min(seconds, 2**32) * 1e9))  # 2**32 seconds are for ever


def _count(value: int | None, name: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None")
    if value < 1:
        raise ValueError(f"{name} must be >= 1")
    if value >= 2**31:
        raise ValueError(f"{name} must be < 2**31")
    return value


def _names(preload: Iterable[str]) -> list[str]:
    names = [] if isinstance(preload, str) else list(preload)
    if isinstance(preload, str) or not all(type(name) is str for name in names):
        raise TypeError("preload must be an iterable of module names")
    return names


class _Options:
    """How ``submit()`` and ``map()`` of a pool shall treat their tasks."""

    def __init__(
        self,
        pool: InterpreterPoolExecutor,
        timeout: float | None = None,
        retries: int = 0,
    ) -> None:
        if not isinstance(retries, int):
            raise TypeError("retries must be an int")
        if retries < 0:
            raise ValueError("retries must be >= 0")
        self._pool = pool
        self._timeout_ns = _nanoseconds(timeout, "timeout")
        self._retries = min(retries, 2**32 - 1)

    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """As the pool's ``submit()``."""
        future: Future[_T] = self._pool._submit(
            self._timeout_ns, self._retries, fn, *args, **kwargs
        )
        return future

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[_T]:
        """As the pool's ``map()``; timeout and retries are those of a chunk."""
        return Mapping(
            self,
            fn,
            iterables,
            timeout,
            chunksize,
            buffersize,
            ordered,
            progress,
        ).start()

    def run(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """As the pool's ``run()``."""
        call: asyncio.Future[_T] = self._pool._run(
            self._timeout_ns, self._retries, fn, *args, **kwargs
        )
        return call


class InterpreterPoolExecutor(_core._Pool, ThreadPoolExecutor):
    """Runs calls in other interpreters, in parallel.

    max_workers: how many at most; None: as many as there are CPUs for the process, and
    four more as ThreadPoolExecutor has, 32 at most. initializer(*initargs) is called in
    each new worker, after the modules named in preload are imported. A worker that has
    run max_tasks_per_child tasks, or had nothing to do for idle_timeout seconds, ends;
    an idle one that has loaded packages as private copies stays, since their memory
    would. submit() waits while max_pending tasks are queued.

    Functions, arguments and results are copied. An exception has its real type, and an
    ExecutionFailed with the traceback of the other interpreter as its cause, unless it
    has another one: then the traceback is a note.

    It is a ThreadPoolExecutor, as the one of the standard library is, for those who
    ask; nothing of that class is used.
    """

    BROKEN = BrokenInterpreterPool

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        preload: Iterable[str] = (),
        max_tasks_per_child: int | None = None,
        idle_timeout: float | None = None,
        max_pending: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(32, (_cpu_count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        _count(max_workers, "max_workers")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._shutdown = False
        self._max_workers = max_workers
        self._thread_name_prefix = (
            thread_name_prefix or f"InterpreterPoolExecutor-{next(_numbers)}"
        )
        self._open(
            self._thread_name_prefix,
            max_workers,
            initializer,
            tuple(initargs),
            _names(preload),
            _count(max_tasks_per_child, "max_tasks_per_child"),
            _nanoseconds(idle_timeout, "idle_timeout"),
            _count(max_pending, "max_pending"),
        )

    def options(self, *, timeout: float | None = None, retries: int = 0) -> _Options:
        """Return what submits to this pool with a timeout and retries per task.

        timeout: seconds that the task may run. When they are over, TimeoutError is
        raised in it and by its future; a worker that does not stop is replaced.
        retries: how often a task that failed is tried again.
        """
        return _Options(self, timeout, retries)

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[_T]:
        """Return an iterator over ``fn(x)`` for each x of the iterables, zipped.

        chunksize: how many calls make one task; None: what the calls turn out to need.
        buffersize: how many items may be under way before results are taken; then the
        iterables are read as results are taken, otherwise at once. ordered: results
        come in the order of the items, otherwise as they are ready. progress: draw a
        bar. Raises what fn raised when its place comes, TimeoutError if a result is not
        there timeout seconds after this call.
        """
        return Mapping(
            _Options(self),
            fn,
            iterables,
            timeout,
            chunksize,
            buffersize,
            ordered,
            progress,
        ).start()

    def shutdown(
        self,
        wait: bool = True,
        *,
        cancel_futures: bool = False,
        interrupt: bool = False,
    ) -> None:
        """Take no more tasks; wait for those there are, unless wait is false.

        cancel_futures: cancel those that no worker has begun, try none again, and
        interrupt workers that are still in their initializer. interrupt: do so, and
        raise KeyboardInterrupt in those that run.

        Workers end, and their interpreters are closed, when there is nothing left.
        """
        self._shutdown = True
        self._close(wait, cancel_futures, interrupt)
        if wait:
            _await_callbacks()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Wait for what was submitted; at Ctrl-C, in the block or here, stop it."""
        try:
            self.shutdown(interrupt=isinstance(exc_val, KeyboardInterrupt))
        except KeyboardInterrupt:
            self.shutdown(interrupt=True)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """As that of a with block, but the loop goes on. Cancelling stops the work."""
        from asyncio import CancelledError  # noqa: PLC0415 - it is large

        from .aio import shutdown  # noqa: PLC0415

        stopped = isinstance(exc_val, KeyboardInterrupt | CancelledError)
        await shutdown(self, interrupt=stopped)

    @property
    def _threads(self) -> range:  # type: ignore[override]
        return range(self._worker_count())


def _cpu_count() -> int | None:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count()
    return len(os.sched_getaffinity(0))
