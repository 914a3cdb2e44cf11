"""The Call that pool.run() returns, as the asyncio.Future that it is."""

import asyncio
import contextvars
import gc
import threading
import traceback
import weakref

import pytest
import subinterpreters
from subinterpreters import aio
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30


def wait_on(started, release):
    started.put(None)
    return release.get(timeout=30)


def wait_and_fail(started, release):
    started.put(None)
    raise LookupError(release.get(timeout=30))


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(2) as made:
        yield made


class Held:
    """A task that runs until it is told to end."""

    def __init__(self, pool, fn=wait_on):
        self.started = subinterpreters.create_queue()
        self.release = subinterpreters.create_queue()
        self.call = pool.run(fn, self.started, self.release)

    async def begun(self):
        await asyncio.to_thread(self.started.get, timeout=LIMIT)


async def ended(pool):
    """Wait for all tasks of *pool* to have ended, without asking their calls."""
    await asyncio.to_thread(pool.shutdown)


def test_is_a_future_of_asyncio(pool):
    async def main():
        call = pool.run(abs, -1)
        assert isinstance(call, asyncio.Future)
        assert isinstance(call, aio.Call)
        assert asyncio.isfuture(call)
        assert asyncio.ensure_future(call) is call
        assert call.get_loop() is asyncio.get_running_loop()
        return await call

    assert asyncio.run(main()) == 1


def test_states(pool):
    async def main():
        held = Held(pool)
        call = held.call
        await held.begun()
        assert (call.done(), call.cancelled(), repr(call)) == (
            False,
            False,
            "<Call pending>",
        )
        with pytest.raises(asyncio.InvalidStateError, match="Result is not set"):
            call.result()
        with pytest.raises(asyncio.InvalidStateError, match="Exception is not set"):
            call.exception()
        held.release.put([5])
        assert await call == [5]
        assert (call.done(), call.cancelled(), call.exception()) == (True, False, None)
        assert call.result() is call.result()
        assert repr(call) == "<Call finished result=[5]>"
        assert not call.cancel()
        assert not call.cancelled()

    asyncio.run(main())


def test_the_outcome_cannot_be_set(pool):
    async def main():
        call = pool.run(abs, -1)
        with pytest.raises(RuntimeError, match="only its task"):
            call.set_result(1)
        with pytest.raises(RuntimeError, match="only its task"):
            call.set_exception(ValueError())
        return await call

    assert asyncio.run(main()) == 1


def test_cannot_be_made():
    with pytest.raises(TypeError, match="cannot create"):
        aio.Call()
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (aio.Call,), {})


def test_needs_a_running_loop(pool):
    with pytest.raises(RuntimeError, match="no running event loop"):
        pool.run(abs, -1)


def test_await_after_the_end_needs_no_loop(pool):
    async def main():
        calls = [pool.run(abs, -i) for i in range(10)]
        failed = pool.run(int, "x")
        await ended(pool)
        steps = []
        asyncio.get_running_loop().call_soon(steps.append, "the loop ran")
        assert [await call for call in calls] == list(range(10))
        with pytest.raises(ValueError, match="invalid literal"):
            await failed
        assert steps == []

    asyncio.run(main())


def test_several_await_the_same(pool):
    async def main():
        held = Held(pool)

        async def wait():
            return await held.call

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await held.begun()
        held.release.put("x")
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == ["x"] * 3


def test_yield_from(pool):
    class Through:
        def __init__(self, call):
            self.call = call

        def __await__(self):
            found = yield from self.call
            return found

    async def main():
        held = Held(pool)
        waiting = asyncio.create_task(asyncio.wait_for(held.call, LIMIT))
        await held.begun()
        through = Through(held.call)
        held.release.put((1,))
        assert await waiting == (1,)
        return await through

    assert asyncio.run(main()) == (1,)


def test_callbacks(pool):
    variable = contextvars.ContextVar("variable")

    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        everything = asyncio.Event()

        def note(name, call):
            seen.append((name, call.result(), variable.get(None)))

        held = Held(pool)
        call = held.call
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        notes = [lambda call, n=n: note(n, call) for n in range(4)]
        variable.set("current")
        call.add_done_callback(notes[0])
        call.add_done_callback(notes[1], context=context)
        call.add_done_callback(notes[2])
        call.add_done_callback(notes[2])
        assert call.remove_done_callback(notes[2]) == 2
        assert call.remove_done_callback(notes[2]) == 0
        call.add_done_callback(lambda call: everything.set())
        await held.begun()
        held.release.put(7)
        await everything.wait()
        call.add_done_callback(notes[3])
        assert [name for name, _, _ in seen] == [0, 1]
        await asyncio.sleep(0)
        assert seen == [(0, 7, "current"), (1, 7, "given"), (3, 7, "current")]
        with pytest.raises(TypeError, match="missing required argument 'fn'"):
            call.add_done_callback()
        assert loop is call.get_loop()

    asyncio.run(main())


def test_a_callback_that_compares_badly_stays(pool):
    class Bad:
        def __eq__(self, other):
            raise LookupError("cannot compare")

        __hash__ = None

        def __call__(self, call):
            self.called = call

    async def main():
        held = Held(pool)
        bad = Bad()
        held.call.add_done_callback(bad)
        with pytest.raises(LookupError, match="cannot compare"):
            held.call.remove_done_callback(print)
        held.release.put(1)
        assert await held.call == 1
        assert bad.called is held.call

    asyncio.run(main())


def test_cancel_says_why(pool):
    async def main():
        held = Held(pool)
        await held.begun()
        waiting = asyncio.ensure_future(asyncio.shield(held.call))
        await asyncio.sleep(0)
        assert held.call.cancel("enough")
        assert held.call.cancelled()
        assert held.call.done()
        assert repr(held.call) == "<Call cancelled>"
        assert not held.call.cancel()
        for ask in (held.call.result, held.call.exception):
            with pytest.raises(asyncio.CancelledError, match="enough"):
                ask()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await held.call
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_shutdown_that_cancels(pool):
    async def main():
        single = InterpreterPoolExecutor(1)
        held = Held(single)
        await held.begun()
        queued = single.run(abs, -1)
        waiting = asyncio.ensure_future(asyncio.wait([queued]))
        await asyncio.sleep(0)
        single.shutdown(wait=False, cancel_futures=True)
        held.release.put(3)
        assert await held.call == 3
        await waiting
        assert queued.cancelled()
        with pytest.raises(asyncio.CancelledError):
            await queued

    asyncio.run(main())


def test_helpers_of_asyncio(pool):
    async def main():
        held = Held(pool)
        done, pending = await asyncio.wait(
            [held.call, pool.run(abs, -1)], return_when=asyncio.FIRST_COMPLETED
        )
        assert [call.result() for call in done] == [1]
        assert pending == {held.call}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(held.call), 0.001)
        held.release.put(2)
        assert await asyncio.wait_for(held.call, LIMIT) == 2
        calls = [pool.run(abs, -i) for i in range(20)]
        found = [await call for call in asyncio.as_completed(calls)]
        assert sorted(found) == list(range(20))

    asyncio.run(main())


def test_run_until_complete(pool):
    loop = asyncio.new_event_loop()

    async def begin():
        return pool.run(abs, -4)

    try:
        call = loop.run_until_complete(begin())
        assert loop.run_until_complete(call) == 4
    finally:
        loop.close()


def test_an_exception_has_the_traceback_of_who_asks(pool):
    async def main():
        call = pool.run(int, "x")
        depths = []
        for _ in range(3):
            try:
                await call
            except ValueError as error:
                depths.append(len(traceback.extract_tb(error.__traceback__)))
        assert depths[0] == depths[1] == depths[2]

    asyncio.run(main())


def reported(main):
    """What the loop's handler was told while and after *main* ran."""
    contexts = []

    async def begin():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: contexts.append(context)
        )
        await main()

    asyncio.run(begin())
    gc.collect()
    return contexts


def test_an_exception_that_nobody_asked_for_is_reported(pool):
    async def main():
        pool.run(abs, -1)
        asked = pool.run(int, "asked for")
        pool.run(int, "x").add_done_callback(lambda call: None)
        pool.run(int, "y")
        await ended(pool)
        asked.exception()

    contexts = reported(main)
    assert sorted(str(context["exception"])[-3:] for context in contexts) == [
        "'x'",
        "'y'",
    ]
    for context in contexts:
        assert context["message"] == "Call exception was never retrieved"
        assert isinstance(context["future"], aio.Call)


def test_an_exception_is_reported_although_its_call_was_dropped_before(pool):
    async def main():
        held = Held(pool, wait_and_fail)
        told = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: (contexts.append(context), told.set())
        )
        await held.begun()
        del held.call
        gc.collect()
        held.release.put("too late")
        await asyncio.wait_for(told.wait(), LIMIT)

    contexts = []
    asyncio.run(main())
    assert [repr(context["exception"]) for context in contexts] == [
        "LookupError('too late')"
    ]


def test_what_was_dropped_or_cancelled_and_went_well_is_not_reported(pool):
    async def main():
        held, cancelled = Held(pool), Held(pool, wait_and_fail)
        await held.begun()
        await cancelled.begun()
        del held.call
        cancelled.call.cancel()
        del cancelled.call
        held.release.put(1)
        await ended(pool)
        await asyncio.sleep(0)

    assert reported(main) == []


def test_a_call_of_a_loop_that_is_gone(pool):
    loop = asyncio.new_event_loop()

    async def begin():
        held = Held(pool)
        await held.begun()
        return held

    held = loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.run(asyncio.sleep(0))
    aio._boxes.clear()
    watch = weakref.ref(loop)

    async def other():  # the last loop that has awaited a call is kept
        return await pool.run(abs, -1)

    asyncio.run(other())
    del loop
    gc.collect()
    assert watch() is None
    with pytest.raises(RuntimeError, match="loop of the call is gone"):
        held.call.get_loop()
    held.release.put(8)
    pool.shutdown()
    assert held.call.result() == 8


def test_a_ctrl_c_loses_no_other_call(pool):
    """What stops the loop in the middle of a batch leaves the rest for its next run."""

    class Loop(asyncio.SelectorEventLoop):
        armed = False

        def call_soon(self, callback, *args, context=None):
            if self.armed and isinstance(args and args[0], aio.Call):
                self.armed = False
                raise KeyboardInterrupt
            return super().call_soon(callback, *args, context=context)

    loop = Loop()
    seen = []

    async def begin():
        held = [Held(pool), Held(pool)]
        for one in held:
            one.call.add_done_callback(lambda call: seen.append(call.result()))
            await one.begun()
        loop.armed = True
        for one in held:
            one.release.put("x")
        pool.shutdown()
        await asyncio.Event().wait()

    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(begin())
        assert seen == []
        loop.run_until_complete(asyncio.sleep(0))
        assert seen == ["x"]
    finally:
        loop.close()


def test_cycles_are_collected(pool):
    async def main():
        held, other = Held(pool), pool.run(list, "ab")
        held.call.itself = held.call
        assert (await other) == ["a", "b"]
        other.result().append(other)
        watches = [weakref.ref(held.call), weakref.ref(other)]
        held.release.put(1)
        await held.call
        await asyncio.sleep(0)  # the callback that has woken this task has the call
        del held, other
        gc.collect()
        assert [watch() for watch in watches] == [None, None]

    asyncio.run(main())


def test_a_call_that_is_only_dropped_goes_at_once(pool):
    async def main():
        gc.disable()
        try:
            calls = [pool.run(abs, -i) for i in range(50)]
            watches = [weakref.ref(call) for call in calls]
            await ended(pool)
            assert [await call for call in calls] == list(range(50))
            del calls
            assert not any(watch() for watch in watches)
        finally:
            gc.enable()

    asyncio.run(main())


def test_two_loops_at_a_time(pool):
    found = []

    async def main(sign):
        calls = [pool.run(pow, sign * i, 3) for i in range(300)]
        found.append((sign, await asyncio.gather(*calls)))

    threads = [
        threading.Thread(target=asyncio.run, args=(main(sign),)) for sign in (1, -1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [
        (sign, [sign * i**3 for i in range(300)]) for sign in (-1, 1)
    ]


def test_not_sent(pool):
    async def main():
        pool.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.run(abs, -1)

    assert reported(main) == []


def test_a_coroutine_that_is_driven_without_a_loop(pool):
    async def main():
        held = Held(pool)

        async def wait():
            return await held.call

        coroutine = wait()
        assert coroutine.send(None) is held.call
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            coroutine.send(None)
        held.release.put(1)
        pool.shutdown()
        return held.call.result()

    assert asyncio.run(main()) == 1


FORKED = """
    import asyncio, os, subinterpreters, warnings
    from subinterpreters import InterpreterPoolExecutor
    warnings.simplefilter("ignore")  # of a fork with threads
    def wait(started, release):
        started.put(1)
        return release.get(timeout=30)

    async def main():
        started = subinterpreters.create_queue()
        release = subinterpreters.create_queue()
        call = pool.run(wait, started, release)
        await asyncio.to_thread(started.get)
        if (child := os.fork()) == 0:
            os._exit(in_child(call))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        release.put(5)
        return status, await call

    def in_child(call):
        try:
            call.add_done_callback(print)
        except subinterpreters.executor.BrokenInterpreterPool as error:
            return 7 if "forked" in str(error) and call.cancel() else 1
        return 2

    with InterpreterPoolExecutor(1) as pool:
        print(asyncio.run(main()))
"""


def test_in_the_child_of_a_fork(script):
    assert script.ok(FORKED) == "(7, 5)\n"
