"""The library that makes requests for resources fail, and how a script gets it."""

import pathlib
import shutil
import subprocess
import sys

import pytest

SOURCE = pathlib.Path(__file__).with_name("failing.c")

# The beginning of a script: what its perform(n) returns, in a process of its own, or
# BROKEN if it raises. A crash gives a negative number.
OUTCOME = """
    import os, traceback

    def outcome(n):
        pid = os.fork()
        if pid == 0:
            status = BROKEN
            try:
                status = perform(n)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """


@pytest.fixture(scope="session")
def failing(tmp_path_factory):
    """The environment of such a script: the n-th request is the same in each run."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and Linux")
    path = tmp_path_factory.mktemp("faults") / "failing.so"
    command = [
        compiler,
        "-O1",
        "-fPIC",
        "-shared",
        "-o",
        str(path),
        str(SOURCE),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(path), "PYTHONHASHSEED": "0"}
