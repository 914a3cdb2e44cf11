"""The command line: ``python -m subinterpreters {run,map,demo} ...``.

Each command is a module of its own that is imported when it is asked for, so that a
script under ``run`` starts in a process with little else loaded.
"""

from __future__ import annotations

import sys

_USAGE = """\
usage: python -m subinterpreters COMMAND [ARGS...]

commands:
  run   run a script, code or a module with concurrent.interpreters being ours
  map   call a function for every input, in several interpreters at once
  demo  measure the standard library's source files: serially, with processes
        and with interpreters

options:
  -h, --help  show this help; after a command, the help of that command
  --version   show the version
"""


def main(args: list[str] | None = None) -> None:
    """Run the command line.

    *args* is the command and its arguments (default: those of the process). Returns
    after success and raises SystemExit with the exit status otherwise: 2 for wrong
    usage, what the command says in all other cases.
    """
    command, *rest = (sys.argv[1:] if args is None else args) or [""]
    match command:
        case "run":
            from .run import run

            run(rest)
        case "map":
            from .map import map_inputs

            _exit(map_inputs(rest))
        case "demo":
            from .demo import demo

            _exit(demo(rest))
        case "-h" | "--help":
            print(_USAGE, end="")
        case "--version":
            from subinterpreters import __version__

            print(__version__)
        case _:
            problem = f"unknown command: {command}\n\n" if command else ""
            print(problem + _USAGE, end="", file=sys.stderr)
            sys.exit(2)


def _exit(status: int) -> None:
    if status:
        sys.exit(status)
