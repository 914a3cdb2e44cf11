"""Extension modules that CPython refuses outside the main interpreter."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import textwrap

import pytest

import subinterpreters

SOURCES = pathlib.Path(__file__).parent / "loader_modules"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

MODULES = {
    "single": ["-DSINGLE"],
    "multi": [],
    "declared": ["-DDECLARED"],
    "fails": ["-DFAILS"],
    "fails_single": ["-DFAILS", "-DSINGLE"],
    "one": ["-DUSES_HELPER"],
    "two": ["-DUSES_HELPER", "-DSINGLE"],
}


def compile_c(source, target, *options):
    subprocess.run(
        ["cc", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]
        + [f"-I{sysconfig.get_path('include')}", str(source), "-o", str(target)]
        + list(options),
        check=True,
    )


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A folder with package `samples`, whose modules are those of MODULES."""
    folder = tmp_path_factory.mktemp("modules")
    package = folder / "samples"
    (package / "beside").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data.txt").write_text("data")
    compile_c(SOURCES / "helper.c", package / "beside" / "libsamplehelper.so")
    for name, options in MODULES.items():
        helper = [
            f"-L{package / 'beside'}",
            "-lsamplehelper",
            "-Wl,-rpath,$ORIGIN/beside",
        ]
        compile_c(
            SOURCES / "sample.c",
            package / (name + SUFFIX),
            f"-DNAME={name}",
            "-DPACKAGE=samples",
            *options,
            *(helper if "-DUSES_HELPER" in options else []),
        )
    return folder


@pytest.fixture
def ask(modules):
    """ask(interp, source): runs source there and returns its `result`, by JSON."""

    def ask(interp, source):
        read, write = os.pipe()
        source = textwrap.dedent(source)
        try:
            interp.exec(
                f"import sys\nif {str(modules)!r} not in sys.path:\n"
                f"    sys.path.insert(0, {str(modules)!r})\n{source}\n"
                f"import json, os\nos.write({write}, json.dumps(result).encode())"
            )
            return json.loads(os.read(read, 65536))
        finally:
            os.close(read)
            os.close(write)

    return ask


@pytest.fixture
def other():
    interp = subinterpreters.create()
    yield interp
    interp.close()


@pytest.mark.parametrize("name", ["single", "multi", "one", "two"])
def test_each_interpreter_has_its_own_variables(ask, interp, other, name):
    source = f"from samples import {name} as m; result = [m.count(), m.address()]"
    first, here = ask(interp, source)
    assert first == 1
    first, there = ask(other, source)
    assert first == 1
    assert here != there
    assert ask(interp, source)[0] == 2


def test_declared_support_is_believed(ask, interp, other):
    """Such a module is loaded once for the process, as always."""
    source = "from samples import declared as m; result = m.address()"
    assert ask(interp, source) == ask(other, source)


def test_capsule_users_are_copied_whatever_they_declare(ask, interp, other, modules):
    """They keep pointers into other modules, which are copies here."""
    target = modules / ("capsules" + SUFFIX)
    text = (SOURCES / "sample.c").read_text()
    text += "\nvoid *user(PyObject *o) { return PyCapsule_GetPointer(o, 0); }\n"
    source = modules / "capsules.c"
    source.write_text(text)
    compile_c(
        source,
        target,
        "-DNAME=capsules",
        "-DPACKAGE=samples",
        "-DDECLARED",
        "-fvisibility=default",
    )
    asked = "import capsules as m; result = m.address()"
    assert ask(interp, asked) != ask(other, asked)


@pytest.mark.parametrize("name", ["single", "multi"])
def test_module_looks_as_always(ask, interp, modules, name):
    source = f"""
        import importlib.resources, pickle, samples
        from samples import {name} as m
        thing = pickle.loads(pickle.dumps(m.Thing))
        result = [
            m.__name__, m.__file__, m.__spec__.name, m.__spec__.origin,
            type(m.__loader__).__name__, m.__package__, m.count.__module__,
            thing is m.Thing, pickle.loads(pickle.dumps(m.count)) is m.count,
            importlib.resources.files("samples").joinpath("data.txt").read_text(),
            sys.modules["samples.{name}"] is m,
        ]"""
    path = str(modules / "samples" / (name + SUFFIX))
    assert ask(interp, source) == [
        f"samples.{name}",
        path,
        f"samples.{name}",
        path,
        "ExtensionFileLoader",
        "samples",
        f"samples.{name}",
        True,
        True,
        "data",
        True,
    ]


@pytest.mark.parametrize("name", ["single", "multi"])
def test_reload_and_second_import(ask, interp, name):
    source = f"""
        import importlib
        from samples import {name} as m
        m.count()
        same = importlib.reload(m) is m
        del sys.modules["samples.{name}"]
        again = importlib.import_module("samples.{name}")
        result = [same, again is m, again.count(), again.address() == m.address()]"""
    assert ask(interp, source) == [True, False, 2, True]


def test_helper_library_is_one_per_interpreter(ask, interp, other):
    source = """
        from samples import one, two
        result = [one.shared("a"), two.shared("b"), one.shared("c")]"""
    assert ask(interp, source) == [None, "a", "b"]
    assert ask(other, source) == [None, "a", "b"]


def test_process_wide_calls_reach_their_own_interpreter(ask, interp, other):
    source = """
        import subinterpreters
        from samples import multi as m
        here = subinterpreters.get_current().id
        seen = []
        def note():
            seen.append(subinterpreters.get_current().id == here)
        m.from_thread(note)
        m.pending(note)
        for _ in range(1000):
            if len(seen) == 4:
                break
        result = [m.is_main(), seen]"""
    for target in (interp, other):
        assert ask(target, source) == [True, [True] * 4]


def test_calls_from_a_thread_that_runs_other_interpreters(ask, interp, other):
    """The same OS thread is attached to several interpreters in turn."""
    source = "from samples import single as m; result = [m.is_main(), m.count()]"
    for number in range(1, 4):
        assert ask(interp, source) == [True, number]
        assert ask(other, source) == [True, number]


def test_close_waits_for_library_threads(ask, interp):
    read, write = os.pipe()
    ask(
        interp, f"from samples import multi as m; m.start_thread({read}); result = None"
    )
    # The thread is inside: closing names its library instead of pulling the
    # interpreter from under it.
    with pytest.raises(subinterpreters.InterpreterError, match=r"samples\.multi"):
        interp.close()
    assert ask(interp, "result = 5") == 5  # still usable
    os.close(write)
    interp.close()
    os.close(read)


def test_library_threads_find_a_closed_interpreter_shut(script, modules):
    out = script.ok(
        f"""
        import os, subinterpreters
        interp = subinterpreters.create()
        read, write = os.pipe()
        interp.exec(f'''
        import sys; sys.path.insert(0, {str(modules)!r})
        from samples import multi as m
        m.start_knocking({{read}})
        ''')
        os.write(write, b"1")
        interp.close()
        os.write(write, b"111")   # it must not come in, and not crash
        other = subinterpreters.create()
        other.exec("print(sum(range(10)))")
        other.close()
        print("done")
        """
    )
    assert out.split() == ["45", "done"]


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
    assert "'multi'" in text and str(path) in text
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
    assert "libsamplehelper.so" in text and "/proc/" not in text


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


def test_global_symbols_stay_in_their_interpreter(ask, interp, other, tmp_path):
    """sys.setdlopenflags(RTLD_GLOBAL): later modules see the symbols of earlier ones."""
    base = tmp_path / "base.c"
    base.write_text(
        'static int n; __attribute__((visibility("default"))) int base_next(void)\n'
        "{ return ++n; }\n" + (SOURCES / "sample.c").read_text()
    )
    user = tmp_path / "user.c"
    text = (SOURCES / "sample.c").read_text()
    user.write_text(
        "int base_next(void);\n"
        + text.replace("PyLong_FromLong(++counter)", "PyLong_FromLong(base_next())")
    )
    compile_c(base, tmp_path / f"base{SUFFIX}", "-DNAME=base", "-DPACKAGE=x")
    compile_c(user, tmp_path / f"user{SUFFIX}", "-DNAME=user", "-DPACKAGE=x")
    source = f"""
        import os
        sys.path.insert(0, {str(tmp_path)!r})
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_GLOBAL)
        import base
        sys.setdlopenflags(flags)
        import user
        result = [user.count(), user.count()]"""
    assert ask(interp, source) == [1, 2]
    assert ask(other, source) == [1, 2]


def test_nothing_is_left_behind(script, modules):
    """No open descriptor after an import, no file anywhere."""
    out = script.ok(
        f"""
        import os, subinterpreters
        before = set(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm"))
        interp = subinterpreters.create()
        interp.exec('''
        import sys; sys.path.insert(0, {str(modules)!r})
        from samples import single, multi, one, two
        ''')
        interp.close()
        after = set(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm"))
        print(before == after)
        """
    )
    assert out.strip() == "True"


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


def test_faulthandler_can_be_imported(ask, interp):
    source = """
        import faulthandler
        result = [faulthandler.is_enabled() in (True, False)]
        try:
            faulthandler.enable()
        except RuntimeError as error:
            result.append(str(error))"""
    imported, text = ask(interp, source)
    assert imported and "faulthandler.enable()" in text


def test_wakeup_descriptor_is_recorded(ask, interp):
    source = """
        import signal
        result = [signal.set_wakeup_fd(5), signal.set_wakeup_fd(-1)]"""
    assert ask(interp, source) == [-1, 5]


def test_audit_event(ask, interp):
    source = """
        seen = []
        sys.addaudithook(lambda event, args: event == "import" and seen.append(args[:2]))
        from samples import multi as m
        result = ["samples.multi", m.__file__] in [list(pair) for pair in seen]"""
    assert ask(interp, source) is True


def test_many_interpreters_in_turn(ask):
    """A copy's name is never used twice, so none gets the library of another."""
    for _ in range(30):
        interp = subinterpreters.create()
        assert ask(interp, "from samples import single as m; result = m.count()") == 1
        interp.close()


if sys.version_info >= (3, 15):

    def test_exported_slots(ask, interp, other, tmp_path):
        """PyModExport_NAME of 3.15 instead of PyInit_NAME."""
        text = (SOURCES / "sample.c").read_text()
        start = text.index("static PyModuleDef_Slot slots[]")
        end = text.index("#endif", text.index("PyModuleDef_Init")) + len("#endif")
        text = (
            text[:start]
            + """PyABIInfo_VAR(abi_info);
            static PySlot slots[] = {
                PySlot_STATIC_DATA(Py_mod_abi, &abi_info),
                PySlot_STATIC_DATA(Py_mod_name, "exported"),
                PySlot_STATIC_DATA(Py_mod_methods, methods),
                PySlot_FUNC(Py_mod_exec, execute), PySlot_END };
            __attribute__((visibility("default"))) PySlot *
            PyModExport_exported(void) { return slots; }
            #endif"""
            + text[end:]
        )
        source = tmp_path / "exported.c"
        source.write_text(textwrap.dedent(text))
        compile_c(
            source, tmp_path / ("exported" + SUFFIX), "-DNAME=exported", "-DPACKAGE=x"
        )
        asked = f"""
            sys.path.insert(0, {str(tmp_path)!r})
            import exported as m
            result = [m.count(), m.address()]"""
        first, second = ask(interp, asked), ask(other, asked)
        assert first[0] == second[0] == 1
        assert first[1] != second[1]
