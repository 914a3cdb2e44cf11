"""is_shareable, and errors that name what could not be sent and where it sits."""

import threading
import types

import pytest
import subinterpreters
from subinterpreters import NotShareableError, is_shareable


class Int(int):
    pass


class Bytes(bytes):
    pass


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        2**63 - 1,
        1.5,
        "spam",
        "\udc80",
        b"spam",
        (),
        (1, "a"),
        memoryview(b"spam"),
    ],
    ids=repr,
)
def test_shareable(value):
    assert is_shareable(value) is True


def test_the_contents_of_a_tuple_do_not_count():
    assert is_shareable((1, [2])) is True


def test_queue_is_shareable():
    assert is_shareable(subinterpreters.create_queue()) is True


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        set(),
        frozenset(),
        bytearray(b"x"),
        3 + 4j,
        ...,
        NotImplemented,
        object(),
        object,
        int,
        len,
        lambda: 1,
        Int(1),
        Bytes(b"x"),
        ValueError("x"),
        types.SimpleNamespace(),
        threading,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_not_shareable(value):
    assert is_shareable(value) is False


def test_interpreter_is_not(interp):
    assert is_shareable(interp) is False


def test_arguments():
    with pytest.raises(TypeError):
        is_shareable()
    with pytest.raises(TypeError):
        is_shareable(1, 2)


def test_it_is_the_same_elsewhere(interp):
    interp.exec("from subinterpreters import is_shareable")
    assert interp.call(eval, "[is_shareable(x) for x in (1, [], 'a', len)]") == [
        True,
        False,
        True,
        False,
    ]


def told(exc):
    """All that the error and its causes say."""
    lines = []
    while exc is not None:
        lines.append(str(exc))
        exc = exc.__cause__
    return "\n".join(lines)


class TestWhere:
    """The error names the object and its place in the container."""

    CASES = (
        (lambda bad: [1, bad], ["[1]"]),
        (lambda bad: (1, 2, bad), ["[2]"]),
        (lambda bad: {"key": bad}, ["'key'"]),
        (lambda bad: [0, {"a": (1, bad)}], ["[1]", "'a'"]),
        (lambda bad: {"a": [{"b": bad}]}, ["'a'", "[0]", "'b'"]),
    )

    @pytest.fixture
    def bad(self):
        return threading.Lock()

    @pytest.mark.parametrize(("make", "places"), CASES)
    def test_in_an_argument(self, interp, bad, make, places):
        with pytest.raises(NotShareableError) as caught:
            interp.call(id, make(bad))
        text = told(caught.value)
        assert "lock" in text
        for place in places:
            assert place in text

    @pytest.mark.parametrize(("make", "places"), CASES)
    def test_in_a_queue_item(self, bad, make, places):
        queue = subinterpreters.create_queue()
        with pytest.raises(NotShareableError) as caught:
            queue.put(make(bad))
        text = told(caught.value)
        assert "lock" in text
        for place in places:
            assert place in text
        assert queue.empty()

    @pytest.mark.parametrize(
        ("source", "places"),
        [
            ("[1, L()]", ["[1]"]),
            ("{'key': L()}", ["'key'"]),
            ("[0, {'a': (1, L())}]", ["[1]", "'a'"]),
        ],
    )
    def test_in_a_result(self, interp, source, places):
        interp.exec("from threading import Lock as L")
        with pytest.raises(NotShareableError) as caught:
            interp.call(eval, source)
        text = told(caught.value)
        assert "lock" in text
        for place in places:
            assert place in text

    def test_which_argument(self, interp, bad):
        def function(*args, **kwargs):
            pass

        with pytest.raises(NotShareableError) as caught:
            interp.call(function, 1, 2, bad)
        assert "2" in told(caught.value)
        with pytest.raises(NotShareableError) as caught:
            interp.call(function, 1, spam=bad)
        assert "spam" in told(caught.value)

    def test_in_an_attribute(self, bad):
        queue = subinterpreters.create_queue()
        with pytest.raises(NotShareableError) as caught:
            queue.put([types.SimpleNamespace(inner=bad)])
        assert "lock" in told(caught.value)

    def test_in_prepare_main(self, interp):
        with pytest.raises(NotShareableError) as caught:
            interp.prepare_main(x=(1, ([2],)))
        assert "[2]" in told(caught.value)

    def test_a_value_with_a_failing_repr(self, interp):
        class Awkward:
            def __repr__(self):
                raise RuntimeError("no repr")

            def __reduce__(self):
                raise TypeError("no pickle")

        with pytest.raises(NotShareableError):
            subinterpreters.create_queue().put([Awkward()])
        with pytest.raises((NotShareableError, RuntimeError)):
            interp.prepare_main(x=Awkward())
        assert interp.call(eval, "1") == 1
