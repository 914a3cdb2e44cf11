"""The workers of ``map``: interpreters, each driven by a thread of this one.

    reader thread --> pending (bounded, in order) --> results(), in input order
                 \\--> tasks --> driver threads: one call per batch, in "their"
                                interpreter, with its own GIL

The reader waits when ``pending`` is full, so that the memory stays flat however long
the input is. Each job carries a mailbox of its own for its outcome: whoever wants
results in order waits for the jobs in order.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from subinterpreters import Interpreter, InterpreterError, create

from ._inputs import Batch
from ._worker import Failure, Part

#: What a batch should take: long against a hand-over, short against a patience.
_BATCH_SECONDS = 0.02
_LONGEST_BATCH = 512
#: How long workers may take to stop once they are interrupted.
_STOP_SECONDS = 2.0
_INTERRUPT_AGAIN_SECONDS = 0.05


@dataclass(slots=True)
class _Job:
    batch: Batch
    outcome: queue.SimpleQueue[Part] = field(default_factory=queue.SimpleQueue)


class Engine:
    """Calls the function *target* for batches of inputs in *workers* interpreters.

    Use: ``check()`` once, ``results()`` once, then ``stop()`` if it was left early.
    All methods are for one thread.
    """

    def __init__(
        self, target: str, workers: int, as_json: bool, chunk: int | None = None
    ) -> None:
        self._target = target
        self._as_json = as_json
        self._fixed_length = chunk
        self._length = chunk or 1
        self._stopping = False
        self._interps: list[Interpreter | None] = [None] * workers
        self._drivers: list[threading.Thread] = []
        self._tasks: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._pending: queue.Queue[_Job | BaseException | None]
        self._pending = queue.Queue(8 * workers)

    def check(self) -> str | None:
        """Load the function in the first worker; return what is wrong, or None.

        Raises KeyboardInterrupt if Ctrl-C is pressed meanwhile.
        """
        interp = self._interps[0] = create()
        try:
            return interp.call(_call_check, self._target)
        except InterpreterError as exc:
            return f"cannot load {self._target}: {exc}".partition("\n")[0]

    def batch_length(self) -> int:
        """Return how many inputs the next batch should have."""
        return self._length

    def results(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Part]]:
        """Yield each batch with what became of it, in order.

        Raises what iterating over *batches* raises. All workers are closed when it
        is exhausted.
        """
        self._start(batches)
        while (job := self._pending.get()) is not None:
            if isinstance(job, BaseException):
                self.stop()
                raise job
            part = job.outcome.get()
            self._adapt(part)
            yield job.batch, part
        for thread in self._drivers:
            thread.join()

    def stop(self) -> bool:
        """Interrupt what runs, forget the rest, close the workers.

        Returns whether all of them stopped; one that sits in a C call cannot be.
        """
        self._stopping = True
        deadline = time.monotonic() + _STOP_SECONDS
        while alive := [thread for thread in self._drivers if thread.is_alive()]:
            if time.monotonic() > deadline:
                return False
            self._forget_pending()
            for interp in self._interps:
                if interp is not None:
                    # A call can begin just after this, hence the loop; and its
                    # driver may have closed it just before.
                    with suppress(InterpreterError):
                        interp.interrupt()
            alive[0].join(_INTERRUPT_AGAIN_SECONDS)
        if not self._drivers and self._interps[0] is not None:
            self._interps[0].close()
        return True

    def _start(self, batches: Iterable[Batch]) -> None:
        self._drivers = [
            threading.Thread(target=self._drive, args=(slot,), daemon=True)
            for slot in range(len(self._interps))
        ]
        reader = threading.Thread(target=self._read, args=(batches,), daemon=True)
        for thread in [*self._drivers, reader]:
            thread.start()

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
                job = _Job(batch)
                self._pending.put(job)
                if self._stopping:
                    break
                self._tasks.put(job)
            self._pending.put(None)
        except BaseException as exc:
            self._pending.put(exc)
        for _ in self._drivers:
            self._tasks.put(None)

    def _forget_pending(self) -> None:
        """Free the reader, if it waits for room, and the drivers."""
        try:
            while True:
                self._pending.get_nowait()
        except queue.Empty:
            pass
        for _ in self._drivers:
            self._tasks.put(None)

    def _drive(self, slot: int) -> None:
        """Body of a driver thread; its interpreter lives as long as it does."""
        while (job := self._tasks.get()) is not None and not self._stopping:
            job.outcome.put(self._run(slot, job.batch.inputs))
        interp = self._interps[slot]
        if interp is not None:
            interp.close()

    def _run(self, slot: int, inputs: list[str]) -> Part:
        """Run a batch, in as many parts as it takes."""
        whole = Part(0.0, [], [])
        while len(whole.texts) < len(inputs) and not self._stopping:
            done = len(whole.texts)
            try:
                part = self._call(slot, inputs[done:])
            except Exception as exc:
                part = _lost(exc, len(inputs) - done)
                self._discard(slot)
            moved = [f._replace(position=f.position + done) for f in part.failures]
            whole = Part(
                whole.seconds + part.seconds,
                whole.texts + part.texts,
                whole.failures + moved,
            )
        return whole

    def _call(self, slot: int, inputs: list[str]) -> Part:
        interp = self._interps[slot]
        if interp is None:
            interp = self._interps[slot] = create()
        seconds, texts, failures = interp.call(
            _call_run_batch, self._target, inputs, self._as_json
        )
        return Part(seconds, texts, [Failure(*failure) for failure in failures])

    def _discard(self, slot: int) -> None:
        """Have the next batch run in a new interpreter: this one may be broken."""
        interp, self._interps[slot] = self._interps[slot], None
        if interp is not None:
            # If it cannot be closed, the end of the process takes it away.
            with suppress(InterpreterError):
                interp.close()


def _lost(exc: Exception, count: int) -> Part:
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


def _call_run_batch(
    target: str, inputs: list[str], as_json: bool
) -> tuple[float, list[str | None], list[tuple[int, str, str, str]]]:
    from subinterpreters._cli._worker import run_batch

    seconds, texts, failures = run_batch(target, inputs, as_json)
    return seconds, texts, [(*failure,) for failure in failures]
