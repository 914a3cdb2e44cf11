"""Queues that wait: for an item, for room, for a time, until a signal."""

import math
import threading
import time

import pytest
import subinterpreters
from subinterpreters import (
    QueueEmpty,
    QueueFull,
    create_queue,
)

FOREVER = 3600


@pytest.fixture
def queue():
    return create_queue()


def started(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


class TestTimeouts:
    @pytest.mark.parametrize("timeout", [-1, -0.001, -math.inf, math.nan])
    def test_negative_and_nan(self, timeout):
        queue = create_queue(1)
        with pytest.raises(ValueError, match="timeout"):
            queue.get(timeout=timeout)
        queue.put(1)
        with pytest.raises(ValueError, match="timeout"):
            queue.put(2, timeout=timeout)
        # Told even where nothing would have to wait.
        with pytest.raises(ValueError, match="timeout"):
            queue.get(timeout=timeout)
        assert queue.qsize() == 1

    def test_negative_says_what_it_must_be(self, queue):
        with pytest.raises(ValueError, match="^timeout value must be non-negative$"):
            queue.get(timeout=-1)

    @pytest.mark.parametrize("timeout", ["x", [], object()])
    def test_of_the_wrong_type(self, queue, timeout):
        with pytest.raises((TypeError, ValueError)):
            queue.get(timeout=timeout)

    @pytest.mark.parametrize("timeout", [math.inf, 1e300, 10**30, 2**63, 1e10])
    def test_very_long_ones(self, queue, timeout):
        # Either it is refused, or it waits; it must not mean "at once".
        queue.put(1)
        try:
            assert queue.get(timeout=timeout) == 1
        except OverflowError:
            return
        got = []
        thread = started(lambda: got.append(queue.get(timeout=timeout)))
        queue.put(2)
        thread.join()
        assert got == [2]

    def test_fractions_of_a_second_are_waited(self, queue):
        begin = time.monotonic()
        with pytest.raises(QueueEmpty):
            queue.get(timeout=0.15)
        assert time.monotonic() - begin >= 0.15
        full = create_queue(1)
        full.put(1)
        begin = time.monotonic()
        with pytest.raises(QueueFull):
            full.put(2, timeout=0.15)
        assert time.monotonic() - begin >= 0.15

    def test_ignored_without_blocking(self, queue):
        with pytest.raises(QueueEmpty):
            queue.get(False, -1)

    def test_an_item_that_comes_in_time(self, queue):
        thread = started(queue.get, True, FOREVER)
        queue.put(1)
        thread.join()
        assert queue.empty()


class TestBlocking:
    def test_get_waits_for_put(self, queue):
        got = []
        thread = started(lambda: got.append(queue.get()))
        queue.put("spam")
        thread.join()
        assert got == ["spam"]

    def test_put_waits_for_get(self):
        queue = create_queue(1)
        queue.put(1)
        thread = started(queue.put, 2)
        assert queue.get(timeout=FOREVER) == 1
        assert queue.get(timeout=FOREVER) == 2
        thread.join()

    def test_many_getters_one_item_each(self, queue):
        got = []
        threads = [started(lambda: got.append(queue.get())) for _ in range(8)]
        for number in range(8):
            queue.put(number)
        for thread in threads:
            thread.join()
        assert sorted(got) == list(range(8))
        assert queue.empty()

    def test_between_two_interpreters(self):
        first, second = subinterpreters.create(), subinterpreters.create()
        ping, pong = create_queue(), create_queue()

        def there(ping, pong):
            for number in range(500):
                ping.put(number)
                assert pong.get() == [number]

        def back(ping, pong):
            for _ in range(500):
                pong.put([ping.get()])

        threads = [
            first.call_in_thread(there, ping, pong),
            second.call_in_thread(back, ping, pong),
        ]
        for thread in threads:
            thread.join()
        assert (ping.qsize(), pong.qsize()) == (0, 0)
        first.close()
        second.close()

    def test_waiting_there_lets_this_one_run(self, interp, queue):
        answers = create_queue()

        def wait(queue, answers):
            answers.put(queue.get())

        thread = interp.call_in_thread(wait, queue, answers)
        queue.put("spam")
        assert answers.get() == "spam"
        thread.join()

    def test_threads_of_one_interpreter_run_while_one_waits(self, interp):
        interp.exec("""
            import subinterpreters, threading
            queue = subinterpreters.create_queue()
            got = []
            thread = threading.Thread(target=lambda: got.append(queue.get()))
            thread.start()
            queue.put('spam')
            thread.join()
            """)
        assert interp.call(eval, "got") == ["spam"]

    def test_waiting_uses_no_time(self, script):
        out = script.ok("""
            import resource, subinterpreters, threading
            queue = subinterpreters.create_queue()
            begin = resource.getrusage(resource.RUSAGE_SELF)
            threads = []
            for _ in range(20):
                thread = threading.Thread(target=queue.get)
                thread.start()
                threads.append(thread)
            try:
                subinterpreters.create_queue().get(timeout=1)
            except subinterpreters.QueueEmpty:
                pass
            end = resource.getrusage(resource.RUSAGE_SELF)
            for _ in threads: queue.put(1)
            for thread in threads: thread.join()
            print(end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime)
            print(end.ru_nvcsw - begin.ru_nvcsw)
            """)
        seconds, switches = out.split()
        assert float(seconds) < 0.3
        assert int(switches) < 500

    @pytest.mark.parametrize("maxsize", [0, 1, 7])
    @pytest.mark.parametrize("where", ["threads", "interpreters"])
    def test_nothing_lost_or_doubled(self, maxsize, where):
        # Three producers, three consumers; each consumer stops at its None.
        queue, results = create_queue(maxsize), create_queue()
        producers, consumers, count = 3, 3, 400

        def produce(queue, producer, count):
            for number in range(count):
                queue.put((producer, number))

        def consume(queue, results):
            got = []
            while True:
                item = queue.get()
                if item is None:
                    break
                got.append(item)
            results.put(got)

        interps, threads = [], []

        def run(function, *args):
            if where == "threads":
                return started(function, *args)
            interps.append(subinterpreters.create())
            return interps[-1].call_in_thread(function, *args)

        readers = [run(consume, queue, results) for _ in range(consumers)]
        threads = [run(produce, queue, p, count) for p in range(producers)]
        for thread in threads:
            thread.join()
        for _ in readers:
            queue.put(None)
        for thread in readers:
            thread.join()
        lists = [results.get_nowait() for _ in readers]
        everything = sorted(item for got in lists for item in got)
        assert everything == [
            (p, number) for p in range(producers) for number in range(count)
        ]
        # What one producer put arrives in its order at every consumer.
        for got in lists:
            for p in range(producers):
                mine = [number for producer, number in got if producer == p]
                assert mine == sorted(mine)
        assert queue.empty()
        for interp in interps:
            interp.close()

    def test_timeouts_among_real_items(self):
        # Getters that time out must not swallow an item on their way out.
        queue = create_queue()
        got, stop = [], threading.Event()

        def consume():
            while not stop.is_set() or not queue.empty():
                try:
                    got.append(queue.get(timeout=0.0005))
                except QueueEmpty:
                    pass

        threads = [started(consume) for _ in range(4)]
        for number in range(2000):
            queue.put(number)
            if number % 100 == 0:
                time.sleep(0.002)
        stop.set()
        for thread in threads:
            thread.join()
        assert sorted(got) == list(range(2000))


class TestInterrupt:
    @pytest.mark.parametrize(
        "wait", ["queue.get()", "queue.get(timeout=60)", "full.put(2)"]
    )
    def test_ctrl_c(self, script, wait):
        out = script.ok(f"""
            import os, signal, subinterpreters, threading, time
            queue = subinterpreters.create_queue()
            full = subinterpreters.create_queue(1)
            full.put(1)
            main = threading.get_ident()

            def interrupt():
                # Not before the main thread sleeps in the kernel.
                status = f'/proc/self/task/{{os.getpid()}}/stat'
                while open(status).read().rpartition(')')[2].split()[0] != 'S':
                    time.sleep(0.01)
                global sent
                sent = time.monotonic()
                os.kill(os.getpid(), signal.SIGINT)

            threading.Thread(target=interrupt).start()
            try:
                {wait}
            except KeyboardInterrupt:
                print('interrupted', time.monotonic() - sent < 5)
            full.get()
            queue.put(3)
            print(queue.get(), queue.qsize(), full.qsize())
            """)
        assert out == "interrupted True\n3 0 0\n"

    def test_a_handler_that_returns(self, script):
        out = script.ok("""
            import os, signal, subinterpreters, threading, time
            queue = subinterpreters.create_queue()
            seen = []
            signal.signal(signal.SIGUSR1, lambda *args: seen.append(1))

            def poke():
                while len(seen) < 5:
                    os.kill(os.getpid(), signal.SIGUSR1)
                    time.sleep(0.005)
                queue.put('spam')

            threading.Thread(target=poke).start()
            print(queue.get(), len(seen) >= 5)
            """)
        assert out == "spam True\n"

    def test_a_handler_that_raises(self, script):
        out = script.ok("""
            import signal, subinterpreters
            queue = subinterpreters.create_queue()
            class Alarm(Exception): pass
            def handler(*args): raise Alarm
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                queue.get()
            except Alarm:
                print('alarm')
            queue.put(1)
            print(queue.get())
            """)
        assert out == "alarm\n1\n"
