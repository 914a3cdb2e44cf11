"""What the Python tests share: interpreters that are cleaned up, and scripts in
processes of their own, so that a crash or a hang fails one test and not the run."""

import contextlib
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import subinterpreters

# pytest-timeout acts between bytecodes of the main thread. Where a thread is stuck
# in C for good, this is what ends the run, with the stack of every thread.
# A test that is marked with a longer limit has that and this much more.
HANG_LIMIT = 300
HANG_MARGIN = 60


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the long tests as well")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; runs with --slow only")
    config.addinivalue_line(
        "markers", "unsanitized(reason): cannot be run under AddressSanitizer"
    )
    # Jobs that a shell starts in the background ignore Ctrl-C; our scripts must not.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        for item in items:
            for mark in item.iter_markers("unsanitized"):
                reason = f"under AddressSanitizer: {mark.args[0]}"
                item.add_marker(pytest.mark.skip(reason=reason))
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def pytest_unconfigure():
    guard.close()


def hang_limit(item):
    mark = item.get_closest_marker("timeout")
    values = () if mark is None else (*mark.args[:1], mark.kwargs.get("timeout"))
    return max([HANG_LIMIT, *(v + HANG_MARGIN for v in values if v is not None)])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    faulthandler.dump_traceback_later(hang_limit(item), exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.failed_in_call = report.failed
    return report


def interpreters_but(ids):
    return [i for i in subinterpreters.list_all() if i.id not in ids]


@pytest.fixture(autouse=True)
def no_interpreter_left(request):
    """Each test ends with the interpreters that it began with."""
    before = {i.id for i in subinterpreters.list_all()}
    yield
    gc.collect()
    # A pool does not wait for the workers that it gave up.
    end = time.monotonic() + 10
    while (left := interpreters_but(before)) and time.monotonic() < end:
        threading.Event().wait(0.01)
    for interp in left:
        with contextlib.suppress(subinterpreters.InterpreterError):
            interp.close()
    # A failed test keeps its frames, and they its interpreters.
    if not getattr(request.node, "failed_in_call", True):
        assert not left, "the test left interpreters alive"


@pytest.fixture
def interp():
    interp = subinterpreters.create()
    yield interp
    with contextlib.suppress(subinterpreters.InterpreterNotFoundError):
        interp.close()


class Running:
    """Keeps an interpreter running in another thread until told to finish."""

    SCRIPT = """
        import os
        os.write({started}, b'1')
        os.read({finish}, 1)
        """

    def __init__(self, interp):
        self.interp = interp
        self.error = None
        started_r, started_w = os.pipe()
        self._finish_r, self._finish_w = os.pipe()
        script = textwrap.dedent(self.SCRIPT).format(
            started=started_w, finish=self._finish_r
        )
        self._thread = threading.Thread(target=self._run, args=(script,))
        self._thread.start()
        os.read(started_r, 1)
        os.close(started_r)
        os.close(started_w)

    def _run(self, script):
        try:
            self.interp.exec(script)
        except BaseException as exc:
            self.error = exc

    def finish(self):
        if self._thread is None:
            return
        os.write(self._finish_w, b"1")
        self._thread.join()
        self._thread = None
        os.close(self._finish_r)
        os.close(self._finish_w)
        if self.error is not None:
            raise self.error


@pytest.fixture
def running():
    """A context manager: the interpreter runs code while the block runs."""

    @contextlib.contextmanager
    def manager(interp):
        run = Running(interp)
        try:
            yield run
        finally:
            run.finish()

    return manager


def script_env(extra=None):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    env.update(extra or {})
    return env


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Guard:
    """A process that kills the scripts that are left, and what they have forked, once
    this process is gone: killed, perhaps, or ended by the time limit. It is in no group
    of ours, and hears of the end by that of a pipe."""

    SOURCE = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

    def __init__(self):
        self._process = None

    def tell(self, sign, process):
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", self.SOURCE],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self._process.stdin.write(f"{sign}{process.pid}\n")
        self._process.stdin.flush()

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


guard = Guard()


class Script:
    """Runs a script in a process of its own, with a time limit. What is left of it and
    its children when the test is over is killed."""

    def __init__(self, directory):
        self.directory = directory
        self._count = 0
        self._processes = []

    def close(self):
        for process in self._processes:
            kill_group(process)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            guard.tell("-", process)
        self._processes.clear()

    def write(self, source, name=None):
        self._count += 1
        path = self.directory / (name or f"script{self._count}.py")
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def start(self, source, *args, env=None, options=(), **popen):
        """Starts the script; its streams are pipes, its group is its own."""
        command = [sys.executable, "-X", "faulthandler", *options]
        command += [str(self.write(source)), *map(str, args)]
        popen = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "cwd": self.directory,
            "env": script_env(env),
            "start_new_session": True,
            **popen,
        }
        process = subprocess.Popen(command, **popen)
        if popen["start_new_session"]:
            guard.tell("+", process)
            self._processes.append(process)
        return process

    def finish(self, process, timeout=60):
        """Waits for the process; one that hangs says where, and fails the test."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            try:
                out, err = process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                kill_group(process)
                out, err = process.communicate()
            pytest.fail(f"hung for {timeout} s\n--- stdout\n{out}\n--- stderr\n{err}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, source, *args, timeout=60, **options):
        return self.finish(self.start(source, *args, **options), timeout)

    def ok(self, source, *args, **options):
        """Runs the script, which must succeed quietly; returns what it printed."""
        done = self.run(source, *args, **options)
        said = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said
        assert done.stderr == "", said
        return done.stdout


@pytest.fixture
def script(tmp_path):
    script = Script(tmp_path)
    yield script
    script.close()
