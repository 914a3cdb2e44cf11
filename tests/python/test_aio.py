"""Awaiting the tasks of a pool."""

import asyncio
import sys

import pytest
import subinterpreters
from subinterpreters import aio
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30


def wait_on(started, release):
    started.put(None)
    return release.get()


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(2) as made:
        yield made


def test_await(pool):
    async def main():
        return await pool.run(divmod, 7, 2), await pool.run(int, "ff", base=16)

    assert asyncio.run(main()) == ((3, 1), 255)


def test_gather(pool):
    async def main():
        return await asyncio.gather(*[pool.run(abs, -i) for i in range(2000)])

    assert asyncio.run(main()) == list(range(2000))


def test_several_loops(pool):
    async def main():
        return await pool.run(abs, -1)

    for _ in range(5):
        assert asyncio.run(main()) == 1


def test_exceptions(pool):
    async def main():
        with pytest.raises(ValueError, match="invalid literal"):
            await pool.run(int, "x")
        with pytest.raises(subinterpreters.NotShareableError):
            await pool.run(abs, (i for i in ()))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(next, iter(()))
        return await pool.run(abs, -1)

    assert asyncio.run(main()) == 1


def test_cancelling_interrupts_the_work(pool):
    started, release = subinterpreters.create_queue(), subinterpreters.create_queue()

    async def main():
        task = asyncio.ensure_future(pool.run(wait_on, started, release))
        await asyncio.to_thread(started.get, timeout=LIMIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while pool.stats()["running"]:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert pool.submit(abs, -1).result(LIMIT) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no asyncio.timeout")
def test_timeout_of_asyncio(pool):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await pool.run(exec, "while True: pass")
        while pool.stats()["running"]:
            await asyncio.sleep(0.001)
        return await pool.run(abs, -1)

    assert asyncio.run(main()) == 1


def test_task_group_stops_the_others(pool):
    async def endless():
        await pool.run(exec, "while True: pass")

    async def bad():
        await pool.run(int, "x")

    async def main():
        with pytest.raises(ExceptionGroup):  # noqa: PT012 - the block is what fails
            async with asyncio.TaskGroup() as group:
                group.create_task(endless())
                group.create_task(bad())
        while pool.stats()["running"]:
            await asyncio.sleep(0.001)

    asyncio.run(main())


def test_options(pool):
    async def main():
        with pytest.raises(TimeoutError, match="exceeded"):
            await pool.options(timeout=0.02).run(exec, "while True: pass")

    asyncio.run(main())


def test_run_in_executor(pool):
    async def main():
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(pool, abs, -i) for i in range(100)]
        return await asyncio.gather(*futures)

    assert asyncio.run(main()) == list(range(100))


@pytest.mark.parametrize("ordered", [True, False])
def test_async_map(pool, ordered):
    async def main():
        return [x async for x in aio.map(pool, abs, range(-50, 0), ordered=ordered)]

    found = asyncio.run(main())
    assert (found if ordered else sorted(found, reverse=True)) == list(range(50, 0, -1))


def test_loop_that_closes_before_the_end(pool):
    started, release = subinterpreters.create_queue(), subinterpreters.create_queue()

    async def main():
        call = pool.run(wait_on, started, release)
        await asyncio.to_thread(started.get, timeout=LIMIT)
        return call

    asyncio.run(main())
    release.put(None)
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_the_loop_stays_responsive(pool):
    async def main():
        beats = 0
        calls = [pool.run(sum, range(100)) for _ in range(5000)]
        everything = asyncio.gather(*calls)
        while not everything.done():
            beats += 1
            await asyncio.sleep(0)
        return beats

    assert asyncio.run(main()) > 5


class TestAsyncWith:
    def test_the_loop_goes_on_while_the_end_waits(self):
        started, release = (
            subinterpreters.create_queue(),
            subinterpreters.create_queue(),
        )

        async def main():
            async with InterpreterPoolExecutor(1) as pool:
                call = pool.run(wait_on, started, release)
                # Put by the loop, once the block has ended.
                asyncio.get_running_loop().call_soon(release.put, "released")
            with pytest.raises(RuntimeError, match="after shutdown"):
                pool.submit(abs, 1)
            return await call

        assert asyncio.run(main()) == "released"

    @pytest.mark.parametrize("where", ["in the block", "at its end"])
    def test_cancelling_stops_the_work(self, where):
        started, release = (
            subinterpreters.create_queue(),
            subinterpreters.create_queue(),
        )

        async def use(calls):
            async with InterpreterPoolExecutor(1) as pool:
                calls.append(pool.submit(wait_on, started, release))
                calls.append(pool.submit(abs, 1))
                if where == "in the block":
                    await asyncio.Event().wait()

        async def main():
            calls = []
            task = asyncio.ensure_future(use(calls))
            await asyncio.to_thread(started.get, timeout=LIMIT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return calls

        running, waiting = asyncio.run(main())
        assert isinstance(running.exception(timeout=0), KeyboardInterrupt)
        assert waiting.cancelled()

    def test_an_exception_does_not(self):
        async def use(calls):
            async with InterpreterPoolExecutor(1) as pool:
                calls.append(pool.submit(abs, -1))
                raise LookupError

        calls = []
        with pytest.raises(LookupError):
            asyncio.run(use(calls))
        assert calls[0].result(timeout=0) == 1
