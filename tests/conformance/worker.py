"""Runs CPython's tests one by one and writes what became of each, line by line."""

import argparse
import faulthandler
import json
import os
import sys
import unittest

import _interpreters


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


class Result(unittest.TestResult):
    """The outcome of one test, with the subtests that failed."""

    def __init__(self):
        super().__init__()
        self.outcome = "passed"
        self.subtests = []
        self.text = ""

    def _worse(self, outcome, test, error):
        if self.outcome in ("passed", "skipped"):
            self.outcome = outcome
        self.text += self._exc_info_to_string(error, test)

    def addError(self, test, error):
        super().addError(test, error)
        self._worse("failed", test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._worse("failed", test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.subtests.append(subtest._subDescription())
            self._worse("failed", test, error)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self.outcome == "passed":
            self.outcome = "skipped"
        self.text = self.text or reason

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.outcome = "failed"


class Reached:
    """Whether a test's own method, tearDown apart, came to our code."""

    def __init__(self, path):
        self._path = path
        self._here = False
        self.last = False

    def wrap(self, watch):
        def note():
            self._here = True
            watch.off()

        import concurrent.interpreters  # noqa: F401  the site's finder installs ours

        watch.note = note
        watch.off()
        plain = unittest.TestCase._callTestMethod

        def call_test_method(case, method):
            self._here = False
            before = os.stat(self._path).st_size
            # Watching allocates, and there the next allocation is the one that fails.
            if "no_memory" not in case.id():
                watch.on()
            try:
                return plain(case, method)
            finally:
                watch.off()
                self.last = self._here or os.stat(self._path).st_size > before

        unittest.TestCase._callTestMethod = call_test_method


def destroy_strangers():
    """Ends what tests made with the private module; ours refuses to, in tearDown."""
    for number, whence in _interpreters.list_all(require_ready=True):
        if number != 0 and whence == _interpreters.WHENCE_STDLIB:
            _interpreters.destroy(number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("--suite", required=True)
    parser.add_argument("--limit", type=float, default=60, help="seconds for a test")
    parser.add_argument("--memory", default="", help="for tests that need much")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()

    from test import support

    if options.memory:
        support.set_memlimit(options.memory)

    reached = Reached(os.environ["CONFORMANCE_REACHED"])
    if os.environ["CONFORMANCE_IMPLEMENTATION"] == "ours":
        import conformance_site

        reached.wrap(conformance_site.watch)

    with open(options.results, "a", encoding="utf-8") as results:

        def write(**record):
            results.write(json.dumps(record) + "\n")
            results.flush()

        done = set(filter(None, sys.stdin.read().split()))
        suite = unittest.defaultTestLoader.loadTestsFromName(options.suite)
        tests = list(flatten(suite))
        wanted = [
            test
            for test in tests
            if test.id() not in done
            and (not options.tests or any(part in test.id() for part in options.tests))
        ]
        write(loaded=[test.id() for test in tests])
        for test in wanted:
            write(started=test.id())
            result = Result()
            reached.last = False
            faulthandler.dump_traceback_later(options.limit, exit=True)
            unittest.TestSuite([test]).run(result)
            faulthandler.cancel_dump_traceback_later()
            destroy_strangers()
            write(
                finished=test.id(),
                outcome=result.outcome,
                subtests=result.subtests,
                text=result.text,
                reached=reached.last,
            )
        write(end=True)


if __name__ == "__main__":
    main()
