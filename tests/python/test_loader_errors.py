"""Modules that cannot be loaded: ImportError says which, from where, and why."""

import pathlib
import shutil
import sysconfig
import textwrap

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


# A full memory and a kernel without anonymous files, as the loader would see them.
NO_MEMFD = """
    #include <errno.h>
    __attribute__((visibility("default"))) int
    memfd_create(const char *name, unsigned flags)
    {
        (void)name; (void)flags;
        errno = ENOSYS;
        return -1;
    }
    """

TRY_TWICE = """
    import resource, subinterpreters
    interp = subinterpreters.create()
    interp.prepare_main(folder=sys.argv[1])
    interp.exec('''
    import sys; sys.path.insert(0, folder)
    for _ in range(2):
        try:
            import samples.multi
        except ImportError as error:
            print(error.name, error.path)
            print(error)
    import json
    print(json.dumps([1]))
    ''')
    """


@pytest.mark.unsanitized("its library has to be preloaded first")
def test_no_anonymous_files(script, modules, compile_c, tmp_path):
    shim = tmp_path / "shim.c"
    shim.write_text(NO_MEMFD)
    compile_c(shim, tmp_path / "shim.so")
    out = script.ok(
        "import sys\n" + textwrap.dedent(TRY_TWICE),
        modules,
        env={"LD_PRELOAD": str(tmp_path / "shim.so")},
    )
    path = modules / "samples" / ("multi" + SUFFIX)
    why = "no anonymous file for its private copy: Function not implemented"
    told = f"samples.multi {path}\ncannot load 'samples.multi' from {path}: {why}\n"
    assert out == 2 * told + "[1]\n"


def test_no_room_for_the_copy(script, modules):
    limit = (
        "import sys, resource\n"
        "limits = 4096, resource.RLIM_INFINITY\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limits)"
    )
    out = script.ok(limit + "\n" + textwrap.dedent(TRY_TWICE), modules)
    path = modules / "samples" / ("multi" + SUFFIX)
    why = "cannot write its private copy: File too large"
    told = f"samples.multi {path}\ncannot load 'samples.multi' from {path}: {why}\n"
    assert out == 2 * told + "[1]\n"


def test_static_thread_local_memory_runs_out(script, compile_c, tmp_path):
    """Long before other libraries of the process find none."""
    source = tmp_path / "greedy.c"
    text = (SOURCES / "sample.c").read_text()
    source.write_text(
        "static _Thread_local int greedy[75];\n"
        + text.replace("FromLong(++counter)", "FromLong(++greedy[0])")
    )
    options = ["-DNAME=greedy", "-DPACKAGE=x", "-ftls-model=initial-exec"]
    compile_c(source, tmp_path / ("greedy" + SUFFIX), *options)
    shutil.copy(tmp_path / ("greedy" + SUFFIX), tmp_path / "other.so")
    out = script.ok(
        f"""
        import subinterpreters
        for number in range(5):
            interp = subinterpreters.create()
            interp.exec('''
            import sys; sys.path.insert(0, {str(tmp_path)!r})
            try:
                import greedy
                print(greedy.count())
            except ImportError as error:
                print(error)
            ''')
        import ctypes
        print(ctypes.CDLL({str(tmp_path / "other.so")!r}) is not None)
        """
    )
    path = tmp_path / ("greedy" + SUFFIX)
    why = "it needs 300 bytes of static thread-local memory, of which a process has"
    refused = f"cannot load 'greedy' from {path}: {why}"
    lines = out.splitlines()
    assert lines[:3] == ["1"] * 3
    assert all(line.startswith(refused) for line in lines[3:5])
    assert lines[5] == "True"
