"""Methods, cached functions, single dispatch and function attributes that cross."""

import textwrap

import pytest

HEAD = """
import functools
import subinterpreters
import types
interp = subinterpreters.create()
call = interp.call
def echo(v): return v
"""

CASES = {
    "methods under another name": """
        class Meta(type):
            def meta(cls): return 'meta', cls.__name__
        class Base:
            def over(self): return 'base'
        class A(Base, metaclass=Meta):
            def __init__(self): self.v = 5
            def __private(self): return self.v
            def private(self): return self.__private
            alias = lambda self: self.v + 1
            def over(self): return 'derived'
            def above(self): return super().over
            @classmethod
            def made(cls): return cls.__name__
            other = made
        a = A()
        assert call(a.private()) == 5 and call(a.alias) == 6
        assert (call(a.over), call(a.above())) == ('derived', 'base')
        assert call(A.made) == call(a.other) == call(A.other) == 'A'
        assert call(A.meta) == ('meta', 'A')
        assert call(types.MethodType(len, [1, 2])) == 2
        a.alias = types.MethodType(lambda self: self.v + 10, a)
        assert call(a.alias) == 15
    """,
    "methods of importable classes": """
        import pathlib, sys, tempfile
        temporary = tempfile.TemporaryDirectory()
        folder = temporary.name
        pathlib.Path(folder, 'importable_b.py').write_text('''
        HERE = []
        class B:
            def __private(self): return HERE
            alias = lambda self: HERE
            def shown(self): return HERE
            def get(self): return self.__private
        class C(B):
            def shown(self): return 'hidden'
            def above(self): return super().shown
        '''.replace('\\n        ', '\\n'))
        sys.path.insert(0, folder)
        interp.exec(f'import sys; sys.path.insert(0, {folder!r})')
        from importable_b import B, C
        def same(*methods):
            import importable_b
            return [method() is importable_b.HERE for method in methods]
        assert call(same, B().get(), B().alias, B().shown, C().above()) == [True] * 4
    """,
    "a method and the object that has it": """
        class A:
            def m(self): return self.v
        a = A()
        a.v, a.kept = 7, a.m
        a.made = types.MethodType(lambda self: self.v, a)
        def look(a): return a.kept.__self__ is a and a.made.__self__ is a
        assert call(look, a)
        assert call(lambda m: m(), a.kept) == call(lambda m: m(), a.made) == 7
        assert call(lambda m: m.__self__.made is m, a.made)
        assert call(lambda p: p[0] is p[1], [a.kept, a.kept])
    """,
    "function attributes": """
        def f(): return vars(f)
        assert call(f) == {}
        f.x = 3
        assert call(f) == {'x': 3}
        assert call(f) == {'x': 3}
        f.x = 4
        assert call(f) == {'x': 4}
        f.y = []
        assert call(f) == {'x': 4, 'y': []}
        f.y.append(1)
        assert call(f) == {'x': 4, 'y': []}
        del f.x, f.y
        assert call(f) == {}
        def inner(): return inner.x
        inner.x = 1
        def outer(): return inner()
        assert call(outer) == 1
        inner.x = 2
        assert call(outer) == 2
        inner.x = 3
        assert call(inner) == 3 == call(outer)
        def helper(x=1): return x
        def uses(): return helper()
        assert call(uses) == 1
        helper.__defaults__ = (2,)
        assert call(uses) == 2
        count = lambda: 0
        def counting():
            count.n = getattr(count, 'n', 0) + 1
            return count.n
        assert [call(counting), call(counting)] == [1, 2]
        assert vars(count) == {}
    """,
    "methods in C": """
        class Words(list):
            pass
        assert call([3, 1].__len__) == 2 and call('abc'.upper) == 'ABC'
        assert call(Words('ab').__len__) == 2 and call(Words('ab').count, 'a') == 1
        assert call(dict.fromkeys, 'ab') == {'a': None, 'b': None}
        assert call(int(3).__add__, 4) == 7
    """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_callables(script, case):
    script.ok(HEAD + textwrap.dedent(CASES[case]) + "\ninterp.close()\n")
