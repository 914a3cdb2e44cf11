"""What every tool needs: where things are, how to speak, how to run a command."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = CHECKOUT / ".work"


class ToolError(Exception):
    """A failure with a message for the user; no traceback is wanted."""


def supported_versions() -> list[str]:
    lines = (CHECKOUT / "tools" / "versions").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and line[0] != "#"]


def progress(message: str) -> None:
    """One line for the person who waits; never on standard output."""
    print(f"tools: {message}", file=sys.stderr, flush=True)


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def remove(folder: Path) -> None:
    """Remove FOLDER, but never what is mounted in it."""
    mounts = Path("/proc/self/mountinfo").read_text()
    shown = str(folder).replace(" ", "\\040")
    if f" {shown}/" in mounts:
        raise ToolError(f"something is mounted below {folder}; unmount it first")
    if folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock NAME against all other calls of the tools in this checkout."""
    folder = WORK / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another set-up of {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_logged(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> None:
    """Run COMMAND silently, its output appended to LOG; show that if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        start = file.tell()
        file.write(f"$ {' '.join(command)}\n".encode(errors="replace"))
        file.flush()
        status = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=CHECKOUT,
        ).returncode
    if status != 0:
        shown = log.read_bytes()[start:].decode(errors="replace")
        raise ToolError(f"{shown.rstrip()}\nexit status {status}; whole log: {log}")


def run_group(
    command: Sequence[str],
    env: Mapping[str, str],
    limit: float,
    on_line: Callable[[str], object] | None = None,
) -> int | None:
    """Run COMMAND in a process group of its own, and end what is left of it.

    Its output goes to ON_LINE, line by line, or straight through. The result is the
    exit status, or None after LIMIT seconds.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if on_line else None,
        stderr=subprocess.STDOUT if on_line else None,
        text=True,
        errors="replace",
        cwd=CHECKOUT,
        env=env,
        start_new_session=True,
    )
    reader = threading.Thread(target=_read, args=(process, on_line), daemon=True)
    reader.start()
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Children that outlive their leader, a time limit or Ctrl-C must not stay.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # A child that left the group may still hold the pipe: do not wait for it.
        reader.join(10)


def _read(
    process: subprocess.Popen[str], on_line: Callable[[str], object] | None
) -> None:
    if process.stdout is not None and on_line is not None:
        for line in process.stdout:
            on_line(line)
