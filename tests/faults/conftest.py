"""The library that makes requests for resources fail."""

import pathlib
import shutil
import subprocess
import sys

import pytest

SOURCE = pathlib.Path(__file__).with_name("failing.c")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
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
    return path
