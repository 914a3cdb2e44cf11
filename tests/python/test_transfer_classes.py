"""Classes of a script: made over there as they are, without their makers' code."""

import textwrap

import pytest

HEAD = """
import abc, ctypes, dataclasses, sys, typing
import subinterpreters
call = subinterpreters.create().call
def same(value): return value
def make(cls, *args): return cls(*args)
def hints(cls): return typing.get_type_hints(cls)
def raw(cls): return cls.__annotations__
"""

CASES = {
    "a metaclass that wants arguments, and its caller": """
        class Meta(type):
            def __new__(meta, name, bases, space, *, must):
                sys._getframe(5 if made else 0)
                cls = super().__new__(meta, name, bases, space)
                cls.must = must
                made.append(name)
                return cls
            def __init__(cls, name, bases, space, *, must):
                super().__init__(name, bases, space)
        made = []
        class First(metaclass=Meta, must=3): pass
        assert call(getattr, First, "must") == 3
        assert type(call(same, First())) is First
        assert call(lambda cls: type(cls).__name__, First) == "Meta"
        """,
    "abstract classes": """
        class Base(abc.ABC):
            @abc.abstractmethod
            def method(self): ...
        class Whole(Base):
            def method(self): return 4
        @Base.register
        class Other: pass
        assert call(lambda: Whole().method()) == 4
        assert call(lambda: isinstance(Whole(), Base))
        assert call(lambda cls: cls.__abstractmethods__, Base) == {"method"}
        try:
            call(make, Base)
        except subinterpreters.ExecutionFailed as error:
            assert "abstract" in str(error)
        else:
            raise AssertionError
        """,
    "attributes that are made by way of the class": """
        class Thing:
            @classmethod
            def build(cls): return cls, 5
        Thing.later = Thing.build
        assert call(lambda: Thing.later()[1]) == 5
        assert call(lambda: Thing.later()[0] is Thing)
        """,
    "annotations": """
        @dataclasses.dataclass
        class Point:
            x: int
            names: list[str] = dataclasses.field(default_factory=list)
            limit: typing.ClassVar[int] = 3
        class Named(typing.NamedTuple):
            a: int
            b: str = ""
        class Typed(typing.TypedDict):
            a: int
        class Plain: pass
        for cls in (Point, Named, Typed, Plain):
            assert call(hints, cls) == hints(cls), cls
        assert call(raw, Point) == raw(Point)
        """,
    "annotations as text": """
        text = "from __future__ import annotations\\n"
        exec(text + "class Text:\\n  a: Nowhere\\n  b: int")
        assert call(raw, Text) == {"a": "Nowhere", "b": "int"}
        """,
    "structures of ctypes": """
        class Pair(ctypes.Structure):
            _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_double)]
            def total(self): return self.a + self.b
        class Either(ctypes.Union):
            _fields_ = [("i", ctypes.c_int32), ("f", ctypes.c_float)]
        class Packed(ctypes.Structure):
            _fields_ = [("tag", ctypes.c_char), ("either", Either),
                        ("many", ctypes.c_int16 * 3), ("pair", ctypes.POINTER(Pair))]
            _anonymous_ = ("either",)
            _pack_ = 1
            _layout_ = "ms"
        class Node(ctypes.Structure): pass
        Node._fields_ = [("value", ctypes.c_int), ("next", ctypes.POINTER(Node))]
        assert call(lambda pair: pair.total(), Pair(1, 2.5)) == 3.5
        back = call(same, Pair(1, 2.5))
        assert type(back) is Pair and (back.a, back.b) == (1, 2.5)
        assert call(ctypes.sizeof, Packed) == ctypes.sizeof(Packed)
        def fill(cls):
            packed = cls(b"x")
            packed.f = 1.0
            packed.many = (ctypes.c_int16 * 3)(4, 5, 6)
            return packed.i, list(packed.many)
        assert call(fill, Packed) == (0x3F800000, [4, 5, 6])
        def link(cls):
            first, second = cls(1), cls(2)
            first.next = ctypes.pointer(second)
            return first.next.contents.value
        assert call(link, Node) == 2
        """,
    "arrays and pointers of ctypes": """
        kind = ctypes.c_int * 4
        assert call(lambda cls: cls is ctypes.c_int * 4, kind)
        assert list(call(same, kind(1, 2, 3, 4))) == [1, 2, 3, 4]
        pointer = ctypes.POINTER(ctypes.c_int)
        assert call(lambda cls: cls is ctypes.POINTER(ctypes.c_int), pointer)
        """,
    "an attribute that cannot be built": """
        def fail(): raise LookupError("not here")
        class Hostile:
            def __reduce__(self): return fail, ()
        class Holder:
            before, thing, after = 1, Hostile(), 2
        for _ in range(2):
            try:
                call(same, Holder)
            except subinterpreters.NotShareableError as error:
                told = "class 'Holder' cannot be made again, its attribute thing: "
                assert told + "LookupError: not here" in str(error), error
            else:
                raise AssertionError
        """,
    "a metaclass that refuses attributes, and has those of its classes": """
        class Meta(type):
            def __setattr__(cls, name, value): raise RuntimeError("frozen")
            @property
            def __len__(cls): return 3
            @property
            def label(cls): return "of the metaclass"
        class Thing(metaclass=Meta):
            label = "own"
            def __len__(self): return 5
        def f(): return len(Thing()), Thing().label, Thing.label, Thing.__qualname__
        assert call(f) == f()
        """,
    "modules and names that are no str": """
        class Odd:
            __module__ = None
        class Name(str): pass
        Kind = type("Kind", (), {Name("key"): 1})
        assert call(lambda: (Odd.__module__, Kind.key)) == (None, 1)
        """,
    "slots as they are, not as they are told": """
        class Renamed:
            __slots__ = ("__private",)
            def both(self):
                self.__private = 1
                return self.__private
        Renamed.__name__ = "Other"
        class Listed: __slots__ = iter(["a"])
        class Grown: __slots__ = ["a"]
        Grown.__slots__.append("b")
        class Told(Grown): __slots__ = {"c": "what it is"}
        class Single: __slots__ = "only"
        Single.alias = Single.only
        def f():
            listed, single = Listed(), Single()
            listed.a = single.alias = 2
            return (Renamed().both(), listed.a, hasattr(Grown, "b"), Told.__slots__,
                    single.only, Single.__slots__, hasattr(Told(), "__dict__"))
        assert call(f) == f(), call(f)
        """,
    "exceptions with slots": """
        class Lost(Exception):
            __slots__ = ("code", "__why")
            def __init__(self, code):
                super().__init__(code)
                self.code, self.__why = code, "gone"
            def why(self): return self.__why
        error = Lost(3)
        error.add_note("a note")
        back = call(same, error)
        assert (back.code, back.why(), back.__notes__) == (3, "gone", ["a note"])
        def fail(): raise Lost(4)
        try:
            call(fail)
        except subinterpreters.ExecutionFailed as failed:
            assert failed.original.why() == "gone"
        """,
    "structures in the other byte order": """
        class Big(ctypes.BigEndianStructure):
            _fields_ = [("a", ctypes.c_int16), ("many", ctypes.c_int32 * 2)]
        class Little(ctypes.LittleEndianStructure):
            _fields_ = [("a", ctypes.c_int16), ("many", ctypes.c_int32 * 2)]
        def f(): return bytes(Big(1, (2, 3))), bytes(Little(1, (2, 3)))
        assert call(f) == f()
        """,
    "what cannot be made again": """
        class Wants:
            def __init_subclass__(cls, *, name): cls.name = name
        class Has(Wants, name="x"): pass
        try:
            call(make, Has)
        except subinterpreters.NotShareableError as error:
            assert "class 'Has' cannot be made again, by <class 'type'>: " in str(error)
            assert "missing 1 required keyword-only argument: 'name'" in str(error)
        else:
            raise AssertionError
        """,
}

LAZY = """
class Later:
    me: Later
    other: list[Later] | None
class Never:
    x: Nowhere
    y: int
assert call(hints, Later) == hints(Later)
assert call(raw, Never) == {"x": "Nowhere", "y": "int"}
"""


@pytest.mark.parametrize("case", CASES)
def test_class(script, case):
    assert script.ok(HEAD + textwrap.dedent(CASES[case])) == ""


def test_annotations_that_are_evaluated_late(script):
    out = script.ok(
        HEAD + f"if sys.version_info >= (3, 14): exec({LAZY!r})\nprint('done')"
    )
    assert out == "done\n"


def test_classes_in_c_are_not_made_again(script):
    """They are what their module says, which the target must be able to import."""
    out = script.ok(
        HEAD
        + """
hidden = type(ctypes.Structure)
try:
    call(same, hidden)
except subinterpreters.NotShareableError as error:
    print(error)
"""
    )
    assert "PyCStructType' cannot be imported" in out
