"""Routing what an interpreter prints to the one that created it: ``create(capture=)``.

There is a pipe per interpreter, and a thread here that reads it until the interpreter
ends. A pipe and not a queue: what an interpreter has put into a queue goes with it. The
end is a mark in the pipe: a process that was forked meanwhile keeps the pipe open.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from ._core import Interpreter

_PATIENCE = 5.0  # seconds that close() and the exit wait for what still runs
_STREAMS = {b"o": "stdout", b"e": "stderr"}
_END = b".\n"

_Handler = Callable[[str, str, str], object]
_relays: dict[int, tuple[weakref.ref[Interpreter], threading.Thread]] = {}  # by id


class _Stream(io.TextIOBase):
    """Sends whole lines through the pipe, each with a letter that names the stream."""

    encoding = "utf-8"
    errors = "surrogatepass"

    def __init__(self, pipe: int, letter: bytes) -> None:
        self._pipe = pipe
        self._letter = letter
        self._rest = ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if self.closed:
                raise ValueError("I/O operation on closed file.")
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._send(line)
        return len(text)

    def close(self) -> None:
        """Send what is left of a line."""
        with self._lock:
            rest = "" if self.closed else self._rest
            super().close()
            if rest:
                self._send(rest)

    def _send(self, line: str) -> None:
        data = self._letter + line.encode(self.encoding, self.errors) + b"\n"
        while data:
            data = data[os.write(self._pipe, data) :]


def _install(pipe: int) -> None:
    """Run in the new interpreter: its streams are the pipe from now on."""
    own = os.dup(pipe)  # each side closes its own, whoever fails
    streams = [_Stream(own, letter) for letter in _STREAMS]

    def end() -> None:
        for stream, name in zip(streams, _STREAMS.values(), strict=True):
            setattr(sys, name, None)
            with contextlib.suppress(BrokenPipeError):  # nobody reads it
                stream.close()
        with contextlib.suppress(BrokenPipeError):
            os.write(own, _END)
        os.close(own)

    try:
        atexit.register(end)
    except BaseException:
        os.close(own)
        raise
    for stream, name in zip(streams, _STREAMS.values(), strict=True):
        setattr(sys, name, stream)


def _to_own_streams(tag: str, name: str, line: str) -> None:
    stream = getattr(sys, name)
    if stream is not None:
        stream.write(f"[{tag}] {line}\n")
        stream.flush()


def _relay(pipe: int, tag: str, handler: _Handler) -> None:
    with open(pipe, "rb") as lines:
        for line in iter(lines.readline, _END):
            if not line:
                return  # it ended without its atexit functions
            text = line[1:].removesuffix(b"\n").decode(_Stream.encoding, _Stream.errors)
            try:
                handler(tag, _STREAMS[line[:1]], text)
            except Exception:
                sys.excepthook(*sys.exc_info())


def begin(interp: Interpreter, capture: _Handler | bool) -> None:
    """Route what *interp* prints from now on as ``create(capture=)`` says."""
    if capture is not True and not callable(capture):
        raise TypeError(f"capture must be True or a callable, got {capture!r}")
    handler = _to_own_streams if capture is True else capture
    tag = interp.name or f"interpreter {interp.id}"
    read, write = os.pipe()
    try:
        interp.call(_install, write)
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    thread = threading.Thread(
        target=_relay, args=(read, tag, handler), name=f"capture {tag}", daemon=_in_main
    )
    try:
        thread.start()
    except RuntimeError:  # there is no thread
        os.close(read)
        raise
    for ident, relay in _relays.copy().items():
        if not relay[1].is_alive():
            _relays.pop(ident, None)
    _relays[interp.id] = weakref.ref(interp), thread


def finish(ident: int, timeout: float | None) -> None:
    """Wait for the last lines of an interpreter that has been closed.

    For *timeout* seconds, and no longer than ``_PATIENCE``: what handles the lines may
    wait for the caller.
    """
    relay = _relays.get(ident)
    if relay is not None and relay[1] is not threading.current_thread():
        relay[1].join(_PATIENCE if timeout is None else min(timeout, _PATIENCE))


def _end_all() -> None:
    """Close what is captured and wait for the last lines."""
    relays = list(_relays.values())
    _relays.clear()  # close() has nothing to wait for
    for reference, _ in relays:
        interp = reference()
        if interp is not None:
            with contextlib.suppress(_core.InterpreterError, TimeoutError):
                interp.close(interrupt=True, timeout=_PATIENCE)
    for _, thread in relays:
        thread.join(_PATIENCE)


_in_main = _core.get_current().id == _core.get_main().id
if _in_main:
    # After the threads of the program, and before the rest is closed.
    atexit.register(_end_all)
else:
    # The end of the interpreter would wait for the threads, which wait for theirs.
    threading._register_atexit(_end_all)  # type: ignore[attr-defined]
