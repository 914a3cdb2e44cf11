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
    "cached functions": """
        ran = 0
        @functools.lru_cache(maxsize=7, typed=True)
        def double(x):
            "its doc"
            global ran
            ran += 1
            return x * 2
        assert double(1) == 2
        assert call(double, 3) == call(double, 3) == 6
        def look(f):
            return f.cache_info(), f.cache_parameters(), f.__name__, f.__doc__, f.mark
        double.mark = 'm'
        info, *rest = call(look, double)
        assert tuple(info) == (0, 0, 7, 0)
        assert rest == [{'maxsize': 7, 'typed': True}, 'double', 'its doc', 'm']
        assert call(double, 3) == call(double, 3) == 6
        assert call(lambda f: f.cache_info().hits, double) == 1
        assert call(echo, double) is double and double.cache_info().currsize == 1
        @functools.cache
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        assert call(fib, 50) == 12586269025 == call(lambda: fib(50))
        def local():
            @functools.cache
            def fact(n): return n * fact(n - 1) if n else 1
            return fact
        fact = local()
        assert call(fact, 5) == 120
        LIMIT = 1
        @functools.cache
        def limit(): return LIMIT
        def uses(): return limit()
        assert call(limit) == call(uses) == 1
        LIMIT = 2
        limit.cache_clear()
        assert call(limit) == call(uses) == 2
    """,
    "cached methods": """
        class A:
            def __init__(self, v):
                self.v = v
                self.cached = functools.lru_cache(self.plain)
            def plain(self, x): return self.v + x
            @functools.lru_cache(maxsize=None)
            def method(self, x): return self.v * x
            @functools.cached_property
            def prop(self): return self.v * 100
        a = A(2)
        assert call(a.cached, 1) == 3 and call(a.method, 4) == 8
        a.v = 3
        assert call(a.cached, 1) == 4
        assert call(lambda a: a.cached.__wrapped__.__self__ is a, a)
        assert call(lambda a: (a.method(5), a.prop), a) == (15, 300)
        assert call(functools.cache(len), 'abc') == 3
        typed = functools.lru_cache(typed=True)(len)
        assert call(lambda f: f.cache_parameters(), typed)['typed'] is True
    """,
    "single dispatch": """
        @functools.singledispatch
        def size(v):
            "how much it is"
            return 'any'
        @size.register
        def _(v: int): return v
        @size.register(list)
        @size.register(tuple)
        def of_items(v): return sum(map(size, v))
        @size.register
        def _(v: dict | set): return len(v)
        assert call(size, None) == 'any' and call(size, True) == 1
        assert call(size, [1, (2, 3), {4: 5}]) == 7
        assert call(lambda: (size.__name__, size.__doc__, size(4))) == (
            'size', 'how much it is', 4)
        assert call(lambda: size.__wrapped__('x')) == 'any'
        assert call(echo, size) is size
        class Mine: pass
        assert call(size, Mine()) == 'any'
        size.register(Mine, lambda v: 'mine')
        assert call(size, Mine()) == 'mine'
        size.register(Mine, lambda v: 'again')
        assert call(lambda: size(Mine())) == 'again'
        assert call(lambda: size.dispatch(Mine)(0)) == 'again'
        try:
            call(size)
        except subinterpreters.ExecutionFailed as exc:
            assert 'size requires at least 1 positional argument' in str(exc)
        else:
            raise AssertionError
        class Has:
            @functools.singledispatchmethod
            def of(self, v): return 'any'
            @of.register
            def _(self, v: int): return 'int'
        assert call(lambda: (Has().of('x'), Has().of(3))) == ('any', 'int')
    """,
    "many implementations that call each other": """
        @functools.singledispatch
        def of(v): return 0
        kinds = [type(f'Kind{i}', (), {}) for i in range(30)]
        for i, kind in enumerate(kinds):
            of.register(kind, (lambda i: lambda v: i + of(None))(i))
        assert call(of, kinds[29]()) == 29
    """,
    "properties that metaclasses have too": """
        class Named(type):
            @property
            def label(cls): return 'of the metaclass'
        class Proxy(metaclass=Named):
            def __init__(self): self.v = 1
            __class__ = property(lambda self: int)
            __name__ = property(lambda self: Proxy.label)
            __bases__ = property(lambda self: 'bases')
            label = property(lambda self: 'mine')
            __doc__ = 'words'
        class Hidden:
            def __init__(self): self.v = 1
            @property
            def __dict__(self): return {'not': 'true'}
        def look(p, h):
            return (type(p).__name__, p.__class__, p.__name__, p.__bases__, p.label,
                    p.v, type(p).label, p.__doc__, type(h).__name__, h.__dict__, h.v)
        p, h = Proxy(), Hidden()
        assert call(look, p, h) == look(p, h)
        assert type(call(echo, p)) is Proxy
        def made():
            class There:
                __class__ = property(lambda self: str)
            return There()
        there = call(made)
        assert type(there).__name__ == 'There' and there.__class__ is str
    """,
    "methods in C": """
        class Words(list):
            pass
        assert call([3, 1].__len__) == 2 and call('abc'.upper) == 'ABC'
        assert call(Words('ab').__len__) == 2 and call(Words('ab').count, 'a') == 1
        assert call(dict.fromkeys, 'ab') == {'a': None, 'b': None}
        assert call(int(3).__add__, 4) == 7
    """,
    "methods that a module has as functions": """
        import random
        from random import getrandbits, random as draw, seed
        def drawn(): return getrandbits(64), draw()
        state = random.getstate()
        assert len({call(drawn), drawn(), call(drawn)}) == 3
        random.setstate(state)
        assert call(lambda: draw()) != draw()
        assert call(getrandbits, 64) != getrandbits(64)
        own = random.Random(1)
        assert call(own.random) == own.random()
        call(seed, 1)
        random.seed(2)
        first = call(draw)
        call(seed, 1)
        assert call(draw) == first != draw()
        assert call(echo, random.choice) is random.choice
        assert call(lambda f: f is random.choice, random.choice)
        assert [f is draw for f in call(echo, [draw, draw])] == [True, True]
    """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_callables(script, case):
    script.ok(HEAD + textwrap.dedent(CASES[case]) + "\ninterp.close()\n")
