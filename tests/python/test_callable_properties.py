"""Functions, arrays and buffers that hypothesis makes up, here and elsewhere."""

import array
import functools

import pytest
import subinterpreters
from hypothesis import given, settings
from hypothesis import strategies as st

FAST = settings(deadline=None, derandomize=True, max_examples=150, database=None)
CALLS = 3  # of each function: what it keeps from call to call counts, too

values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=4,
)


def constant(value):
    return lambda: value


def with_defaults(first, last):
    def f(a=first, /, *rest, b=last):
        return [a, rest, b]

    return f


def with_attributes(names):
    def f():
        return sorted(vars(f).items())

    vars(f).update(names)
    return f


def counting(start):
    count = start

    def f():
        nonlocal count
        count += 1
        return count

    return f


def generating(items):
    def numbered():
        for item in items:
            yield type(item), item

    return lambda: list(numbered())


def method(value):
    class Local:
        kind = value

        def __init__(self):
            self.calls = 0

        def f(self):
            self.calls += 1
            return type(self).__name__, self.kind, self.calls, __class__ is type(self)

    return Local().f


def recursive(depth):
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    return lambda: (even(depth), odd(depth))


def partial(value, function):
    return functools.partial(lambda a, f: (a, f()), value, f=function)


def chosen(functions):
    table = dict(enumerate(functions))
    return lambda: [table[i]() for i in table]


def wrapped(function):
    @functools.wraps(function)
    def f():
        return f.__name__, function()

    return f


def twice(function):
    """The same function on two ways: what it keeps is kept once."""
    return lambda one=function, other=function: (one is other, one(), other())


def compose(inner):
    named = inner.filter(lambda f: hasattr(f, "__name__"))
    return st.one_of(
        st.builds(partial, values, inner),
        st.builds(chosen, st.lists(inner, max_size=3)),
        st.builds(wrapped, named),
        st.builds(twice, inner),
    )


names = st.dictionaries(st.sampled_from("abc"), values)
functions = st.recursive(
    st.one_of(
        st.builds(constant, values),
        st.builds(with_defaults, values, values),
        st.builds(with_attributes, names),
        st.builds(counting, st.integers()),
        st.builds(generating, st.lists(values, max_size=3)),
        st.builds(method, values),
        st.builds(recursive, st.integers(0, 5)),
    ),
    compose,
    max_leaves=6,
)


def results(function):
    return [function() for _ in range(CALLS)]


@pytest.fixture(scope="module")
def far():
    interp = subinterpreters.create()
    yield interp
    interp.close()


@FAST
@given(function=functions)
def test_functions_do_there_what_they_do_here(far, function):
    """What a function keeps begins there as it is here."""
    there = far.call(results, function)
    assert there == results(function)


def echo(value):
    return value


@FAST
@given(data=st.binary(max_size=64), code=st.sampled_from("bBhHiIlLqQfd"))
def test_arrays_are_copied(far, data, code):
    size = array.array(code).itemsize
    value = array.array(code, data[: len(data) // size * size])
    back, same = far.call(echo, (value, value))
    assert back is same
    assert type(back) is array.array
    assert (back.typecode, back.tobytes()) == (code, value.tobytes())
    back.append(back[0] if back else array.array(code, bytes(size))[0])
    assert len(value) == len(back) - 1


@FAST
@given(
    data=st.binary(min_size=1, max_size=64),
    code=st.sampled_from("bBhHiIlLqQfdc?"),
    start=st.integers(0, 7),
    step=st.sampled_from([1, 2, 3]),
    read_only=st.booleans(),
)
def test_buffers_are_used_in_place(far, data, code, start, step, read_only):
    block = bytearray(data)
    view = memoryview(block)
    size = memoryview(bytes(8)).cast(code).itemsize
    view = view[: len(view) // size * size].cast(code)[start::step]
    view = view.toreadonly() if read_only else view
    back = far.call(echo, view)
    assert type(back) is memoryview
    told = ("format", "shape", "strides", "readonly", "nbytes", "ndim")
    assert [getattr(back, n) for n in told] == [getattr(view, n) for n in told]
    assert back.tobytes() == view.tobytes()
    block[:] = bytes(255 - byte for byte in block)
    assert back.tobytes() == view.tobytes()
    back.release()
    view.release()
