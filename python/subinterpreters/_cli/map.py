"""``python -m subinterpreters map``: a function over many inputs, in parallel."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from ._arguments import Parser, count, default_workers
from ._engine import Engine
from ._inputs import batches, nothing_to_do, total_size
from ._output import Report
from ._worker import Job

_DESCRIPTION = """\
Call FUNCTION(input) for every input, in several interpreters at once, and print what
it returns, one result a line, in the order of the inputs.

An input is a path, given to the function as str; with --lines it is a line of the
files, without its newline. An exception is reported on standard error and the rest
goes on. The current folder is importable.
"""
_EPILOG = """\
exit status: 0 all inputs have a result, 1 some failed, 2 wrong usage, 130 stopped by
Ctrl-C, 141 nobody reads the output any more
"""

_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 128 + signal.SIGPIPE


def map_inputs(args: list[str]) -> int:
    """Run the command with the arguments *args*; return the exit status."""
    parser = _parser()
    options = parser.parse_args(args)
    target: str = options.function
    module, _, name = target.partition(":")
    if not module or not name:
        parser.error(f"not of the form MODULE:FUNCTION: {target}")
    if problem := nothing_to_do(options.inputs, options.lines):
        parser.error(problem)
    if sys.stdout is None:
        print(
            f"{parser.prog}: error: cannot write: no standard output", file=sys.stderr
        )
        return 1
    _make_importable(os.getcwd())
    workers = options.workers or default_workers()
    if not options.lines and "-" not in options.inputs:
        workers = min(workers, len(options.inputs))
    job = Job(target, options.json, are_paths=not options.lines)
    engine = Engine(job, workers, options.chunk)
    try:
        if problem := engine.check():
            engine.stop()
            parser.error(problem)
        return _map(engine, options)
    except KeyboardInterrupt:
        return _stop(engine, _INTERRUPTED)
    except OSError as exc:
        # Nothing may be written any more, at the exit of Python either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            return _stop(engine, _BROKEN_PIPE)
        print(f"{parser.prog}: error: cannot write: {exc.strerror}", file=sys.stderr)
        return _stop(engine, 1)


def _parser() -> Parser:
    parser = Parser(
        prog="subinterpreters map",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("function", metavar="MODULE:FUNCTION")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="a file; - is standard input: its lines with --lines, else the paths "
        "that it lists, one a line",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=count,
        help="number of interpreters (default: CPUs of this process)",
    )
    parser.add_argument(
        "--lines", action="store_true", help="call the function for every line"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='print {"input": ..., "result": ...} or {"input": ..., "error": {"type": '
        '..., "message": ..., "traceback": ...}}, a document a line',
    )
    parser.add_argument(
        "--chunk",
        metavar="N",
        type=count,
        help="inputs that a worker gets at a time (default: what takes it 20 ms)",
    )
    return parser


def _make_importable(folder: str) -> None:
    """Put *folder* first on the path, as ``python -m`` does unless told not to."""
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _map(engine: Engine, options: argparse.Namespace) -> int:
    total = total_size(options.inputs, options.lines)
    report = Report(total, options.lines, options.json)
    source = batches(options.inputs, options.lines, engine.batch_length)
    try:
        for batch, part in engine.results(source):
            report.add(batch, part)
    finally:
        report.close()
    return 1 if report.failed else 0


def _stop(engine: Engine, status: int) -> int:
    """Stop the workers and return *status*, or exit with it if one does not stop."""

    def exit_now(signum: int, frame: FrameType | None) -> None:
        os._exit(_INTERRUPTED)

    signal.signal(signal.SIGINT, exit_now)
    if not engine.stop():
        os._exit(status)
    return status
