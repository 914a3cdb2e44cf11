"""``python -m subinterpreters map``: the command, as its users see it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

import pytest

MAP = [sys.executable, "-m", "subinterpreters", "map"]
TIMEOUT = 60

WORK = '''
"""Functions to map."""

import os
import sys
import time

import subinterpreters


def double(text):
    return 2 * int(text)


def identity(text):
    return text


def as_ascii(text):
    return ascii(text)


def length(path):
    with open(path) as file:
        return len(file.read())


def slow_first(text):
    time.sleep(0.3 if text == "0" else 0)
    return text


def where(text):
    return subinterpreters.get_current().id


def shape(text):
    return {"text": text, "letters": list(text)}


def nan(text):
    return float(text)


def fails_on_odd(text):
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return text


def leaves(text):
    if text == "exit":
        sys.exit(3)
    if text == "interrupt":
        raise KeyboardInterrupt
    if text == "unprintable":
        raise Unprintable
    if text == "odd":
        return Unprintable()
    return text


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def breaks_its_interpreter(text):
    if text == "2":
        # The next call cannot even import what it needs.
        sys.modules["subinterpreters._cli._worker"] = None
    return text


def never_ends(text):
    print("started", file=sys.stderr, flush=True)
    while True:
        pass


def shrugs_off(text):
    print("started", file=sys.stderr, flush=True)
    for _ in range(3):
        try:
            while True:
                pass
        except KeyboardInterrupt:
            pass


class Namespace:
    class Inner:
        @staticmethod
        def up(text):
            return text.upper()


number = 3
'''


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with the module ``work``, and standard inputs for it."""
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "bad.py").write_text("1 / 0\n")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "interrupting.py").write_text("raise KeyboardInterrupt\n")
    return tmp_path


def environment() -> dict[str, str]:
    unwanted = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING"}
    return {k: v for k, v in os.environ.items() if k not in unwanted}


def start(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*MAP, *args],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Return status, output and errors; kill the process if it takes too long."""
    try:
        output, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output.decode(), errors.decode()


def run(folder: Path, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
    process = start(folder, *args)
    try:
        output, errors = process.communicate(stdin, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    errors_text = errors.decode()
    return process.returncode, output.decode("utf-8", "surrogateescape"), errors_text


def read_line(file: object) -> bytes:
    """Return the next line of a pipe, or fail when none comes in time."""
    assert hasattr(file, "fileno")
    line = b""
    deadline = time.monotonic() + TIMEOUT
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        assert select.select([file], [], [], max(left, 0))[0], "no line came"
        byte = os.read(file.fileno(), 1)
        assert byte, "the pipe was closed"
        line += byte
    return line


def numbers(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


def test_a_function_of_files(work: Path) -> None:
    paths = []
    for number in range(20):
        (work / f"file{number}").write_text("x" * number)
        paths.append(f"file{number}")
    expected = "".join(f"{number}\n" for number in range(20))
    assert run(work, "work:length", *paths) == (0, expected, "")


def test_a_function_of_lines(work: Path) -> None:
    (work / "a").write_bytes(b"1\n2\r\n3")
    (work / "b").write_bytes(b"")
    (work / "c").write_bytes(b"4\n")
    done = run(work, "work:double", "--lines", "a", "b", "-", "c", stdin=b"7\n8\n")
    assert done == (0, "2\n4\n6\n14\n16\n8\n", "")


def test_paths_from_standard_input(work: Path) -> None:
    listed = b"one\nname with space\n"
    for name in listed.decode().splitlines():
        (work / name).touch()
    done = run(work, "work:identity", "work.py", "-", "bad.py", stdin=listed)
    assert done == (0, "work.py\none\nname with space\nbad.py\n", "")


@pytest.mark.parametrize(
    "options", [[], ["--workers", "1"], ["--workers", "4", "--chunk", "3"]]
)
def test_results_come_in_the_order_of_the_inputs(
    work: Path, options: list[str]
) -> None:
    stdin = numbers(3000)
    done = run(work, "work:slow_first", "--lines", *options, "-", stdin=stdin)
    assert done == (0, stdin.decode(), "")


def test_work_is_spread_over_interpreters(work: Path) -> None:
    args = ["work:where", "--lines", "--workers", "3", "--chunk", "1", "-"]
    status, output, errors = run(work, *args, stdin=numbers(2000))
    assert (status, errors) == (0, "")
    used = set(output.split())
    assert "0" not in used
    assert 2 <= len(used) <= 3


def test_lines_that_are_not_utf8_or_very_long(work: Path) -> None:
    raw = b"\xff\xfe\n" + b"y" * 1_000_000 + b"\n\xc3\xa4\n"
    process = start(work, "work:identity", "--lines", "-")
    output, errors = process.communicate(raw, timeout=TIMEOUT)
    assert (process.returncode, output, errors) == (0, raw, b"")
    done = run(work, "work:as_ascii", "--lines", "-", stdin=b"\xff\n")
    assert done == (0, "'\\udcff'\n", "")


def test_json_documents(work: Path) -> None:
    args = ["work:shape", "--json", "--lines", "-"]
    status, output, errors = run(work, *args, stdin=b"ab\n\xff\n")
    assert (status, errors) == (0, "")
    documents = [json.loads(line) for line in output.splitlines()]
    assert documents == [
        {"input": "ab", "result": {"text": "ab", "letters": ["a", "b"]}},
        {"input": "\udcff", "result": {"text": "\udcff", "letters": ["\udcff"]}},
    ]


def test_failures_do_not_stop_the_rest(work: Path) -> None:
    args = ["work:fails_on_odd", "--lines", "-"]
    status, output, errors = run(work, *args, stdin=b"0\n1\n2\n3\n4\n")
    assert (status, output) == (1, "0\n2\n4\n")
    assert errors.splitlines() == [
        "subinterpreters map: standard input:2: ValueError: 1 is odd",
        "subinterpreters map: standard input:4: ValueError: 3 is odd",
    ]


def test_failures_as_json(work: Path) -> None:
    args = ["work:fails_on_odd", "--lines", "--json", "-"]
    status, output, errors = run(work, *args, stdin=b"0\n1\n2\n")
    assert status == 1
    first, second, third = (json.loads(line) for line in output.splitlines())
    assert (first["result"], third["result"]) == ("0", "2")
    assert second["input"] == "1"
    assert second["error"]["type"] == "ValueError"
    assert second["error"]["message"] == "1 is odd"
    trace = second["error"]["traceback"]
    assert trace.startswith("Traceback (most recent call last):\n")
    assert 'work.py", line' in trace
    assert "_worker.py" not in trace
    assert len(errors.splitlines()) == 1


def test_results_without_a_json_form(work: Path) -> None:
    args = ["work:nan", "--lines", "--json", "-"]
    status, output, errors = run(work, *args, stdin=b"1.5\nnan\n")
    assert status == 1
    first, second = (json.loads(line) for line in output.splitlines())
    assert first == {"input": "1.5", "result": 1.5}
    assert second["error"]["type"] == "ValueError"
    assert "standard input:2: ValueError" in errors


@pytest.mark.parametrize("chunk", [[], ["--chunk", "6"]])
def test_whatever_a_function_raises_is_a_failure(work: Path, chunk: list[str]) -> None:
    lines = b"a\nexit\ninterrupt\nunprintable\nodd\nb\n"
    args = ["work:leaves", "--lines", *chunk, "-"]
    status, output, errors = run(work, *args, stdin=lines)
    assert (status, output) == (1, "a\nb\n")
    reports = errors.splitlines()
    assert reports[0] == "subinterpreters map: standard input:2: SystemExit: 3"
    assert reports[1].startswith("subinterpreters map: standard input:3: Keyboard")
    assert reports[2].startswith("subinterpreters map: standard input:4: Unprintable")
    assert reports[3].startswith("subinterpreters map: standard input:5: RuntimeError")
    assert len(reports) == 4


def test_a_broken_interpreter_is_replaced(work: Path) -> None:
    args = ["work:breaks_its_interpreter", "--lines", "--workers", "1", "--chunk", "1"]
    status, output, errors = run(work, *args, "-", stdin=numbers(6))
    assert (status, output) == (1, "0\n1\n2\n4\n5\n")
    assert len(errors.splitlines()) == 1
    assert "standard input:4: " in errors
    assert "the worker interpreter was lost" in errors


def test_names_with_dots(work: Path) -> None:
    done = run(work, "work:Namespace.Inner.up", "--lines", "-", stdin=b"ab\n")
    assert done == (0, "AB\n", "")


def test_a_file_that_is_not_there_is_one_input(work: Path) -> None:
    size = len((work / "work.py").read_text())
    status, output, errors = run(work, "work:length", "work.py", "absent", "work.py")
    assert (status, output) == (1, f"{size}\n{size}\n")
    assert "absent: FileNotFoundError" in errors
    status, output, errors = run(work, "--lines", "work:length", "absent", "work.py")
    assert status == 1
    assert "absent: cannot read: No such file" in errors


def test_a_missing_path_fails_whatever_the_function_does(work: Path) -> None:
    status, output, _ = run(work, "work:identity", "work.py", "absent", "--json")
    documents = [json.loads(line) for line in output.splitlines()]
    assert documents[0] == {"input": "work.py", "result": "work.py"}
    assert documents[1]["input"] == "absent"
    assert documents[1]["error"]["type"] == "FileNotFoundError"
    assert status == 1


@pytest.mark.parametrize(("closed", "status"), [("2>&-", 0), (">&-", 1)])
def test_closed_standard_streams(work: Path, closed: str, status: int) -> None:
    command = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *MAP, "work:identity", "work.py"],
        cwd=work,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == status
    if status == 0:
        assert done.stdout == "work.py\n"
    else:
        assert done.stderr.endswith("cannot write: no standard output\n")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["work", "work.py"], "not of the form MODULE:FUNCTION: work"),
        (["work:", "work.py"], "not of the form MODULE:FUNCTION: work:"),
        ([":double", "work.py"], "not of the form MODULE:FUNCTION: :double"),
        (["missing:f", "work.py"], "ModuleNotFoundError: No module named 'missing'"),
        (["work:missing", "work.py"], "has no attribute 'missing'"),
        (["work:number", "work.py"], "work:number is not callable"),
        (["bad:f", "work.py"], "ZeroDivisionError"),
        (["leaving:f", "work.py"], "SystemExit"),
        (["interrupting:f", "work.py"], "KeyboardInterrupt"),
        (["work:double", "absent", "gone"], "no such file: absent"),
        (["work:double", "--lines", "absent"], "no such file: absent"),
        (["work:double", "--lines", "."], "is a folder, not a file of lines: ."),
        (["work:double"], "INPUT"),
        (["work:double", "--workers", "0", "work.py"], "not a number from 1 on: 0"),
        (["work:double", "--chunk", "x", "work.py"], "not a number from 1 on: x"),
        (["work:double", "--unheard", "work.py"], "--unheard"),
    ],
)
def test_wrong_usage(work: Path, args: list[str], problem: str) -> None:
    status, output, errors = run(work, *args)
    assert (status, output) == (2, "")
    assert errors.startswith("subinterpreters map: error: ")
    assert problem in errors
    assert len(errors.splitlines()) == 1


def test_help(work: Path) -> None:
    status, output, errors = run(work, "--help")
    assert (status, errors) == (0, "")
    assert "MODULE:FUNCTION" in output


@pytest.mark.parametrize("function", ["never_ends", "shrugs_off"])
def test_ctrl_c_stops_at_once(work: Path, function: str) -> None:
    args = [f"work:{function}", "--lines", "--workers", "2", "--chunk", "1", "-"]
    process = start(work, *args)
    assert process.stdin is not None
    process.stdin.write(numbers(2000))
    process.stdin.flush()
    for _ in range(2):
        assert read_line(process.stderr) == b"started\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    # Standard input stays open: the reader must not hold the exit up.
    status = process.wait(TIMEOUT)
    took = time.monotonic() - began
    process.stdin.close()
    assert process.stdout is not None
    assert process.stderr is not None
    assert (status, process.stdout.read()) == (130, b"")
    assert b"Traceback" not in process.stderr.read()
    assert took < 2
    process.stdout.close()
    process.stderr.close()


def test_ctrl_c_while_the_function_is_loaded(work: Path) -> None:
    (work / "hangs.py").write_text(
        "import sys\n"
        "print('started', file=sys.stderr, flush=True)\n"
        "while True:\n"
        "    pass\n"
    )
    process = start(work, "hangs:f", "hangs.py")
    assert read_line(process.stderr) == b"started\n"
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "", "")


def test_output_that_nobody_reads(work: Path) -> None:
    process = start(work, "work:identity", "--lines", "-")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    assert read_line(process.stdout) == b"first\n"
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(numbers(1000))
        process.stdin.flush()
    process.stdin.close()
    assert process.stderr is not None
    assert (process.wait(TIMEOUT), process.stderr.read()) == (141, b"")
    process.stderr.close()


def test_output_that_cannot_be_written(work: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*MAP, "work:identity", "--lines", "-"],
            cwd=work,
            env=environment(),
            input=numbers(1000),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 1
    problem = b"subinterpreters map: error: cannot write: No space left on device\n"
    assert done.stderr == problem


def test_a_file_that_cannot_be_read_to_the_end(work: Path) -> None:
    # Reading a process' memory from address 0 is an error on every Linux.
    (work / "lines").write_bytes(b"1\n")
    done = run(work, "work:double", "--lines", "/proc/self/mem", "lines")
    problem = "subinterpreters map: /proc/self/mem: cannot read: Input/output error\n"
    assert done == (1, "2\n", problem)


def test_results_of_a_pipe_come_as_it_is_written(work: Path) -> None:
    process = start(work, "work:double", "--lines", "-")
    assert process.stdin is not None
    for number in range(5):
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        assert read_line(process.stdout) == b"%d\n" % (2 * number)
    assert finish(process) == (0, "", "")


def test_a_progress_bar_only_on_a_terminal(work: Path) -> None:
    (work / "lines").write_bytes(numbers(100))
    try:
        ours, theirs = pty.openpty()
    except OSError as exc:
        pytest.skip(f"no pseudo-terminals here: {exc}")
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run(
        [*MAP, "work:identity", "--lines", "lines"],
        cwd=work,
        env=environment() | {"TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=TIMEOUT,
        check=False,
    )
    os.close(theirs)
    shown = b""
    # Linux reports the other side's close as an error.
    with contextlib.suppress(OSError):
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, numbers(100))
    assert b"%|" in shown
    # Without a terminal: test_a_function_of_lines and others see no errors at all.


@pytest.mark.unsanitized("freed memory is kept in quarantine")
def test_memory_stays_flat(work: Path) -> None:
    # The function is slower than the reader; without a bound, the whole input would
    # wait in memory.
    program = textwrap.dedent(
        """
        import sys
        from subinterpreters._cli import main
        main(["map", "work:identity", "--lines", "--workers", "2", sys.argv[1]])
        with open("/proc/self/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM:"))
        print(peak.split()[1], file=sys.stderr)
        """
    )
    line = b"x" * 1000 + b"\n"
    peaks = []
    for count in (2_000, 100_000):
        (work / "lines").write_bytes(count * line)
        done = subprocess.run(
            [sys.executable, "-c", program, "lines"],
            cwd=work,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
            check=True,
        )
        peaks.append(int(done.stderr))
    growth_kib = peaks[1] - peaks[0]
    assert growth_kib < 24 * 1024, f"100 MB of input; peaks in KiB: {peaks}"


def test_the_demonstration(work: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "subinterpreters", "demo", "--megabytes", "1"],
        cwd=work,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    for mode in ("serial", "processes", "interpreters"):
        (row,) = [row for row in rows if row[:1] == [mode]]
        _, seconds, speed_up, peak, unit = row
        assert float(seconds) > 0
        assert speed_up.endswith("x")
        assert int(peak) > 5
        assert unit == "MiB"
    assert done.stdout.endswith("All three gave the same results.\n")
