"""CPython's own tests of concurrent.interpreters and of the pool, with ours in place.

Runs the suites twice with the Python that runs this script: with the standard
library's modules and with ours. A test is expected to come out the same
way both times, unless exceptions.toml names it with a reason. Anything else fails:
an unlisted difference, and also a listed one that is there no more.

    tools/py 3.14 tests/conformance/run.py [--verbose] [PART-OF-A-TEST-NAME...]
"""

import argparse
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
#: suite -> how many tests it has at least: with fewer it was not loaded whole.
SUITES = {
    "test.test_interpreters": 172,
    "test.test_concurrent_futures.test_interpreter_pool": 45,
}
CATEGORIES = {
    "private-state": "about the state that _interpreters keeps for itself",
    "deliberate": "asserts what we deliberately do otherwise",
}
# A worker that crashes is started again for the tests that are left.
CRASHES_ALLOWED = 40


def unavailable():
    """Why the tests cannot run with this Python, or None."""
    if sys.version_info < (3, 14):
        return "CPython has had concurrent.interpreters since 3.14"
    try:
        found = all(map(importlib.util.find_spec, SUITES))
    except ImportError:
        found = False
    if not found:
        version = sysconfig.get_python_version()
        return (
            f"this CPython is without its test suite "
            f"(Debian has it in libpython{version}-testsuite)"
        )
    return None


class Environment:
    """A Python whose every process and interpreter loads conformance_site."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        venv.create(self.directory / "env", symlinks=True)
        package = importlib.util.find_spec("subinterpreters").origin
        paths = [str(pathlib.Path(package).parent.parent), str(HERE)]
        (site_packages,) = self.directory.glob("env/lib/python*/site-packages")
        (site_packages / "conformance.pth").write_text(
            "\n".join([*paths, "import conformance_site", ""])
        )
        self.python = self.directory / "env" / "bin" / "python"

    def variables(self, implementation):
        reached = self.directory / "reached"
        reached.touch()
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            "PYTHONDONTWRITEBYTECODE": "1",
            "CONFORMANCE_IMPLEMENTATION": implementation,
            "CONFORMANCE_REACHED": str(reached),
        }


class Run:
    """One run of the suite: {test: record}, however often the worker crashes."""

    def __init__(self, environment, implementation, suite, options):
        self.records = {}
        self.loaded = []
        self.exit = None
        path = environment.directory / f"{implementation}.jsonl"
        for _ in range(CRASHES_ALLOWED):
            path.write_text("")
            command = [environment.python, "-X", "faulthandler", HERE / "worker.py"]
            command += [path, "--suite", suite, "--limit", str(options.limit)]
            command += ["--memory", options.memory, *options.tests]
            worker = subprocess.run(
                command,
                input="\n".join(self.records),
                env=environment.variables(implementation),
                cwd=environment.directory,
                capture_output=True,
                text=True,
                check=False,
            )
            if self._read(path, worker):
                self.exit = worker
                return
        sys.exit(f"the worker crashed {CRASHES_ALLOWED} times with {implementation}")

    def _read(self, path, worker):
        """Takes what the worker wrote; False if it did not come to its end."""
        started = None
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "loaded" in record:
                self.loaded = record["loaded"]
            elif "started" in record:
                started = record["started"]
            elif "finished" in record:
                self.records[record["finished"]] = record
            elif "end" in record:
                return True
        if started is None or started in self.records:
            sys.exit(f"the worker died between tests:\n{worker.stderr}")
        self.records[started] = {
            "outcome": "hung" if "Timeout" in worker.stderr else "crashed",
            "subtests": [],
            "text": f"{describe(worker.returncode)}\n{worker.stderr[-4000:]}",
            "reached": True,
        }
        return False


def describe(returncode):
    if returncode >= 0:
        return f"exit status {returncode}"
    return f"killed by {signal.Signals(-returncode).name}"


def load_exceptions(suite, path=HERE / "exceptions.toml"):
    """{test: entry} of the suite for this version; a malformed entry ends the run."""
    version = sysconfig.get_python_version()
    entries = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("exception", []):
        test = entry["test"]
        problem = None
        if entry["category"] not in CATEGORIES:
            problem = f"unknown category {entry['category']!r}"
        elif not entry["reason"].strip():
            problem = "no reason"
        elif entry["category"] == "deliberate" and not own_test_exists(entry):
            problem = f"our own test is not there: {entry.get('ours')!r}"
        if problem:
            sys.exit(f"exceptions.toml: {test}: {problem}")
        if version in entry.get("versions", [version]) and test.startswith(suite):
            entries[test] = entry
    return entries


def own_test_exists(entry):
    path, *names = entry.get("ours", "").split("::")
    path = ROOT / path
    if not path.is_file() or not names:
        return False
    text = path.read_text(encoding="utf-8")
    return all(
        f"def {name.partition('[')[0]}(" in text or f"class {name}:" in text
        for name in names
    )


def compare(stdlib, ours, exceptions):
    """{test: (verdict, explanation)}; the verdicts are the keys that main() counts."""
    verdicts = {}
    for test in dict.fromkeys([*stdlib.records, *ours.records]):
        for run, name in (stdlib, "the standard library's module"), (ours, "ours"):
            if test not in run.records:
                verdicts[test] = ("different", f"could not be loaded with {name}")
                run.records[test] = {"reached": False}
        if test in verdicts:
            continue
        a, b = stdlib.records[test], ours.records[test]
        same = (a["outcome"], sorted(a["subtests"])) == (
            b["outcome"],
            sorted(b["subtests"]),
        )
        listed = exceptions.get(test)
        difference = f"stdlib {a['outcome']}, ours {b['outcome']}"
        if b["subtests"]:
            difference += " in " + "; ".join(b["subtests"])
        if same and listed:
            verdicts[test] = ("stale", f"listed, but both {a['outcome']}")
        elif same:
            verdicts[test] = ("same", a["outcome"])
        elif (
            listed
            and b["outcome"] == "failed"
            and set(b["subtests"]) <= set(listed.get("subtests", b["subtests"]))
        ):
            verdicts[test] = (listed["category"], difference)
        else:
            verdicts[test] = ("different", f"{difference}\n{b['text']}")
    return verdicts


def exit_problems(stdlib, ours):
    """A worker must also end well: its interpreters are still there then."""
    if (ours.exit.returncode, ours.exit.stderr) == (0, ""):
        return []
    if ours.exit.returncode == stdlib.exit.returncode and ours.exit.returncode == 0:
        # Warnings that the tests of both leave behind are no difference of ours.
        left = set(stdlib.exit.stderr.splitlines())
        if not set(ours.exit.stderr.splitlines()) - left:
            return []
    ended = describe(ours.exit.returncode)
    return [f"the worker ended with {ended}\n{ours.exit.stderr}"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", help="parts of the names of tests to run")
    parser.add_argument("--verbose", action="store_true", help="name every test")
    parser.add_argument("--limit", type=float, default=60, help="seconds for a test")
    parser.add_argument(
        "--memory", default="", help='such as "8G": run the tests that need much'
    )
    parser.add_argument("--suite", choices=SUITES, help="run this one only")
    options = parser.parse_args(argv)
    reason = unavailable()
    if reason:
        print(f"conformance: not run: {reason}")
        return 2
    suites = SUITES if options.suite is None else [options.suite]
    return max([run_suite(suite, options) for suite in suites])


def run_suite(suite, options):
    """Runs and compares one suite; returns the exit status."""
    exceptions = load_exceptions(suite)
    with tempfile.TemporaryDirectory() as directory:
        environment = Environment(directory)
        stdlib = Run(environment, "stdlib", suite, options)
        ours = Run(environment, "ours", suite, options)

    verdicts = compare(stdlib, ours, exceptions)
    problems = exit_problems(stdlib, ours)
    unknown = sorted(set(exceptions) - set(ours.loaded))
    problems += [f"listed, but there is no such test: {test}" for test in unknown]
    if len(verdicts) < SUITES[suite] and not options.tests:
        problems.append(f"{len(verdicts)} tests were run instead of {SUITES[suite]}")
    for test, (verdict, text) in verdicts.items():
        if options.verbose:
            mark = " (reaches our code)" if ours.records[test]["reached"] else ""
            print(f"{verdict:13} {test}: {text.splitlines()[0]}{mark}")
        if verdict in ("different", "stale"):
            problems.append(f"{verdict}: {test}: {text}")
    for problem in problems:
        print(f"\n{problem}")

    print(f"\nCPython {sys.version.split()[0]}, {suite}")

    def count(verdict, reached=None, outcome=None):
        return sum(
            v == verdict
            and (reached is None or ours.records[test]["reached"] == reached)
            and (outcome is None or text == outcome)
            for test, (v, text) in verdicts.items()
        )

    print(f"  {len(verdicts):4} tests ran with the standard library's module and ours")
    print(f"  {count('same'):4} came out the same", end="")
    print(f" ({count('same', outcome='skipped')} of them skipped);", end=" ")
    print(f"{count('same', reached=True)} of them reach our code")
    for category, meaning in CATEGORIES.items():
        print(f"  {count(category):4} listed: {meaning}")
    print(f"  {count('different'):4} differ without being listed")
    print(f"  {count('stale'):4} are listed without differing")
    passed = count("same") - count("same", outcome="skipped")
    expected = sum(map(count, CATEGORIES))
    print(
        f"conformance: {passed} passed, {len(problems)} failed, "
        f"{count('same', outcome='skipped')} skipped, {expected} listed exceptions"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
