"""The workers of ``map``: a pool, fed by a thread and read in the order of the inputs.

    reader thread --> pending (bounded, in order) --> results(), in input order
                 \\--> the pool: one task per batch

The reader waits when ``pending`` is full, so that the memory stays flat however long
the input is.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

from subinterpreters.executor import Future, InterpreterPoolExecutor

from ._inputs import Batch
from ._worker import Failure, Job, Part

#: What a batch should take: long against a hand-over, short against a patience.
_BATCH_SECONDS = 0.02
_LONGEST_BATCH = 512
#: How long workers may take to stop once they are interrupted.
_STOP_SECONDS = 2.0
_INTERRUPT_AGAIN_SECONDS = 0.05

#: What a task returns: the fields of its Part, failures as tuples.
_Raw = tuple[float, list[str | None], list[tuple[int, str, str, str]]]
_Pending = tuple[Batch, Future[_Raw]]


class Engine:
    """Does *job* with batches of inputs in *workers* interpreters.

    Use: ``check()`` once, ``results()`` once, then ``stop()`` if it was left early.
    All methods are for one thread.
    """

    def __init__(self, job: Job, workers: int, chunk: int | None = None) -> None:
        self._job = job
        self._fixed_length = chunk
        self._length = chunk or 1
        self._stopping = False
        self._pool = InterpreterPoolExecutor(workers, "map")
        self._current: Future[Any] | None = None
        self._pending: queue.Queue[_Pending | BaseException | None]
        self._pending = queue.Queue(8 * workers)

    def check(self) -> str | None:
        """Load the function in the first worker; return what is wrong, or None.

        Raises KeyboardInterrupt if Ctrl-C is pressed meanwhile.
        """
        future = self._current = self._pool.submit(_call_check, self._job.target)
        # Not result(): a KeyboardInterrupt of the module is not one of the user.
        if (exc := future.exception()) is not None:
            what = str(exc.__cause__ or exc).partition("\n")[0]
            return f"cannot load {self._job.target}: {what}"
        problem: str | None = future.result()
        return problem

    def batch_length(self) -> int:
        """Return how many inputs the next batch should have."""
        return self._length

    def results(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Part]]:
        """Yield each batch with what became of it, in order.

        Raises what iterating over *batches* raises. All workers are closed when it
        is exhausted.
        """
        threading.Thread(target=self._read, args=(batches,), daemon=True).start()
        while (next_one := self._pending.get()) is not None:
            if isinstance(next_one, BaseException):
                self.stop()
                raise next_one
            batch, future = next_one
            part = self._finish(batch.inputs, future)
            self._adapt(part)
            yield batch, part
        self._pool.shutdown()

    def stop(self) -> bool:
        """Interrupt what runs, forget the rest, close the workers.

        Returns whether all of them stopped; one that sits in a C call cannot be.
        """
        self._stopping = True
        running = set(self._forget_pending())
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + _STOP_SECONDS
        while running and time.monotonic() < deadline:
            for future in running:
                future.interrupt()
            # A function may catch the interrupt, hence the loop.
            futures.wait(running, _INTERRUPT_AGAIN_SECONDS)
            running = {future for future in running if not future.done()}
        if running:
            return False
        self._pool.shutdown()
        return True

    def _submit(self, inputs: list[str]) -> Future[_Raw]:
        future: Future[_Raw] = self._pool.submit(_call_run_batch, (*self._job,), inputs)
        return future

    def _adapt(self, part: Part) -> None:
        """Choose the length of batches by the time that the last one took."""
        if self._fixed_length is None and part.texts:
            per_input = part.seconds / len(part.texts)
            wanted = int(_BATCH_SECONDS / max(per_input, 1e-9))
            most = min(2 * self._length, _LONGEST_BATCH)
            self._length = max(1, min(wanted, most))

    def _read(self, batches: Iterable[Batch]) -> None:
        """Body of the reader thread."""
        try:
            for batch in batches:
                if self._stopping:
                    break
                self._pending.put((batch, self._submit(batch.inputs)))
            self._pending.put(None)
        except BaseException as exc:
            self._pending.put(exc)

    def _forget_pending(self) -> Iterator[Future[Any]]:
        """Free the reader, if it waits for room; yield the futures there were."""
        if self._current is not None:
            yield self._current
        try:
            while True:
                pending = self._pending.get_nowait()
                if isinstance(pending, tuple):
                    yield pending[1]
        except queue.Empty:
            pass

    def _finish(self, inputs: list[str], future: Future[_Raw]) -> Part:
        """Return what became of a batch; it may take several tasks."""
        whole = Part(0.0, [], [])
        while True:
            self._current = future
            done = len(whole.texts)
            if (exc := future.exception()) is not None:
                part = _lost(exc, len(inputs) - done)
            else:
                seconds, texts, failures = future.result()
                part = Part(seconds, texts, [Failure(*failure) for failure in failures])
            moved = [f._replace(position=f.position + done) for f in part.failures]
            whole = Part(
                whole.seconds + part.seconds,
                whole.texts + part.texts,
                whole.failures + moved,
            )
            if len(whole.texts) >= len(inputs) or self._stopping:
                return whole
            future = self._submit(inputs[len(whole.texts) :])


def _lost(exc: BaseException, count: int) -> Part:
    """Return the part for *count* inputs whose interpreter was lost."""
    message = f"the worker interpreter was lost: {exc}".partition("\n")[0]
    failures = [
        Failure(position, type(exc).__qualname__, message, str(exc))
        for position in range(count)
    ]
    return Part(0.0, [None] * count, failures)


# These two are shipped to the worker and therefore use no global names.


def _call_check(target: str) -> str | None:
    from subinterpreters._cli._worker import check

    return check(target)


def _call_run_batch(job: tuple[str, bool, bool], inputs: list[str]) -> _Raw:
    try:
        from subinterpreters._cli._worker import Job, run_batch

        seconds, texts, failures = run_batch(Job(*job), inputs)
    except BaseException:
        from subinterpreters._core import _retire_worker

        _retire_worker()  # whatever it is, it is not the function's doing
        raise
    return seconds, texts, [(*failure,) for failure in failures]
