"""Finding the tools, at the versions that pyproject.toml pins in its group `lint`."""

import errno
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gate import tree

LIMIT = 100  # seconds for one run of one tool
ATTEMPTS = 5  # at a run that the kernel spoils


def in_ci():
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def missing(reason):
    """Something that the set-up installs is not there: skips where somebody tries out a
    part, fails where everything should be."""
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pins():
    """{package: version} of the group."""
    with open(tree.ROOT / "pyproject.toml", "rb") as file:
        group = tomllib.load(file)["dependency-groups"]["lint"]
    pairs = [requirement.split("==") for requirement in tree.some(group, "lint tools")]
    loose = [pair[0] for pair in pairs if len(pair) != 2]
    assert not loose, f"not pinned to one version in the group lint: {loose}"
    return dict(pairs)


def require(package):
    """The package is installed in the pinned version, or the test ends here."""
    wanted = pins()[package]
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        missing(f"{package}=={wanted} is not installed")
    if found != wanted:
        missing(f"{package} is {found}, pinned is {wanted}")


def program(package, command=None):
    """The path of COMMAND, installed by PACKAGE beside this Python."""
    require(package)
    path = Path(sys.executable).parent / (command or package)
    assert path.exists(), f"{package} is installed without {path}"
    return str(path)


def system(command, reason):
    """The path of a program of the machine, which no set-up of ours installs."""
    path = shutil.which(command)
    if path is None:
        pytest.skip(f"no {command} on this machine: {reason}")
    return path


def run(command, **options):
    """Runs it in the checkout; its status and its output, both streams in one.

    Some kernels answer an exec or a read with EFAULT now and then, when many processes
    start at once. That says nothing of the file, so it is tried again.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            status, output = _run(command, options)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
        else:
            if status == 0 or os.strerror(errno.EFAULT) not in output:
                return status, output
    return _run(command, options)


def _run(command, options):
    options = {"cwd": tree.ROOT, "timeout": LIMIT, **options}
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    return done.returncode, done.stdout


def accept(command, **options):
    """As run, and the status must be 0; its output."""
    status, output = run(command, **options)
    assert status == 0, f"{' '.join(map(str, command))}: status {status}\n{output}"
    return output
