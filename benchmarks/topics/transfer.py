"""What crosses, and how fast: a mixed corpus through a queue, against serializers."""

from __future__ import annotations

import marshal
import pickle

from harness.backends import OURS, modules
from harness.measure import geometric_mean
from harness.report import Goal, Report
from topics.corpus import MIXED, mixed
from topics.queues import dumped, through

PICKLE = "pickle 5 dumps + loads"
MARSHAL = "marshal dumps + loads"


def _can_marshal(value: object) -> bool:
    try:
        marshal.dumps(value)
    except ValueError:
        return False
    return True


def run(report: Report) -> None:
    channels = {name: module.create_queue() for name, module in modules().items()}
    gains: dict[str, list[float]] = {}
    for name in MIXED:
        value = mixed(name, 0.2 if report.settings.quick else 1)
        turns = {n: through(channel, value) for n, channel in channels.items()}
        turns[PICKLE] = dumped(pickle, value, 5)
        if _can_marshal(value):
            turns[MARSHAL] = dumped(marshal, value)
        found = report.compare(f"put + get: {name}", turns, [Goal(PICKLE, at_least=1)])
        for contender, ratio in found.items():
            gains.setdefault(contender, []).append(ratio)
    print("\ngeometric means of all cases that the contender can do")
    for contender, values in gains.items():
        mean = geometric_mean(values)
        if contender == PICKLE:
            report.judge(f"{PICKLE} at least 2 times: {mean:.3g}", mean >= 2)
        else:
            report.note(
                f"{contender:30} {mean:7.3g}   ({len(values)} cases, vs. {OURS})"
            )
