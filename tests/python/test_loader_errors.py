"""Modules that cannot be loaded: ImportError says which, from where, and why."""

import pathlib
import shutil
import sysconfig

import pytest

SOURCES = pathlib.Path(__file__).parent / "loader_modules"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


@pytest.mark.parametrize("name", ["fails", "fails_single"])
def test_failing_init_leaves_the_interpreter_usable(ask, interp, name):
    source = f"""
        result = []
        for _ in range(2):
            try:
                import samples.{name}
            except ValueError as error:
                result.append(str(error))
        from samples import multi
        result.append(multi.count())"""
    assert ask(interp, source) == ["half way", "half way", 1]


DAMAGE = {
    "truncated": lambda data: data[:300],
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "text": lambda data: b"not a library",
    "machine": lambda data: data[:18] + b"\xb7\0" + data[20:],
    "class": lambda data: data[:4] + b"\1" + data[5:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file(ask, interp, modules, tmp_path, damage):
    data = (modules / "samples" / ("multi" + SUFFIX)).read_bytes()
    path = tmp_path / ("multi" + SUFFIX)
    path.write_bytes(DAMAGE[damage](data))
    source = f"""
        sys.path.insert(0, {str(tmp_path)!r})
        try:
            import multi
        except ImportError as error:
            result = [error.name, error.path, str(error)]
        sys.path.pop(0)"""
    name, where, text = ask(interp, source)
    assert (name, where) == ("multi", str(path))
    assert "'multi'" in text
    assert str(path) in text
    assert ask(interp, "from samples import multi; result = multi.count()") == 1


def test_missing_dependency(ask, interp, modules, tmp_path):
    package = tmp_path / "samples"
    shutil.copytree(modules / "samples", package)
    (package / "beside" / "libsamplehelper.so").unlink()
    source = f"""
        sys.path[:] = [{str(tmp_path)!r}] + sys.path
        try:
            import samples.one
        except ImportError as error:
            result = [error.name, error.path, str(error)]"""
    name, where, text = ask(interp, source)
    assert name == "samples.one"
    assert where == str(package / ("one" + SUFFIX))
    assert "libsamplehelper.so" in text
    assert "/proc/" not in text


def test_module_without_init_function(ask, interp, modules, tmp_path):
    shutil.copy(
        modules / "samples" / ("multi" + SUFFIX), tmp_path / ("renamed" + SUFFIX)
    )
    source = f"""
        sys.path.insert(0, {str(tmp_path)!r})
        try:
            import renamed
        except ImportError as error:
            result = str(error)"""
    assert "PyInit_renamed" in ask(interp, source)


def test_no_file_descriptors(ask, interp):
    source = """
        import resource, os, subinterpreters
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0); os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, before[1]))
        try:
            import samples.multi
        except ImportError as error:
            result = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        import samples.multi"""
    assert "Too many open files" in ask(interp, source)


def test_same_module_in_two_threads_at_once(ask, interp):
    source = """
        import threading
        start = threading.Barrier(4)
        found = []
        def load():
            start.wait()
            from samples import single, multi
            found.append((single.address(), multi.address()))
        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        result = [len(found), len(set(found))]"""
    assert ask(interp, source) == [4, 1]


@pytest.mark.parametrize("name", ["readline", "curses"])
def test_state_in_system_libraries(ask, interp, name):
    pytest.importorskip(name)
    source = f"""
        try:
            import {name}
            result = None
        except ImportError as error:
            result = str(error)"""
    assert ask(interp, source) is not None
