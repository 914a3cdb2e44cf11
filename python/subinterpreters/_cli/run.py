"""``python -m subinterpreters run``: what ``python`` does, with our module installed.

The script runs in the real ``__main__`` module, emptied of what was there. What
happens to an exception that it does not catch is left to the Python runtime, which
knows best about exit statuses and signals; only our frames are taken out of the
traceback before anybody sees it.
"""

from __future__ import annotations

import builtins
import io
import os
import pkgutil
import runpy
import sys
from importlib.machinery import (
    BuiltinImporter,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType, TracebackType
from typing import Any, NoReturn

_HELP = """\
usage: python -m subinterpreters run SCRIPT [ARGS...]
       python -m subinterpreters run -c CODE [ARGS...]
       python -m subinterpreters run -m MODULE [ARGS...]

Run a Python script (a file, a folder or zip archive with a __main__.py, or - for
standard input), code or a module as python itself does, except that

  from concurrent import interpreters

gives subinterpreters, in the script and in every interpreter that it creates, on
every version of Python.

options:
  -h, --help  show this help
"""


def run(args: list[str]) -> None:
    """Run what *args* name (without the word ``run``) in the real ``__main__``.

    Returns when the script ends normally; whatever the script raises comes out, and
    wrong usage raises SystemExit(2).
    """
    option, value, rest = _parse(args)
    from subinterpreters import install

    install()
    try:
        match option:
            case "-c":
                _run_code_text(value, rest)
            case "-m":
                _run_module(value, rest)
            case _:
                _run_script(value, rest)
    except SystemExit:
        raise
    except BaseException:
        _hide_our_frames()
        raise


def _parse(args: list[str]) -> tuple[str, str, list[str]]:
    """Return the option ("-c", "-m" or ""), its value and the script's arguments."""
    first, rest = (args[0], args[1:]) if args else ("", [])
    if first in {"-h", "--help"}:
        print(_HELP, end="")
        sys.exit(0)
    option = first[:2]
    if option in {"-c", "-m"}:
        if len(first) > 2:
            return option, first[2:], rest
        if not rest:
            _usage_error(f"argument expected for the {option} option")
        return option, rest[0], rest[1:]
    if not first:
        _usage_error("a script, -c CODE or -m MODULE is needed")
    if first.startswith("-") and first != "-":
        _usage_error(f"unknown option: {first}")
    return "", first, rest


def _usage_error(problem: str) -> NoReturn:
    usage = _HELP.partition("\n\n")[0]
    print(f"{usage}\nsubinterpreters run: {problem}", file=sys.stderr)
    sys.exit(2)


def _run_code_text(source: str, rest: list[str]) -> None:
    sys.argv[:] = ["-c", *rest]
    _set_path0("")
    if sys.version_info >= (3, 14):
        from textwrap import dedent

        source = dedent(source)
    code = compile(source + "\n", "<string>", "exec", dont_inherit=True)
    if sys.version_info >= (3, 13):
        # This is what lets tracebacks quote the lines of -c code.
        import linecache

        key: Any = code if sys.version_info >= (3, 14) else "<string>"
        linecache._register_code(key, source, "<string>")  # type: ignore[attr-defined]
    _execute(code, _clean_main(BuiltinImporter))


def _run_module(name: str, rest: list[str]) -> None:
    sys.argv[:] = ["-m", *rest]
    _set_path0(os.getcwd())
    _clean_main(None)
    # The very function that the runtime calls for -m.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _run_script(script: str, rest: list[str]) -> None:
    sys.argv[:] = [script, *rest]
    if script == "-":
        _set_path0("")
        code = compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True)
        _execute(code, _clean_main(BuiltinImporter, "<stdin>"))
    elif pkgutil.get_importer(script) is not None:
        _set_path0(_absolute(script), always=True)
        _clean_main(None)
        # As for -m; this is how the runtime runs a folder or an archive.
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
    else:
        _run_file(script)


def _run_file(script: str) -> None:
    path = _absolute(script)
    _set_path0(os.path.dirname(os.path.realpath(script)))
    loader: SourceFileLoader | SourcelessFileLoader
    code: Any
    if path.endswith(".pyc"):
        loader = SourcelessFileLoader("__main__", path)
        code = loader.get_code("__main__")
    else:
        loader = SourceFileLoader("__main__", path)
        code = compile(_read(path), path, "exec", dont_inherit=True)
    _execute(code, _clean_main(loader, path))


def _absolute(path: str) -> str:
    """Make *path* absolute in the runtime's way, which leaves ``..`` alone."""
    return os.path.join(os.getcwd(), path)


def _read(path: str) -> bytes:
    try:
        with io.open_code(path) as file:
            return file.read()
    except OSError as exc:
        print(
            f"{sys.orig_argv[0]}: can't open file {path!r}: "
            f"[Errno {exc.errno}] {exc.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)


def _set_path0(entry: str, *, always: bool = False) -> None:
    """Put *entry* where the runtime put the entry for this command line.

    In safe-path mode (``-P``) it put none, and none is put; *always* is for the
    archive or folder that is run, which is found on the path even then.
    """
    if not sys.flags.safe_path:
        sys.path[0] = entry
    elif always:
        sys.path.insert(0, entry)


def _clean_main(loader: object, file: str | None = None) -> dict[str, Any]:
    """Return the namespace of ``__main__``, as it is before a script's first line."""
    namespace = sys.modules["__main__"].__dict__
    has_annotations = "__annotations__" in namespace
    namespace.clear()
    namespace.update(
        __name__="__main__",
        __doc__=None,
        __package__=None,
        __loader__=loader,
        __spec__=None,
    )
    if has_annotations:
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    if file is not None:
        namespace["__file__"] = file
        if sys.version_info < (3, 15):
            namespace["__cached__"] = None
    return namespace


def _execute(code: CodeType, namespace: dict[str, Any]) -> None:
    exec(code, namespace)


def _hide_our_frames() -> None:
    """Let the next call of sys.excepthook see the script's part of the traceback."""
    hook = getattr(sys, "excepthook", sys.__excepthook__)

    def excepthook(
        kind: type[BaseException], exc: BaseException, trace: TracebackType | None
    ) -> None:
        sys.excepthook = hook
        trace = _script_part(trace)
        sys.last_traceback = trace
        hook(kind, exc.with_traceback(trace), trace)

    sys.excepthook = excepthook


def _script_part(trace: TracebackType | None) -> TracebackType | None:
    """Return *trace* from after the last frame of this module on."""
    rest = trace
    while trace is not None:
        if trace.tb_frame.f_globals is globals():
            rest = trace.tb_next
        trace = trace.tb_next
    return rest
