"""Each future ends and everybody is told, whatever goes wrong on the way."""

import asyncio
from concurrent.futures import as_completed, wait

import pytest
import subinterpreters
from subinterpreters import aio
from subinterpreters.executor import InterpreterPoolExecutor

LIMIT = 30


@pytest.fixture
def pool():
    with InterpreterPoolExecutor(1) as made:
        yield made


# --- results that cannot be rebuilt --------------------------------------------------


class NotHere:
    """Can be rebuilt only where there is no owner of a pool."""

    def __setstate__(self, state):
        import subinterpreters

        if subinterpreters.get_current() == subinterpreters.get_main():
            raise ValueError("cannot be rebuilt here")

    def __getstate__(self):
        return 1


def make_one(*_):
    return NotHere()


def ended(exception):
    return isinstance(exception, ValueError) and str(exception) == (
        "cannot be rebuilt here"
    )


def test_a_future_keeps_why_its_result_cannot_be_rebuilt(pool):
    future = pool.submit(make_one)
    with pytest.raises(ValueError, match="rebuilt here"):
        future.result(LIMIT)
    assert ended(future.exception(LIMIT))
    assert future.exception() is future.exception()
    assert "raised" in repr(future)


def test_those_who_wait_hear_of_it(pool):
    told = subinterpreters.create_queue()
    future = pool.submit(make_one)
    future.add_done_callback(lambda future: told.put(str(future.exception())))
    assert wait([future], LIMIT).done == {future}
    assert told.get(timeout=LIMIT) == "cannot be rebuilt here"
    assert [ended(f.exception()) for f in as_completed([future], LIMIT)] == [True]
    with pytest.raises(ValueError, match="rebuilt here"):
        list(pool.map(make_one, range(3)))


def test_awaiting_it_ends(script):
    source = """
        import asyncio
        from subinterpreters import InterpreterPoolExecutor, aio

        class NotHere:
            def __getstate__(self):
                return 1
            def __setstate__(self, state):
                import subinterpreters
                if subinterpreters.get_current() == subinterpreters.get_main():
                    raise ValueError("cannot be rebuilt here")

        def make_one(*_):
            return NotHere()

        async def main(pool):
            loop = asyncio.get_running_loop()
            calls = [pool.run(make_one), pool.run(int, "x"), pool.run(make_one),
                     loop.run_in_executor(pool, make_one), pool.run(abs, -1)]
            for found in await asyncio.gather(*calls, return_exceptions=True):
                print(found)
            try:
                async for _ in aio.map(pool, make_one, [1]):
                    pass
            except ValueError as error:
                print(error)

        with InterpreterPoolExecutor(1) as pool:
            asyncio.run(main(pool))
    """
    why = "cannot be rebuilt here\n"
    bad = "invalid literal for int() with base 10: 'x'\n"
    done = script.run(source)
    assert done.stdout == why + bad + why + why + "1\n" + why


def test_an_exit_while_failures_are_taken_over_loses_no_other(pool, monkeypatch):
    """The loop is stopped by it; what came in the same batch is there when it goes on."""
    loop = asyncio.new_event_loop()
    seen = []
    fail = aio.Call._fail

    def exit_once(call, future):
        if not seen:
            seen.append(call)
            raise SystemExit
        return fail(call, future)

    monkeypatch.setattr(aio.Call, "_fail", exit_once)

    async def start():
        return [pool.run(int, "x") for _ in range(20)]

    try:
        calls = loop.run_until_complete(start())
        everything = asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(SystemExit):
            loop.run_until_complete(everything)
        found = loop.run_until_complete(asyncio.wait_for(everything, LIMIT))
        assert [type(one) for one in found] == [ValueError] * 20
    finally:
        loop.close()
