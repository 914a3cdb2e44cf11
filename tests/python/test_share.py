"""share(): memory that crosses in place."""

import array
import ctypes
import gc
import mmap
import pickle
import weakref

import pytest
import subinterpreters
from subinterpreters import ExecutionFailed, NotShareableError, create_queue, share


def describe(view):
    return type(view).__name__, view.format, view.shape, view.readonly, bytes(view)


def put_first(view, value):
    view[0] = value


def keep(view):
    import __main__

    __main__.kept = view


def share_own():
    import subinterpreters

    import __main__

    return subinterpreters.share(__main__.own)


@pytest.mark.parametrize(
    "value",
    [
        bytearray(b"abc"),
        b"abc",
        array.array("d", [1.5, 2.5]),
        memoryview(bytes(range(12))).cast("B", (3, 4)),
        memoryview(bytes(range(12)))[::-2],
        bytearray(),
        (ctypes.c_int32 * 3)(1, 2, 3),
        mmap.mmap(-1, 4096),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_arrives_as_a_memoryview(interp, value):
    assert interp.call(describe, share(value)) == describe(memoryview(value))


def test_both_sides_see_what_either_writes(interp):
    own = array.array("i", [1, 2, 3])
    interp.call(keep, share(own))
    interp.call(put_first, share(own), 77)
    own[1] = 78
    interp.exec("assert kept.tolist() == [77, 78, 3], kept.tolist()")
    interp.exec("del kept")


def test_the_owner_gets_it_back(interp):
    own = bytearray(4)
    shared = share(own)
    interp.call(keep, shared)
    with pytest.raises(BufferError):
        own.append(1)
    del shared
    with pytest.raises(BufferError):
        own.append(1)
    interp.exec("del kept")
    own.append(1)


def test_an_idle_owner_gets_it_back(interp):
    interp.exec("own = bytearray(4)")
    view = interp.call(share_own)
    with pytest.raises(ExecutionFailed, match="BufferError"):
        interp.exec("own.append(1)")
    view.release()
    interp.exec("own.append(1)")


def test_it_outlives_its_interpreter():
    interp = subinterpreters.create()
    interp.exec("own = bytearray(b'abcd' * 100_000)")
    view = interp.call(share_own)
    interp.close()
    view[0] = ord("x")
    assert bytes(view[:4]) == b"xbcd"


def test_one_that_waits_in_a_queue_keeps_its_memory():
    queue = create_queue()
    queue.put([share(bytearray(b"abc")), share(b"x")])
    gc.collect()
    assert [bytes(view) for view in queue.get()] == [b"abc", b"x"]


def test_it_keeps_no_cycle_alive():
    class Owner(bytearray):
        pass

    owner = Owner(4)
    gone = weakref.ref(owner)
    share(owner)
    del owner
    assert gone() is None


def test_what_cannot_be_shared(interp):
    for value in ([1], "text", 3, None):
        with pytest.raises(TypeError, match="bytes-like"):
            share(value)
    objects = (ctypes.py_object * 2)(1, 2)
    with pytest.raises(TypeError, match="of objects"):
        share(objects)
    with pytest.raises(NotShareableError, match="references to objects"):
        interp.call(len, memoryview(objects))


def test_it_is_no_way_out_of_the_process():
    shared = share(bytearray(4))
    with pytest.raises(TypeError):
        pickle.dumps(shared)
    with pytest.raises(TypeError):
        type(shared)()
