"""Functions and classes that cross by value, from a script's own __main__."""

import subprocess
import sys
import textwrap

import pytest

HEAD = """
import subinterpreters
interp = subinterpreters.create()
call = interp.call
"""

CASES = {
    "globals and helpers": """
        import math
        LIMIT = 10
        def helper(x): return math.floor(x) + LIMIT
        def f(x): return helper(x) + 1
        assert call(f, 1.5) == 12
        LIMIT = 20
        assert call(f, 1.5) == 22
        def helper(x): return 0
        assert call(f, 1.5) == 1
    """,
    "submodules that the script imported": """
        import sys, types, xml.etree.ElementTree, logging.handlers, concurrent.futures
        def f():
            return xml.etree.ElementTree.fromstring('<a/>').tag, inner()
        def inner():
            def innermost(): return logging.handlers.QueueHandler.__name__
            return innermost()
        assert call(f) == ('a', 'QueueHandler')
        def closed():
            import email.mime.text
            return lambda: email.mime.text.MIMEText('b').get_payload()
        assert call(closed()) == 'b'
        class Parser:
            def run(self): return xml.sax.parseString.__name__
        assert 'xml.sax' not in sys.modules
        import xml.sax
        assert call(Parser().run) == 'parseString'
        xml.here = sys.modules['xml.here'] = types.ModuleType('xml.here')
        assert call(lambda there: xml and hasattr(there, 'here') and there.here == 1,
                    types.SimpleNamespace(here=1))
        loaded = lambda: sorted(name for name in sys.modules if 'wsgiref' in name)
        import wsgiref.util, wsgiref.headers
        assert call(lambda: wsgiref.util.guess_scheme({}) and loaded()) == [
            'wsgiref', 'wsgiref.util']
    """,
    "recursion": """
        def fact(n): return 1 if n < 2 else n * fact(n - 1)
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def closed():
            def f(n): return 1 if n < 2 else n * f(n - 1)
            return f
        assert call(fact, 5) == call(closed(), 5) == 120
        assert call(even, 10) and call(odd, 3)
    """,
    "nested code finds its globals": """
        X = 5
        def outer():
            def inner(): return X
            class C: y = X
            return inner() + C.y + sum(X for _ in range(2))
        assert call(outer) == 20
    """,
    "closures keep their state over there": """
        def counter(step):
            count = 0
            def f():
                nonlocal count
                count += step
                return count
            return f
        f = counter(2)
        assert [call(f), call(f), f()] == [2, 4, 2]
        again = call(counter, 5)
        assert again() == 5
    """,
    "defaults": """
        def f(a, b=5, *, c=6): return a, b, c
        assert call(f, 1) == (1, 5, 6)
        f.__defaults__ = (7,)
        f.__kwdefaults__ = {'c': 8}
        assert call(f, 1) == (1, 7, 8)
        def g(): return 1
        assert call(g) == 1
        g.__code__ = (lambda: 2).__code__
        assert call(g) == 2
    """,
    "a global that hides a builtin": """
        def f(): return abs(-1)
        assert call(f) == 1
        abs = lambda x: 'mine'
        assert call(f) == 'mine'
        del abs
        assert call(f) == 1
    """,
    "methods and classes": """
        class Base:
            kind = 'base'
            def __init__(self, v): self.v = v
            def get(self): return self.kind, self.v
            @staticmethod
            def fixed(): return 1
            @classmethod
            def name(cls): return cls.__name__
            @property
            def double(self): return self.v * 2
        class Derived(Base):
            kind = 'derived'
            def __init__(self, v): super().__init__(v + 1)
            def more(self): return Derived(self.v)
        assert call(Derived(1).get) == ('derived', 2)
        assert call(Derived.name) == 'Derived' and call(Base.fixed) == 1
        def use(v): return Derived(v).more().double
        assert call(use, 1) == 6
    """,
    "instances come home": """
        import dataclasses, enum, collections, typing
        @dataclasses.dataclass
        class D:
            a: int
            b: list = dataclasses.field(default_factory=list)
        @dataclasses.dataclass(frozen=True, slots=True)
        class S: a: int
        class E(enum.Enum):
            X = 1
            Y = 2
            def text(self): return self.name
        class F(enum.IntFlag):
            A = 1
            B = 2
        class N(typing.NamedTuple):
            a: int
            b: int = 2
        P = collections.namedtuple('P', 'x y')
        def echo(v): return v
        for v in (D(1), [D(1, [2]), D(1, [2])], S(3), N(1), P(1, 2), F.A | F.B):
            back = call(echo, v)
            assert back == v and type(back) is type(v), v
        assert call(echo, E.X) is E.X and call(echo, E) is E and call(E.Y.text) == 'Y'
        def make(): return D(7)
        assert type(call(make)) is D
    """,
    "functions come home": """
        def f(): return G
        G = 1
        def echo(v): return v
        assert call(echo, f) is f and call(echo, [f, f])[1] is f
    """,
    "exceptions of the script": """
        class Mine(Exception):
            def __init__(self, a, b):
                super().__init__(a)
                self.b = b
        def fail(): raise Mine(1, 2)
        try:
            call(fail)
        except subinterpreters.ExecutionFailed as exc:
            original = exc.original
        assert type(original) is Mine and original.args == (1,) and original.b == 2
    """,
    "abstract classes": """
        import abc
        class A(abc.ABC):
            @abc.abstractmethod
            def f(self): ...
        class B(A):
            def f(self): return 5
        def use():
            try:
                A()
            except TypeError:
                return B().f(), isinstance(B(), A)
        assert call(use) == (5, True)
    """,
    "generic classes": """
        import copy, dataclasses, typing
        T = typing.TypeVar('T')
        B = typing.TypeVar('B', bound='G', covariant=True)
        C = typing.TypeVar('C', int, str)
        class G(typing.Generic[T]):
            def __init__(self, v): self.v = v
            def both(self, other: T) -> 'G[T]': return G((self.v, other))
        class H(G[T], typing.Generic[T, C]): pass
        class I(G[int]): pass
        class Proto(typing.Protocol[B]):
            def get(self) -> B: ...
        @dataclasses.dataclass
        class D(typing.Generic[T]):
            v: T
        def use(v):
            both = G(v).both(H[int, str](5).v).v
            return both, I(1).v, G.__parameters__ == (T,)
        assert call(use, 1) == ((1, 5), 1, True)
        def echo(v): return v
        for v in (T, B, C, G, H, I, Proto, D):
            assert call(echo, v) is v, v
        for v in (G[int], G[T], H[T, str], typing.Callable[[T], C], dict[str, T]):
            assert call(echo, v) == v, v
        assert type(call(echo, H(1))) is H and call(echo, D([2])) == D([2])
        def look(*types):
            return [(repr(t), t.__module__, t.__bound__, t.__constraints__)
                    for t in types]
        assert call(look, T, B, C) == look(T, B, C)
        def same(a, b): return a is b, a.__parameters__[0] is b.__parameters__[0]
        assert call(same, G, G) == (True, True)
        assert call(same, G, H) == (False, True)
        q = subinterpreters.create_queue()
        q.put([T, G, T])
        assert q.get() == [T, G, T]
    """,
    "type variables of every kind": """
        import typing
        P = typing.ParamSpec('P')
        Ts = typing.TypeVarTuple('Ts')
        UserId = typing.NewType('UserId', int)
        Admin = typing.NewType('Admin', UserId)
        class Row(typing.Generic[typing.Unpack[Ts]]): pass
        class Job(typing.Generic[P]): pass
        def echo(v): return v
        for v in (P, Ts, UserId, Admin, Row, Job):
            assert call(echo, v) is v, v
        assert call(echo, Job[[int, str]]) == Job[[int, str]]
        def use(v):
            same = Admin.__supertype__ is UserId
            return Admin(v), repr(UserId), same, UserId.__module__, P.__name__, repr(Ts)
        assert call(use, 5) == use(5)
        if hasattr(typing, 'NoDefault'):
            D = typing.TypeVar('D', default=list[int])
            E = typing.TypeVar('E')
            def use(): return D.__default__, E.has_default(), D.has_default()
            assert call(use) == (list[int], False, True)
    """,
    "the syntax for type parameters": """
        class Box[T]:
            def __init__(self, v: T): self.v = v
        class Tree[N: Tree]:
            pass
        class Many[*Ts, **P](Box[int]): pass
        type Pair[A] = tuple[A, A]
        type Name = str
        def first[X](items: list[X]) -> X: return items[0]
        def local():
            class In[L: (int, str)]: pass
            return In
        def echo(v): return v
        In = local()
        for v in (Box, Tree, Many, In, Tree.__type_params__[0]):
            assert call(echo, v) is v, v
        def fresh(v): return [p.__bound__ is Tree for p in v]
        N = Tree.__type_params__
        with subinterpreters.create() as other:
            assert other.call(fresh, N) == [True]
        assert call(first, [7]) == 7 and call(lambda: Box[int](3).v) == 3
        back = call(echo, [Pair, Name, Pair[int]])
        assert [v.__name__ for v in back] == ['Pair', 'Name', 'Pair']
        assert back[2].__args__ == (int,)
        assert back[0].__value__[back[0].__type_params__[0]] is not None
        assert call(lambda: In.__type_params__[0].__constraints__) == (int, str)
    """,
    "code objects": """
        code = compile('x = 6 * 7', 'some.py', 'exec')
        def run(code):
            space = {}
            exec(code, space)
            return space['x'], code.co_filename
        assert call(run, code) == (42, 'some.py')
        assert call(lambda c: c, [code, code]) == [code, code]
    """,
    "a type alias that names itself cannot cross": """
        type Nested = list[Nested]
        try:
            call(repr, Nested)
        except subinterpreters.NotShareableError:
            pass
        else:
            raise AssertionError
    """,
    "partials and lambdas": """
        import functools
        X = 3
        assert call(functools.partial(lambda a, b: a + b + X, 1), 2) == 6
        assert call(sorted, [3, 1, 2], key=lambda v: -v) == [3, 2, 1]
    """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_by_value(script, case):
    script.ok(HEAD + textwrap.dedent(CASES[case]) + "\ninterp.close()\n")


def test_what_a_function_cannot_take_along_is_named(script):
    out = script.ok(
        HEAD
        + """
import threading
lock = threading.Lock()
def a(): return lock
def b(x=lock): return x
def make():
    inner = lock
    return lambda: inner
for f in (a, b, make()):
    try:
        call(f)
    except subinterpreters.NotShareableError as exc:
        print(exc)
interp.close()
"""
    )
    first, second, third = out.splitlines()
    assert "global 'lock': cannot send '_thread.lock'" in first
    assert "default values[0]: cannot send '_thread.lock'" in second
    assert "closure variable 'inner': cannot send '_thread.lock'" in third


def test_from_the_command_line():
    source = (
        "import subinterpreters as s; X = 4; i = s.create();"
        "print(i.call(lambda v: v * X, 5)); i.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "20\n"
