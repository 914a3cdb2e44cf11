"""The part of ``map`` that runs inside the worker interpreters.

Only built-in values go in and come out, and what the function returned becomes text
here: that work is done in parallel too, and any result can be printed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """What to do with each input."""

    target: str  #: the function, "module:name"
    as_json: bool
    are_paths: bool  #: an input is a file, which has to exist


class Failure(NamedTuple):
    """Why one input has no result."""

    position: int  #: of the input in its batch, from 0
    kind: str  #: name of the exception's type
    message: str  #: text of the exception, "" if it has none
    traceback: str  #: as Python prints it, without our frames


class Part(NamedTuple):
    """What became of the first inputs of a batch; it may stop before the last."""

    seconds: float  #: time that the calls took
    texts: list[str | None]  #: a line of output per input, None for a failure
    failures: list[Failure]


_functions: dict[str, Callable[[str], Any]] = {}


def check(target: str) -> str | None:
    """Find the function *target* here; return what is wrong with it, or None.

    Raises KeyboardInterrupt if loading it is interrupted.
    """
    try:
        function = _find(target)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        return f"cannot load {target}: {_one_line(exc)}"
    return None if callable(function) else f"{target} is not callable"


def run_batch(job: Job, inputs: list[str]) -> Part:
    """Call the function of *job* for each of *inputs*, in order.

    Whatever the function raises becomes a Failure. After a KeyboardInterrupt the
    rest of the inputs is left to the caller, who knows whether to go on.
    """
    function = _find(job.target)
    texts: list[str | None] = []
    failures: list[Failure] = []
    started = time.perf_counter()
    for position, item in enumerate(inputs):
        try:
            if job.are_paths:
                os.stat(item)
            texts.append(_text(item, function(item), job.as_json))
        except BaseException as exc:
            texts.append(None)
            failures.append(_failure(position, exc))
            if isinstance(exc, KeyboardInterrupt):
                break
    return Part(time.perf_counter() - started, texts, failures)


def _find(target: str) -> Callable[[str], Any]:
    function = _functions.get(target)
    if function is None:
        from importlib import import_module
        from operator import attrgetter

        module, _, name = target.partition(":")
        function = _functions[target] = attrgetter(name)(import_module(module))
    return function


def _text(item: str, result: object, as_json: bool) -> str:
    if not as_json:
        return str(result)
    import json

    # NaN has no JSON: it is an error of this input, not a broken line for the reader.
    return json.dumps({"input": item, "result": result}, allow_nan=False)


def _failure(position: int, exc: BaseException) -> Failure:
    from traceback import TracebackException

    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    report = TracebackException(type(exc), exc, trace)
    trace_text = "".join(report.format())
    return Failure(position, type(exc).__qualname__, str(report), trace_text)


def _one_line(exc: BaseException) -> str:
    from traceback import format_exception_only

    return " ".join(format_exception_only(exc)[-1].split())
