"""Queue items whose interpreter ended, that fail to arrive, and what they leave."""

import os
import threading

import pytest
import subinterpreters
from subinterpreters import (
    UNBOUND,
    UNBOUND_ERROR,
    UNBOUND_REMOVE,
    ItemInterpreterDestroyed,
    QueueEmpty,
    create_queue,
)


@pytest.fixture
def queue():
    return create_queue()


def started(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


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
                interp.exec('import gc, sys; gc.collect()')
                there = interp.call(eval, 'sys.getallocatedblocks()')
                return sys.getallocatedblocks(), there
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
