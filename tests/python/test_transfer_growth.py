"""What crossed by value ends at the receiver once it has ended at home."""

import textwrap

import pytest

HEAD = """
import collections, dataclasses, enum, functools, gc, sys, typing
import subinterpreters
interp = subinterpreters.create()
call = interp.call

def alive(kind):
    gc.collect()
    return sum(kind in getattr(o, "__name__", "") for o in gc.get_objects())

def peaks(make, rounds=20, each=100):
    # The most that are alive of what make gives, here and there.
    here = there = 0
    for r in range(rounds):
        for k in range(each):
            call(lambda v: v, make(k))
        here = max(here, alive("Many"))
        there = max(there, call(alive, "Many"))
    return here, there
"""

KINDS = {
    "classes": """
        def make(k):
            class Many:
                def __init__(self): super().__init__(); self.x = k
                def m(self): return k, Many
            return Many()
    """,
    "decorated methods": """
        def deco(f):
            @functools.wraps(f)
            def g(*args): return f(*args)
            return g
        def make(k):
            class Many:
                @deco
                def m(self): return super().__repr__()
                @functools.cached_property
                def p(self): return k
            return Many()
    """,
    "bases": """
        def make(k):
            class ManyBase:
                def m(self): return Many
            class Many(ManyBase): pass
            return Many()
    """,
    "made by a library": """
        def make(k):
            return collections.namedtuple(f"Many{k}", "a b")(1, k)
    """,
    "exceptions": """
        def make(k): return type(f"Many{k}", (Exception,), {})(k)
    """,
    "enums and generics": """
        def make(k):
            class ManyE(enum.Enum): A = k
            class Many(typing.Generic[typing.TypeVar("T")]):
                v: int = 0
            return ManyE.A, Many(), dataclasses.make_dataclass("ManyD", ["x"])(k)
    """,
    "functions": """
        def make(k):
            def Many1(n): return Many2(n - 1) if n else k
            def Many2(n): return Many1(n - 1) if n else k
            return Many1
    """,
    "redefined in the script": """
        def make(k):
            exec("class Many:\\n def m(self): return Many, f\\n"
                 f"def f(): return Many, {k}\\n", globals())
            return Many()
    """,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda name: name.replace(" ", "-"))
def test_growth_is_bounded(script, kind):
    """2,000 are sent, of each of which one to three are counted."""
    script.ok(
        HEAD
        + textwrap.dedent(KINDS[kind])
        + """
here, there = peaks(make)
print(here, there)
assert here < 700 and there < 700, (here, there)
interp.close()
""",
        timeout=120,
    )


def test_what_is_in_use_stays(script):
    script.ok(
        HEAD
        + textwrap.dedent(KINDS["classes"])
        + """
def keep(v): sys.kept = v
def kept(): return sys.kept
call(keep, make("kept"))
peaks(make, 4)
assert alive("Many") == 0
for _ in range(3):
    first, again = call(kept), call(kept)
    assert type(first) is type(again) and first.m()[0] == "kept"
    assert call(lambda v: type(v) is type(sys.kept), first)
    del first, again
    peaks(make, 2)
call(keep, None)
interp.close()
"""
    )


def test_what_closed_interpreters_sent_ends(script):
    script.ok(
        HEAD
        + textwrap.dedent(KINDS["classes"])
        + """
most = 0
for _ in range(6):
    with subinterpreters.create() as other:
        for k in range(100):
            other.call(make, k)
    most = max(most, alive("Many"))
print(most)
assert most < 400, most
interp.close()
"""
    )
