"""create, list_all, get_current, get_main and the life of an Interpreter."""

import copy
import gc
import os
import pickle
import sys
import threading
import weakref

import pytest
import subinterpreters
from subinterpreters import (
    ExecutionFailed,
    Interpreter,
    InterpreterError,
    InterpreterNotFoundError,
)

FRESH_MAIN = [
    *(["__annotations__"] if sys.version_info < (3, 14) else []),
    "__builtins__",
    "__doc__",
    "__loader__",
    "__name__",
    "__package__",
    "__spec__",
]


def ids():
    return [interp.id for interp in subinterpreters.list_all()]


def in_thread(function):
    """Runs the function in a new thread; returns its result or raises its error."""
    outcome = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as exc:
            outcome.append((None, exc))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ((result, error),) = outcome
    outcome.clear()
    if error is not None:
        raise error
    return result


class TestCreate:
    def test_is_listed_idle_and_new(self, interp):
        assert type(interp) is Interpreter
        assert interp in subinterpreters.list_all()
        assert not interp.is_running()
        assert interp is not subinterpreters.get_current()

    def test_ids_grow_and_are_not_reused(self):
        seen = []
        for _ in range(4):
            interp = subinterpreters.create()
            seen.append(interp.id)
            interp.close()
        assert seen == sorted(set(seen))

    def test_takes_no_positional_arguments(self):
        with pytest.raises(TypeError):
            subinterpreters.create(1)

    def test_main_module_is_fresh(self, interp):
        assert interp.call(dir) == FRESH_MAIN
        assert interp.call(eval, "__name__") == "__main__"

    def test_is_isolated(self, interp):
        other = subinterpreters.create()
        interp.exec("import json; json.spam = spam = 1")
        other.exec("import json")
        assert not other.call(eval, "hasattr(json, 'spam') or 'spam' in globals()")
        import json

        assert not hasattr(json, "spam")
        other.close()

    def test_has_its_own_modules(self, interp):
        assert interp.call(eval, "id(__import__('sys').modules)") != id(sys.modules)

    def test_in_a_thread(self):
        interp = in_thread(subinterpreters.create)
        assert interp in subinterpreters.list_all()
        interp.exec("x = 1")
        assert interp.call(eval, "x") == 1
        interp.close()

    def test_in_many_threads_at_once(self):
        made = []
        barrier = threading.Barrier(6)

        def make():
            barrier.wait()
            made.append(subinterpreters.create())

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({interp.id for interp in made}) == 6
        assert [interp.call(eval, "6*7") for interp in made] == [42] * 6
        for interp in made:
            interp.close()

    def test_in_another_interpreter(self, interp):
        interp.exec("import subinterpreters; made = subinterpreters.create()")
        made = Interpreter(interp.call(eval, "made.id"))
        assert ids() == [0, interp.id, made.id]
        made.exec("x = 1")
        assert made.call(eval, "x") == 1
        made.close()

    def test_sees_the_same_search_path(self, interp):
        # The first entry is the script's folder, as in main.
        assert interp.call(eval, "__import__('sys').path[0]") == sys.path[0]


class TestListAll:
    def test_order_is_that_of_creation(self):
        first, second, third = [subinterpreters.create() for _ in range(3)]
        assert ids() == [0, first.id, second.id, third.id]
        second.close()
        assert ids() == [0, first.id, third.id]
        first.close()
        third.close()
        assert ids() == [0]

    def test_gives_the_same_objects(self, interp):
        main, listed = subinterpreters.list_all()
        assert main is subinterpreters.get_main()
        assert listed is interp

    def test_from_another_interpreter(self, interp):
        interp.exec("import subinterpreters")
        assert interp.call(eval, "[i.id for i in subinterpreters.list_all()]") == [
            0,
            interp.id,
        ]

    def test_while_others_come_and_go(self):
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                subinterpreters.create().close()

        thread = threading.Thread(target=churn)
        thread.start()
        for _ in range(300):
            assert subinterpreters.list_all()[0].id == 0
        stop.set()
        thread.join()

    def test_collection_of_one_while_listing(self):
        interp = subinterpreters.create()
        gone = interp.id
        cycle = [interp]
        cycle.append(cycle)
        threshold = gc.get_threshold()
        gc.disable()
        try:
            del interp, cycle
            gc.set_threshold(1)
            gc.enable()
            listed = ids()
        finally:
            gc.set_threshold(*threshold)
            gc.enable()
        gc.collect()
        assert gone not in ids()
        assert set(listed) <= {0, gone}


class TestCurrentAndMain:
    def test_in_main(self):
        main = subinterpreters.get_main()
        assert main.id == 0
        assert subinterpreters.get_current() is main
        assert subinterpreters.get_main() is main
        assert in_thread(subinterpreters.get_current) is main

    def test_in_another(self, interp):
        interp.exec("""
            import subinterpreters
            current = subinterpreters.get_current()
            same = current is subinterpreters.get_current()
            main = subinterpreters.get_main().id
            """)
        assert interp.call(eval, "(current.id, same, main)") == (interp.id, True, 0)

    def test_in_a_thread_of_another(self, interp):
        interp.exec("""
            import subinterpreters, threading
            seen = []
            def look():
                seen.append(subinterpreters.get_current().id)
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            """)
        assert interp.call(eval, "seen") == [interp.id]


class TestHandle:
    def test_one_object_per_id(self, interp):
        assert Interpreter(interp.id) is interp
        assert Interpreter(0) is subinterpreters.get_main()
        assert Interpreter(False) is subinterpreters.get_main()

    def test_takes_attributes(self, interp):
        interp.tag = "parser"
        assert interp.__dict__ == {"tag": "parser"}
        assert Interpreter(interp.id).tag == "parser"

    def test_a_cycle_through_it_is_collected(self):
        interp = subinterpreters.create()
        interp.me = interp
        number = interp.id
        del interp
        gc.collect()
        assert number not in [i.id for i in subinterpreters.list_all()]

    def test_int_subclass(self, interp):
        class Id(int):
            pass

        assert Interpreter(Id(interp.id)) is interp

    @pytest.mark.parametrize("bad", ["0", 0.0, None, b"0", object()], ids=repr)
    def test_id_of_the_wrong_type(self, bad):
        with pytest.raises(TypeError) as caught:
            Interpreter(bad)
        assert str(caught.value) == f"id must be an int, got {bad!r}"

    def test_negative_id(self):
        with pytest.raises(ValueError, match="must be a non-negative int, got -1"):
            Interpreter(-1)

    @pytest.mark.parametrize("huge", [2**63, 2**70, -(2**70)])
    def test_huge_id(self, huge):
        with pytest.raises(OverflowError):
            Interpreter(huge)

    def test_unknown_id(self):
        with pytest.raises(
            InterpreterNotFoundError, match="^unrecognized interpreter ID 999999$"
        ):
            Interpreter(999_999)

    def test_closed_id(self):
        interp = subinterpreters.create()
        number = interp.id
        interp.close()
        del interp
        with pytest.raises(InterpreterNotFoundError):
            Interpreter(number)

    def test_arguments(self):
        with pytest.raises(TypeError):
            Interpreter()
        with pytest.raises(TypeError):
            Interpreter(id=0)

    def test_identity_decides_equality(self, interp):
        other = subinterpreters.create()
        assert interp == interp
        assert interp != other
        assert interp != interp.id
        assert len({interp, other, Interpreter(interp.id)}) == 2
        other.close()

    def test_hash_and_repr(self, interp):
        assert hash(interp) == hash(interp.id)
        assert repr(interp) == f"Interpreter({interp.id})"
        assert repr(subinterpreters.get_main()) == "Interpreter(0)"

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, interp, protocol):
        assert pickle.loads(pickle.dumps(interp, protocol)) is interp

    def test_pickle_of_a_closed_one(self):
        interp = subinterpreters.create()
        data = pickle.dumps(interp)
        interp.close()
        del interp
        with pytest.raises(InterpreterNotFoundError):
            pickle.loads(data)

    def test_copy(self, interp):
        assert copy.copy(interp) is interp
        assert copy.deepcopy([interp])[0] is interp

    def test_weak_reference(self, interp):
        assert weakref.ref(interp)() is interp

    def test_travels(self, interp):
        interp.exec("def number(i): return i.id, type(i).__name__")
        other = subinterpreters.create()

        def look(handle):
            return handle.id, type(handle).__name__

        assert interp.call(look, other) == (other.id, "Interpreter")
        interp.exec("import subinterpreters")
        assert interp.call(eval, f"subinterpreters.Interpreter({other.id})") is other
        # The handle in the other interpreter holds on to it too.
        other.close()

    @pytest.mark.parametrize("name", ["id", "whence"])
    def test_read_only(self, interp, name):
        with pytest.raises(AttributeError):
            setattr(interp, name, 1)

    def test_types(self, interp):
        assert type(interp.id) is int
        assert type(interp.whence) is str

    def test_whence(self, interp):
        assert subinterpreters.get_main().whence == "runtime init"
        assert interp.whence == "_interpreters module"
        interp.exec("import subinterpreters")
        assert interp.call(eval, "subinterpreters.get_main().whence") == "runtime init"
        assert (
            interp.call(eval, "subinterpreters.get_current().whence") == interp.whence
        )

    def test_what_survives_closing(self):
        interp = subinterpreters.create()
        number, whence = interp.id, interp.whence
        interp.close()
        assert (interp.id, interp.whence) == (number, whence)
        assert repr(interp) == f"Interpreter({number})"
        assert hash(interp) == hash(number)


class TestIsRunning:
    def test_main(self):
        assert subinterpreters.get_main().is_running()

    def test_while_code_runs(self, interp, running):
        assert interp.is_running() is False
        with running(interp):
            assert interp.is_running() is True
        assert interp.is_running() is False

    def test_from_itself_and_its_callee(self, interp):
        other = subinterpreters.create()
        interp.prepare_main(other=other.id)
        interp.exec("""
            import subinterpreters
            me = subinterpreters.get_current()
            mine = me.is_running()
            subinterpreters.Interpreter(other).exec(
                'import subinterpreters\\n'
                f'of_caller = subinterpreters.Interpreter({me.id}).is_running()')
            """)
        assert interp.call(eval, "mine") is True
        assert other.call(eval, "of_caller") is True
        other.close()

    def test_after_an_error(self, interp):
        with pytest.raises(ExecutionFailed):
            interp.exec("1/0")
        assert not interp.is_running()

    def test_background_threads_do_not_count(self, interp):
        r, w = os.pipe()
        interp.exec(f"""
            import os, threading
            thread = threading.Thread(target=os.read, args=({r}, 1))
            thread.start()
            """)
        assert not interp.is_running()
        os.write(w, b"1")
        interp.exec("thread.join()")
        os.close(r)
        os.close(w)

    def test_closed(self):
        interp = subinterpreters.create()
        interp.close()
        with pytest.raises(InterpreterNotFoundError):
            interp.is_running()


class TestForeign:
    """Interpreters that the standard library's module made are seen, not driven."""

    @pytest.fixture
    def foreign(self):
        name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
        module = pytest.importorskip(name)
        number = module.create()
        yield int(number)
        module.destroy(number)

    def test_listed(self, foreign):
        assert ids() == [0, foreign]
        handle = Interpreter(foreign)
        assert handle in subinterpreters.list_all()
        assert handle.id == foreign

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 does not record it")
    def test_whence(self, foreign):
        assert Interpreter(foreign).whence == "_interpreters module"

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 does not tell")
    def test_is_running(self, foreign):
        assert Interpreter(foreign).is_running() is False

    @pytest.mark.parametrize(
        ("use", "what"),
        [
            (lambda i: i.exec("1"), "exec code for"),
            (lambda i: i.call(len, ()), "make a call in"),
            (lambda i: i.prepare_main(a=1), "update __main__ for"),
            (lambda i: i.close(), "destroy"),
        ],
        ids=["exec", "call", "prepare_main", "close"],
    )
    def test_not_driven(self, foreign, use, what):
        handle = Interpreter(foreign)
        with pytest.raises(InterpreterError) as caught:
            use(handle)
        assert str(caught.value) == f"cannot {what} unrecognized interpreter {foreign}"

    def test_not_destroyed_with_the_handle(self, foreign):
        Interpreter(foreign)
        gc.collect()
        assert foreign in ids()


@pytest.mark.unsanitized("it needs more memory than the limit")
def test_little_memory(script):
    """CPython's creation, once begun, would abort the process."""
    source = """
        import resource
        import subinterpreters

        def limit(size):
            resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))

        def used():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[0]) * resource.getpagesize()

        refusals = set()
        for room in range(0, 32, 2):
            limit(used() + (room << 20))
            try:
                subinterpreters.create()
            except subinterpreters.InterpreterError as error:
                limit(resource.RLIM_INFINITY)
                refusals.add(str(error))
            limit(resource.RLIM_INFINITY)
        print(refusals)
        subinterpreters.create().close()
        """
    assert script.ok(source) == "{'interpreter creation failed: out of memory'}\n"
