"""The executor against a plain model of it, driven by hypothesis."""

from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait

import pytest
import subinterpreters
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30
values = st.one_of(st.integers(), st.text(max_size=5), st.lists(st.floats(0, 1)))


def give(value):
    return value


def fail(value):
    raise LookupError(value)


def flaky(tries, needed, value):
    tries.put(None)
    if tries.qsize() < needed:
        raise LookupError(value)
    return value


def endless():
    while True:
        pass


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
        self.expected = {}  # future -> ("value" | "error" | "timeout", value)
        self.waiting = {}  # future -> the queue that lets it go
        self.called = {}  # future -> how often its callback was called
        self.retried = []  # futures of tasks whose first try fails
        self.over = False

    @initialize(
        tasks=st.sampled_from([None, 1, 3]),
        idle=st.sampled_from([None, 0.001]),
        pending=st.sampled_from([None, 60]),  # more than there are steps
    )
    def open(self, tasks, idle, pending):
        self.pool = InterpreterPoolExecutor(
            2, max_tasks_per_child=tasks, idle_timeout=idle, max_pending=pending
        )

    def note(self, submit, kind, value, *call):
        """A future of *call*; None, and an error raised, after shutdown."""
        if self.over:
            with pytest.raises(RuntimeError, match="after shutdown"):
                submit(*call)
            return multiple()
        future = submit(*call)
        self.expected[future] = (kind, value)
        return future

    @rule(target=futures, value=values)
    def submit(self, value):
        return self.note(self.pool.submit, "value", value, give, value)

    @rule(target=futures, value=values)
    def submit_failure(self, value):
        return self.note(self.pool.submit, "error", value, fail, value)

    @rule(
        target=futures, value=values, needed=st.integers(1, 4), more=st.integers(0, 3)
    )
    def submit_with_retries(self, value, needed, more):
        tries = subinterpreters.create_queue()
        kind = "value" if more + 1 >= needed else "error"
        submit = self.pool.options(timeout=LIMIT, retries=more).submit
        future = self.note(submit, kind, value, flaky, tries, needed, value)
        if not self.over and needed > 1:
            self.retried.append(future)
        return future

    @rule(target=futures)
    def submit_endless(self):
        """Its timeout is what ends it."""
        submit = self.pool.options(timeout=0.002).submit
        return self.note(submit, "timeout", None, endless)

    @rule(target=held, value=values)
    def submit_held(self, value):
        release = subinterpreters.create_queue()
        future = self.note(self.pool.submit, "value", value, hold, release, value)
        if not self.over:
            self.waiting[future] = release
        return future

    @rule(future=futures)
    def call_back(self, future):
        def callback(ended):
            assert ended is future
            assert ended.done()
            self.called[future] += 1

        if future not in self.called:
            self.called[future] = 0
            future.add_done_callback(callback)

    @rule(cancel=st.booleans())
    def shut_down(self, cancel):
        """What runs goes on, and what is queued unless it shall be cancelled. Then
        nothing is tried again either."""
        for future in self.retried:
            if cancel and not future.done():
                self.expected[future] = ("either", self.expected[future][1])
        self.pool.shutdown(wait=False, cancel_futures=cancel)
        self.over = True
        for future in self.expected:
            if cancel and future.cancelled():
                self.expected[future] = ("cancelled", None)
                self.waiting.pop(future, None)

    @rule(chosen=st.lists(futures, min_size=1, max_size=5))
    def wait(self, chosen):
        if self.waiting:
            return  # both workers may be held
        done, rest = wait(chosen, LIMIT, FIRST_COMPLETED)
        assert done
        assert done | rest == set(chosen)
        assert set(as_completed(chosen, LIMIT)) == set(chosen)

    @rule(target=futures, future=consumes(held))
    def let_go(self, future):
        release = self.waiting.pop(future, None)
        if release is not None:
            release.put(None)
        return future

    @rule(future=futures)
    def cancel(self, future):
        if future.cancel():
            self.expected[future] = ("cancelled", None)

    @rule(target=futures, future=consumes(held))
    def interrupt(self, future):
        """It cannot end by itself, so this is what ends it."""
        if self.waiting.pop(future, None) is not None:
            assert future.interrupt()
        self.expected[future] = ("cancelled", None)
        return future

    @rule(values=st.lists(st.integers(), max_size=30), chunk=st.integers(1, 7))
    def map(self, values, chunk):
        if not self.waiting and not self.over:
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
        elif kind == "either":
            error = future.exception(LIMIT)
            assert error is None or type(error) is LookupError
        elif kind == "timeout":
            with pytest.raises(TimeoutError):
                future.result(LIMIT)
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
        assert all(times == 1 for times in self.called.values()), self.called
        assert self.pool.stats()["queued"] == 0
        with pytest.raises(RuntimeError):
            self.pool.submit(give, 1)


PoolModel.TestCase.settings = settings(
    max_examples=10, stateful_step_count=30, deadline=None
)
TestPool = PoolModel.TestCase
