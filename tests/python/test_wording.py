"""Errors say what CPython 3.14 says, where it says something of use."""

import inspect
import sys

import pytest
import subinterpreters

CASES = {
    "exec-of-int": (
        lambda m, i: i.exec(1),
        ("TypeError", "unsupported script 1"),
    ),
    "exec-of-a-function-with-arguments": (
        lambda m, i: i.exec(lambda x: x),
        ("ValueError", "code with args not supported"),
    ),
    "exec-with-nul": (
        lambda m, i: i.exec("a\0b"),
        ("SyntaxError", "source code string cannot contain null bytes"),
    ),
    "call-of-int": (
        lambda m, i: i.call(1),
        ("TypeError", "expected a callable, got 1"),
    ),
    "exec-in-main": (
        lambda m, i: m.get_main().exec("1"),
        ("InterpreterError", "cannot exec code for unrecognized interpreter 0"),
    ),
    "call-in-main": (
        lambda m, i: m.get_main().call(len, ()),
        ("InterpreterError", "cannot make a call in unrecognized interpreter 0"),
    ),
    "prepare-main": (
        lambda m, i: m.get_main().prepare_main(x=1),
        ("InterpreterError", "cannot update __main__ for unrecognized interpreter 0"),
    ),
    "close-main": (
        lambda m, i: m.get_main().close(),
        ("InterpreterError", "cannot destroy unrecognized interpreter 0"),
    ),
    "prepare-with-int": (
        lambda m, i: i.prepare_main(1),
        ("TypeError", "'int' object is not iterable"),
    ),
    "id-of-str": (
        lambda m, i: m.Interpreter("1"),
        ("TypeError", "id must be an int, got '1'"),
    ),
    "id-below-zero": (
        lambda m, i: m.Interpreter(-1),
        ("ValueError", "interpreter ID must be a non-negative int, got -1"),
    ),
    "id-of-none": (
        lambda m, i: m.Interpreter(99999),
        ("InterpreterNotFoundError", "unrecognized interpreter ID 99999"),
    ),
    "size-of-queue": (
        lambda m, i: m.create_queue("1"),
        ("TypeError", "'str' object cannot be interpreted as an integer"),
    ),
    "queue-of-str": (
        lambda m, i: m.Queue("1"),
        ("TypeError", "id must be an int, got '1'"),
    ),
    "queue-of-none": (
        lambda m, i: m.Queue(99999),
        ("QueueNotFoundError", "queue 99999 not found"),
    ),
    "timeout-below-zero": (
        lambda m, i: m.create_queue().get(timeout=-1),
        ("ValueError", "timeout value must be non-negative"),
    ),
    "uncaught": (
        lambda m, i: i.exec("1/0"),
        (
            "ExecutionFailed",
            "ZeroDivisionError: division by zero\n\n"
            "Uncaught in the interpreter:\n\n"
            "Traceback (most recent call last):\n"
            '  File "<script>", line 1, in <module>\n'
            "ZeroDivisionError: division by zero",
        ),
    ),
    "uncaught-exit": (
        lambda m, i: i.exec("raise SystemExit(3)"),
        (
            "ExecutionFailed",
            "SystemExit: 3\n\n"
            "Uncaught in the interpreter:\n\n"
            "Traceback (most recent call last):\n"
            '  File "<script>", line 1, in <module>\n'
            "SystemExit: 3",
        ),
    ),
}
# Those that name an id of the object: what is told of it, and the text around the id.
OF_QUEUES = {
    "empty": (lambda q: q.get_nowait(), "QueueEmpty", "queue {} is empty"),
    "empty-in-time": (lambda q: q.get(timeout=0), "QueueEmpty", "queue {} is empty"),
    "full": (lambda q: fill(q).put_nowait(2), "QueueFull", "queue {} is full"),
    "full-in-time": (
        lambda q: fill(q).put(2, timeout=0),
        "QueueFull",
        "queue {} is full",
    ),
}


def fill(queue):
    queue.put(1)
    return queue


def modules():
    """Ours, and CPython's beside it where there is one."""
    found = [subinterpreters]
    if sys.version_info >= (3, 14):
        from concurrent import interpreters

        found.append(interpreters)
    return found


def raised(function, *args):
    try:
        function(*args)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


@pytest.mark.parametrize("name", CASES)
def test_as_cpython(name):
    do, expected = CASES[name]
    for module in modules():
        interp = module.create()
        try:
            assert raised(do, module, interp) == expected, module
        finally:
            interp.close()


@pytest.mark.parametrize("use", ["exec", "call", "prepare_main", "close", "is_running"])
def test_of_closed_interpreters_as_cpython(use):
    arguments = {"exec": ["1"], "call": [len, ()], "prepare_main": [{"x": 1}]}
    for module in modules():
        interp = module.create()
        interp.close()
        said = raised(getattr(interp, use), *arguments.get(use, []))
        text = f"unrecognized interpreter ID {interp.id}"
        assert said == ("InterpreterNotFoundError", text), module


@pytest.mark.parametrize("name", OF_QUEUES)
def test_of_queues_as_cpython(name):
    do, kind, text = OF_QUEUES[name]
    for module in modules():
        queue = module.create_queue(1)
        assert raised(do, queue) == (kind, text.format(queue.id)), module


def public_callables():
    for name in subinterpreters.__all__:
        value = getattr(subinterpreters, name)
        if isinstance(value, type):
            if not issubclass(value, BaseException):
                yield name, value
                for method, function in vars(value).items():
                    if not method.startswith("_") and inspect.isroutine(function):
                        yield f"{name}.{method}", function
        elif callable(value) and name != "create_queue":  # UNBOUND is no literal
            yield name, value


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in public_callables()]
)
def test_tells_its_parameters(value):
    inspect.signature(value)
