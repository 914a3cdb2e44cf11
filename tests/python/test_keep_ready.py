"""Spares: interpreters that are ready before create() asks for one."""

import threading

import pytest
import subinterpreters


@pytest.fixture(autouse=True)
def none_kept():
    yield
    subinterpreters.keep_ready(0)


def test_create_hands_one_out():
    before = subinterpreters.list_all()
    subinterpreters.keep_ready(2, preload=["json"])
    assert subinterpreters.list_all() == before
    for _ in range(6):
        with subinterpreters.create() as interp:
            assert interp in subinterpreters.list_all()
            assert interp.call(eval, "__import__('sys').path") == __import__("sys").path
            threading.Event().wait(0.01)
    assert subinterpreters.list_all() == before


def test_they_have_the_modules():
    subinterpreters.keep_ready(1, preload=["colorsys"])
    loaded = []
    while not any(loaded):  # the first ones may come before a spare is ready
        with subinterpreters.create() as interp:
            loaded.append(interp.call(eval, "'colorsys' in __import__('sys').modules"))
        threading.Event().wait(0.02)


def test_a_module_that_is_not_there():
    subinterpreters.keep_ready(1, preload=["no_such_module"])
    for _ in range(3):
        with subinterpreters.create() as interp:
            interp.exec("pass")
        threading.Event().wait(0.01)


@pytest.mark.parametrize("bad", [{"n": -1}, {"n": 1000}, {"n": 2**70}])
def test_bad_numbers(bad):
    with pytest.raises((ValueError, OverflowError)):
        subinterpreters.keep_ready(**bad)


@pytest.mark.parametrize("bad", ["json", [1], 3])
def test_bad_names(bad):
    with pytest.raises(TypeError):
        subinterpreters.keep_ready(1, preload=bad)


@pytest.mark.parametrize(
    "source",
    [
        "s.keep_ready(3)",
        "s.keep_ready(3); s.keep_ready(1); s.keep_ready(0)",
        "s.keep_ready(2, preload=['asyncio']); import time; time.sleep(0.05)",
        "s.keep_ready(2); s.create(); import sys; sys.exit()",
        "s.keep_ready(2); import threading; threading.Thread(target=s.create).start()",
    ],
)
def test_exit_at_any_time(script, source):
    for _ in range(3):
        assert script.ok("import subinterpreters as s\n" + source) == ""


def test_fork(script):
    source = """
        import os, subinterpreters as s, time, warnings
        warnings.simplefilter('ignore')
        s.keep_ready(2)
        time.sleep(0.05)
        child = os.fork()
        if child == 0:
            s.create().exec("print('child', flush=True)")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        s.create().exec("print('parent')")
        """
    assert script.ok(source) == "child\nparent\n"


def test_many_who_change_their_minds_at_once(script):
    source = """
        import threading
        import subinterpreters as s

        def change(keep):
            for i in range(60):
                keep(i % 3, preload=["colorsys"])

        inner = s.create()
        inner.exec("import subinterpreters as s")
        threads = [
            threading.Thread(target=change, args=(s.keep_ready,)) for _ in range(3)
        ]
        threads.append(threading.Thread(target=inner.exec, args=(
            "for i in range(60):\\n    s.keep_ready(i % 3, preload=['bisect'])",
        )))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        inner.close()
        s.keep_ready(0)
        print(len(s.list_all()))
    """
    assert script.ok(source, timeout=60) == "1\n"
