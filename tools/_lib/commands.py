"""The commands of tools/, and ci. Each returns its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import fuzzing
import machine
import rootfs
import suites
import wheels
from common import CHECKOUT, WORK, ToolError, remove, supported_versions
from environment import Environment
from outcome import Outcome, skip

PY_USAGE = """\
usage: tools/py VERSION [ARGS...]     run that CPython with the package installed
       tools/py --setup VERSION...    only set up
       tools/py --list                show which CPythons there are, and where from
VERSION is one of {versions}, or `any`: the newest that the machine has."""

TEST_USAGE = """\
usage: tools/test [VERSION...] [-- PYTEST_ARGS...]
Run tests/ on each CPython VERSION (without any: all supported ones that the machine
has), then the C tests of core, unless PYTEST_ARGS choose among the tests."""

PACKAGES_USAGE = """\
usage: tools/packages [--slow] [VERSION...]
       tools/packages --table VERSION... [-- PACKAGE...]
Check real packages in several interpreters: {checked},
on each CPython VERSION (without any: all supported ones that the machine has); with
--slow also through twenty cycles each, and for a minute under load. With
--table check and measure all that tests/packages/requirements.txt names (or each
PACKAGE), which takes an hour, and write the table of docs/guide/packages.md."""

SANITIZED_USAGE = """\
usage: tools/sanitized [VERSION...]
Run the Python tests with core and binding built under AddressSanitizer and
UndefinedBehaviorSanitizer, on each CPython VERSION (without any: the newest that the
machine has)."""

FUZZ_USAGE = """\
usage: tools/fuzz [--seconds N] [TARGET...]
Give damaged and random bytes to what reads them, N seconds (60) each: {targets}.
Inputs that do harm are left in .work/fuzz, beside what each run found."""
FUZZ_SECONDS = 60

# The conventions need to hold once, not once per version: see lint.
ALL_TESTS = ["--ignore=tests/lint", "tests"]


def py(arguments: Sequence[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first == "--list":
        return _list()
    if first == "--setup" and len(arguments) > 1:
        for version in arguments[1:]:
            _set_up(version)
        return 0
    if first.startswith("-"):
        print(PY_USAGE.format(versions=", ".join(supported_versions())))
        return 0 if first in ("-h", "--help") and arguments else 2
    environment = _set_up(first)
    command = environment.command(arguments[1:], folder=os.getcwd())
    os.execvpe(command[0], command, environment.variables(os.environ))


def test(arguments: Sequence[str]) -> int:
    versions, chosen = list(arguments), []
    if "--" in versions:
        split = versions.index("--")
        versions, chosen = versions[:split], versions[split + 1 :]
    if any(version.startswith("-") for version in versions):
        print(TEST_USAGE)
        return 0 if versions[0] in ("-h", "--help") else 2
    for version in versions:
        _check(version)
    total = Outcome()
    wanted = versions or _machine_versions()
    ready = _test_versions(wanted, chosen or ALL_TESTS, total)
    if ready and not chosen:
        _core(ready[-1], "plain", total)
    return _conclude(total)


def lint(arguments: Sequence[str]) -> int:
    total = Outcome()
    _lint(_machine_versions()[-1], arguments, total)
    return _conclude(total)


def packages(arguments: Sequence[str]) -> int:
    if any(a in ("-h", "--help") for a in arguments):
        print(PACKAGES_USAGE.format(checked=", ".join(wheels.CHECKED)))
        return 0
    if arguments[:1] == ["--table"]:
        return _table(arguments[1:])
    total = Outcome()
    slow = ["--slow"] if "--slow" in arguments else []
    versions = [argument for argument in arguments if argument != "--slow"]
    for version in versions:
        _check(version)
    for version in versions or _machine_versions():
        environment = _ready(version, total)
        if environment is not None:
            _packages(environment, total, slow)
    return _conclude(total)


def sanitized(arguments: Sequence[str]) -> int:
    versions = list(arguments)
    if any(version.startswith("-") for version in versions):
        print(SANITIZED_USAGE)
        return 0 if versions[0] in ("-h", "--help") else 2
    total = Outcome()
    for version in versions or _machine_versions()[-1:]:
        _check(version)
        _sanitized(version, total)
    return _conclude(total)


def fuzz(arguments: Sequence[str]) -> int:
    targets, seconds = list(arguments), FUZZ_SECONDS
    if targets[:1] == ["--seconds"] and len(targets) > 1 and targets[1].isdecimal():
        seconds = int(targets[1])
        del targets[:2]
    if not set(targets) <= set(fuzzing.TARGETS):
        print(FUZZ_USAGE.format(targets=", ".join(fuzzing.TARGETS)))
        return 0 if targets[0] in ("-h", "--help") else 2
    total = Outcome()
    environment = _ready(_machine_versions()[-1], total)
    if environment is not None:
        _fuzz(environment, targets or fuzzing.TARGETS, seconds, total)
    return _conclude(total)


def ci(arguments: Sequence[str]) -> int:
    """All that must hold: see .ci/run."""
    total = Outcome()
    on_machine = _machine_versions()
    versions = [
        version
        for version in supported_versions()
        if version in on_machine or version in rootfs.VERSIONS
    ]
    for version in supported_versions():
        if version in versions:
            continue
        suites.heading(f"CPython {version}")
        missing = f"CPython {version} is not installed on this machine"
        total.add(suites.report(f"tests {version}", skip(missing)))
    fuzzing.compiler()  # the C tests and the conventions use clang if it is there
    ready = _test_versions(on_machine, ALL_TESTS, total)
    builders = ready[-1:]
    for environment in builders:
        _core(environment, "plain", total)
    ready += _test_versions(
        [v for v in versions if v not in on_machine], ALL_TESTS, total
    )
    for environment in builders:
        _core(environment, "asan", total)
        _core(environment, "tsan", total)
        _sanitized(environment.version, total)
        _fuzz(environment, fuzzing.TARGETS, FUZZ_SECONDS, total)
    _lint(on_machine[-1], [], total)
    for environment in builders:
        suites.heading(f"instructions on CPython {environment.version}")
        total.add(suites.run_counting(environment))
    for environment in ready:
        suites.heading(f"examples on CPython {environment.version}")
        total.add(suites.run_examples(environment))
    for environment in ready:
        _packages(environment, total)
    return _conclude(total)


def clean(arguments: Sequence[str]) -> int:
    """Remove everything that the tools made."""
    remove(WORK)
    return 0


def _test_versions(
    versions: Sequence[str], arguments: Sequence[str], total: Outcome
) -> list[Environment]:
    """Run pytest on each version; the environments that could be set up."""
    ready = []
    for version in versions:
        suites.heading(f"tests on CPython {version}")
        environment = _ready(version, total)
        if environment is None:
            continue
        ready.append(environment)
        print(environment.describe(), flush=True)
        start = time.monotonic()
        total.add(suites.run_pytest(environment, f"tests {version}", arguments))
        print(f"   in {time.monotonic() - start:.0f} s", flush=True)
    return ready


def _core(environment: Environment, kind: str, total: Outcome) -> None:
    suites.heading(f"C tests of core, {kind}")
    total.add(suites.run_core(environment, kind))


def _sanitized(version: str, total: Outcome) -> None:
    suites.heading(f"Python tests on CPython {version}, asan")
    environment = _ready(version, total, sanitized=True)
    if environment is not None:
        start = time.monotonic()
        total.add(suites.run_sanitized(environment))
        print(f"   in {time.monotonic() - start:.0f} s", flush=True)


def _fuzz(
    environment: Environment, targets: Sequence[str], seconds: int, total: Outcome
) -> None:
    for target in targets:
        suites.heading(f"fuzzing {target}, {seconds} s")
        total.add(suites.run_fuzzing(environment, target, seconds))


def _lint(version: str, arguments: Sequence[str], total: Outcome) -> None:
    suites.heading("conventions")
    environment = _ready(version, total, "lint")
    if environment is not None:
        print(environment.describe(), flush=True)
        chosen = list(arguments) or ["tests/lint"]
        total.add(suites.run_pytest(environment, "lint", chosen))


def _packages(
    environment: Environment, total: Outcome, options: Sequence[str] = ()
) -> None:
    suites.heading(f"packages on CPython {environment.version}")
    start = time.monotonic()
    total.add(suites.run_packages(environment, options))
    print(f"   in {time.monotonic() - start:.0f} s", flush=True)


def _table(arguments: Sequence[str]) -> int:
    versions, chosen = list(arguments), []
    if "--" in versions:
        split = versions.index("--")
        versions, chosen = versions[:split], versions[split + 1 :]
    script = str(CHECKOUT / "tests" / "packages" / "table.py")
    for version in versions:
        environment = _set_up(version)
        folder = wheels.install_all(environment, chosen)
        command = environment.command(
            [script, "run", "--packages", str(folder), *chosen]
        )
        subprocess.run(command, check=True, env=environment.variables(os.environ))
    command = _set_up("any").command([script, "write"])
    return subprocess.run(command, check=False).returncode


def _ready(
    version: str, total: Outcome, *groups: str, sanitized: bool = False
) -> Environment | None:
    """The environment, set up; a set-up that fails counts as one failed test."""
    environment = Environment(version, sanitized)
    try:
        environment.ensure(["test", *groups])
    except ToolError as error:
        total.add(suites.failure(f"set-up of {version}", str(error)))
        return None
    return environment


def _conclude(total: Outcome) -> int:
    if total.retried:
        print(f"\npassed only at the second attempt: {total.retried}")
    print(f"\n{total}", flush=True)
    return 0 if total.good else 1


def _list() -> int:
    for version in supported_versions():
        found = machine.find(version)
        if found is not None:
            print(f"{version}  {found.exact:9}{found.executable} ({found.source})")
        elif version in rootfs.VERSIONS and rootfs.complete():
            print(
                f"{version}  {rootfs.exact(version):9}{rootfs.ROOT} ({rootfs.ORIGIN})"
            )
        elif version in rootfs.VERSIONS and rootfs.possible():
            hint = f"tools/py --setup {version} fetches it ({rootfs.ORIGIN})"
            print(f"{version}  {'-':9}{hint}")
        else:
            print(f"{version}  {'-':9}not installed")
    return 0


def _set_up(version: str) -> Environment:
    if version == "any":
        version = _machine_versions()[-1]
    _check(version)
    environment = Environment(version)
    environment.ensure()
    return environment


def _check(version: str) -> None:
    if version not in supported_versions():
        raise ToolError(
            f"{version} is not a supported version ({', '.join(supported_versions())})"
        )


def _machine_versions() -> list[str]:
    """The supported versions that the machine has; at least one, or an error."""
    found = [v for v in supported_versions() if machine.find(v) is not None]
    if found:
        return found
    if rootfs.complete() or rootfs.possible():
        version = rootfs.VERSIONS[0]
        print(
            f"tools: this machine has no supported CPython; using {version} of the "
            f"{rootfs.ORIGIN}",
            file=sys.stderr,
        )
        return [version]
    raise ToolError(
        f"no supported CPython ({', '.join(supported_versions())}) was found. Looked "
        "for pythonX.Y on PATH, in pyenv's versions folders ($PYENV_ROOT, ~/.pyenv, "
        "/opt/pyenv), /usr/local/bin and /usr/bin. Install one with its headers, for "
        "example: pyenv install 3.13, or: "
        "apt-get install python3.13 python3.13-dev python3.13-venv"
    )
