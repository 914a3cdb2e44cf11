"""Libraries that code opens by path are each interpreter's own; not the system's."""

import textwrap

import pytest

COUNTER = """
__attribute__((visibility("default"))) int
count(void)
{
    static int counter;
    return ++counter;
}
"""

USES_PYTHON = (
    """
#include <Python.h>
__attribute__((visibility("default"))) PyObject *
none(void)
{
    Py_RETURN_NONE;
}
"""
    + COUNTER
)

NEEDS_COUNTER = """
int count(void);
__attribute__((visibility("default"))) int
count_there(void)
{
    return count();
}
"""


@pytest.fixture
def library(tmp_path, compile_c):
    """library(name, source, *options): the path of such a library in folder `name`."""

    def library(folder, source=COUNTER, *options, name="libcounter.so"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        file = tmp_path / "library.c"
        file.write_text(source)
        compile_c(file, tmp_path / folder / name, *options)
        return tmp_path / folder / name

    return library


def in_two(script, source, *args, create="", **options):
    """What *source* prints in two interpreters, which are alive together."""
    text = f"""
    import subinterpreters, sys
    both = [subinterpreters.create({create}) for _ in range(2)]
    for interp in both:
        interp.prepare_main(args=tuple(sys.argv[1:]))
        interp.exec({textwrap.dedent(source)!r})
    for interp in both:
        interp.close()
    """
    return script.ok(text, *args, **options).splitlines()


COUNT_TWICE = """
import ctypes
print(*(ctypes.CDLL(args[0]).count() for _ in range(2)))
"""


@pytest.mark.parametrize("source", [COUNTER, USES_PYTHON])
def test_by_path(script, library, source):
    assert in_two(script, COUNT_TWICE, library("package", source)) == ["1 2", "1 2"]


def test_by_name_it_is_shared(script, library):
    """The dynamic linker finds it, as it does for the rest of the process."""
    path = library("elsewhere")
    env = {"LD_LIBRARY_PATH": str(path.parent)}
    assert in_two(script, COUNT_TWICE, path.name, env=env) == ["1 2", "3 4"]


def test_one_of_the_system_is_shared(script):
    opened = """
    import ctypes
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "/libc.so" in line)
    exits = ctypes.cast(ctypes.CDLL(path).exit, ctypes.c_void_p).value
    print(exits == ctypes.cast(ctypes.CDLL(None).exit, ctypes.c_void_p).value)
    """
    assert in_two(script, opened) == ["True"] * 2


def test_with_cpythons_rule_it_is_shared(script, library):
    path = library("package")
    import_ctypes = """
    try:
        import ctypes
    except ImportError:  # 3.12
        print("refused")
    else:
        print(*(ctypes.CDLL(args[0]).count() for _ in range(2)))
    """
    lines = in_two(script, import_ctypes, path, create="extensions='declared'")
    assert lines in (["1 2", "3 4"], ["refused"] * 2)


def test_the_main_interpreter_has_the_library_itself(script, library):
    out = script.ok(
        """
        import ctypes, subinterpreters, sys
        here = ctypes.CDLL(sys.argv[1])
        here.count()
        with subinterpreters.create() as interp:
            interp.prepare_main(path=sys.argv[1])
            interp.exec('import ctypes; print(ctypes.CDLL(path).count())')
        print(here.count())
        """,
        library("package"),
    )
    assert out == "1\n2\n"


def test_without_descriptors_it_is_not_the_main_interpreter_s(script, library):
    """The dynamic linker needs none for a library that it has."""
    out = script.ok(
        """
        import ctypes, subinterpreters, sys
        ctypes.CDLL(sys.argv[1]).count()
        with subinterpreters.create() as interp:
            interp.prepare_main(path=sys.argv[1])
            interp.exec('''
        import ctypes, os, resource
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            ctypes.CDLL(path)
        except OSError as error:
            print(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        print(ctypes.CDLL(path).count())
        ''')
        """,
        path := library("package"),
    )
    assert out == f"{path}: cannot open it: Too many open files\n1\n"


def test_a_relative_path_and_a_link(script, library, tmp_path):
    path = library("package")
    (tmp_path / "link.so").symlink_to(path)
    opened = """
    import ctypes
    for name in args:
        print(ctypes.CDLL(name).count())
    """
    names = ["./package/libcounter.so", "./link.so"]
    assert in_two(script, opened, *names) == ["1", "2"] * 2


def test_closed_by_one_user_and_used_by_another(script, library):
    opened = """
    import ctypes, _ctypes
    first, second = ctypes.CDLL(args[0]), ctypes.CDLL(args[0])
    assert first._handle == second._handle
    _ctypes.dlclose(first._handle)
    _ctypes.dlclose(ctypes.CDLL(args[0])._handle)
    print(second.count(), ctypes.CDLL(args[0]).count())
    """
    assert in_two(script, opened, library("package")) == ["1 2"] * 2


def test_what_it_needs_is_found_beside_it(script, library):
    needed = library("package/libs")
    options = [f"-L{needed.parent}", "-lcounter", "-Wl,-rpath,$ORIGIN/libs"]
    path = library("package", NEEDS_COUNTER, *options, name="libtop.so")
    opened = """
    import ctypes
    print(ctypes.CDLL(args[0]).count_there(), ctypes.CDLL(args[1]).count())
    """
    assert in_two(script, opened, path, needed) == ["1 2"] * 2


def test_a_changed_search_path_is_nothing_to_the_dynamic_linker(script, library):
    """LD_LIBRARY_PATH counts as it was when the process began."""
    decoy = library("decoy")
    needed = library("package/libs")
    options = [f"-L{needed.parent}", "-lcounter", "-Wl,-rpath,$ORIGIN/libs"]
    path = library("package", NEEDS_COUNTER, *options, name="libtop.so")
    opened = """
    import ctypes, os
    os.environ["LD_LIBRARY_PATH"] = os.path.dirname(args[2])
    print(ctypes.CDLL(args[0]).count_there(), ctypes.CDLL(args[1]).count(),
          ctypes.CDLL(args[2]).count())
    """
    assert in_two(script, opened, path, needed, decoy) == ["1 2 1"] * 2


def test_rtld_global(script, library):
    """Those opened later find its symbols, whatever they are linked to."""
    first = library("package")
    second = library("package", NEEDS_COUNTER, name="libsecond.so")
    opened = """
    import ctypes
    try:
        ctypes.CDLL(args[1])
    except OSError as error:
        print("undefined symbol: count" in str(error))
    own = ctypes.CDLL(args[0], ctypes.RTLD_GLOBAL)
    print(own.count(), ctypes.CDLL(args[1]).count_there())
    """
    assert in_two(script, opened, first, second) == ["True", "1 2"] * 2


MODULE = """
#include <Python.h>
int count(void);
static PyObject *
module_count(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(count());
}
static PyMethodDef methods[] = {{"count", module_count, METH_NOARGS, NULL}, {NULL}};
static PyModuleDef_Slot slots[] = {
#ifdef DECLARED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};
static PyModuleDef def = {PyModuleDef_HEAD_INIT, "counting", NULL, 0, methods, slots};
PyMODINIT_FUNC
PyInit_counting(void)
{
    return PyModuleDef_Init(&def);
}
"""

DECLARED = [[], ["-DDECLARED"]]


@pytest.mark.parametrize("options", DECLARED)
def test_it_is_found_by_its_soname(script, library, options):
    """Packages open what their modules need, which then need not be found."""
    soname = "libcounter-by-name.so.1"
    path = library("package", COUNTER, f"-Wl,-soname,{soname}", name="libcounter.so")
    options = [*options, str(path)]
    other = library("other", NEEDS_COUNTER, str(path), name="libother.so")
    library("modules", MODULE, *options, name="counting.so")
    opened = f"""
    import ctypes, sys
    sys.path.insert(0, args[2])
    try:
        ctypes.CDLL({soname!r})
    except OSError as error:
        print(error)
    try:
        import counting
    except ImportError as error:
        print({soname!r} in str(error))
    first = ctypes.CDLL(args[0]).count()
    import counting
    print(first, ctypes.CDLL({soname!r}).count(), ctypes.CDLL(args[1]).count_there(),
          counting.count())
    """
    missing = f"{soname}: cannot open shared object file: No such file or directory"
    lines = in_two(script, opened, path, other, path.parent.parent / "modules")
    assert lines == [missing, "True", "1 2 3 4"] * 2


@pytest.mark.parametrize("options", DECLARED)
def test_what_is_global_is_found_by_all(script, library, options):
    """By modules that are linked to nothing, and under the name of the program."""
    path = library("package")
    library("modules", MODULE, *options, name="counting.so")
    opened = """
    import ctypes, sys
    sys.path.insert(0, args[1])
    program = ctypes.CDLL(None)
    try:
        program.count
    except AttributeError as error:
        print("undefined symbol: count" in str(error))
    first = ctypes.CDLL(args[0], ctypes.RTLD_GLOBAL).count()
    import counting
    print(first, counting.count(), program.count(), program.getpid() > 0)
    """
    lines = in_two(script, opened, path, path.parent.parent / "modules")
    assert lines == ["True", "1 2 3 True"] * 2


def test_a_module_s_library(script, modules):
    """What an extension module needs and what is opened by path is one library."""
    opened = """
    import sys
    sys.path.insert(0, args[0])
    from samples import one
    import ctypes
    share = ctypes.PyDLL(args[1]).helper_shared
    share.argtypes, share.restype = [ctypes.py_object], ctypes.py_object
    print(one.shared("a"), share("b"), one.shared("c"))
    """
    path = modules / "samples" / "beside" / "libsamplehelper.so"
    assert in_two(script, opened, modules, path) == ["None a b"] * 2


@pytest.mark.parametrize(("name", "shared"), [("declared", True), ("multi", False)])
def test_a_module_itself(script, modules, name, shared):
    """What was imported is what is opened: the library, or the interpreter's copy."""
    opened = f"""
    import sys
    sys.path.insert(0, args[0])
    from samples import {name}
    import ctypes
    init = ctypes.PyDLL({name}.__file__).PyInit_{name}
    print(ctypes.cast(init, ctypes.c_void_p).value)
    """
    first, second = in_two(script, opened, modules)
    assert (first == second) == shared


REFUSED = """
import ctypes
for path in args:
    try:
        ctypes.CDLL(path)
    except OSError as error:
        print(error)
print(ctypes.CDLL(None).getpid() > 0)
"""


def test_damaged_missing_and_foreign(script, library):
    whole = library("package")
    damaged = whole.with_name("damaged.so")
    damaged.write_bytes(whole.read_bytes()[:1000])
    missing = whole.with_name("missing.so")
    text = whole.with_name("text.so")
    text.write_text("no library")
    names = [damaged, missing, text, whole.parent]
    lines = in_two(script, REFUSED, *names)
    assert lines[:5] == lines[5:]
    assert lines[0].startswith(f"{damaged}: ")
    assert lines[1] == (
        f"{missing}: cannot open shared object file: No such file or directory"
    )
    assert lines[2].startswith(f"{text}: ")
    assert str(whole.parent) in lines[3]
    assert lines[4] == "True"


def test_an_error_is_told_once(script, library):
    """The next one of the system's is not hidden by ours."""
    whole = library("package")
    damaged = whole.with_name("damaged.so")
    damaged.write_bytes(b"\x7fELF")
    opened = """
    import ctypes
    for name in args[0], "libnowhere.so.9":
        try:
            ctypes.CDLL(name)
        except OSError as error:
            print(error)
    try:
        ctypes.CDLL(args[1]).nothing
    except AttributeError as error:
        print(error)
    """
    lines = in_two(script, opened, damaged, whole)
    assert lines[0].startswith(f"{damaged}: ")
    assert lines[1].startswith("libnowhere.so.9: ")
    assert lines[2] == f"{whole}: undefined symbol: nothing"


def test_replaced_on_disk(script, library):
    """A new file is a new library, as for the dynamic linker."""
    path = library("package")
    other = library("package", COUNTER.replace("++counter", "100 + ++counter"),
                    name="other.so")  # fmt: skip
    opened = """
    import ctypes, os, shutil
    print(ctypes.CDLL(args[0]).count(), end=" ")
    shutil.copy(args[1], args[0] + ".new")
    os.replace(args[0] + ".new", args[0])
    print(ctypes.CDLL(args[0]).count())
    """
    first, second = in_two(script, opened, path, other)
    assert first == "1 101"
    assert second == "101 101"


LOOKS_UP = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

__attribute__((visibility("default"))) int
own(void)
{
    return 7;
}

/* As the library itself is loaded, and later. */
static int (*early)(void);
__attribute__((constructor)) static void
look_up_early(void)
{
    early = (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
}

__attribute__((visibility("default"))) int
find_own(void)
{
    int (*found)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "own");
    return found == own && dlsym(RTLD_NEXT, "own") == NULL ? found() : 0;
}

__attribute__((visibility("default"))) int
is_the_same_each_time(void)
{
    void *program = dlopen(NULL, RTLD_NOW);
    int same = early == (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure") &&
               early == (int (*)(void))dlsym(program, "PyGILState_Ensure") &&
               dlsym(program, "no such symbol") == NULL &&
               strstr(dlerror(), "no such symbol") != NULL;
    dlclose(program);
    return same;
}

static void *
run(void *callable)
{
    void (*release)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "PyGILState_Release");
    void *(*call)(void *) =
        (void *(*)(void *))dlsym(RTLD_DEFAULT, "PyObject_CallNoArgs");
    int state = early();
    void *result = call(callable);
    release(state);
    return result;
}

__attribute__((visibility("default"))) int
in_thread(void *callable)
{
    pthread_t thread;
    void *result = NULL;
    return pthread_create(&thread, NULL, run, callable) != 0 ||
           pthread_join(thread, &result) != 0 || result == NULL;
}
"""


class TestLookedUp:
    """Functions of Python that are found by name are the interpreter's own."""

    def test_in_a_thread_of_the_library(self, script, library):
        opened = """
        import ctypes, threading
        from subinterpreters import get_current
        came = []
        def callback():
            came.append((get_current(), threading.get_ident()))
        library = ctypes.CDLL(args[0])
        assert library.is_the_same_each_time()
        assert library.in_thread(ctypes.py_object(callback)) == 0
        [(interp, thread)] = came
        print(interp is get_current(), thread != threading.get_ident())
        """
        path = library("package", LOOKS_UP)
        assert in_two(script, opened, path) == ["True True"] * 2

    def test_what_is_its_own_is_found_as_ever(self, script, library):
        opened = "import ctypes; print(ctypes.CDLL(args[0]).find_own())"
        assert in_two(script, opened, library("package", LOOKS_UP)) == ["7"] * 2

    def test_by_ctypes(self, script):
        opened = """
        from ctypes import c_void_p, pythonapi
        pythonapi.PyInterpreterState_Main.restype = c_void_p
        pythonapi.PyInterpreterState_Get.restype = c_void_p
        main = pythonapi.PyInterpreterState_Main()
        print(main == pythonapi.PyInterpreterState_Get(), pythonapi.PyGILState_Check())
        """
        assert in_two(script, opened) == ["True 1"] * 2

    def test_in_the_main_interpreter(self, script, library):
        out = script.ok(
            """
            import ctypes, sys
            library, came = ctypes.CDLL(sys.argv[1]), []
            assert library.is_the_same_each_time()
            assert library.in_thread(ctypes.py_object(lambda: came.append(1))) == 0
            print(library.find_own(), came)
            """,
            library("package", LOOKS_UP),
        )
        assert out == "7 [1]\n"
