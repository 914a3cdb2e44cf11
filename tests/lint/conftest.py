"""Conventions as tests. Run them with `make lint`.

Nothing here imports the package: the sources are read and compiled, and what needs the
installed package (stubtest, the exported symbols) looks for it by name.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gate import build


@pytest.fixture(scope="session")
def compile_with(tmp_path_factory):
    """compile_with(compiler) -> the configured build, made once per compiler."""
    builds = {}

    def get(compiler):
        if compiler not in builds:
            folder = tmp_path_factory.mktemp(f"build-{compiler}")
            builds[compiler] = build.configure(compiler, folder)
        return builds[compiler]

    return get


@pytest.fixture(scope="session")
def cc_build(compile_with):
    return compile_with("cc")


@pytest.fixture(scope="session")
def jobs():
    """Runs one command per file on all CPUs; each test waits for its own file."""
    with build.Jobs() as pool:
        yield pool


@pytest.fixture(scope="session")
def objects(cc_build, jobs, tmp_path_factory):
    """The object files of core and binding, unoptimised, so that none of their
    variables and functions is optimised away: [(source, object)]."""
    return cc_build.objects(jobs, tmp_path_factory.mktemp("objects"))
