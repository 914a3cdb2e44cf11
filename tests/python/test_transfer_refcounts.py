"""Reference counts, here and there, are the same after crossings as before, also where
one failed half-way: of what is sent, its parts, their classes and interned names."""

import gc
import pathlib
import sys

import pytest
import subinterpreters
from subinterpreters import NotShareableError

sys.path.insert(0, str(pathlib.Path(__file__).parent / "transfer"))

import samples

TIMES = 10
NAMES = ["value", "number", "items", "kept", "plain", "cycle", "a name of this test"]
# What follows a value on its way, and so makes the crossing fail before or after it.
ENDINGS = {
    "complete": lambda: None,
    "refused at home": samples.Locked,
    "refused on arrival": lambda: samples.Lying((int, ("no number",))),
}


@pytest.fixture
def far():
    """An interpreter that can import the samples."""
    interp = subinterpreters.create()
    interp.prepare_main(folder=str(pathlib.Path(samples.__file__).parent))
    interp.exec("import sys; sys.path.insert(0, folder)")
    yield interp
    interp.close()


def parts(value):
    """The value, all that it consists of, the classes of these, and names."""
    import gc
    import sys
    import types

    leaves = type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType
    found, todo = {}, [value, *map(sys.intern, NAMES)]
    while todo:
        item = todo.pop()
        if item is not None and id(item) not in found:
            found[id(item)] = item
            todo.append(type(item))
            if not isinstance(item, leaves):
                todo += gc.get_referents(item)
    return list(found.values())


def values():
    node = samples.Node()
    node.cycle = [node, {sys.intern(NAMES[-1]): node}]
    return [*samples.VALUES, node, *samples.errors()]


def changed(count, cross):
    """What a round changed. Caches know all after the first; leaks are in each."""

    def counts():
        for _ in range(TIMES):
            cross()
        gc.collect()
        return count()

    counts()
    before = counts()
    return [
        (what, old, new)
        for (what, old), (_, new) in zip(before, counts(), strict=True)
        if old != new
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_the_sender(far, ending):
    sent = values()
    watched = parts(sent)

    def count():
        return [(repr(item)[:60], sys.getrefcount(item)) for item in watched]

    def cross():
        queue = subinterpreters.create_queue()
        for value in sent:
            last = ENDINGS[ending]()
            for attempt in (
                lambda: far.call(len, [value, last]),  # noqa: B023 - called at once
                lambda: queue.put((value, last)),  # noqa: B023
                queue.get_nowait,
            ):
                try:
                    attempt()
                except (NotShareableError, subinterpreters.QueueEmpty):
                    assert ending != "complete"

    assert changed(count, cross) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_the_receiver_that_returns_it(far, ending):
    def keep(values):
        import __main__

        __main__.values, __main__.watched = values, parts(values)

    def count():
        import gc

        import __main__

        gc.collect()
        return [(repr(item)[:60], sys.getrefcount(item)) for item in __main__.watched]

    def give(number, value, last):
        import __main__

        return [__main__.values[number], value, last()]

    def cross():
        for number, value in enumerate(sent):
            try:
                far.call(give, number, value, ENDINGS[ending])
            except (NotShareableError, ValueError):
                assert ending != "complete"

    sent = values()
    far.call(keep, sent)
    assert changed(lambda: far.call(count), cross) == []
