"""What hypothesis makes up crosses as copy.deepcopy copies it: equal, of the same
types, with the same sharing and cycles, and the order of dicts."""

import collections
import copy
import datetime
import decimal
import fractions
import math
import pathlib
import sys
import uuid

import pytest
import subinterpreters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).parent / "transfer"))

import samples

FAST = settings(
    deadline=None,
    derandomize=True,
    max_examples=80,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)

text = st.text(st.characters(codec=None, exclude_categories=[]), max_size=20)
zones = st.none() | st.just(datetime.UTC) | st.just(datetime.timezone.max)
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False, max_magnitude=1e9),
    text,
    st.binary(max_size=20),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.builds(range, st.integers(), st.integers(), st.integers(1)),
    st.sampled_from([..., NotImplemented, *samples.Colour, int, len, samples.Plain]),
    st.builds(pathlib.PurePosixPath, st.sampled_from(["/", "a/b", "."])),
    st.builds(samples.MyInt, st.integers()),
    st.builds(samples.Frozen, st.integers(), text),
)
leaves = hashable | st.binary(max_size=20).map(bytearray) | st.builds(slice, hashable)


def put_together(exc, cause, context, notes, attributes):
    exc.__cause__, exc.__context__ = cause, context
    exc.__suppress_context__ = len(attributes) % 2 == 1
    for note in notes:
        exc.add_note(note)
    vars(exc).update(attributes)
    return exc


def exceptions(inner):
    bare = st.one_of(
        st.builds(
            lambda kind, args: kind(*args),
            st.sampled_from([ValueError, KeyError, MemoryError, SystemExit, OSError]),
            st.lists(inner, max_size=2),
        ),
        st.builds(samples.Custom, text, inner),
    )
    names = st.sampled_from(["a", "b", "detail"])

    def linked(inside):
        groups = st.builds(
            BaseExceptionGroup, text, st.lists(inside, min_size=1, max_size=3)
        )
        return st.builds(
            put_together,
            bare | groups,
            st.none() | inside,
            st.none() | inside,
            st.lists(text, max_size=2),
            st.dictionaries(names, inner, max_size=2),
        )

    return st.recursive(bare, linked, max_leaves=4)


def containers(inner):
    keys = hashable | st.tuples(hashable, hashable)
    return st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(collections.deque),
        st.lists(inner, max_size=4).map(samples.MyList),
        st.dictionaries(keys, inner, max_size=5),
        st.dictionaries(st.sampled_from("abcdef"), inner, max_size=6),
        st.dictionaries(text, inner, max_size=4).map(samples.MyDict),
        st.dictionaries(text, inner, max_size=4).map(collections.OrderedDict),
        st.sets(keys, max_size=5),
        st.frozensets(keys, max_size=5),
        st.builds(samples.Plain, inner),
        st.builds(samples.Slots, inner, inner),
        st.builds(samples.Data, inner, st.lists(inner, max_size=2)),
        st.builds(samples.Pair, inner, inner),
        st.builds(samples.Point, inner, inner),
        st.builds(lambda v: [v, (v, {"again": v})], inner),
    )


values = st.recursive(leaves, containers, max_leaves=25)
errors = exceptions(st.recursive(leaves, containers, max_leaves=4))

ATOMS = (
    type(None), bool, int, float, complex, str, bytes, type, type(len), range,
    type(...), type(NotImplemented), decimal.Decimal, fractions.Fraction, uuid.UUID,
    datetime.date, datetime.time, datetime.timedelta, pathlib.PurePath, samples.Colour,
    samples.Frozen,
)  # fmt: skip


def parts(value):
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, tuple | list | collections.deque):
        yield from value
    elif isinstance(value, samples.Slots):
        yield from (value.a, value.b)
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    elif isinstance(value, BaseException):
        yield from value.args
        yield from (value.__cause__, value.__context__, value.__suppress_context__)
        if isinstance(value, BaseExceptionGroup):
            yield from value.exceptions
    if hasattr(value, "__dict__"):
        yield vars(value)


def assert_alike(first, second):
    """The same graph: what is one object in one is one object in the other."""
    there, back, seen, pending = {}, {}, set(), [(first, second)]
    while pending:
        a, b = pending.pop()
        assert type(a) is type(b)
        if isinstance(a, ATOMS):
            assert a == b
            assert repr(a) == repr(b)
            continue
        if (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        if not isinstance(a, tuple | frozenset | slice):
            assert there.setdefault(id(a), b) is b
            assert back.setdefault(id(b), a) is a
        if isinstance(a, set | frozenset | bytearray):
            assert a == b
        of_a, of_b = list(parts(a)), list(parts(b))
        assert len(of_a) == len(of_b)
        pending += zip(of_a, of_b, strict=True)


@pytest.fixture(scope="module")
def far():
    interp = subinterpreters.create()
    interp.prepare_main(folder=str(pathlib.Path(samples.__file__).parent))
    interp.exec("import sys; sys.path.insert(0, folder)")
    yield interp
    interp.close()


def echo(value):
    return value


def raise_it(exc):
    raise exc


@FAST
@given(value=values)
def test_as_deepcopy(far, value):
    model = copy.deepcopy(value)
    queue = subinterpreters.create_queue()
    queue.put(value)
    assert_alike(queue.get(), model)
    assert_alike(far.call(echo, value), model)
    assert_alike(value, model)


@FAST
@given(exc=errors, again=st.booleans())
def test_exceptions_as_they_are(far, exc, again):
    """Never raised, so that no traceback is added. (copy.deepcopy loses the links.)"""
    value = [exc, exc.args, exc] if again else exc
    queue = subinterpreters.create_queue()
    queue.put(value)
    assert_alike(queue.get(), value)
    assert_alike(far.call(echo, value), value)


@FAST
@given(exc=errors)
def test_exceptions_that_were_raised(far, exc):
    """What is raised is the same, but for the cause, where it has none."""
    caused = exc.__cause__ is not None
    with pytest.raises(subinterpreters.ExecutionFailed) as caught:
        far.call(raise_it, exc)
    back = caught.value.original
    if not caused:
        assert back.__cause__ is caught.value
        suppress, back.__cause__ = back.__suppress_context__, None
        back.__suppress_context__ = suppress
    else:
        assert back.__notes__.pop().startswith("Traceback in interpreter ")
        if not back.__notes__ and not hasattr(exc, "__notes__"):
            del back.__notes__
    assert_alike(back, exc)


@FAST
@given(
    value=values,
    kinds=st.lists(
        st.sampled_from(["list", "dict", "node", "tuple"]), min_size=2, max_size=6
    ),
    links=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12),
)
def test_cycles_as_deepcopy(far, value, kinds, links):
    make = {"list": list, "dict": dict, "node": samples.Node, "tuple": lambda: ([],)}
    nodes = [make[kind]() for kind in kinds]
    for i, (a, b) in enumerate(links):
        source, target = nodes[a % len(nodes)], nodes[b % len(nodes)]
        source = source[0] if isinstance(source, tuple) else source
        if isinstance(source, list):
            source.append(target)
        elif isinstance(source, dict):
            source[i] = target
        else:
            setattr(source, f"to{i}", target)
    model = copy.deepcopy((nodes, value))
    assert_alike(far.call(echo, (nodes, value)), model)


@FAST
@given(numbers=st.lists(st.floats()), letters=text)
def test_every_float_and_every_character(far, numbers, letters):
    back, same = far.call(echo, (numbers, letters))
    assert same == letters
    assert list(map(repr, back)) == list(map(repr, numbers))
    for a, b in zip(numbers, back, strict=True):
        assert math.copysign(1, a) == math.copysign(1, b)
