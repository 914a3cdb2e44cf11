"""Objects that fail, lie or change things on their way: always an error that says what
it was, never a crash; nothing is lost, and all goes on afterwards."""

import array
import asyncio
import copyreg
import sys

import pytest
import subinterpreters
from subinterpreters import NotShareableError, create_queue


class Reduced:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce_ex__(self, protocol):
        return self.reduced


class Object:
    pass


class BadState:
    def __setstate__(self, state):
        raise RuntimeError("no such state")


class BadList(list):
    def extend(self, items):
        raise RuntimeError("not extended")

    append = extend


class BadDict(dict):
    def __setitem__(self, key, value):
        raise RuntimeError("not set")


class Unhashable:
    """Once it has arrived."""

    def __hash__(self):
        if not hasattr(self, "home"):
            raise RuntimeError("no hash")
        return 1

    def __init__(self):
        self.home = True

    def __reduce__(self):
        return Unhashable.__new__, (Unhashable,)


class Recursive(Unhashable):
    """Its comparisons never end, once two of them have arrived."""

    def __hash__(self):
        return 1

    def __eq__(self, other):
        return self is other if hasattr(self, "home") else self == other

    def __reduce__(self):
        return Recursive.__new__, (Recursive,)


def set_state(item, state):
    raise RuntimeError("no setter")


def failing():
    yield 1
    raise RuntimeError("no more items")


def echo(value):
    return value


LIES_AT_HOME = {
    "no-iterator": (lambda: (list, (), None, 5), "not iterable"),
    "items-that-end": (lambda: (list, (), None, failing()), "no more items"),
    "pairs-that-end": (lambda: (dict, (), None, None, failing()), "must be pairs"),
    "triples": (lambda: (dict, (), None, None, iter([(1, 2, 3)])), "must be pairs"),
    "too-many": (lambda: (int, (), None, None, None, None, None), "2 to 6 items"),
}
LIES_ON_ARRIVAL = {
    "the-callable": ((int, ("x",)), "invalid literal"),
    "the-arguments": ((len, (1, 2)), "exactly one argument"),
    "no-class": ((copyreg.__newobj__, (5,)), "not a type"),
    "no-arguments": ((copyreg.__newobj__, ()), "positional argument"),
    "no-instances": ((copyreg.__newobj__, (type(failing()),)), "generator"),
    "ex-arguments": ((copyreg.__newobj_ex__, (int, 5, {})), "must be an iterable"),
    "ex-keywords": ((copyreg.__newobj_ex__, (int, (), 5)), "must be a mapping"),
    "state": ((Object, (), 5), "must be a dict"),
    "slots": ((Object, (), (1, 2)), "must be a dict"),
    "slot-names": ((Object, (), (None, {1: 2})), "must be str"),
    "setstate": ((BadState, (), {"a": 1}), "no such state"),
    "setter": ((Object, (), {"a": 1}, None, None, set_state), "no setter"),
    "not-a-setter": ((Object, (), {"a": 1}, None, None, 7), "not callable"),
    "unhashable": ((set, ([[]],)), "unhashable"),
    "list": ((BadList, (), None, [1]), "not extended"),
    "dict": ((BadDict, (), None, None, [(1, 2)]), "not set"),
    "no-list": ((int, (), None, [1]), "append"),
}


@pytest.mark.parametrize("lie", LIES_AT_HOME)
def test_lies_that_are_found_out_at_home(interp, lie):
    make, why = LIES_AT_HOME[lie]
    queue = create_queue()
    with pytest.raises(NotShareableError, match=why):
        queue.put([Reduced(*make())])
    with pytest.raises(NotShareableError, match=why):
        interp.call(echo, [Reduced(*make())])
    assert queue.empty()
    assert interp.call(echo, 1) == 1


def reduced(spec):
    """What crosses anew each time: an iterator gives its items once."""
    return Reduced(*(iter(s) if isinstance(s, list) else s for s in spec))


@pytest.mark.parametrize("lie", LIES_ON_ARRIVAL)
def test_lies_that_are_found_out_on_arrival(interp, lie):
    spec, why = LIES_ON_ARRIVAL[lie]
    queue = create_queue()
    queue.put(["first", reduced(spec)])
    queue.put("second")
    for _ in range(2):
        with pytest.raises(NotShareableError, match=why) as caught:
            queue.get()
        assert "stays in the queue" in str(caught.value)
        assert queue.qsize() == 2
    with pytest.raises(NotShareableError, match=why):
        interp.call(len, [reduced(spec)])
    assert interp.call(echo, 1) == 1


def test_what_fails_to_arrive_stays_for_a_loop_too():
    async def main():
        queue = create_queue()
        queue.put(Reduced(int, ("x",)))
        for _ in range(2):
            with pytest.raises(NotShareableError, match="invalid literal"):
                await queue.get_async()
        assert queue.qsize() == 1

    asyncio.run(main())


@pytest.mark.parametrize("kind", [Unhashable, Recursive])
@pytest.mark.parametrize("where", [set, frozenset, dict])
def test_hash_and_comparison_that_fail_on_arrival(kind, where):
    queue = create_queue()
    one, two = kind(), kind()
    queue.put({one: 1, two: 2} if where is dict else where([one, two]))
    with pytest.raises(NotShareableError, match="no hash|recursion") as caught:
        queue.get()
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert queue.qsize() == 1


class Meddler:
    """Does something while it is being sent; of several ways to be asked."""

    def __init__(self, change):
        self.change = change

    def __reduce__(self):
        self.change()
        return int, (7,)


class StateMeddler(Meddler):
    __reduce__ = object.__reduce__

    def __getstate__(self):
        self.change()
        return {"done": True}


class ItemMeddler(Meddler):
    def __reduce__(self):
        def items():
            yield 1
            self.change()
            yield 2

        return list, (), None, items()


each_meddler = pytest.mark.parametrize("kind", [Meddler, StateMeddler, ItemMeddler])


def changes():
    """What, what makes a container of its guilty member, the change."""
    yield "list-grows", lambda g: [g, [1], [2]], lambda c: c.append([3])
    yield "list-shrinks", lambda g: [g, [1], [2]], lambda c: c.pop()
    yield "list-is-cleared", lambda g: [[1], g, [2]], lambda c: c.clear()
    yield "dict-grows", lambda g: {1: g, 2: [2]}, lambda c: c.update({3: [3]})
    yield "dict-shrinks", lambda g: {1: g, 2: [2], 3: []}, lambda c: c.pop(3)
    yield "shape-grows", lambda g: {"a": g, "b": [2]}, lambda c: c.update(d=[3])
    yield "shape-shrinks", lambda g: {"a": g, "b": [2]}, lambda c: c.pop("b")
    more = [(i,) for i in range(99)]
    yield "set-grows", lambda g: {g, (1,), (2,)}, lambda c: c.update(more)
    yield "set-shrinks", lambda g: {g, (1,), (2,)}, lambda c: c.clear()


CHANGES = {name: (make, change) for name, make, change in changes()}


@each_meddler
@pytest.mark.parametrize("what", CHANGES)
def test_a_container_whose_size_changes(interp, kind, what):
    make, change = CHANGES[what]
    queue = create_queue()
    for send in (queue.put, lambda value: interp.call(len, value)):
        container = make(kind(lambda: change(container)))  # noqa: B023 - called at once
        with pytest.raises(NotShareableError, match="(?i)changed"):
            send(container)
    assert queue.empty()
    assert interp.call(len, "still works") == 11


def test_members_that_are_replaced_meanwhile(script):
    """The number stays the same, and what was there is freed at once."""
    script.ok("""
        import gc, subinterpreters
        class Meddler:
            def __init__(self, change): self.change = change
            def __reduce__(self):
                self.change()
                gc.collect()
                [bytes(n) for n in range(600)]  # takes the memory that was freed
                return int, (7,)
        queue = subinterpreters.create_queue()
        interp = subinterpreters.create()
        def fresh(n):
            return [str(n) * 9, {"k": n}, (n, [n]), bytearray(b"%d" % n * 20_000)]
        def replace(c):
            if isinstance(c, list):
                c[:] = [fresh(n) for n in range(len(c))]
            elif isinstance(c, dict):
                keys = list(c)
                c.clear()
                c.update((k, fresh(5)) for k in keys)
            else:
                n = len(c)
                c.clear()
                c.update(str(k) * 30 for k in range(n))
        def owner(c):
            vars(c).update(a=fresh(1), b=fresh(2), c=fresh(3))
        class Plain: pass
        def plain():
            p = Plain()
            p.a, p.b, p.c = fresh(0), Meddler(lambda: owner(p)), fresh(2)
            return p
        def of(make):
            c = make(Meddler(lambda: replace(c)))
            return c
        for make in (
            plain,
            lambda: of(lambda g: [fresh(0), g, fresh(1), fresh(2)]),
            lambda: of(lambda g: [g, fresh(1), g]),
            lambda: of(lambda g: {1: fresh(0), 2: g, 3: fresh(1)}),
            lambda: of(lambda g: {"a": fresh(0), "b": g, "c": fresh(1)}),
            lambda: of(lambda g: {(1, "a" * 50), g, (2, "b" * 50), (3, "c" * 50)}),
        ):
            for send in (lambda v: (queue.put(v), repr(queue.get())),
                         lambda v: interp.call(repr, v)):
                for value in (make(), [[make(), make()], make()], (make(), "x" * 9)):
                    try:
                        send(value)
                    except subinterpreters.NotShareableError as exc:
                        assert "changed" in str(exc), exc
        assert queue.empty() and interp.call(len, "still works") == 11
        """)


class Sending:
    """Sends what it is part of while it is being sent itself, so many times."""

    value = None

    def __init__(self, times):
        self.queue, self.times = create_queue(), times

    def __reduce__(self):
        if self.times > 0:
            self.times -= 1
            self.queue.put(self.value)
        return int, (self.queue.qsize(),)


def test_one_that_sends_itself_meanwhile():
    guilty = Sending(3)
    Sending.value = value = ["sent", guilty]
    queue = create_queue()
    queue.put(value)
    assert queue.get() == ["sent", 3]
    assert [guilty.queue.get() for _ in range(3)] == [["sent", n] for n in range(3)]


def test_one_that_sends_itself_for_ever():
    guilty = Sending(float("inf"))
    Sending.value = value = ["sent", guilty]
    queue = create_queue()
    with pytest.raises(NotShareableError, match="recursion") as caught:
        queue.put(value)
    assert isinstance(caught.value.__cause__, RecursionError)
    assert queue.empty()
    assert guilty.queue.empty()


def test_a_memoryview_that_is_released_meanwhile(interp):
    memory = bytearray(8)
    view = memoryview(memory)
    with pytest.raises(NotShareableError, match="released memoryview"):
        interp.call(len, [Meddler(view.release), view])
    # One that is on its way cannot be released any more.
    view = memoryview(memory)
    with pytest.raises(NotShareableError) as caught:
        interp.call(len, [view, Meddler(view.release)])
    assert isinstance(caught.value.__cause__, BufferError)
    view.release()
    memory.append(1)


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("change", ["extend", "clear"])
@pytest.mark.parametrize("kind", ["bytearray", "array"])
def test_memory_that_is_resized_meanwhile(interp, kind, change, size):
    """Either it crosses as it was, or it is read in place and the change fails."""
    memory = bytearray(size) if kind == "bytearray" else array.array("B", bytes(size))
    before = memory[:]

    def resize():
        if change == "extend":
            memory.extend(memory)
        else:
            del memory[:]

    try:
        assert interp.call(echo, [memory, Meddler(resize)]) == [before, 7]
        assert len(memory) != size
    except NotShareableError as exc:
        if not isinstance(exc.__cause__, BufferError):
            raise
        assert len(memory) == size
    memory.append(1)


def test_a_view_whose_owner_is_resized_meanwhile(interp):
    memory = bytearray(8)
    for value in (
        [memoryview(memory), Meddler(lambda: memory.append(1))],
        [Meddler(lambda: memory.append(1)), memoryview(memory)],
    ):
        with pytest.raises(NotShareableError) as caught:
            interp.call(len, value)
        assert isinstance(caught.value.__cause__, BufferError)
        value.clear()
        assert len(memory) == 8
    memory.append(1)


def test_large_bytes_that_nobody_else_keeps(interp):
    """They are read in place by the receiver, long after their owner let them go."""
    owner = ["x" * 100_000, b"y" * 100_000, bytearray(b"z" * 100_000)]
    value = [list(owner), Meddler(lambda: value[0].clear())]
    expected = [list(owner), 7]
    owner.clear()
    assert interp.call(echo, value) == expected
    assert value[0] == []


def test_a_module_that_fails_to_import_there(interp, tmp_path, monkeypatch):
    (tmp_path / "a_broken_module.py").write_text(
        "import __main__\nif hasattr(__main__, 'broken'): raise OSError('no disk')\n"
        "class Thing: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import a_broken_module

    interp.prepare_main(folder=str(tmp_path), broken=True)
    interp.exec("import sys; sys.path.insert(0, folder)")
    what = (
        "cannot find 'Thing' of module 'a_broken_module' in interpreter "
        f"{interp.id}.*OSError: no disk"
    )
    with pytest.raises(NotShareableError, match=what):
        interp.call(len, [a_broken_module.Thing()])
    queue = create_queue()
    queue.put(a_broken_module.Thing())
    interp.prepare_main(queue=queue)
    with pytest.raises(subinterpreters.ExecutionFailed, match=what):
        interp.exec("queue.get()")
    interp.exec("del broken")
    interp.exec("assert type(queue.get()).__name__ == 'Thing'")
    del sys.modules["a_broken_module"]


@pytest.mark.parametrize("value", [1, bytearray(100_000)], ids=["small", "in-place"])
def test_a_target_that_is_closed_while_arguments_are_sent(value):
    interp = subinterpreters.create()
    with pytest.raises(subinterpreters.InterpreterNotFoundError):
        interp.call(echo, value, Meddler(interp.close))
    if isinstance(value, bytearray):
        value.append(1)


def test_a_target_that_is_closed_while_its_result_is_read():
    """By what the result runs where it arrives: large parts are still read in place."""
    interp = subinterpreters.create()

    def give(identity):
        class Result:
            def __reduce__(self):
                return close, (identity,)

        def close(identity):
            import subinterpreters

            try:
                subinterpreters.Interpreter(identity).close()
            except subinterpreters.InterpreterError as exc:
                return str(exc)

        return ["x" * 100_000, Result(), b"y" * 100_000]

    text, said, data = interp.call(give, interp.id)
    assert (text, said, data) == ("x" * 100_000, "interpreter running", b"y" * 100_000)
    interp.close()
