"""Exceptions on their way between interpreters: their parts, the parts that cannot
cross, and the traceback of the other side."""

import pathlib
import sys
import traceback

import pytest
import subinterpreters
from subinterpreters import ExecutionFailed, InterpreterPoolExecutor, NotShareableError

sys.path.insert(0, str(pathlib.Path(__file__).parent / "transfer"))

import samples
from samples import error

FOLDER = str(pathlib.Path(samples.__file__).parent)
LIMIT = 60


@pytest.fixture
def far():
    """An interpreter that can import the samples."""
    interp = subinterpreters.create()
    interp.prepare_main(folder=FOLDER)
    interp.exec("import sys; sys.path.insert(0, folder)")
    yield interp
    interp.close()


@pytest.fixture
def original(far):
    """What arrives of the exception `exc` that code made and raised there."""

    def original(source):
        far.exec("import threading, samples; from samples import error")
        with pytest.raises(ExecutionFailed) as caught:
            far.exec(source + "\nraise exc")
        return caught.value.original

    return original


def echo(value):
    return value


def shown(exc):
    return "".join(traceback.format_exception(exc))


def assert_stands_for(stand_in, name, message):
    assert type(stand_in) is ExecutionFailed
    assert stand_in.original is None
    assert stand_in.excinfo.type.__name__ == name
    assert stand_in.excinfo.msg == message
    assert any("cannot cross" in note for note in stand_in.__notes__)


class TestPartsThatCannotCross:
    def test_attribute_of_the_context(self, original):
        exc = original("""
try:
    try:
        raise KeyError('k')
    except KeyError as e:
        e.code, e.lock = 5, threading.Lock()
        raise ValueError('u')
except ValueError as e:
    exc = e
""")
        assert repr(exc) == "ValueError('u')"
        context = exc.__context__
        assert repr(context) == "KeyError('k')"
        assert context.code == 5
        assert type(context.lock) is NotShareableError
        assert ".__context__.lock: cannot send '_thread.lock'" in str(context.lock)

    def test_argument_and_attribute_of_what_was_raised(self, original):
        exc = original(
            "exc = error(ValueError(1, threading.Lock(), 'x'), a=iter, b=[2],"
            " c=threading.Lock())"
        )
        assert exc.args[::2] == (1, "x")
        assert type(exc.args[1]) is NotShareableError
        assert (exc.a, exc.b) == (iter, [2])
        assert type(exc.c) is NotShareableError

    def test_member_of_a_group(self, original):
        exc = original("""
class Refusing(Exception):
    def __reduce__(self):
        1/0
def bad():
    try:
        raise Refusing('no', 'way')
    except Refusing as e:
        e.add_note('a note')
        return e
inner = ExceptionGroup('inner', [KeyError('k'), bad(), OSError(2, threading.Lock())])
exc = ExceptionGroup('outer', [inner, ValueError(3)])
""")
        inner, last = exc.exceptions
        assert (exc.message, repr(last)) == ("outer", "ValueError(3)")
        assert inner.message == "inner"
        assert repr(inner.exceptions[0]) == "KeyError('k')"
        stand_in = inner.exceptions[1]
        assert_stands_for(stand_in, "Refusing", "('no', 'way')")
        assert stand_in.excinfo.formatted == "Refusing: ('no', 'way')"
        display = stand_in.excinfo.errdisplay
        assert display.startswith("Traceback (most recent call last):\n  File")
        assert "in bad\n" in display
        assert display.endswith("\nRefusing: ('no', 'way')")
        assert stand_in.__notes__[0] == "a note"
        assert "division by zero" in stand_in.__notes__[1]
        assert inner.exceptions[2].errno == 2
        assert type(inner.exceptions[2].strerror) is NotShareableError

    def test_what_reduces_to_something_else(self, original):
        exc = original("""
class Lying(Exception):
    def __reduce__(self):
        return int, ('7',)
group = ExceptionGroup('g', [Lying('boo'), KeyError('k')])
exc = error(ValueError('v'), Lying('behind'), group)
""")
        assert repr(exc) == "ValueError('v')"
        assert_stands_for(exc.__cause__, "Lying", "behind")
        assert "'int', no exception" in exc.__cause__.__notes__[-1]
        assert_stands_for(exc.__context__.exceptions[0], "Lying", "boo")
        assert repr(exc.__context__.exceptions[1]) == "KeyError('k')"

    def test_class_that_exists_only_there(self, original):
        exc = original("""
import sys
ghost = sys.modules['ghost'] = type(sys)('ghost')
exec('class Ghost(Exception): pass\\nclass Thing: pass', ghost.__dict__)
shared = [1]
bad = error(ghost.Ghost('boo', shared), KeyError('behind'), table={'k': 1, 'j': shared})
exc = error(ValueError('v'), bad, error(KeyError(shared), t={'k': 2, 'j': shared}),
            thing=ghost.Thing(), after=[shared])
""")
        assert repr(exc) == "ValueError('v')"
        assert_stands_for(exc.__cause__, "Ghost", "('boo', [1])")
        assert exc.__cause__.excinfo.type.__module__ == "ghost"
        assert "'ghost'" in exc.__cause__.__notes__[0]
        assert type(exc.thing) is NotShareableError
        assert "'Thing' of module 'ghost'" in str(exc.thing)
        assert exc.__context__.t == {"k": 2, "j": [1]}
        assert exc.__context__.args[0] is exc.__context__.t["j"] is exc.after[0]

    def test_the_exception_itself_is_not_replaced(self, original):
        assert original("exc = samples.Refusing(1)") is None
        assert original("exc = samples.Picky(1)") is None

    def test_what_is_shared_with_a_part_that_is_given_up(self, original):
        """The numbers and shapes of the rest are right, wherever it was given up."""
        for bad in (
            "samples.Refusing(shared)",
            "samples.Picky(shared, {'k': shared})",
            "KeyError([shared, samples.Plain(shared), threading.Lock()])",
        ):
            exc = original(f"""
shared = [1]
bad = error({bad}, p=samples.Plain(shared), d={{'x': shared, 'y': 1}})
exc = ExceptionGroup('g', [bad, error(ValueError(shared, samples.Plain(shared)),
    d={{'x': shared, 'y': 1}}, p=samples.Plain(2), again=bad)])
exc.shared = shared
""")
            first, second = exc.exceptions
            assert second.again is first
            assert second.args[1].value is second.d["x"] is exc.shared
            assert (second.d["y"], second.p.value) == (1, 2)
            # Where it first came in a part that could not be built, it went with it.
            assert second.args[0] == [1] or type(second.args[0]) is ExecutionFailed

    def test_what_others_cannot_do_without(self, original):
        """Type variables and functions are not lost with a part that was given up."""
        exc = original("""
import functools, typing
T = typing.TypeVar('T')
@functools.lru_cache
def cached(x):
    return x + 1
exc = error(ValueError(1), samples.Picky(T, cached), KeyError(T, cached, list[T]))
""")
        assert exc.__cause__.excinfo.type.__name__ == "Picky"
        variable, cached, alias = exc.__context__.args
        assert alias.__args__ == (variable,)
        assert variable.__name__ == "T"
        assert (cached(1), cached(1), cached.cache_info().hits) == (2, 2, 1)

    def test_of_a_value_only_cause_and_context(self, far):
        """What is sent on purpose crosses whole, or not at all."""
        queue = subinterpreters.create_queue()
        for exc, place in [
            (ValueError(1, samples.Locked()), "[0]<arguments of its class>[1].lock: "),
            (error(ValueError(), a=samples.Locked()), "[0].a.lock: "),
            (ExceptionGroup("g", [KeyError(), samples.Refusing()]), "'Refusing'"),
        ]:
            with pytest.raises(NotShareableError) as caught:
                queue.put([exc])
            assert place in str(caught.value)
        group = ExceptionGroup("g", [KeyError("k"), samples.Refusing(3)])
        queue.put([error(ValueError(1), group, error(TypeError(), a=samples.Locked()))])
        (back,) = queue.get()
        assert repr(back) == "ValueError(1)"
        assert repr(back.__cause__.exceptions[0]) == "KeyError('k')"
        assert_stands_for(back.__cause__.exceptions[1], "Refusing", "3")
        assert type(back.__context__.a) is NotShareableError

    def test_several_times(self, far):
        """A stand-in crosses like any other exception."""
        exc = error(ValueError(1), samples.Refusing(3))
        back = far.call(echo, far.call(echo, exc))
        assert_stands_for(back.__cause__, "Refusing", "3")

    @pytest.mark.parametrize("kind", [MemoryError, RecursionError, KeyboardInterrupt])
    def test_memory_error_stays_one(self, far, original, kind):
        exc = error(kind("m"), kind("c"), BaseExceptionGroup("g", [kind("n")]))
        for back in (
            far.call(echo, exc),
            original(
                f"exc = error({kind.__name__}('m'), {kind.__name__}('c'),"
                f" BaseExceptionGroup('g', [{kind.__name__}('n')]))"
            ),
        ):
            assert type(back) is kind
            assert repr(back.__cause__) == f"{kind.__name__}('c')"
            assert type(back.__context__.exceptions[0]) is kind

    def test_memory_error_is_not_as_its_predecessor_was(self, far):
        """CPython uses MemoryErrors again, without looking at this flag."""

        def leave_one():
            MemoryError().__suppress_context__ = True

        far.call(leave_one)
        exc = MemoryError("m")
        exc.__suppress_context__ = False
        assert not far.call(echo, exc).__suppress_context__
        far.call(leave_one)
        assert not far.call(lambda e: e.__suppress_context__, exc)

    def test_memory_error_while_it_is_written_is_no_stand_in(self, far):
        class Hungry(Exception):
            def __reduce__(self):
                raise MemoryError("full")

        queue = subinterpreters.create_queue()
        with pytest.raises(MemoryError, match="full"):
            queue.put(error(ValueError(), Hungry()))
        assert queue.empty()

    def test_interrupt_while_it_is_written_passes(self):
        class Interrupted(Exception):
            def __reduce__(self):
                raise KeyboardInterrupt

        queue = subinterpreters.create_queue()
        with pytest.raises(KeyboardInterrupt):
            queue.put(error(ValueError(), Interrupted()))

    def test_parts_that_misbehave(self, script):
        """Whatever code of the exceptions does, it is an error and no crash."""
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            bodies = [
                "def __str__(self): 1/0", "def __str__(self): raise SystemExit",
                "__module__ = property(lambda self: 1/0)", "__notes__ = 5",
                "__notes__ = [1, 'x']", "__reduce__ = property(lambda self: 1/0)",
                "def __reduce__(self): return 5", "def __reduce__(self): return (5, 6)",
                "def __reduce__(self): return (int, ('x',))",
                "def __reduce__(self): return (type(self), (), 5)",
                "def __reduce__(self): return (type(self), (), {5: 6})",
                "def __reduce__(self): return (type(self), (), {'a': {}, 'b': [self]})",
                "def __reduce__(self): return (type(self), ([self, {}],))",
                "def __reduce__(self): return (type(self), (), None, [1], [(1, 2)])",
                "def __reduce__(self): self.__cause__ = None; return 1/0",
                "def __getattribute__(self, name): raise ValueError",
                "def __setattr__(self, *args): raise ValueError",
                "def __setstate__(self, state): raise ValueError",
                "__hash__ = None",
                "def __bool__(self): raise ValueError",
            ]
            for body in bodies:
                try:
                    interp.exec(f'''
            class Awkward(Exception):
                {body}
            def raised(exc):
                try:
                    raise exc
                except Awkward as e:
                    return e
            a, b, c = (raised(Awkward('spam')) for _ in 'abc')
            exc = ValueError('v', a)
            exc.attribute = [b]
            exc.__cause__ = ExceptionGroup('g', [KeyError(), c, a])
            BaseException.__setattr__(c, '__context__', exc)
            raise exc
                    ''')
                except subinterpreters.ExecutionFailed as exc:
                    back = exc.original
                    assert type(back) is ValueError, (body, back)
                    assert back.args[0] == 'v', body
                    assert len(back.__cause__.exceptions) == 3, body
                    assert isinstance(back.args[1], Exception), body
            print('done')
            """)
        assert out == "done\n"


class TestChains:
    def test_cycles_of_contexts(self, far, original):
        for back in (
            original(
                "exc = error(ValueError(1), None, KeyError(2))\n"
                "exc.__context__.__context__ = exc\nexc.lock = threading.Lock()"
            ),
            far.call(echo, self.cycle()),
        ):
            assert repr(back) == "ValueError(1)"
            assert repr(back.__context__) == "KeyError(2)"
            assert back.__context__.__context__ is back

    def cycle(self):
        exc = error(ValueError(1), None, KeyError(2))
        exc.__context__.__context__ = exc
        return exc

    def test_group_that_contains_its_cause(self, far):
        member = KeyError("k")
        back = far.call(echo, error(ExceptionGroup("g", [member]), member))
        assert back.exceptions[0] is back.__cause__

    def test_member_whose_context_is_the_group(self, far):
        """As `except*` may leave it: the one is made from the other, but not lost."""
        member = KeyError("k")
        group = ExceptionGroup("g", [member, ValueError(1)])
        member.__context__ = group
        back = far.call(echo, member)
        assert back.__context__.exceptions[0] is back
        back = far.call(echo, group)
        assert repr(back) == "ExceptionGroup('g', [KeyError('k'), ValueError(1)])"
        assert_stands_for(
            back.exceptions[0].__context__, "ExceptionGroup", "g (2 sub-exceptions)"
        )

    @pytest.mark.parametrize("bad", ["None", "threading.Lock()", "ghost.Thing()"])
    def test_deep(self, script, bad):
        """Every link may have a part that cannot be sent, or cannot be built."""
        out = script.ok(f"""
            import subinterpreters, sys
            interp = subinterpreters.create()
            interp.exec('''
            import sys, threading
            ghost = sys.modules['ghost'] = type(sys)('ghost')
            exec('class Thing: pass', ghost.__dict__)
            exc = None
            for i in range(10_000):
                link = ValueError(i, {bad})
                if i % 2:
                    link.__context__ = exc
                else:
                    link.__cause__ = exc
                exc = link
            ''')
            def fail():
                import __main__
                raise __main__.exc
            try:
                interp.call(fail)
            except subinterpreters.ExecutionFailed as failed:
                exc, links = failed.original, 0
                while exc is not None and exc is not failed:
                    assert exc.args[0] == 9_999 - links
                    assert (type(exc.args[1]).__name__ in
                            ('NoneType', 'NotShareableError')), exc
                    exc, links = exc.__cause__ or exc.__context__, links + 1
                    if exc is failed:
                        exc = failed.original.__context__
            print(links)
            """)
        assert out == "10000\n"

    def test_deep_groups(self, script):
        """The time for the square of this depth would be minutes."""
        out = script.ok("""
            import subinterpreters
            class Refusing(Exception):
                def __reduce__(self): 1/0
            exc = ValueError('innermost')
            for i in range(100_000):
                exc = ExceptionGroup('g', [exc])
            queue = subinterpreters.create_queue()
            top = ValueError()
            top.__cause__ = ExceptionGroup('top', [exc, Refusing()])
            queue.put(top)
            exc, depth = queue.get().__cause__.exceptions[0], 0
            while isinstance(exc, ExceptionGroup):
                exc, depth = exc.exceptions[0], depth + 1
            print(depth, repr(exc))
            """)
        assert out == "100000 ValueError('innermost')\n"


def raise_here():
    raise LookupError("spam")


def returned():
    try:
        raise_here()
    except LookupError as exc:
        return exc


def raise_plain():
    raise_here()


def raise_from():
    try:
        raise_here()
    except LookupError as exc:
        raise ValueError("outer") from exc


def raise_inside():
    try:
        raise_here()
    except LookupError:
        raise ValueError("outer")  # noqa: B904 - the context is meant


def raise_from_none():
    try:
        raise_here()
    except LookupError:
        raise ValueError("outer") from None


def raise_group():
    raise ExceptionGroup("g", [returned(), returned()])


class TestTraceback:
    def test_of_a_value_is_a_note(self, interp):
        exc = interp.call(returned)
        assert (type(exc), exc.__cause__) == (LookupError, None)
        (note,) = exc.__notes__
        head, *lines = note.splitlines()
        assert head == f"Traceback in interpreter {interp.id} (most recent call last):"
        assert any(line.endswith("in raise_here") for line in lines)
        assert shown(exc).count("in raise_here") == 1

    def test_comes_after_other_notes(self, far):
        exc = returned()
        exc.add_note("mine")
        mine, own = far.call(echo, exc).__notes__
        assert mine == "mine"
        assert own.startswith("Traceback in interpreter ")
        assert exc.__notes__ == ["mine"]

    def test_an_exception_that_was_never_raised_has_none(self, far):
        assert not hasattr(far.call(echo, ValueError(1)), "__notes__")

    def test_each_crossing_adds_its_own(self, far):
        back = far.call(echo, returned())
        assert len(back.__notes__) == 1
        assert far.call(echo, back).__notes__ == back.__notes__

    def test_causes_have_their_own(self, far):
        def fail():
            try:
                raise_from()
            except ValueError as exc:
                return exc

        back = far.call(fail)
        assert "in raise_from" in back.__notes__[0]
        assert "in raise_here" in back.__cause__.__notes__[0]
        assert back.__suppress_context__
        assert back.__context__ is back.__cause__

    @pytest.mark.parametrize(
        ("fail", "cause", "context", "suppress", "times"),
        [
            (raise_plain, None, None, False, 1),
            (raise_from, LookupError, LookupError, True, 1),
            (raise_inside, None, LookupError, False, 1),
            (raise_from_none, None, LookupError, True, 0),
            (raise_group, None, None, False, 2),
        ],
    )
    @pytest.mark.parametrize("way", ["call", "submit", "pool"])
    def test_of_what_was_raised(
        self, interp, way, fail, cause, context, suppress, times
    ):
        """Its cause is an ExecutionFailed that shows all, unless it has another one;
        then each has a note. It is never shown twice."""
        if way == "call":
            with pytest.raises(ExecutionFailed) as caught:
                interp.call(fail)
            exc, failed = caught.value.original, caught.value
            assert shown(failed).count("in raise_here") == times
        elif way == "submit":
            exc = interp.submit(fail).exception(LIMIT)
        else:
            with InterpreterPoolExecutor(1) as pool:
                exc = pool.submit(fail).exception(LIMIT)
        assert type(exc.__cause__) is (cause or ExecutionFailed)
        assert type(exc.__context__) is (context or type(None))
        assert exc.__suppress_context__ is suppress
        if cause is None:
            assert not hasattr(exc, "__notes__")
            if way == "call":
                assert exc.__cause__ is failed
        else:
            assert "in raise_from" in exc.__notes__[0]
            assert "in raise_here" in exc.__cause__.__notes__[0]
            assert len(exc.__notes__) == (1 if way == "call" else 2)
            assert way == "call" or "in worker" in exc.__notes__[1]
        text = shown(exc)
        assert text.count("in raise_here") == times
        assert f"in {fail.__name__}\n" in text

    def test_raised_again_it_is_shown_once(self, script):
        done = script.run("""
            import subinterpreters
            def spam(): 1/0
            try:
                subinterpreters.create().call(spam)
            except subinterpreters.ExecutionFailed as exc:
                raise exc.original
            """)
        assert done.stderr.count("in spam") == 1
        assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_nothing_is_left_behind(script):
    out = script.ok(
        """
        import gc, sys
        sys.path.insert(0, sys.argv[1])
        import samples, subinterpreters
        interp = subinterpreters.create()
        interp.prepare_main(folder=sys.argv[1])
        interp.exec('import sys; sys.path.insert(0, folder)')
        queue = subinterpreters.create_queue()
        def fail(number):
            import samples
            raise samples.errors()[number]
        def use():
            for number, exc in enumerate(samples.errors()):
                queue.put(exc)
                queue.get()
                try:
                    interp.call(fail, number)
                except subinterpreters.ExecutionFailed as failed:
                    assert failed.original is not None
        def blocks():
            gc.collect()
            interp.exec('import gc, sys; gc.collect()')
            there = interp.call(eval, 'sys.getallocatedblocks()')
            return sys.getallocatedblocks(), there
        for _ in range(60): use() # until CPython's caches are full
        grown = []
        before = blocks()
        for _ in range(5):
            for _ in range(50): use()
            after = blocks()
            grown.append([b - a for a, b in zip(before, after)])
            before = after
        print(*map(min, zip(*grown)))
        """,
        FOLDER,
    )
    here, there = map(int, out.split())
    assert here < 100
    assert there < 100
