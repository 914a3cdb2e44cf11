"""What ``map`` prints: results, failures and, on a terminal, the progress."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from ._inputs import Batch
from ._worker import Part


class Report:
    """Writes results to standard output and failures to standard error.

    *total* is the sum of the sizes of all batches, in bytes if *in_bytes*, or None.
    Writing raises BrokenPipeError when nobody reads standard output any more.
    """

    def __init__(self, total: int | None, in_bytes: bool, as_json: bool) -> None:
        self.failed = 0  #: inputs and sources without a result so far
        self._as_json = as_json
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Inputs that are not UTF-8 go out as they came in.
            sys.stdout.reconfigure(errors="surrogateescape")
        # Standard error may be closed: then nobody wants to hear of failures.
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar = _progress_bar(total, in_bytes) if on_terminal else None

    def add(self, batch: Batch, part: Part) -> None:
        """Report *part*, the outcome of *batch*."""
        lines = list(part.texts)
        for failure in part.failures:
            name = batch.name(failure.position)
            self._complain(f"{name}: {failure.kind}: {failure.message}")
            if self._as_json:
                error = {
                    "type": failure.kind,
                    "message": failure.message,
                    "traceback": failure.traceback,
                }
                document = {"input": batch.inputs[failure.position], "error": error}
                lines[failure.position] = json.dumps(document)
        if batch.problem:
            self._complain(f"{batch.source}: {batch.problem}")
        self._write("".join(f"{line}\n" for line in lines if line is not None))
        if self._bar is not None:
            self._bar.update(batch.size)

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()

    def _write(self, text: str) -> None:
        if self._bar is not None and sys.stdout.isatty():
            self._bar.clear()
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding
            safe = text.encode(encoding, "backslashreplace").decode(encoding)
            sys.stdout.write(safe)
        # A batch is some milliseconds of work; whoever reads gets it at once.
        sys.stdout.flush()

    def _complain(self, message: str) -> None:
        self.failed += 1
        if self._bar is not None:
            self._bar.clear()
        print(f"subinterpreters map: {message}", file=sys.stderr)


def _progress_bar(total: int | None, in_bytes: bool) -> Any:
    from tqdm import tqdm

    unit = "B" if in_bytes else "input"
    return tqdm(
        total=total, unit=unit, unit_scale=in_bytes, dynamic_ncols=True, leave=False
    )
