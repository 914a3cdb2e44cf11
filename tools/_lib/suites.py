"""The kinds of tests: pytest in one environment, the C tests of core, the examples."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import fuzzing
import machine
import wheels
from common import CHECKOUT, WORK, ToolError, remove, run_group
from environment import Environment
from outcome import Outcome, from_junit, from_total, skip

PYTEST_LIMIT = 25 * 60
# So many failures may be a busy machine's doing (a time limit, a clock): each is tried
# once more, alone, and told. More are no accident.
FEW_FAILURES = 3
# Of the other folders some measure memory, some fail allocations, some take long.
SANITIZED_TESTS = ["tests/python", "tests/shutdown"]
CORE_LIMIT = 15 * 60
EXAMPLE_LIMIT = 120
COUNTING_LIMIT = 15 * 60
NOTHING_STORED = 2  # the exit status of benchmarks/instructions.py


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def report(name: str, outcome: Outcome) -> Outcome:
    for reason, count in sorted(outcome.reasons.items()):
        print(f"   skipped {count}x: {reason}")
    print(f"-- {name}: {outcome}", flush=True)
    return outcome


def failure(name: str, message: str) -> Outcome:
    print(message, flush=True)
    return report(name, Outcome(failed=1))


def run_pytest(
    environment: Environment,
    name: str,
    arguments: Sequence[str],
    settings: Mapping[str, str] | None = None,
) -> Outcome:
    """Run pytest, its output shown as it comes; the counts are its report's."""
    remove(_pytest_cache(name))
    outcome, status = _pytest(environment, name, arguments, settings)
    if status == 1 and 0 < outcome.failed <= FEW_FAILURES:
        print(f"-- {name}: {outcome.failed} failed; once more", flush=True)
        again = ["--last-failed", *arguments]
        second, status = _pytest(environment, name, again, settings)
        print(f"-- {name}: {second.passed} passed at the second attempt", flush=True)
        outcome.failed -= second.passed
        outcome.passed += second.passed
        outcome.retried += second.passed
    return report(name, outcome)


def _pytest(
    environment: Environment,
    name: str,
    arguments: Sequence[str],
    settings: Mapping[str, str] | None,
) -> tuple[Outcome, int | None]:
    """One run of pytest: what its report says, and its exit status."""
    junit = WORK / "results" / f"{name.replace(' ', '-')}.xml"
    junit.parent.mkdir(parents=True, exist_ok=True)
    junit.unlink(missing_ok=True)
    options = [f"--junitxml={junit}", "-o", f"cache_dir={_pytest_cache(name)}"]
    command = environment.command(["-m", "pytest", "-q", *options, *arguments])
    variables = {**_variables(environment), **(settings or {})}
    status = run_group(command, variables, PYTEST_LIMIT)
    if status is None:
        print(f"pytest did not end within {PYTEST_LIMIT} s; killed")
        return Outcome(failed=1), status
    if not junit.exists():
        print(f"pytest wrote no report; exit status {status}")
        return Outcome(failed=1), status
    return _checked(from_junit(junit), status), status


def _pytest_cache(name: str) -> Path:
    return WORK / "pytest-cache" / name.replace(" ", "-")


def run_core(environment: Environment, kind: str) -> Outcome:
    """Run the C tests of core as KIND: plain, asan or tsan."""
    name = f"core {kind}"
    if not environment.in_rootfs and not _cmocka():
        if not machine.can_install():
            return report(
                name,
                skip("no cmocka; on Debian: apt-get install libcmocka-dev pkg-config"),
            )
        machine.install("libcmocka-dev", "pkg-config")
    last = ""

    def show(line: str) -> None:
        nonlocal last
        if line.strip():
            last = line
        if from_total(line) is None:
            print(f"   {line}", end="", flush=True)

    script = str(CHECKOUT / "tools" / "core-tests")
    command = environment.command(["--only", kind], program=script)
    status = run_group(command, _variables(environment), CORE_LIMIT, show)
    outcome = from_total(last)
    if status is None or outcome is None:
        ending = "time limit" if status is None else f"exit status {status}"
        return failure(name, f"tools/core-tests ended without a total ({ending})")
    return report(name, _checked(outcome, status))


def run_packages(environment: Environment, options: Sequence[str] = ()) -> Outcome:
    """Run tests/packages with the real wheels that every change is checked with."""
    name = f"packages {environment.version}"
    chosen = [r for r in wheels.pinned() if wheels.name_of(r) in wheels.CHECKED]
    try:
        folder = wheels.install(environment, chosen)
    except ToolError as error:
        return failure(name, str(error))
    settings = {"PYTHONPATH": str(folder), "SUBINTERPRETERS_PACKAGES": "checked"}
    return run_pytest(environment, name, [*options, "tests/packages"], settings)


def run_sanitized(environment: Environment) -> Outcome:
    """Run the Python tests with core and binding under ASan and UBSan."""
    name = f"sanitized {environment.version}"
    return run_pytest(environment, name, SANITIZED_TESTS)


def run_fuzzing(environment: Environment, target: str, seconds: int) -> Outcome:
    """Fuzz TARGET for SECONDS: one test."""
    name = f"fuzzing {target}"
    clang = fuzzing.compiler()
    if clang is None:
        return report(name, skip("no clang with libFuzzer (libclang-rt-N-dev)"))
    if environment.in_rootfs:
        return report(name, skip("fuzzing needs a CPython of the machine itself"))
    try:
        problem = fuzzing.run(environment, clang, target, seconds)
    except ToolError as error:
        problem = str(error)
    return failure(name, problem) if problem else report(name, Outcome(passed=1))


def run_counting(environment: Environment) -> Outcome:
    """Count the instructions of the short paths against the stored counts: one test."""
    name = f"instructions {environment.version}"
    script = str(CHECKOUT / "benchmarks" / "instructions.py")
    last = ""

    def show(line: str) -> None:
        nonlocal last
        last = line.strip() or last
        print(f"   {line}", end="", flush=True)

    command = environment.command([script])
    status = run_group(command, _variables(environment), COUNTING_LIMIT, show)
    if status == NOTHING_STORED:
        return report(name, skip(last))
    return report(name, Outcome(passed=int(status == 0), failed=int(status != 0)))


def run_examples(environment: Environment) -> Outcome:
    """Run every example as it says; it passes when it ends with exit status 0."""
    outcome = Outcome()
    for example in sorted((CHECKOUT / "examples").glob("*.py")):
        lines: list[str] = []
        drop_in = "-m subinterpreters run" in example.read_text(encoding="utf-8")
        prefix = ["-m", "subinterpreters", "run"] if drop_in else []
        command = environment.command([*prefix, str(example)])
        variables = _variables(environment)
        status = run_group(command, variables, EXAMPLE_LIMIT, lines.append)
        outcome.passed += status == 0
        outcome.failed += status != 0
        if status != 0:
            ending = "time limit" if status is None else f"exit status {status}"
            print(f"{''.join(lines)}{example.name}: {ending}")
    return report(f"examples {environment.version}", outcome)


def _checked(outcome: Outcome, status: int) -> Outcome:
    """A gate that ran nothing, or whose exit status tells otherwise, has failed."""
    if outcome.passed + outcome.skipped + outcome.failed == 0:
        print("no test ran")
        outcome.failed += 1
    elif status != 0 and outcome.failed == 0:
        print(f"no test failed, but the exit status is {status}")
        outcome.failed += 1
    return outcome


def _cmocka() -> bool:
    """Whether meson will find cmocka."""
    if shutil.which("pkg-config") is None:
        return False
    query = subprocess.run(["pkg-config", "--exists", "cmocka"], check=False)
    return query.returncode == 0


def _variables(environment: Environment) -> dict[str, str]:
    env = environment.test_variables(os.environ)
    # A user's own settings of Python would change what is tested.
    for name in ("PYTHONUNBUFFERED", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"):
        env.pop(name, None)
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env["HYPOTHESIS_STORAGE_DIRECTORY"] = str(WORK / "hypothesis")
    env["RUFF_CACHE_DIR"] = str(WORK / "ruff-cache")
    env["MYPY_CACHE_DIR"] = str(WORK / "mypy-cache")
    return env
