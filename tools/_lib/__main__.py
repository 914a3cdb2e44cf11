"""The entry of the scripts in tools/: COMMAND [ARGS...]."""

from __future__ import annotations

import signal
import sys

import commands
from common import ToolError
from outcome import Outcome

COMMANDS = {
    "py": commands.py,
    "test": commands.test,
    "lint": commands.lint,
    "packages": commands.packages,
    "sanitized": commands.sanitized,
    "fuzz": commands.fuzz,
    "ci": commands.ci,
    "clean": commands.clean,
}


def main() -> int:
    # As after Ctrl-C, what was started must end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return COMMANDS[sys.argv[1]](sys.argv[2:])
    except ToolError as error:
        print(f"tools: {error}", file=sys.stderr, flush=True)
        if sys.argv[1] not in ("py", "clean"):
            print(f"\n{Outcome(failed=1)}")
        return 1
    except KeyboardInterrupt:
        return 130


sys.exit(main())
