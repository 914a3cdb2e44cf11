"""create_queue and Queue: order, limits, blocking, and items without an owner."""

import collections
import copy
import gc
import pickle
import queue as stdlib_queue
import threading

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
    def test_takes_attributes(self, queue):
        queue.tag = "results"
        assert Queue(queue.id).tag == "results"

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


class TestErrors:
    def test_operations_on_a_queue_of_the_wrong_id(self, interp, queue):
        interp.prepare_main(number=queue.id)
        interp.exec("import subinterpreters; q = subinterpreters.Queue(number)")
        with pytest.raises(ExecutionFailed, match="QueueNotFoundError"):
            interp.exec("subinterpreters.Queue(number + 1000000)")
        interp.exec("del q")

    def test_hierarchy(self):
        assert issubclass(QueueError, RuntimeError)
        for cls in (
            QueueNotFoundError,
            QueueEmpty,
            QueueFull,
            ItemInterpreterDestroyed,
        ):
            assert issubclass(cls, QueueError)
