"""The executor against a plain model of it, driven by hypothesis."""

from concurrent.futures import CancelledError

import pytest
import subinterpreters
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30
values = st.one_of(st.integers(), st.text(max_size=5), st.lists(st.floats(0, 1)))


def give(value):
    return value


def fail(value):
    raise LookupError(value)


def hold(release, value):
    release.get()
    return value


class PoolModel(RuleBasedStateMachine):
    """What each future must come to is known when it is submitted; what may change it
    is a cancellation, whose answer says so."""

    futures = Bundle("futures")
    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.pool = InterpreterPoolExecutor(2)
        self.expected = {}  # future -> ("value" | "error", value)
        self.waiting = {}  # future -> the queue that lets it go
        self.submitted = 0

    def note(self, future, kind, value):
        self.expected[future] = (kind, value)
        self.submitted += 1
        return future

    @rule(target=futures, value=values)
    def submit(self, value):
        return self.note(self.pool.submit(give, value), "value", value)

    @rule(target=futures, value=values)
    def submit_failure(self, value):
        return self.note(self.pool.submit(fail, value), "error", value)

    @rule(target=futures, value=values)
    def submit_with_options(self, value):
        submit = self.pool.options(timeout=LIMIT, retries=1).submit
        return self.note(submit(fail, value), "error", value)

    @rule(target=held, value=values)
    def submit_held(self, value):
        release = subinterpreters.create_queue()
        future = self.pool.submit(hold, release, value)
        self.waiting[future] = release
        return self.note(future, "value", value)

    @rule(target=futures, future=consumes(held))
    def let_go(self, future):
        self.waiting.pop(future).put(None)
        return future

    @rule(future=futures)
    def cancel(self, future):
        if future.cancel():
            self.expected[future] = ("cancelled", None)

    @rule(target=futures, future=consumes(held))
    def interrupt(self, future):
        """It cannot end by itself, so this is what ends it."""
        assert future.interrupt()
        self.waiting.pop(future)
        self.expected[future] = ("cancelled", None)
        return future

    @rule(values=st.lists(st.integers(), max_size=30), chunk=st.integers(1, 7))
    def map(self, values, chunk):
        if not self.waiting:
            assert list(self.pool.map(give, values, chunksize=chunk)) == values

    @rule(future=futures)
    def result(self, future):
        kind, value = self.expected[future]
        if kind != "cancelled" and self.waiting:
            return  # both workers may be held
        if kind == "value":
            assert future.result(LIMIT) == value
        elif kind == "error":
            with pytest.raises(LookupError) as caught:
                future.result(LIMIT)
            assert caught.value.args == (value,)
        else:
            with pytest.raises(CancelledError):
                future.result(LIMIT)
        assert future.done()
        assert future.cancelled() == (kind == "cancelled")

    @invariant()
    def held_ones_do_not_end(self):
        assert not any(future.done() for future in self.waiting)

    def teardown(self):
        for release in self.waiting.values():
            release.put(None)
        self.waiting.clear()
        for future in self.expected:
            self.result(future)
        self.pool.shutdown()
        assert self.pool.stats()["queued"] == 0
        with pytest.raises(RuntimeError):
            self.pool.submit(give, 1)


PoolModel.TestCase.settings = settings(
    max_examples=8, stateful_step_count=25, deadline=None
)
TestPool = PoolModel.TestCase
