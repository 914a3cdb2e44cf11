"""The inputs of ``map``, read as they are needed and grouped into batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

#: Most bytes that are read from a file at once: bounds the memory of a batch.
_CHUNK = 256 * 1024


@dataclass(slots=True)
class Batch:
    """Inputs that go to a worker together, in order."""

    inputs: list[str]
    size: int  #: share in the progress: bytes of lines, number of paths
    source: str = ""  #: the file whose lines these are; "" if they are paths
    first: int = 0  #: number of the first line in its file, from 1
    problem: str = ""  #: why the source cannot be read (further), or ""

    def name(self, position: int) -> str:
        """Return what to call the input at *position* in a message."""
        if self.source:
            return f"{self.source}:{self.first + position}"
        return self.inputs[position]


def nothing_to_do(arguments: list[str], lines: bool) -> str | None:
    """Return what is wrong with the first argument if it is so with all, or None.

    One of several that cannot be used is an input that fails.
    """
    problems = [_problem(path, lines) for path in arguments]
    return problems[0] if all(problems) else None


def _problem(path: str, lines: bool) -> str | None:
    if path == "-":
        return None
    if not os.path.exists(path):
        return f"no such file: {path}"
    if lines and os.path.isdir(path):
        return f"is a folder, not a file of lines: {path}"
    if lines and not os.access(path, os.R_OK):
        return f"may not be read: {path}"
    return None


def total_size(arguments: list[str], lines: bool) -> int | None:
    """Return the sum of the sizes of all batches, or None if it is not known yet."""
    if "-" in arguments:
        return None
    if not lines:
        return len(arguments)
    if not all(map(os.path.isfile, arguments)):
        return None
    return sum(map(os.path.getsize, arguments))


def batches(
    arguments: list[str], lines: bool, batch_length: Callable[[], int]
) -> Iterator[Batch]:
    """Yield the inputs that *arguments* name, *batch_length()* or fewer at a time.

    With *lines* the inputs are the lines of the files, and ``-`` is standard input;
    without, they are the arguments, and ``-`` stands for the paths that standard
    input lists, one a line. What comes from a pipe is given out as it arrives.
    """
    for argument in arguments if lines else ():
        yield from _line_batches(argument, batch_length)
    paths: list[str] = []
    for argument in () if lines else arguments:
        if argument != "-":
            paths.append(argument)
        if paths and (argument == "-" or len(paths) >= batch_length()):
            yield Batch(paths, len(paths))
            paths = []
        if argument == "-":
            yield from _listed_paths(batch_length)
    if paths:
        yield Batch(paths, len(paths))


def _listed_paths(batch_length: Callable[[], int]) -> Iterator[Batch]:
    for batch in _line_batches("-", batch_length):
        batch.source = ""
        batch.size = len(batch.inputs)
        yield batch


def _line_batches(path: str, batch_length: Callable[[], int]) -> Iterator[Batch]:
    source = "standard input" if path == "-" else path
    number = 1
    try:
        with ExitStack() as stack:
            # Standard input's own object would be locked by a read that never ends.
            file = stack.enter_context(
                open(0 if path == "-" else path, "rb", buffering=0, closefd=path != "-")
            )
            for group, size in _line_groups(file):
                start = 0
                while start < len(group):
                    part = group[start : start + batch_length()]
                    share = size * len(part) // len(group)
                    yield Batch(part, share, source, number)
                    start += len(part)
                    number += len(part)
    except OSError as exc:
        yield Batch([], 0, source, number, problem=f"cannot read: {exc.strerror}")


def _line_groups(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """Yield the lines of *file* in groups, each with its number of bytes."""
    pieces: list[bytes] = []
    while chunk := file.read(_CHUNK):
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            pieces.append(chunk)
            continue
        data = b"".join([*pieces, head])
        yield _split(data), len(data) + 1
        pieces = [tail]
    if last := b"".join(pieces):
        yield _split(last), len(last)


def _split(data: bytes) -> list[str]:
    # Surrogate escapes keep bytes that are not UTF-8 as they are, in and out.
    text = data.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines
