"""NumPy arrays cross between interpreters whole."""

import pytest
import subinterpreters

np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def there():
    with subinterpreters.create() as interp:
        yield interp


@pytest.fixture(autouse=True)
def no_interpreter_left():
    """`there` is one for all tests of this file."""


def cross(interp, value):
    return interp.call(lambda x: x, value)


def assert_same(there, array):
    back = cross(there, array)
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not np.shares_memory(back, array)
    return back


KINDS = [*"?bBhHiIlLqQefdgFDG", "S5", "U7", "V3", ">i4", ">f8", "M8[ns]", "m8[D]"]
FIELDS = [("a", "i4"), ("b", "f8"), ("c", "U3"), ("d", "i2", (2, 2))]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(there, kind):
    assert_same(there, np.arange(12).astype("i4").reshape(3, 4).astype(kind))


def test_dates_and_text(there):
    assert_same(there, np.array(["2024-02-29", "NaT"], "M8[D]"))
    assert_same(there, np.array(["a", "", "αβγ"]))


@pytest.mark.parametrize("size", [3, 300])
def test_order(there, size):
    array = np.arange(size * size * 4.0).reshape(size, size, 4)
    assert assert_same(there, array).flags.c_contiguous
    assert assert_same(there, np.asfortranarray(array)).flags.f_contiguous
    assert assert_same(there, array.T).flags.f_contiguous


def test_strides(there):
    """What is no block of memory becomes one."""
    array = np.arange(1_000_000.0).reshape(1000, 1000)
    assert_same(there, array[::2, ::-3])
    assert_same(there, np.arange(10)[::-1])
    assert_same(there, np.broadcast_to(np.arange(3), (4, 3)))
    assert_same(there, np.zeros(3, FIELDS)["b"])


@pytest.mark.parametrize("size", [5, 100_000])
@pytest.mark.parametrize("writeable", [True, False])
def test_read_only_stays_so(there, size, writeable):
    array = np.arange(size)
    array.flags.writeable = writeable
    assert assert_same(there, array).flags.writeable is writeable


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0, 2), (1, 1, 1, 1)])
def test_shapes(there, shape):
    assert_same(there, np.full(shape, 3.5))


def test_structured(there):
    record = np.zeros(3, FIELDS)
    record["b"] = 1.5
    assert_same(there, record)
    assert_same(there, record.view(np.recarray))
    assert_same(there, np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True)))
    assert_same(there, np.zeros(2, [("p", [("x", "f4"), ("y", "f4")]), ("n", "i8")]))


def test_masked(there):
    masked = cross(there, np.ma.masked_array([1, 2, 3], [0, 1, 0]))
    assert masked.mask.tolist() == [False, True, False]


def test_objects(there):
    """By way of the objects that they hold."""
    array = np.array([1, "x", None, [1.5]], object)
    assert cross(there, array).tolist() == array.tolist()


@pytest.mark.parametrize(
    "value",
    [
        *(np.float64(1.5), np.int8(3), np.bool_(True), np.complex64(1j), np.float16(2)),
        *(np.datetime64("2024-01-01"), np.str_("x"), np.void(b"abc")),
    ],
    ids=repr,
)
def test_scalars(there, value):
    back = cross(there, value)
    assert type(back) is type(value)
    assert back == value


def test_types_and_functions_are_those_of_each_side(there):
    assert cross(there, np.float32) is np.float32
    assert cross(there, np.sin) is np.sin
    assert cross(there, np.dtype(FIELDS)) == np.dtype(FIELDS)


def test_one_array_twice(there):
    array = np.arange(5)
    first, second = cross(there, (array, array))
    assert first is second


def test_both_sides_work(there):
    a, b = np.arange(4.0).reshape(2, 2), np.ones(2)
    assert there.call(lambda m, v: m @ v, a, b).tolist() == (a @ b).tolist()


def test_through_a_queue(there):
    queue = subinterpreters.create_queue()
    array = np.arange(100_000.0).reshape(100, 1000).T
    there.prepare_main(queue=queue)
    queue.put(array)
    there.exec("queue.put(queue.get() * 2)")
    assert (queue.get(timeout=30) == array * 2).all()


def test_in_place(there):
    """By a memoryview, both sides see one memory."""
    array = np.arange(10)
    there.prepare_main(view=memoryview(array))
    there.exec("import numpy; numpy.asarray(view)[3] = 77")
    assert array[3] == 77


def test_errors_keep_their_class(there):
    with pytest.raises(subinterpreters.ExecutionFailed) as caught:
        there.exec("import numpy; numpy.linalg.inv(numpy.zeros((2, 2)))")
    assert isinstance(caught.value.original, np.linalg.LinAlgError)


def test_no_warning_about_several_interpreters():
    """NumPy asks whether it is in the main interpreter; no filter hides the answer."""
    with subinterpreters.create() as interp:
        interp.exec(
            "import warnings\n"
            "warnings.simplefilter('error')\n"
            "before = warnings.filters[:]\n"
            "import numpy\n"
            "added = [f for f in warnings.filters if f not in before]\n"
            "assert not any('interpreter' in str(f) for f in added), added\n"
            "try:\n"
            "    warnings.warn('of another kind')\n"
            "except UserWarning:\n"
            "    pass\n"
            "else:\n"
            "    raise AssertionError('it was silenced')\n"
        )
