"""Exceptions that cross although something is odd about them."""


def test_that_reduces_to_something_else_does_not_arrive(script):
    script.ok("""
        import subinterpreters
        def call(interp):
            class Lying(Exception):
                def __reduce__(self):
                    return int, ("7",)
            raise Lying("boo")
        interp = subinterpreters.create()
        with subinterpreters.InterpreterPoolExecutor(1) as pool:
            failed = pool.submit(call, None).exception()
        assert type(failed) is subinterpreters.ExecutionFailed, failed
        try:
            interp.call(call, None)
        except subinterpreters.ExecutionFailed as exc:
            assert exc.original is None
            assert exc.excinfo.msg == "boo"
        else:
            raise AssertionError
        """)


def test_many_parts_that_cannot_cross(script):
    """In minutes, if the time grew with the square of their number."""
    script.ok("""
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec("class Bad:\\n def __reduce__(self): return eval, ('1/0',)")
        try:
            interp.exec("raise ValueError(*[Bad() for _ in range(200000)])")
        except subinterpreters.ExecutionFailed as exc:
            assert len(exc.original.args) == 200000
        """)


NESTED = """
import subinterpreters
interp = subinterpreters.create()
interp.exec('''
calls = 0
class Telling(Exception):
    def __str__(self):
        global calls
        calls += 1
        return super().__str__()
class Refusing(Exception):
    def __reduce__(self): 1/0
''')
def fails(source):
    try:
        interp.exec(source)
    except subinterpreters.ExecutionFailed as exc:
        return exc.original
"""


def test_deep_in_the_arguments_of_each_other(script):
    """The text of each has those of all below it. It is told of a few only."""
    script.ok(
        NESTED
        + """
exc = fails('''
exc = Telling(Refusing("innermost", 1), 0)
for i in range(1, 200):
    exc = Telling(exc, i)
raise exc
''')
for i in reversed(range(200)):
    assert exc.args[1] == i
    exc = exc.args[0]
assert exc.excinfo.msg == "('innermost', 1)"
calls = interp.call(eval, "calls")
assert calls < 30 * 200, calls
"""
    )


def test_what_is_left_out_says_so(script):
    script.ok(
        NESTED
        + """
def innermost(deep):
    exc = fails(f'''
exc = Refusing(Refusing("a"), "b")
for i in range({deep}):
    exc = Telling(exc)
raise exc
''')
    while exc.args and not hasattr(exc, "excinfo"):
        (exc,) = exc.args
    return exc.excinfo.msg
assert innermost(10) == "(Refusing('a'), 'b')", innermost(10)
assert innermost(20) == "... [left out, as too much is told already]", innermost(20)
"""
    )


def test_a_long_text_that_many_share(script):
    """20,000 times whole it would be 20 GB."""
    script.ok(
        NESTED
        + """
def members(kind):
    group = fails(f'''
text = "t" * 1_000_000
def one(i):
    exc = Refusing({"text" if kind == "message" else "i"})
    if "{kind}" == "notes":
        exc.__notes__ = notes
    return exc
notes = [text] + ["n"] * 1_000
raise ExceptionGroup("g", [one(i) for i in range(20_000)])
''')
    return group.exceptions
first, *_, last = members("message")
assert first.excinfo.msg == "t" * 1_000_000
assert last.excinfo.msg == "t" * 1024 + "... [998976 characters left out]"
first, *_, last = members("notes")
assert first.__notes__[:2] == ["t" * 1_000_000, "n"]
assert len(first.__notes__) == 1_002
assert last.excinfo.msg == "19999"
assert last.__notes__[0] == "t" * 1024 + "... [998976 characters left out]"
assert last.__notes__[15:17] == ["n", "... [985 notes left out]"]
assert last.__notes__[17].startswith("It stands for an exception")
""",
        timeout=120,
    )


def test_something_else_with_a_cause_arrives(script):
    """Pickle gives the same, without the cause of the other one."""
    script.ok("""
        import subinterpreters
        class Lying(Exception):
            def __reduce__(self):
                return int, ("7",)
        queue = subinterpreters.create_queue()
        lying, other = Lying(), ValueError("v")
        lying.__context__ = lying.__cause__ = other
        other.__cause__ = other.__context__ = lying
        queue.put([lying, other, lying])
        seven, back, again = queue.get(timeout=10)
        assert seven == again == 7, (seven, again)
        assert back.args == ("v",)
        for link in back.__cause__, back.__context__:
            assert isinstance(link, Exception), link
            assert "'int', no exception" in str(link), link
        top = ValueError("top")
        top.__cause__ = lying
        queue.put(top)
        cause = queue.get(timeout=10).__cause__
        assert "'int', no exception" in cause.__notes__[-1]
        """)


def test_that_refuses_attributes_keeps_its_cause(script):
    script.ok("""
        import subinterpreters
        class Refusing(Exception):
            def __setattr__(self, name, value): raise AttributeError(name)
        exc = Refusing("r")
        try:
            raise exc from ValueError("v")
        except Refusing:
            pass
        queue = subinterpreters.create_queue()
        queue.put(exc)
        back = queue.get(timeout=10)
        assert repr(back.__cause__) == "ValueError('v')"
        assert back.__suppress_context__
        """)


def test_static_class_is_not_looked_for_by_name(script):
    """Not imported, that is: where memory is short an import may not come back."""
    source = """
        import sys
        import subinterpreters

        def seen(error):
            import sys
            return type(error).__name__, str(error), stays_out(sys.modules)

        def stays_out(modules):
            return "concurrent.interpreters" not in modules

        there = subinterpreters.create()
        print(there.call(seen, subinterpreters.InterpreterError("why")))
        assert stays_out(sys.modules)
        """
    assert script.ok(source) == "('InterpreterError', 'why', True)\n"
