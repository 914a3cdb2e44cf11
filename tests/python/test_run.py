"""``python -m subinterpreters run`` does what ``python`` does.

Most tests run the same command line with and without ``-m subinterpreters run`` and
compare everything that comes out.
"""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

RUN = ["-m", "subinterpreters", "run"]
TIMEOUT = 60

SHOW_NAMESPACE = '''
"""A docstring."""
import sys
own = {"__name__", "__doc__", "__package__", "__file__", "__cached__",
       "__annotations__"}
print(list(globals()))
print({name: value for name, value in globals().items() if name in own})
print(type(__loader__), type(__builtins__), getattr(__spec__, "name", __spec__))
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
'''
USE_INTERPRETER = """
from concurrent import interpreters
import sys
interp = interpreters.create()
interp.exec("import sys; print(repr(sys.path[0]), flush=True)")
interp.exec("from concurrent import interpreters; print(interpreters.__name__)")
print(repr(sys.path[0]), interpreters.__name__)
interp.close()
"""


def python(
    *args: str, cwd: Path, stdin: str = "", timeout: float = TIMEOUT
) -> tuple[int, str, str]:
    """Run the Python that runs this test; return status, output and errors."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"}
    }
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def assert_same(
    cwd: Path, *args: str, stdin: str = "", flags: tuple[str, ...] = ()
) -> tuple[int, str, str]:
    """Assert that *args* do the same under python and under our run."""
    expected = python(*flags, *args, cwd=cwd, stdin=stdin)
    assert python(*flags, *RUN, *args, cwd=cwd, stdin=stdin) == expected
    return expected


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize(
    "script",
    ["show.py", "./show.py", "deep/show.py", "deep/../show.py", "link.py", "ABSOLUTE"],
)
def test_a_script_sees_what_it_sees_under_python(tmp_path: Path, script: str) -> None:
    write(tmp_path / "show.py", SHOW_NAMESPACE)
    write(tmp_path / "deep" / "show.py", SHOW_NAMESPACE)
    (tmp_path / "link.py").symlink_to("deep/show.py")
    script = script.replace("ABSOLUTE", str(tmp_path / "show.py"))
    status, output, _ = assert_same(tmp_path, script, "-x", "--help", "a b")
    assert status == 0
    assert "'--help'" in output


def test_code_sees_what_it_sees_under_python(tmp_path: Path) -> None:
    assert assert_same(tmp_path, "-c", SHOW_NAMESPACE, "-m", "x")[0] == 0
    assert assert_same(tmp_path, "-cimport sys; print(sys.argv)", "-c")[0] == 0


def test_a_module_sees_what_it_sees_under_python(tmp_path: Path) -> None:
    write(tmp_path / "show.py", SHOW_NAMESPACE)
    write(tmp_path / "package" / "__init__.py", "print('package')")
    write(tmp_path / "package" / "__main__.py", SHOW_NAMESPACE)
    for module in ("show", "package", "package.__main__"):
        assert assert_same(tmp_path, "-m", module, "-c", "x")[0] == 0
    assert assert_same(tmp_path, "-mshow", "x")[0] == 0


def test_folders_archives_and_compiled_files(tmp_path: Path) -> None:
    main = write(tmp_path / "folder" / "__main__.py", SHOW_NAMESPACE)
    with zipfile.ZipFile(tmp_path / "archive.pyz", "w") as archive:
        archive.write(main, "__main__.py")
    py_compile.compile(str(main), cfile=str(tmp_path / "compiled.pyc"))
    for script in ("folder", "archive.pyz", "compiled.pyc"):
        assert assert_same(tmp_path, script, "x")[0] == 0
    assert assert_same(tmp_path, "folder", flags=("-P",))[0] == 0


def test_standard_input_as_script(tmp_path: Path) -> None:
    assert assert_same(tmp_path, "-", "x", stdin=SHOW_NAMESPACE)[0] == 0


def test_safe_path_puts_no_folder_on_the_path(tmp_path: Path) -> None:
    write(tmp_path / "show.py", SHOW_NAMESPACE)
    assert assert_same(tmp_path, "show.py", flags=("-P",))[0] == 0
    assert assert_same(tmp_path, "-c", SHOW_NAMESPACE, flags=("-P",))[0] == 0


FAILING = {
    "exception": "def f():\n    {}['key']\nf()",
    "chained": "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError(1) from e",
    "group": "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])",
    "syntax": "x = 1\nif x\n    y = 2\n",
    "exit with status": "import sys\nsys.exit(3)",
    "exit with message": "import sys\nsys.exit('stopped')",
    "exit with nothing": "import sys\nprint('x')\nsys.exit()",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "signal": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile 1: pass",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nwhile 1: pass",
    "hook": (
        "import sys\nsys.excepthook = lambda *x: print(x[0], x[2].tb_lineno)\n1 / 0"
    ),
    "last_exc": (
        "import atexit, sys, traceback\n"
        "atexit.register(lambda: traceback.print_exception(sys.last_exc))\n"
        "atexit.register(lambda: traceback.print_tb(sys.last_traceback))\n"
        "atexit.register(lambda: print(sys.excepthook is sys.__excepthook__))\n"
        "[][0]"
    ),
    "base": "class Odd(BaseException): pass\nraise Odd('a', 1)",
    "thread": (
        "import threading\n"
        "e = threading.Event()\n"
        "threading.Thread(target=lambda: (e.wait(), print('thread ends'))).start()\n"
        "import atexit\n"
        "atexit.register(print, 'exit hook')\n"
        "e.set()\n"
        "raise ValueError('main ends')"
    ),
}


@pytest.mark.parametrize("code", FAILING.values(), ids=FAILING.keys())
def test_failures_look_as_under_python(tmp_path: Path, code: str) -> None:
    write(tmp_path / "script.py", code)
    script_status, _, script_errors = assert_same(tmp_path, "script.py")
    code_status, _, _ = assert_same(tmp_path, "-c", code)
    assert script_status == code_status
    assert "_cli" not in script_errors
    # runpy's frames are in the traceback of -m under python, too.
    assert assert_same(tmp_path, "-m", "script")[0] == script_status


def test_what_cannot_be_run_is_told_as_python_tells_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "package" / "__init__.py", "")
    assert assert_same(tmp_path, "missing.py")[0] == 2
    assert assert_same(tmp_path, "empty")[0] == 1
    assert assert_same(tmp_path, "-m", "missing")[0] == 1
    assert assert_same(tmp_path, "-m", "package")[0] == 1


def test_source_encodings(tmp_path: Path) -> None:
    script = tmp_path / "latin.py"
    script.write_bytes(b"# coding: latin-1\nprint(ascii('\xe4'))\n")
    assert assert_same(tmp_path, "latin.py")[0] == 0
    # Here the text of the error is not the same: it names the place, not the PEP.
    script.write_bytes(b"print('\xe4')\n")
    status, _, errors = python(*RUN, "latin.py", cwd=tmp_path)
    assert status == 1
    assert f'File "{script}", line 1' in errors
    assert "SyntaxError" in errors
    assert "_cli" not in errors


def test_code_from_an_indented_block(tmp_path: Path) -> None:
    status, _, _ = assert_same(tmp_path, "-c", "\n    x = 1\n    print(x)\n")
    assert status == (0 if sys.version_info >= (3, 14) else 1)


def test_objects_of_main_can_be_pickled(tmp_path: Path) -> None:
    write(
        tmp_path / "script.py",
        """
        import pickle

        class Point:
            def __init__(self, x):
                self.x = x

        print(pickle.loads(pickle.dumps(Point(3))).x, Point.__module__)
        """,
    )
    assert assert_same(tmp_path, "script.py") == (0, "3 __main__\n", "")
    assert assert_same(tmp_path, "-m", "script") == (0, "3 __main__\n", "")


def test_processes_that_a_script_spawns_find_its_functions(tmp_path: Path) -> None:
    write(
        tmp_path / "script.py",
        """
        import multiprocessing

        def double(x):
            return 2 * x

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [1, 2]))
        """,
    )
    assert assert_same(tmp_path, "script.py") == (0, "[2, 4]\n", "")


def test_the_module_is_ours_everywhere(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "use.py", USE_INTERPRETER)
    folder = str(tmp_path / "deep")
    for args, path0 in (
        (["deep/use.py"], folder),
        (["-c", USE_INTERPRETER], ""),
        (["-m", "deep.use"], str(tmp_path)),
    ):
        status, output, errors = python(*RUN, *args, cwd=tmp_path)
        assert (status, errors) == (0, "")
        assert output.splitlines() == [
            repr(path0),
            "subinterpreters",
            f"{path0!r} subinterpreters",
        ]


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    # Word for word what the documentation of concurrent.interpreters has.
    write(
        tmp_path / "example.py",
        """\
        from concurrent import interpreters

        interp = interpreters.create()

        # Run in the current OS thread.

        interp.exec('print("spam!")')

        interp.exec(\"""if True:
            print('spam!')
            \""")

        from textwrap import dedent
        interp.exec(dedent(\"""
            print('spam!')
            \"""))

        def run():
            print('spam!')

        interp.call(run)

        # Run in new OS thread.

        t = interp.call_in_thread(run)
        t.join()
        """,
    )
    assert python(*RUN, "example.py", cwd=tmp_path) == (0, "spam!\n" * 5, "")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ([], "a script, -c CODE or -m MODULE is needed"),
        (["-c"], "argument expected for the -c option"),
        (["-m"], "argument expected for the -m option"),
        (["-x", "script.py"], "unknown option: -x"),
    ],
)
def test_wrong_usage(tmp_path: Path, args: list[str], problem: str) -> None:
    status, output, errors = python(*RUN, *args, cwd=tmp_path)
    assert (status, output) == (2, "")
    assert errors.endswith(f"subinterpreters run: {problem}\n")


def test_help_and_version(tmp_path: Path) -> None:
    for option in ("-h", "--help"):
        status, output, errors = python(*RUN, option, cwd=tmp_path)
        assert (status, errors) == (0, "")
        assert output.startswith("usage: python -m subinterpreters run SCRIPT")
        status, output, errors = python("-m", "subinterpreters", option, cwd=tmp_path)
        assert (status, errors) == (0, "")
        assert "demo" in output
    status, output, errors = python("-m", "subinterpreters", "--version", cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert output.strip()[0].isdigit()
    for args, part in (([], "usage:"), (["unheard"], "unknown command: unheard")):
        status, output, errors = python("-m", "subinterpreters", *args, cwd=tmp_path)
        assert (status, output) == (2, "")
        assert part in errors
