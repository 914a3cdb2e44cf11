"""Which globals a function finds that crossed by value."""

import textwrap

import pytest

HEAD = """
import gc
import sys
import types
import subinterpreters
interp = subinterpreters.create()
call = interp.call
SOURCE = '''
K = {k}
def f(): return K
def both(): return f(), K
def bump():
    global K
    K += 10
    return K
'''
"""

CASES = {
    "two of exec": """
        for extra in {}, {"__name__": "__main__"}, {"__name__": "nowhere"}:
            a, b = dict(extra), dict(extra)
            exec(SOURCE.format(k=1), a)
            exec(SOURCE.format(k=2), b)
            assert [call(ns["f"]) for ns in (a, b, a, b)] == [1, 2, 1, 2]
            assert [call(ns["bump"]) for ns in (a, a, b, a)] == [11, 21, 12, 31]
            assert call(a["both"]) == (31, 31) and call(b["both"]) == (12, 12)
    """,
    "two modules of one name": """
        a, b = types.ModuleType("made"), types.ModuleType("made")
        exec(SOURCE.format(k=1), a.__dict__)
        exec(SOURCE.format(k=2), b.__dict__)
        assert [call(m.both) for m in (a, b, a, b)] == [(1, 1), (2, 2), (1, 1), (2, 2)]
    """,
    "a decorator of another module": """
        decorators = sys.modules["decorators"] = types.ModuleType("decorators")
        exec('''if True:
            import functools
            logger = "theirs"
            def decorate(f):
                @functools.wraps(f)
                def wrapper(): return logger, f()
                return wrapper
        ''', decorators.__dict__)
        logger = "ours"
        @decorators.decorate
        def f(): return logger
        def g(): return logger
        assert [call(x) for x in (f, g, f, g)] == [("theirs", "ours"), "ours"] * 2
    """,
    "a name that shadows a builtin elsewhere": """
        ns = {"__name__": "__main__"}
        exec("len = 5\\ndef f(): return len", ns)
        Y = 2
        def f(): return len([1]), Y
        assert call(ns["f"]) == 5 and call(f) == (1, 2)
    """,
    "a global that is deleted": """
        X, Y = 1, 2
        len = "ours"
        def f():
            try:
                return X, Y
            except NameError:
                return Y
        def g(): return callable(len), Y
        assert call(f) == (1, 2) and call(g) == (False, 2)
        del X, len
        assert call(f) == 2 and call(g) == (True, 2)
        X = 5
        assert call(f) == (5, 2)
        def own():
            global made
            made = globals().get("made", 0) + Y
            return made
        assert [call(own), call(own)] == [2, 4]
    """,
    "functions made over there": """
        Y = 1
        def make(n):
            def inner(): return n, Y
            return inner
        made = [call(make, i) for i in range(3)]
        other = subinterpreters.create()
        want = [(i, 1) for i in range(3)]
        assert [f() for f in made] == [other.call(f) for f in made] == want
    """,
    "they end with their functions": """
        for i in range(2000):
            ns = {}
            exec(SOURCE.format(k=i), ns)
            assert call(ns["both"]) == (i, i)
            ns.clear()
        gc.collect()
        def left():
            import gc
            gc.collect()
            dicts = (o for o in gc.get_objects() if type(o) is dict)
            return sum("K" in o and "__builtins__" in o for o in dicts)
        assert call(left) < 600
    """,
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_namespaces(script, case):
    script.ok(HEAD + textwrap.dedent(CASES[case]) + "\ninterp.close()\n")
