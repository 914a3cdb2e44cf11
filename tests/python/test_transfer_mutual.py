"""Functions and classes that refer to each other, from a script's own __main__."""

import textwrap

import pytest

HEAD = """
import functools
import subinterpreters
interp = subinterpreters.create()
call = interp.call

def mutual(count, head=""):
    names = [f"f{k}" for k in range(count)]
    every = ", ".join(names)
    for name in names:
        exec(f"{head}\\ndef {name}(x=0): return [{every}], x, '{name}'", globals())
    return names

def same(n):
    mine, _, _ = f0(n)
    return all(
        there is g
        for f in mine
        for there, g in zip(f(n)[0], mine, strict=True)
    ), [f(n)[1:] for f in mine]
"""

CASES = {
    "all of them to all": """
        names = mutual(40)
        assert call(same, 5) == (True, [(5, name) for name in names])
        for name in names:
            mine, x, own = call(globals()[name])
            assert (x, own) == (0, name)
            assert all(a is globals()[b] for a, b in zip(mine, names, strict=True))
        with subinterpreters.create() as other:
            assert other.call(f7, 1)[2] == "f7" and other.call(same, 2)[0]
    """,
    "classes that all refer to all": """
        every = []
        def make():
            class Many:
                def m(self): return every, __class__
            return Many
        every.extend(make() for _ in range(300))
        def use(): return all(c().m() == (every, c) for c in every)
        assert call(use)
        def gets(c): return len(c().m()[0]), c().m()[1] is c
        assert {call(gets, c) for c in every} == {(300, True)}
        with subinterpreters.create() as other:
            assert other.call(gets, every[7]) == (300, True)
    """,
    "recursion among them": """
        def a(n): return n if n < 1 else b(n - 1) + c(n - 1)
        def b(n): return n if n < 1 else c(n - 1) + a(n - 1)
        def c(n): return n if n < 1 else a(n - 1) + b(n - 1) + 1
        assert [call(f, 9) for f in (a, b, c)] == [f(9) for f in (a, b, c)]
    """,
    "whatever changes is noticed by all": """
        names = mutual(8)
        def use(k): return [f()[1:] for f in f0()[0]][k]
        assert call(use, 5) == (0, "f5")
        f5.__defaults__ = (1,)
        assert call(use, 5) == (1, "f5")
        assert [f(x=2)[1] for f in call(f6)[0]] == [2] * 8
        for name in names:
            there = call(lambda f: [g()[1] for g in f()[0]], globals()[name])
            assert there == [0, 0, 0, 0, 0, 1, 0, 0], (name, there)
        f3.__code__ = (lambda x=0: ([], x, "new")).__code__
        assert call(use, 3) == (0, "new") and call(f3)[2] == "new"
        assert call(lambda: f2()[0][3]()[2]) == "new"
        def f4(x=0): return [], 9, "again"
        assert call(use, 4) == (9, "again")
        assert call(lambda: [f()[1] for f in f7()[0]]) == [0, 0, 0, 0, 9, 1, 0, 0]
        def look(f): return [getattr(g, "mark", None) for g in f()[0]]
        f1.mark = "m"
        assert call(look, f0) == [None, "m"] + [None] * 6
        f1.mark = "n"
        assert call(look, f6) == [None, "n"] + [None] * 6
    """,
    "a cell of one of them": """
        def make(step):
            def a(n): return step if n == 0 else b(n - 1)
            def b(n): return step + 1 if n == 0 else a(n - 1)
            def change(v):
                nonlocal step
                step = v
            return a, b, change
        a, b, change = make(10)
        assert [call(f, n) for f in (a, b) for n in (0, 1)] == [10, 11, 11, 10]
        change(20)
        assert [call(f, n) for f in (b, a) for n in (0, 1)] == [21, 20, 20, 21]
    """,
    "cached and generic ones": """
        mutual(12, head="@functools.lru_cache")
        assert call(same, 5)[0] and call(f3)[2] == "f3"
        @functools.singledispatch
        def size(v): return 1
        @size.register
        def many(v: list): return sum(size(w) for w in v) + weight(v)
        def weight(v): return size(0) if v else 0
        assert call(size, [1, [2]]) == call(many, [1, [2]]) == 4
        assert call(weight, [1]) == 1
        @size.register
        def text(v: str): return 100
        assert call(weight, [1]) == 1 and call(many, ["a"]) == 101
    """,
    "classes": """
        def other(k): return ALL[k]
        for k in range(20):
            every = ", ".join(f"C{j}" for j in range(20))
            exec(f"class C{k}:\\n def all(self): return [{every}]\\n"
                 f" def other(self): return other({k})", globals())
        ALL = C0().all()
        def look(v):
            mine = v.all()
            same = all(c().all() == mine for c in mine)
            return same, [c().other() is c for c in mine]
        for c in ALL:
            assert call(look, c()) == (True, [True] * 20)
            assert call(c().other) is c
        assert call(other, 3) is C3
    """,
    "a class whose base names it": """
        class Base:
            def make(self): return Derived()
        class Derived(Base): pass
        def use(v):
            return type(v.make()) is Derived is type(v), issubclass(Derived, Base)
        assert call(use, Derived()) == (True, True)
        assert type(call(Base().make)) is Derived
    """,
    "more of them than are kept": """
        count = 700
        names = [f"f{k}" for k in range(1, count)]
        for name in names:
            exec(f"def {name}(): return f0, f1, '{name}'", globals())
        exec(f"def f0(): return [{', '.join(names)}], f1, 'f0'", globals())
        def look():
            mine = f0()[0]
            return len(mine), [f for f in mine if f()[0] is not f0 or f()[1] is not f1]
        assert call(look) == (count - 1, [])
        assert call(f600) == (f0, f1, "f600") and call(f0)[0][-1] is f699
    """,
    "sent on": """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def on(n):
            even(n)
            import subinterpreters
            with subinterpreters.create() as third:
                same = third.call(lambda f: f, odd) is odd
                return third.call(odd, n), third.call(even, n), same
        assert call(even, 4) and call(on, 3) == (True, False, True)
    """,
    "sent while one of them is being described": """
        with subinterpreters.create() as other:
            class Value:
                busy = False
                def __reduce__(self):
                    if not Value.busy:
                        Value.busy = True
                        inner.append(other.call(b, 1))
                    return int, (7,)
            inner = []
            value = Value()
            def a(n): return b(n) if n else value
            def b(n): return n + 1 if n else a(0)
            assert call(a, 0) == 7 and call(b, 0) == 7 and inner == [2]
    """,
    "an old description does not undo what was bound since": """
        LIMIT = 1
        class C:
            def limit(self): return LIMIT
        def limit(): return LIMIT
        assert call(C().limit) == 1
        LIMIT = 2
        with subinterpreters.create() as fresh:
            assert fresh.call(limit) == 2
            fresh.call(C)
            assert fresh.call(limit) == 2
    """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_mutual(script, case):
    script.ok(HEAD + textwrap.dedent(CASES[case]) + "\ninterp.close()\n")
