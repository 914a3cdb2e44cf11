"""Values on their way to another interpreter and back: equal, of the same type, with
their sharing and cycles."""

import copy
import datetime
import pathlib
import sys
import weakref

import pytest
import subinterpreters
from subinterpreters import NotShareableError

sys.path.insert(0, str(pathlib.Path(__file__).parent / "transfer"))

import samples


def echo(value):
    return value


@pytest.fixture
def far():
    """An interpreter that can import the samples."""
    interp = subinterpreters.create()
    interp.prepare_main(folder=str(pathlib.Path(samples.__file__).parent))
    interp.exec("import sys; sys.path.insert(0, folder)")
    yield interp
    interp.close()


@pytest.fixture
def there_and_back(far):
    return lambda value: far.call(echo, value)


@pytest.mark.parametrize("value", samples.VALUES, ids=lambda v: repr(v)[:30])
def test_values_cross(there_and_back, value):
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value
    if " at 0x" not in repr(value):
        assert repr(back) == repr(value)


@pytest.mark.parametrize("value", samples.VALUES, ids=lambda v: repr(v)[:30])
def test_values_cross_a_queue(value):
    queue = subinterpreters.create_queue()
    queue.put([value, value])
    first, second = queue.get()
    assert type(first) is type(value)
    assert first == second == value


def test_sharing_is_kept(there_and_back):
    inner = [1]
    text = "".join(["some ", "text"])
    a, b, c, d, e = there_and_back([inner, inner, {"k": inner}, text, [text]])
    assert a is b is c["k"]
    assert d is e[0]


def test_cycles_are_kept(there_and_back):
    items = []
    items.append(items)
    table = {}
    table["self"] = table
    node = samples.Node()
    node.me = [node]
    back = there_and_back([items, table, node])
    assert back[0][0] is back[0]
    assert back[1]["self"] is back[1]
    assert back[2].me[0] is back[2]


def test_cycles_through_what_is_made_from_its_parts(there_and_back):
    row = ([],)
    row[0].append(row)
    back = there_and_back(row)
    assert back[0][0] is back
    node = samples.Node()
    group = frozenset([node])
    node.group = group
    back = there_and_back(group)
    (member,) = back
    assert member.group is back
    node.pair = samples.Point(node, 1)
    back = there_and_back(node.pair)
    assert back.x.pair is back


class Back:
    """What it is reduced to leads back to it."""

    def __init__(self, reduced):
        self.reduced = reduced

    def __setitem__(self, name, value):
        setattr(self, name, value)

    def keep(self):
        pass

    def __reduce__(self):
        return Back, (None,), *self.reduced(self)

    def leads_back(self):
        return (self.me if hasattr(self, "me") else self.kept.__self__) is self


@pytest.mark.parametrize(
    "reduced",
    [
        lambda self: ({"me": self},),
        lambda self: ({"me": self, "others": [[self]]},),
        lambda self: (None, None, iter([("me", self)])),
        lambda self: ({"kept": self.keep},),
    ],
)
def test_what_reduces_to_itself_and_is_known_to_nobody_else(reduced):
    queue = subinterpreters.create_queue()
    queue.put(Back(reduced))
    back = queue.get()
    assert back.leads_back()
    queue.put([Back(reduced)])
    (back,) = queue.get()
    assert back.leads_back()


class Parent:
    def __init__(self):
        self.children = [Child(self), Child(self)]


class Child:
    def __init__(self, parent):
        self.parent = weakref.ref(parent)

    def __getstate__(self):
        return self.parent()

    def __setstate__(self, parent):
        self.parent = weakref.ref(parent)


def test_what_is_reached_again_by_a_weak_reference():
    queue = subinterpreters.create_queue()
    queue.put([Parent(), Parent()])
    for parent in queue.get():
        assert [child.parent() for child in parent.children] == [parent, parent]


class State(dict):
    pass


class Made:
    def __init__(self, part):
        self.part = part

    def __reduce__(self):
        return Made, (self.part,), {"part": self.part}


def test_the_state_of_what_an_object_is_made_from_leads_back_to_it():
    made = Made(State(a=1))
    made.part.node = samples.Node()
    made.part.node.made = made
    queue = subinterpreters.create_queue()
    queue.put(made)
    back = queue.get()
    assert back.part == {"a": 1}
    assert back.part.node.made is back


def test_a_copy_like_deepcopy(there_and_back):
    shared = samples.Data(1, [2])
    value = {"a": [shared, (shared, {"b": shared})], "c": {1, 2}, (3, 4): shared}
    back = there_and_back(value)
    model = copy.deepcopy(value)
    assert back == model
    assert back["a"][0] is back["a"][1][0] is back[(3, 4)]
    assert back["a"][0] is not shared


def test_the_order_of_dicts_is_kept(there_and_back):
    value = [{"b": 1, "a": 2}, {"a": 1, "b": 2}, {"b": 3, "a": 4}]
    assert [list(d) for d in there_and_back(value)] == [list(d) for d in value]


def nested(make):
    value = make(None)
    for _ in range(100_000):
        value = make(value)
    return value


@pytest.mark.parametrize(
    "make",
    [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, samples.Plain],
    ids=["list", "tuple", "dict", "object"],
)
def test_depth_does_not_overflow(make):
    queue = subinterpreters.create_queue()
    queue.put(nested(make))
    value, depth = queue.get(), 0
    while value is not None:
        depth += 1
        value = (
            value.value
            if isinstance(value, samples.Plain)
            else value["a" if isinstance(value, dict) else 0]
        )
    assert depth == 100_001


def test_state_is_set_by_the_class(there_and_back):
    # Once on the way there, once on the way back.
    assert there_and_back(samples.Stateful(1)).value == 3


def test_slots_without_a_value_stay_so(there_and_back):
    some = samples.Slots(1, 2)
    del some.a
    none = samples.Slots(1, 2)
    del none.a, none.b
    other = samples.Slots(3, [4])
    back = there_and_back([other, some, none, other, some])
    assert [[hasattr(v, n) for n in "ab"] for v in back] == [
        [True, True],
        [False, True],
        [False, False],
        [True, True],
        [False, True],
    ]
    assert (back[0].a, back[0].b, back[1].b) == (3, [4], 2)
    assert back[0] is back[3]
    assert back[1] is back[4]


def test_errors_of_ours_and_dates_stay_what_they_are(far):
    """Also where their module cannot be imported, or is another one over there."""

    def look(value):
        import datetime

        return type(value) in vars(datetime).values(), repr(value), value

    for error in (
        subinterpreters.InterpreterError,
        subinterpreters.InterpreterNotFoundError,
    ):
        _, text, back = far.call(look, error("boo"))
        assert text == repr(error("boo"))
        assert type(back) is error
        assert back.args == ("boo",)
    zone = datetime.timezone(datetime.timedelta(hours=1))
    for value in (
        datetime.datetime.now(zone),
        datetime.date.today(),
        datetime.time(1, 2, tzinfo=zone),
        datetime.timedelta(1, 2, 3),
        zone,
    ):
        known, text, back = far.call(look, value)
        assert known
        assert text == repr(value)
        assert type(back) is type(value)
        assert back == value


def test_names_are_interned(there_and_back):
    (back,) = there_and_back([{"identifier": 1}])
    (name,) = back
    assert name is sys.intern("identifier")
    assert next(iter(vars(there_and_back(samples.Plain(1))))) is sys.intern("value")


def test_a_memoryview_is_used_in_place(far):
    memory = bytearray(b"hello")

    def change(view):
        view[0] = ord("J")
        view.release()

    with memoryview(memory) as view:
        far.call(change, view)
    assert memory == b"Jello"
    memory.extend(b"!")  # nobody holds it any longer


def test_a_memoryview_keeps_shape_and_protection(there_and_back):
    view = memoryview(b"abcdefgh").cast("H", shape=[2, 2])
    back = there_and_back(view)
    assert (back.format, back.shape, back.readonly) == ("H", (2, 2), True)
    assert back.tolist() == view.tolist()
    strided = memoryview(b"abcdef")[::-2]
    assert there_and_back(strided).tobytes() == strided.tobytes()


def test_exceptions_keep_what_belongs_to_them(there_and_back):
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise samples.Custom("outer", 5) from inner
    except samples.Custom as exc:
        exc.add_note("a note")
        back = there_and_back(exc)
    assert (type(back), back.args, back.code) == (samples.Custom, ("outer",), 5)
    assert back.__notes__[0] == "a note"
    assert back.__notes__[1].startswith("Traceback in interpreter ")
    assert repr(back.__cause__) == "KeyError('inner')"
    assert back.__suppress_context__
    group = there_and_back(ExceptionGroup("g", [ValueError(1), KeyError("no")]))
    assert repr(group) == "ExceptionGroup('g', [ValueError(1), KeyError('no')])"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1, {"x": samples.Locked()}], "[1]['x'].lock: "),
        ({"a": [(1, samples.Locked())]}, "['a'][0][1].lock: "),
        ([samples.Data(1, [samples.Locked()])], "[0].items[0].lock: "),
        (samples.Failing(), "'Failing' object"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_cross_is_named(value, place):
    queue = subinterpreters.create_queue()
    with pytest.raises(NotShareableError) as caught:
        queue.put(value)
    assert place in str(caught.value)
    assert caught.value.__cause__ is not None
    assert queue.empty()


def test_arguments_are_named(far):
    with pytest.raises(NotShareableError, match=r"args\[1\]\['x'\]\.lock: "):
        far.call(echo, 1, {"x": samples.Locked()})
    with pytest.raises(NotShareableError, match=r"name\[0\]\.lock: "):
        far.call(echo, name=[samples.Locked()])


@pytest.mark.parametrize(
    "reduced",
    [
        None,
        5,
        (),
        (int,),
        (int, 5),
        (5, ()),
        (int, (), {}, [], [], None, 7),
        (dict, (), None, None, [1]),
        "no_such_name",
    ],
    ids=repr,
)
def test_lying_reduce(reduced):
    queue = subinterpreters.create_queue()
    with pytest.raises(NotShareableError):
        queue.put([samples.Lying(reduced)])


@pytest.mark.parametrize("kind", [list, dict, set])
def test_containers_that_change_meanwhile(kind):
    queue = subinterpreters.create_queue()
    container = kind()
    guilty = samples.Shrinking(container)
    if kind is dict:
        container.update({1: guilty, 2: [3], 4: [5]})
    else:
        add = container.append if kind is list else container.add
        for item in (guilty, (3, [] if kind is list else ()), "x"):
            add(item)
    with pytest.raises(NotShareableError, match="changed"):
        queue.put(container)


def test_an_object_that_reduces_to_itself():
    class Loop:
        def __reduce_ex__(self, protocol):
            return list, (self,)

    queue = subinterpreters.create_queue()
    with pytest.raises(NotShareableError, match="reduce to themselves"):
        queue.put(Loop())


def test_a_class_that_the_other_cannot_import(far):
    ghost = type(sys)("ghost_module")
    sys.modules["ghost_module"] = ghost
    try:
        exec("class Ghost: pass", ghost.__dict__)
        with pytest.raises(NotShareableError) as caught:
            far.call(echo, ghost.Ghost())
    finally:
        del sys.modules["ghost_module"]
    assert "'Ghost' of module 'ghost_module'" in str(caught.value)
    assert "No module named" in str(caught.value)


def test_many_strings_that_others_refer_to():
    queue = subinterpreters.create_queue()
    count, often = 40_000, "x" * 30 + "y"
    strings = [f"n{i}" for i in range(count)] + [often] * 1000
    kept = list(strings)
    queue.put(strings)
    copy = queue.get()
    assert copy == kept
    # Strings that many refer to are one afterwards, wherever they are met.
    assert len({id(s) for s in copy[count:]}) == 1


def test_early_strings_stay_the_same_object():
    queue = subinterpreters.create_queue()
    strings = [f"n{i}" for i in range(40_000)]
    queue.put((strings, strings[:1000], [s.encode() for s in strings]))
    first, again, _ = queue.get()
    assert all(a is b for a, b in zip(first, again, strict=False))


def give(name):
    import __main__

    return getattr(__main__, name)


def references(name):
    import __main__

    return sys.getrefcount(getattr(__main__, name))


@pytest.mark.parametrize(
    "large",
    [b"b" * 100_000, "a" * 100_000, "\xe9" * 100_000, "\u20ac" * 50_000],
    ids=["bytes", "ascii", "latin1", "ucs2"],
)
def test_large_results_are_given_back(large):
    interp = subinterpreters.create()
    interp.prepare_main(large=large)
    before = interp.call(references, "large")
    for _ in range(3):
        assert interp.call(give, "large") == large
    assert interp.call(references, "large") == before
    interp.close()


def test_a_large_result_whose_decoding_forks(script):
    source = """
        import os, warnings
        import subinterpreters

        warnings.simplefilter("ignore")

        def fork(data):
            return os.fork(), data

        class Forking:
            def __reduce__(self):
                return fork, (bytes(100_000),)

        interp = subinterpreters.create()
        child, data = interp.call(Forking)
        assert data == bytes(100_000)
        if child == 0:
            try:
                interp.call(len, ())
            except subinterpreters.InterpreterNotFoundError:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert interp.call(len, "abc") == 3
        interp.close()
    """
    script.ok(source)
