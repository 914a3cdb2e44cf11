"""create_queue and Queue: order, limits, blocking, and items without an owner."""

import collections
import copy
import gc
import math
import os
import pickle
import queue as stdlib_queue
import threading
import time

import pytest
import subinterpreters
from subinterpreters import (
    UNBOUND,
    UNBOUND_ERROR,
    UNBOUND_REMOVE,
    ExecutionFailed,
    ItemInterpreterDestroyed,
    NotShareableError,
    Queue,
    QueueEmpty,
    QueueError,
    QueueFull,
    QueueNotFoundError,
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


class TestCreate:
    @pytest.mark.parametrize("maxsize", [0, 1, 3, 100, -1, -10, 2**40])
    def test_maxsize(self, maxsize):
        assert create_queue(maxsize).maxsize == maxsize
        assert create_queue(maxsize=maxsize).maxsize == maxsize

    def test_defaults(self, queue):
        assert type(queue) is Queue
        assert queue.maxsize == 0
        assert queue.unbounditems is UNBOUND
        assert queue.empty() is True
        assert queue.full() is False
        assert queue.qsize() == 0

    def test_bool_is_an_int(self):
        assert create_queue(True).maxsize == 1

    @pytest.mark.parametrize("bad", ["1", 1.0, None, object()])
    def test_maxsize_of_the_wrong_type(self, bad):
        with pytest.raises(TypeError):
            create_queue(bad)

    def test_huge_maxsize(self):
        with pytest.raises(OverflowError):
            create_queue(2**70)

    @pytest.mark.parametrize("op", [UNBOUND, UNBOUND_ERROR, UNBOUND_REMOVE])
    def test_unbounditems(self, op):
        assert create_queue(unbounditems=op).unbounditems is op

    @pytest.mark.parametrize("bad", [3, None, "UNBOUND"])
    def test_bad_unbounditems(self, bad):
        with pytest.raises(
            NotImplementedError, match="unsupported unbound replacement op"
        ):
            create_queue(unbounditems=bad)

    def test_unbounditems_is_keyword_only(self):
        with pytest.raises(TypeError):
            create_queue(1, UNBOUND)

    def test_ids_are_different(self):
        queues = [create_queue() for _ in range(5)]
        numbers = [queue.id for queue in queues]
        assert numbers == sorted(set(numbers))


class TestHandle:
    def test_one_object_per_id(self, queue):
        assert Queue(queue.id) is queue

    @pytest.mark.parametrize("bad", ["1", 1.0, None])
    def test_id_of_the_wrong_type(self, bad):
        with pytest.raises(TypeError) as caught:
            Queue(bad)
        assert str(caught.value) == f"id must be an int, got {bad!r}"

    def test_negative_id(self):
        with pytest.raises(ValueError, match="must be a non-negative int, got -1"):
            Queue(-1)

    def test_huge_id(self):
        with pytest.raises(OverflowError):
            Queue(2**70)

    def test_unknown_id(self):
        with pytest.raises(QueueNotFoundError, match="^queue 1000000 not found$"):
            Queue(1_000_000)

    def test_arguments(self):
        with pytest.raises(TypeError):
            Queue()
        with pytest.raises(TypeError):
            Queue(id=1)

    def test_hash_repr_and_equality(self, queue):
        other = create_queue()
        assert hash(queue) == hash(queue.id)
        assert repr(queue) == f"Queue({queue.id})"
        assert queue == queue
        assert queue != other
        assert queue != queue.id

    @pytest.mark.parametrize("name", ["id", "maxsize", "unbounditems"])
    def test_read_only(self, queue, name):
        with pytest.raises(AttributeError):
            setattr(queue, name, 1)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, queue, protocol):
        assert pickle.loads(pickle.dumps(queue, protocol)) is queue

    def test_copy(self, queue):
        assert copy.copy(queue) is queue
        assert copy.deepcopy(queue) is queue

    def test_gone_with_the_last_object(self):
        queue = create_queue()
        queue.put("spam")
        number = queue.id
        data = pickle.dumps(queue)
        del queue
        with pytest.raises(QueueNotFoundError):
            Queue(number)
        with pytest.raises(QueueNotFoundError):
            pickle.loads(data)

    def test_lives_while_another_interpreter_has_it(self, interp):
        queue = create_queue(3, unbounditems=UNBOUND_ERROR)
        number = queue.id
        interp.prepare_main(queue=queue)
        queue.put("spam")
        del queue
        queue = Queue(number)
        assert queue.maxsize == 3
        assert queue.unbounditems is UNBOUND_ERROR
        assert queue.get() == "spam"
        interp.exec("del queue")
        del queue
        with pytest.raises(QueueNotFoundError):
            Queue(number)

    def test_gone_with_the_last_interpreter(self):
        interp = subinterpreters.create()
        interp.exec("import subinterpreters; queue = subinterpreters.create_queue()")
        number = interp.call(eval, "queue.id")
        interp.close()
        with pytest.raises(QueueNotFoundError):
            Queue(number)

    def test_lives_inside_a_queue(self, queue):
        inner = create_queue()
        number = inner.id
        inner.put("spam")
        queue.put(inner)
        del inner
        gc.collect()
        inner = queue.get()
        assert inner.id == number
        assert inner.get_nowait() == "spam"

    def test_inside_itself(self):
        queue = create_queue()
        number = queue.id
        queue.put(queue)
        assert queue.get() is queue
        del queue
        with pytest.raises(QueueNotFoundError):
            Queue(number)


class TestOneInterpreter:
    def test_order(self, queue):
        for number in range(50):
            queue.put(number)
        assert [queue.get() for _ in range(50)] == list(range(50))

    def test_sizes(self):
        queue = create_queue(3)
        seen = []
        for _ in range(3):
            seen.append((queue.qsize(), queue.empty(), queue.full()))
            queue.put_nowait(None)
        seen.append((queue.qsize(), queue.empty(), queue.full()))
        queue.get_nowait()
        seen.append((queue.qsize(), queue.empty(), queue.full()))
        assert seen == [
            (0, True, False),
            (1, False, False),
            (2, False, False),
            (3, False, True),
            (2, False, False),
        ]

    @pytest.mark.parametrize("maxsize", [0, -1])
    def test_never_full(self, maxsize):
        queue = create_queue(maxsize)
        for number in range(2000):
            queue.put_nowait(number)
        assert not queue.full()
        assert queue.qsize() == 2000
        assert [queue.get_nowait() for _ in range(2000)] == list(range(2000))

    @pytest.mark.parametrize(
        "get",
        [
            lambda q: q.get_nowait(),
            lambda q: q.get(False),
            lambda q: q.get(block=False),
            lambda q: q.get(False, FOREVER),
            lambda q: q.get(timeout=0),
            lambda q: q.get(timeout=0.01),
            lambda q: q.get(True, 0.01),
        ],
    )
    def test_empty(self, queue, get):
        with pytest.raises(QueueEmpty) as caught:
            get(queue)
        assert str(caught.value) == f"queue {queue.id} is empty"
        assert isinstance(caught.value, stdlib_queue.Empty)
        queue.put("spam")
        assert get(queue) == "spam"

    @pytest.mark.parametrize(
        "put",
        [
            lambda q: q.put_nowait(2),
            lambda q: q.put(2, False),
            lambda q: q.put(2, block=False),
            lambda q: q.put(2, False, FOREVER),
            lambda q: q.put(2, timeout=0),
            lambda q: q.put(2, timeout=0.01),
            lambda q: q.put(2, True, 0.01),
        ],
    )
    def test_full(self, put):
        queue = create_queue(1)
        queue.put(1)
        with pytest.raises(QueueFull) as caught:
            put(queue)
        assert str(caught.value) == f"queue {queue.id} is full"
        assert isinstance(caught.value, stdlib_queue.Full)
        assert queue.get() == 1
        put(queue)
        assert queue.get() == 2

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            10,
            2**100,
            1.5,
            "spam",
            "a\0\udc80",
            b"spam",
            (0, "a"),
            [1, [2]],
            {"a": {1, 2}},
            3 + 4j,
            bytearray(b"x"),
            collections.Counter("aab"),
            ValueError,
            b"x" * 1_000_000,
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_values(self, queue, value):
        queue.put(value)
        queue.put_nowait(value)
        assert queue.get() == value
        back = queue.get_nowait()
        assert back == value
        assert type(back) is type(value)

    def test_items_are_copies(self, queue):
        value = [1]
        queue.put(value)
        value.append(2)
        assert queue.get() == [1]

    def test_function(self, queue):
        def function(x):
            return x + 1

        queue.put(function)
        assert queue.get()(41) == 42

    def test_memoryview_is_the_same_memory(self, queue):
        data = bytearray(b"spam")
        queue.put(memoryview(data))
        view = queue.get()
        view[0] = ord("S")
        assert data == b"Spam"

    def test_unshareable(self, queue):
        with pytest.raises(NotShareableError):
            queue.put([1, {"a": threading.Lock()}])
        assert queue.empty()

    def test_keyword_names(self, queue):
        queue.put(obj=1, block=True, timeout=1, unbounditems=UNBOUND)
        queue.put_nowait(obj=2, unbounditems=None)
        assert queue.get(block=True, timeout=1) == 1
        assert queue.get_nowait() == 2

    @pytest.mark.parametrize("bad", [3, "x"])
    def test_bad_unbounditems(self, queue, bad):
        for put in queue.put, queue.put_nowait:
            with pytest.raises(
                NotImplementedError, match="unsupported unbound replacement op"
            ):
                put(1, unbounditems=bad)
        assert queue.empty()

    def test_wrong_arguments(self, queue):
        for wrong in (
            lambda: queue.put(),
            lambda: queue.get(1, 2, 3),
            lambda: queue.put(1, True, None, UNBOUND),
            lambda: queue.get(spam=1),
            lambda: queue.qsize(1),
        ):
            with pytest.raises(TypeError):
                wrong()
        assert queue.empty()


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


class TestUnbound:
    PUT = """
        import subinterpreters
        queue = subinterpreters.Queue({queue.id})
        op = getattr(subinterpreters, {op!r}) if {op!r} else None
        queue.put(b'spam', unbounditems=op)
        queue.put([1, 'eggs'], unbounditems=op)
        """

    def put_and_close(self, queue, op, how="close"):
        interp = subinterpreters.create()
        interp.exec(self.PUT.format(queue=queue, op=op))
        if how == "close":
            interp.close()

    def test_constants(self):
        assert repr(UNBOUND).endswith("UNBOUND")
        assert len({id(op) for op in (UNBOUND, UNBOUND_ERROR, UNBOUND_REMOVE)}) == 3
        with pytest.raises(Exception, match="(?i)unbound"):
            type(UNBOUND)()

    @pytest.mark.parametrize("how", ["close", "drop"])
    @pytest.mark.parametrize("op", ["", "UNBOUND"])
    def test_replaced(self, queue, op, how):
        queue.put("mine")
        self.put_and_close(queue, op, how)
        queue.put("later")
        assert queue.qsize() == 4
        assert [queue.get() for _ in range(4)] == ["mine", UNBOUND, UNBOUND, "later"]
        assert queue.empty()

    def test_error(self, queue):
        self.put_and_close(queue, "UNBOUND_ERROR")
        queue.put("mine")
        assert queue.qsize() == 3
        for left in (2, 1):
            with pytest.raises(ItemInterpreterDestroyed) as caught:
                queue.get()
            assert str(caught.value) == "item's original interpreter destroyed"
            assert queue.qsize() == left
        assert queue.get_nowait() == "mine"

    @pytest.mark.parametrize("before", [0, 1, 2])
    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_removed(self, queue, before, after):
        for number in range(before):
            queue.put(("before", number))
        self.put_and_close(queue, "UNBOUND_REMOVE")
        assert queue.qsize() == before
        for number in range(after):
            queue.put(("after", number))
        assert [queue.get_nowait() for _ in range(queue.qsize())] == [
            *(("before", number) for number in range(before)),
            *(("after", number) for number in range(after)),
        ]
        queue.put(1)
        assert queue.get_nowait() == 1
        with pytest.raises(QueueEmpty):
            queue.get_nowait()

    def test_the_queues_default(self):
        for op, left in (("UNBOUND_REMOVE", 0), ("UNBOUND_ERROR", 2), ("UNBOUND", 2)):
            queue = create_queue(unbounditems=getattr(subinterpreters, op))
            self.put_and_close(queue, "")
            assert queue.qsize() == left

    def test_the_items_choice_wins(self):
        queue = create_queue(unbounditems=UNBOUND_REMOVE)
        self.put_and_close(queue, "UNBOUND")
        assert queue.get() is UNBOUND

    def test_mixed(self, queue):
        interp = subinterpreters.create()
        interp.exec(f"""
            from subinterpreters import *
            queue = Queue({queue.id})
            queue.put(1, unbounditems=UNBOUND)
            queue.put(2, unbounditems=UNBOUND_ERROR)
            queue.put(3)
            queue.put(4, unbounditems=UNBOUND_REMOVE)
            queue.put(5, unbounditems=UNBOUND)
            """)
        assert queue.qsize() == 5
        del interp
        assert queue.qsize() == 4
        assert queue.get() is UNBOUND
        with pytest.raises(ItemInterpreterDestroyed):
            queue.get()
        assert queue.get() is UNBOUND
        assert queue.get() is UNBOUND
        assert queue.empty()

    def test_removal_wakes_a_waiting_put(self):
        queue = create_queue(2)
        interp = subinterpreters.create()
        interp.exec(self.PUT.format(queue=queue, op="UNBOUND_REMOVE"))
        thread = started(queue.put, "mine")
        interp.close()
        thread.join()
        assert queue.get_nowait() == "mine"

    def test_items_got_before_are_kept(self, queue):
        interp = subinterpreters.create()
        interp.exec(self.PUT.format(queue=queue, op=""))
        item = queue.get()
        other = queue.get()
        interp.close()
        assert item == b"spam"
        assert other == [1, "eggs"]

    def test_ones_own_items_are_not_affected(self, interp, queue):
        queue.put("mine")
        self.put_and_close(queue, "")
        interp.prepare_main(queue=queue)
        interp.exec("""
            from subinterpreters import UNBOUND
            items = [queue.get() for _ in range(3)]
            same = [item is UNBOUND for item in items]
            del queue
            """)
        assert interp.call(eval, "same") == [False, True, True]
        assert queue.empty()

    def test_in_a_dying_interpreters_own_queue(self):
        interp = subinterpreters.create()
        interp.exec("""
            import subinterpreters
            queue = subinterpreters.create_queue()
            for number in range(10):
                queue.put([number])
            """)
        interp.close()

    def test_many_items(self, queue):
        interp = subinterpreters.create()
        interp.prepare_main(queue=queue)
        interp.exec("""
            import subinterpreters
            for number in range(2000):
                op = subinterpreters.UNBOUND_REMOVE if number % 2 else None
                queue.put((number, 'x' * (number % 100)), unbounditems=op)
            """)
        queue.put("last")
        interp.close()
        assert queue.qsize() == 1001
        assert [queue.get() for _ in range(1000)] == [UNBOUND] * 1000
        assert queue.get() == "last"


class TestBadItems:
    def test_an_item_that_fails_to_arrive_stays(self, script):
        # Its class refuses to be made once; the item is there for the next get.
        out = script.ok("""
            import os, subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            os.environ.pop('ALLOW', None)
            with open('picky.py', 'w') as file:
                file.write('''
            import pathlib
            def make():
                if not pathlib.Path('allow').exists():
                    raise RuntimeError('not yet')
                return 'made'
            class Picky:
                def __reduce__(self):
                    return make, ()
            '''.replace('\\n            ', '\\n'))
            import picky
            queue.put(['first', picky.Picky()])
            queue.put('second')
            interp.prepare_main(queue=queue)
            for _ in range(2):
                try:
                    interp.exec('queue.get_nowait()')
                except subinterpreters.ExecutionFailed as exc:
                    print(exc.excinfo.type.__name__, queue.qsize())
            open('allow', 'w').close()
            print(queue.get_nowait(), queue.get_nowait())
            """)
        assert out.splitlines() == [
            "NotShareableError 2",
            "NotShareableError 2",
            "['first', 'made'] second",
        ]


class TestErrors:
    def test_operations_on_a_queue_of_the_wrong_id(self, interp, queue):
        interp.prepare_main(number=queue.id)
        interp.exec("import subinterpreters; q = subinterpreters.Queue(number)")
        with pytest.raises(ExecutionFailed, match="QueueNotFoundError"):
            interp.exec("subinterpreters.Queue(number + 1000000)")
        interp.exec("del q")

    def test_hierarchy(self):
        assert issubclass(QueueError, RuntimeError)
        for cls in (QueueNotFoundError, QueueEmpty, QueueFull, ItemInterpreterDestroyed):
            assert issubclass(cls, QueueError)


class TestMemory:
    def test_items_leave_nothing(self, script):
        out = script.ok("""
            import gc, sys, subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            interp.prepare_main(queue=queue)
            interp.exec('''
            def echo():
                for _ in range(200):
                    queue.put(queue.get())
            ''')
            def run():
                for number in range(50):
                    for item in (number * 10**6, 'x' * 50, [1, {'a': b'b'}], (1.5,)):
                        queue.put(item)
                interp.exec('echo()')
                for _ in range(200):
                    queue.get()
            def blocks():
                gc.collect()
                there = '__import__("gc").collect(), __import__("sys").getallocatedblocks()'
                return sys.getallocatedblocks(), interp.call(eval, there)[1]
            for _ in range(5): run()
            before = blocks()
            for _ in range(20): run()
            after = blocks()
            print(after[0] - before[0], after[1] - before[1])
            """)
        here, there = map(int, out.split())
        assert here < 100
        assert there < 100

    def test_queues_leave_nothing(self, script):
        out = script.ok("""
            import resource, subinterpreters
            def run(count):
                for _ in range(count):
                    queue = subinterpreters.create_queue(5)
                    queue.put('x' * 10_000)
                    queue.put([1, 2, 3])
            run(2000)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            run(20_000)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            """)
        assert int(out) < 5000


def test_fd_count_is_unchanged():
    before = len(os.listdir("/proc/self/fd"))
    queues = [create_queue() for _ in range(50)]
    for queue in queues:
        queue.put(1)
    assert len(os.listdir("/proc/self/fd")) == before
