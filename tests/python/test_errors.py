"""The exceptions: their bases, and that they are CPython's own where it has them."""

import queue
import sys

import pytest
import subinterpreters


def test_bases():
    s = subinterpreters
    assert issubclass(s.InterpreterError, Exception)
    assert issubclass(s.InterpreterNotFoundError, s.InterpreterError)
    assert issubclass(s.ExecutionFailed, s.InterpreterError)
    assert issubclass(s.NotShareableError, TypeError)
    assert issubclass(s.QueueError, RuntimeError)
    assert issubclass(s.QueueNotFoundError, s.QueueError)
    assert issubclass(s.QueueEmpty, s.QueueError)
    assert issubclass(s.QueueEmpty, queue.Empty)
    assert issubclass(s.QueueFull, s.QueueError)
    assert issubclass(s.QueueFull, queue.Full)
    assert issubclass(s.ItemInterpreterDestroyed, s.QueueError)


def test_none_is_another():
    names = [
        "InterpreterError",
        "InterpreterNotFoundError",
        "ExecutionFailed",
        "NotShareableError",
        "QueueError",
        "QueueNotFoundError",
        "QueueEmpty",
        "QueueFull",
        "ItemInterpreterDestroyed",
    ]
    assert len({getattr(subinterpreters, name) for name in names}) == len(names)
    for name in names:
        cls = getattr(subinterpreters, name)
        assert cls.__name__ == name
        # CPython's own classes have none.
        assert cls.__doc__ or cls.__module__ != "subinterpreters"


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="CPython 3.12 has no public classes for them"
)
@pytest.mark.parametrize("name", ["InterpreterError", "InterpreterNotFoundError"])
def test_cpythons_own_classes(name):
    import _interpreters

    assert getattr(subinterpreters, name) is getattr(_interpreters, name)


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython 3.13 has another NotShareableError"
)
def test_cpythons_own_not_shareable_error():
    import _interpreters

    assert subinterpreters.NotShareableError is _interpreters.NotShareableError


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="the module came with CPython 3.14"
)
def test_except_clauses_of_the_standard_module_catch_ours(interp):
    from concurrent import interpreters

    with pytest.raises(interpreters.InterpreterError):
        interp.exec("1/0")
    with pytest.raises(interpreters.NotShareableError):
        interp.prepare_main(x=[])
    with pytest.raises(interpreters.InterpreterNotFoundError):
        subinterpreters.Interpreter(999_999)


def test_the_same_in_every_interpreter(interp):
    """A class of ours, raised there, is recognised there and told here."""
    interp.exec("""
        import subinterpreters
        caught = []
        for use in (
            lambda: subinterpreters.Interpreter(999_999),
            lambda: subinterpreters.Queue(999_999),
            lambda: subinterpreters.create_queue().get_nowait(),
            lambda: subinterpreters.get_main().exec('1'),
        ):
            try:
                use()
            except (subinterpreters.InterpreterError, subinterpreters.QueueError) as e:
                caught.append(type(e).__name__)
        """)
    assert interp.call(eval, "caught") == [
        "InterpreterNotFoundError",
        "QueueNotFoundError",
        "QueueEmpty",
        "InterpreterError",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "InterpreterError",
        "InterpreterNotFoundError",
        "NotShareableError",
        "QueueError",
        "QueueNotFoundError",
        "QueueEmpty",
        "QueueFull",
        "ItemInterpreterDestroyed",
    ],
)
def test_they_cross_as_values(interp, name):
    cls = getattr(subinterpreters, name)

    def look(exc):
        return type(exc).__name__, exc.args, exc

    seen, args, back = interp.call(look, cls("spam"))
    assert (seen, args) == (name, ("spam",))
    assert type(back) is cls
    assert back.args == ("spam",)
