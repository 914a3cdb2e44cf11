"""What the tools count is what happened: their sums decide whether a change is good."""

import sys

import pytest

from gate import tree

sys.path.insert(0, str(tree.ROOT / "tools" / "_lib"))

from outcome import Outcome, from_junit, from_total, skip

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="passes"/>
<testcase classname="a" name="fails"><failure message="x"/></testcase>
<testcase classname="a" name="breaks"><error message="x"/></testcase>
<testcase classname="a" name="skips"><skipped message="no clang"/></testcase>
<testcase classname="b" name="skips"><skipped message="no clang"/></testcase>
<testcase classname="a" name="later"><skipped type="pytest.xfail"
 message="y"/></testcase>
<testcase classname="a" name="ends"/>
<testcase classname="a" name="ends"><error message="at tear-down"/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    outcome = from_junit(report)
    assert str(outcome) == "1 passed, 3 failed, 3 skipped"
    assert outcome.reasons == {"no clang": 2, "expected to fail: y": 1}


def test_only_a_plain_total_is_one():
    assert str(from_total(" 3 passed, 0 failed, 1 skipped\n")) == (
        "3 passed, 0 failed, 1 skipped"
    )
    for line in ("3 passed in 1.2s", "plain: 3 passed, 0 failed, 1 skipped", ""):
        assert from_total(line) is None


@pytest.mark.parametrize(
    ("outcome", "good"),
    [
        (Outcome(passed=1), True),
        (Outcome(passed=1, skipped=2), True),
        (Outcome(passed=1, retried=1), True),
        (Outcome(passed=5, failed=1), False),
        (Outcome(), False),
        (skip("nothing there"), False),
    ],
    ids=str,
)
def test_nothing_that_ran_is_not_good(outcome, good):
    assert outcome.good is good


def test_sums():
    total = Outcome()
    total.add(Outcome(passed=2, retried=1))
    total.add(skip("a"))
    total.add(skip("a"))
    total.add(Outcome(failed=1))
    assert str(total) == "2 passed, 1 failed, 2 skipped"
    assert total.reasons == {"a": 2}
    assert total.retried == 1
