"""Queue.get_async and put_async: waiting without blocking the event loop."""

import asyncio
import threading

import pytest
import subinterpreters
from subinterpreters import NotShareableError, create_queue

COUNT = 300


def test_what_is_there_comes_at_once():
    async def main():
        queue = create_queue(2)
        await queue.put_async([1])
        await queue.put_async("two")
        return queue.qsize(), await queue.get_async(), await queue.get_async()

    assert asyncio.run(main()) == (2, [1], "two")


def test_getters_are_served_in_order():
    async def main():
        queue = create_queue()
        getters = [asyncio.create_task(queue.get_async()) for _ in range(5)]
        await asyncio.sleep(0)
        for i in range(5):
            queue.put(i)
        return await asyncio.gather(*getters)

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_putters_are_served_in_order():
    async def main():
        queue = create_queue(1)
        queue.put("first")
        putters = [asyncio.create_task(queue.put_async(i)) for i in range(4)]
        await asyncio.sleep(0)
        got = [await queue.get_async() for _ in range(5)]
        await asyncio.gather(*putters)
        return got

    assert asyncio.run(main()) == ["first", 0, 1, 2, 3]


def test_from_a_thread_and_back():
    async def main():
        there, back = create_queue(3), create_queue(3)

        def echo():
            for _ in range(COUNT):
                back.put(there.get())

        thread = threading.Thread(target=echo)
        thread.start()

        async def feed():
            for i in range(COUNT):
                await there.put_async(i)

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            got = [await back.get_async() for _ in range(COUNT)]
        thread.join()
        return got

    assert asyncio.run(main()) == list(range(COUNT))


def test_from_an_interpreter(interp):
    def squares(queue, count):
        for i in range(count):
            queue.put(i * i)

    async def main():
        queue = create_queue(2)
        thread = interp.call_in_thread(squares, queue, COUNT)
        got = [await queue.get_async() for _ in range(COUNT)]
        thread.join()
        return got

    assert asyncio.run(main()) == [i * i for i in range(COUNT)]


def test_loops_of_two_interpreters(interp):
    def loop_there(there, back):
        import asyncio

        async def main():
            while (item := await there.get_async()) is not None:
                await back.put_async(item + 1)

        asyncio.run(main())

    async def main():
        there, back = create_queue(1), create_queue(1)
        thread = interp.call_in_thread(loop_there, there, back)

        async def feed():
            for i in range(COUNT):
                await there.put_async(i)
            await there.put_async(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            got = [await back.get_async() for _ in range(COUNT)]
        thread.join()
        return got

    assert asyncio.run(main()) == list(range(1, COUNT + 1))


def test_two_loops_share_a_queue():
    queue = create_queue()
    got = [[], []]

    def drain(into):
        async def main():
            while (item := await queue.get_async()) is not None:
                into.append(item)

        asyncio.run(main())

    threads = [threading.Thread(target=drain, args=(into,)) for into in got]
    for thread in threads:
        thread.start()
    for item in [*range(COUNT), None, None]:
        queue.put(item)
    for thread in threads:
        thread.join()
    assert sorted(got[0] + got[1]) == list(range(COUNT))
    assert got[0] == sorted(got[0])
    assert got[1] == sorted(got[1])


def test_a_cancelled_getter_takes_nothing():
    async def main():
        queue = create_queue()
        for _ in range(50):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await queue.get_async()
        one, two = [asyncio.create_task(queue.get_async()) for _ in range(2)]
        await asyncio.sleep(0)
        one.cancel()
        queue.put("kept")
        return await two, queue.qsize()

    assert asyncio.run(main()) == ("kept", 0)


def test_a_cancelled_putter_has_put_nothing():
    async def main():
        queue = create_queue(1)
        queue.put("first")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await queue.put_async("never")
        return await queue.get_async(), queue.qsize()

    assert asyncio.run(main()) == ("first", 0)


def test_the_loop_goes_on_meanwhile():
    async def main():
        queue = create_queue()
        getter = asyncio.create_task(queue.get_async())
        turns = 0
        while turns < 100:
            turns += 1
            await asyncio.sleep(0)
        assert not getter.done()
        queue.put(turns)
        return await getter

    assert asyncio.run(main()) == 100


def test_what_cannot_cross():
    async def main():
        queue = create_queue()
        with pytest.raises(NotShareableError):
            await queue.put_async(threading.Lock())
        return queue.qsize()

    assert asyncio.run(main()) == 0


def test_items_of_an_ended_interpreter():
    async def main():
        queue = create_queue()
        getter = asyncio.create_task(queue.get_async())
        await asyncio.sleep(0)
        other = subinterpreters.create()
        other.prepare_main(queue=queue)
        other.exec("queue.put(1); queue.put([2])")
        other.close()
        return await getter, await queue.get_async()

    unbound = subinterpreters.UNBOUND
    assert asyncio.run(main()) == (unbound, unbound)


def test_outside_a_loop():
    coroutine = create_queue().get_async()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


def test_a_loop_that_ended_while_it_watched(script):
    assert (
        script.ok("""
        import asyncio
        import subinterpreters

        queue = subinterpreters.create_queue()

        async def give_up():
            async with asyncio.timeout(0.01):
                await queue.get_async()

        for _ in range(3):
            try:
                asyncio.run(give_up())
            except TimeoutError:
                queue.put("late")
                print(queue.get())

        interp = subinterpreters.create()
        interp.prepare_main(queue=queue)
        interp.exec('''
        import asyncio

        async def give_up():
            async with asyncio.timeout(0.01):
                await queue.get_async()

        try:
            asyncio.run(give_up())
        except TimeoutError:
            pass
        ''')
        interp.close()
        queue.put("later")
        print(queue.get())
    """)
        == "late\nlate\nlate\nlater\n"
    )
