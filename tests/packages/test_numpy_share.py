"""share() of NumPy arrays: both sides work on one memory."""

import gc
import threading

import pytest
import subinterpreters
from subinterpreters import share

np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def there():
    with subinterpreters.create() as interp:
        yield interp


@pytest.fixture(autouse=True)
def no_interpreter_left():
    """`there` is one for all tests of this file."""


def keep(array):
    import __main__

    __main__.kept = array


def forget():
    import __main__

    del __main__.kept


def describe(array):
    return (
        (type(array).__module__, type(array).__qualname__, array.dtype, array.shape),
        (array.strides, array.flags.writeable, array.tobytes()),
        array.__array_interface__["data"][0],
    )


def assert_in_place(there, array):
    kind, layout, address = there.call(describe, share(array))
    assert kind == ("numpy", "ndarray", array.dtype, array.shape)
    assert layout[1:] == (array.flags.writeable, array.tobytes())
    if array.size > 0:
        assert layout[0] == array.strides
        assert address == array.__array_interface__["data"][0]


KINDS = [*"?bBhHiIlLqQefdgFDG", "S5", "U7", "V3", ">i4", ">f8", "M8[ns]", "m8[D]"]
FIELDS = [("a", "i4"), ("b", "M8[s]"), ("c", "U3"), ("d", "i2", (2, 2))]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(there, kind):
    array = np.arange(12).astype("i4").reshape(3, 4).astype(kind)
    assert_in_place(there, array)
    assert_in_place(there, array[::-1, ::2])


def test_structured(there):
    array = np.zeros(5, FIELDS)
    assert_in_place(there, array)
    assert_in_place(there, array["d"])
    assert_in_place(there, array["b"][::-2])
    assert_in_place(
        there, np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    )


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0, 2), (1, 1, 1, 1)])
def test_shapes(there, shape):
    assert_in_place(there, np.full(shape, 3.5))
    assert_in_place(there, np.full(shape, "2024-01-01", "M8[D]"))


def test_strides(there):
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (
        array.T,
        array[:, ::-1],
        array[::-1, 1:, ::3],
        np.asfortranarray(array),
    ):
        assert_in_place(there, view)
    assert_in_place(there, np.broadcast_to(np.arange(3), (4, 3)))
    assert_in_place(there, np.arange(10)[::-3])


def test_both_sides_see_what_either_writes(there):
    array = np.zeros(3, "M8[s]")
    there.call(keep, share(array))
    there.exec("kept[1] = '2024-01-01'")
    assert array.tolist()[1].year == 2024
    array[2] = "2025-01-01"
    there.exec("assert kept[2].item().year == 2025, kept")
    there.call(forget)


def test_read_only_stays_so(there):
    array = np.arange(4)
    array.flags.writeable = False
    assert_in_place(there, array)
    there.call(keep, share(array))
    with pytest.raises(subinterpreters.ExecutionFailed, match="read-only"):
        there.exec("kept[0] = 1")
    there.call(forget)


def test_nobody_resizes_it_meanwhile(there):
    array = np.arange(4)
    shared = share(array)
    there.call(keep, shared)
    del shared
    with pytest.raises(ValueError, match="cannot resize"):
        array.resize(400_000)
    there.call(forget)
    array.resize(400_000)


def test_it_goes_home_and_on(there):
    array = np.arange(4)
    back = there.call(lambda a: subinterpreters.share(a), share(array))
    assert type(back) is np.ndarray
    assert np.shares_memory(back, array)


def test_one_array_twice(there):
    shared = share(np.arange(5))
    assert there.call(lambda pair: pair[0] is pair[1], (shared, shared))


def test_through_a_queue(there):
    queue = subinterpreters.create_queue()
    array = np.arange(6.0).reshape(2, 3)
    there.prepare_main(queue=queue)
    queue.put({"a": share(array)})
    there.exec("queue.get()['a'] += 1")
    assert array.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_it_outlives_its_interpreter():
    interp = subinterpreters.create()
    array = interp.call(make_shared)
    interp.close()
    gc.collect()
    array += 1
    assert array.sum() == sum(range(100_001))


def make_shared():
    import numpy
    import subinterpreters

    return subinterpreters.share(numpy.arange(100_000))


def test_both_work_on_their_half(there):
    array = np.zeros(200_000)
    thread = threading.Thread(target=there.call, args=(fill, share(array[::2]), 1))
    thread.start()
    fill(array[1::2], 2)
    thread.join()
    assert array.sum() == 300_000


def fill(array, value):
    array[:] = value


def test_mapped_files(there, tmp_path):
    mapped = np.memmap(tmp_path / "file", "i4", "w+", shape=4)
    there.call(fill, share(mapped), 7)
    assert mapped.tolist() == [7] * 4


class Own(np.ndarray):
    """Might have anything besides its memory."""


def test_what_cannot_be_shared():
    with pytest.raises(TypeError, match="array of objects"):
        share(np.array([1, None]))
    with pytest.raises(TypeError, match="array of objects"):
        share(np.zeros(2, [("a", "O")]))
    for array in (np.ma.masked_array([1, 2], [0, 1]), np.zeros(2).view(Own)):
        with pytest.raises(TypeError, match="view"):
            share(array)
