"""``subinterpreters.install()``: ``concurrent.interpreters`` becomes ours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TIMEOUT = 60
HAS_STDLIB_MODULE = sys.version_info >= (3, 14)


def assert_runs(folder: Path, source: str) -> str:
    """Run *source* in a process of its own, where it must succeed quietly."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_every_way_of_importing_gives_ours(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import sys
        import subinterpreters
        from subinterpreters import _crossinterp, _queues

        subinterpreters.install()
        assert "concurrent.interpreters" not in sys.modules
        from concurrent import interpreters
        import concurrent.interpreters
        import concurrent.interpreters as directly
        import concurrent.interpreters._queues as queues
        import concurrent.interpreters._crossinterp as crossinterp
        from concurrent.interpreters import Queue, UNBOUND

        assert interpreters is concurrent.interpreters is directly is subinterpreters
        assert sys.modules["concurrent.interpreters"] is subinterpreters
        assert queues is _queues is sys.modules["concurrent.interpreters._queues"]
        assert crossinterp is _crossinterp
        assert Queue is subinterpreters.Queue
        assert UNBOUND is subinterpreters.UNBOUND
        import concurrent.futures
        """,
    )


def test_our_module_stays_what_it_is(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import importlib
        import subinterpreters

        def identity(module):
            return module.__name__, module.__spec__, module.__path__, module.__file__

        before = identity(subinterpreters)
        subinterpreters.install()
        from concurrent import interpreters
        import concurrent.interpreters._queues as queues
        assert identity(subinterpreters) == before
        assert before[1].name == before[0] == "subinterpreters"
        assert queues.__spec__.name == queues.__name__ == "subinterpreters._queues"
        assert importlib.reload(subinterpreters) is interpreters
        """,
    )


def test_the_names_are_where_cpython_keeps_them(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import subinterpreters
        subinterpreters.install()
        from concurrent import interpreters
        from concurrent.interpreters import _crossinterp, _queues
        names = {
            "get_current", "get_main", "create", "list_all", "is_shareable",
            "Interpreter", "InterpreterError", "InterpreterNotFoundError",
            "ExecutionFailed", "NotShareableError", "create_queue", "Queue",
            "QueueEmpty", "QueueFull",
        }
        assert names < set(interpreters.__all__)
        assert all(hasattr(interpreters, name) for name in interpreters.__all__)
        for name in (
            "UNBOUND", "UNBOUND_ERROR", "UNBOUND_REMOVE", "Queue", "QueueError",
            "QueueNotFoundError", "QueueEmpty", "QueueFull",
            "ItemInterpreterDestroyed",
        ):
            assert getattr(_queues, name) is getattr(interpreters, name), name
        assert _queues.create is interpreters.create_queue
        made = [_queues.create() for _ in range(3)]
        listed = _queues.list_all()
        assert [queue for queue in listed if queue in made] == made
        del made, listed
        for name in ("UNBOUND", "UNBOUND_ERROR", "UNBOUND_REMOVE"):
            assert getattr(_crossinterp, name) is getattr(interpreters, name), name
        assert issubclass(
            interpreters.ItemInterpreterDestroyed,
            _crossinterp.ItemInterpreterDestroyed,
        )
        """,
    )


def test_what_is_not_ours_is_not_found(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import subinterpreters
        subinterpreters.install()
        for name in ("concurrent.interpreters.absent", "concurrent.interpreters_x"):
            try:
                __import__(name)
            except ModuleNotFoundError as exc:
                assert exc.name == name
            else:
                raise AssertionError(name)
        """,
    )


def test_interpreters_created_later_have_it(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import subinterpreters
        earlier = subinterpreters.create()
        subinterpreters.install()
        from concurrent import interpreters

        CHECK = '''
        import sys
        assert "concurrent.interpreters" not in sys.modules
        if not early:
            assert "subinterpreters" not in sys.modules, "nothing asked for it yet"
        from concurrent import interpreters
        import subinterpreters
        import concurrent.interpreters._queues
        assert interpreters is subinterpreters
        assert interpreters.get_current().id == id
        '''
        later = interpreters.create()
        later.prepare_main(id=later.id, early=False, CHECK=CHECK)
        later.exec(CHECK)
        later.exec('''
        inner = interpreters.create()
        inner.prepare_main(id=inner.id, early=False)
        inner.exec(CHECK)
        inner.close()
        ''')

        # One that was there before asks for it itself.
        earlier.prepare_main(id=earlier.id, early=True)
        earlier.exec("import subinterpreters; subinterpreters.install()")
        earlier.exec(CHECK)
        earlier.close()
        later.close()
        """,
    )


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import sys, threading
        import subinterpreters

        barrier = threading.Barrier(8)
        def install():
            barrier.wait()
            subinterpreters.install()
        threads = [threading.Thread(target=install) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        finders = list(sys.meta_path)
        names = [getattr(finder, "__name__", "") for finder in finders]
        assert names.count("find_subinterpreters") == 1

        from concurrent import interpreters
        subinterpreters.install()
        assert sys.meta_path == finders
        interp = interpreters.create()
        interp.exec('''
            import sys
            finders = list(sys.meta_path)
            import subinterpreters
            subinterpreters.install()
            assert sys.meta_path == finders
        ''')
        interp.close()
        """,
    )


def test_importing_the_package_loads_little(tmp_path: Path) -> None:
    output = assert_runs(
        tmp_path,
        """
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec('''
            import sys
            before = set(sys.modules)
            import subinterpreters
            print(*sorted(set(sys.modules) - before))
        ''')
        interp.close()
        """,
    )
    heavy = {"typing", "re", "inspect", "importlib.metadata", "argparse", "tqdm"}
    loaded = set(output.split())
    assert "subinterpreters._core" in loaded
    assert not heavy & loaded
    assert "subinterpreters._install" not in loaded


def test_names_that_are_loaded_late(tmp_path: Path) -> None:
    output = assert_runs(
        tmp_path,
        """
        import sys
        import subinterpreters
        late = {"BrokenInterpreterPool", "InterpreterPoolExecutor", "aio", "executor"}
        assert late | set(subinterpreters.__all__) <= set(dir(subinterpreters))
        assert "concurrent.futures" not in sys.modules
        print(subinterpreters.executor.InterpreterPoolExecutor.__name__)
        print(subinterpreters.aio.map.__name__)
        from subinterpreters import aio
        assert aio is sys.modules["subinterpreters.aio"] is subinterpreters.aio
        """,
    )
    assert output == "InterpreterPoolExecutor\nmap\n"


def test_version(tmp_path: Path) -> None:
    output = assert_runs(
        tmp_path,
        """
        import importlib.metadata
        import subinterpreters
        assert subinterpreters.__version__ == importlib.metadata.version(
            "subinterpreters"
        )
        try:
            subinterpreters.absent
        except AttributeError as exc:
            print(exc)
        """,
    )
    assert output == "module 'subinterpreters' has no attribute 'absent'\n"


@pytest.mark.skipif(not HAS_STDLIB_MODULE, reason="this Python has no such module")
def test_a_module_that_was_imported_before_is_replaced(tmp_path: Path) -> None:
    assert_runs(
        tmp_path,
        """
        import sys
        import concurrent.interpreters
        from concurrent.interpreters import create as original
        import subinterpreters

        subinterpreters.install()
        assert concurrent.interpreters is subinterpreters
        assert sys.modules["concurrent.interpreters"] is subinterpreters
        queues = sys.modules["concurrent.interpreters._queues"]
        assert queues.Queue is subinterpreters.Queue
        assert sys.modules["concurrent.interpreters._crossinterp"].__name__ == (
            "subinterpreters._crossinterp"
        )
        from concurrent.interpreters import _queues, create
        assert _queues is queues
        assert create is subinterpreters.create is not original
        """,
    )


@pytest.mark.skipif(not HAS_STDLIB_MODULE, reason="this Python has no such module")
def test_the_stdlib_executor_works_on_ours(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("def double(x):\n    return 2 * x\n")
    output = assert_runs(
        tmp_path,
        """
        import subinterpreters
        subinterpreters.install()
        from concurrent.futures import InterpreterPoolExecutor
        from job import double
        with InterpreterPoolExecutor(2) as pool:
            print(list(pool.map(double, range(5))))
        """,
    )
    assert output == "[0, 2, 4, 6, 8]\n"
