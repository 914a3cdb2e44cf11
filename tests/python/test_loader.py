"""Extension modules that CPython refuses outside the main interpreter."""

import _tracemalloc
import functools
import pathlib
import sys
import sysconfig
import textwrap

import pytest
import subinterpreters

SOURCES = pathlib.Path(__file__).parent / "loader_modules"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


@pytest.mark.parametrize("name", ["single", "multi", "one", "two"])
def test_each_interpreter_has_its_own_variables(ask, interp, other, name):
    source = f"from samples import {name} as m; result = [m.count(), m.address()]"
    first, here = ask(interp, source)
    assert first == 1
    first, there = ask(other, source)
    assert first == 1
    assert here != there
    assert ask(interp, source)[0] == 2


@pytest.mark.parametrize("name", ["one", "two"])
def test_libraries_of_the_system_are_shared(script, modules, name):
    """Also by modules that look for others in folders of their package."""
    out = script.ok(f"""
    import subinterpreters
    interp = subinterpreters.create()
    interp.exec('''
    import sys; sys.path.insert(0, {str(modules)!r})
    import samples.{name}
    with open('/proc/self/maps') as maps:
        names = [line.partition('/memfd:subinterpreters:')[2] for line in maps]
    print(*sorted({{name.split()[0] for name in names if name}}))
    ''')
    """)
    assert out == f"libsamplehelper.so samples.{name}\n"


@pytest.mark.parametrize("name", ["one", "declared"])
def test_a_module_by_the_mere_name_of_its_file(script, modules, name):
    """A loader of somebody's own need not name a folder."""
    out = script.ok(f"""
    import os, subinterpreters
    os.chdir({str(modules / "samples")!r})
    with subinterpreters.create() as interp:
        interp.exec('''
        from importlib import machinery, util
        file = {name + SUFFIX!r}
        loader = machinery.ExtensionFileLoader({name!r}, file)
        spec = machinery.ModuleSpec({name!r}, loader, origin=file)
        print(util.module_from_spec(spec).__spec__.origin == file)
        ''')
    """)
    assert out == "True\n"


def test_declared_support_is_believed(ask, interp, other):
    """Such a module is loaded once for the process, as always."""
    source = "from samples import declared as m; result = m.address()"
    assert ask(interp, source) == ask(other, source)


@pytest.mark.parametrize("name", ["single", "multi"])
def test_declared_only(ask, name):
    """extensions="declared" is CPython's rule."""
    with subinterpreters.create(extensions="declared") as strict:
        source = f"""
            import _imp
            try:
                import samples.{name}
                result = None
            except ImportError as error:
                result = [str(error), _imp.create_dynamic.__doc__ or ""]
            from samples import declared
            assert declared.count() > 0"""
        text, hook = ask(strict, source)
        assert "does not support loading in subinterpreters" in text
        assert "private copy" not in hook


def test_what_is_tied_to_the_main_interpreter_is_copied(script, modules):
    """Whatever it declares: its callbacks may come in a thread of its own."""
    out = script.ok(f"""
    import subinterpreters
    interp = subinterpreters.create()
    interp.exec('''
    import sys
    sys.path.insert(0, {str(modules)!r})
    import subinterpreters
    from samples import tied
    here, seen = subinterpreters.get_current().id, []
    tied.from_thread(lambda: seen.append(subinterpreters.get_current().id))
    print(len(seen), set(seen) == {{here}})
    ''')
    interp.close()
    """)
    assert out == "3 True\n"


def test_callbacks_of_ctypes_in_threads_of_c(script):
    out = script.ok("""
    import subinterpreters
    interps = [subinterpreters.create() for _ in range(2)]
    for interp in interps:
        interp.exec('''
        import ctypes, subinterpreters
        here, seen = subinterpreters.get_current().id, []
        Callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        @Callback
        def callback(argument):
            seen.append(subinterpreters.get_current().id)
        library = ctypes.CDLL(None)
        thread = ctypes.c_ulong()
        for _ in range(3):
            started = library.pthread_create(
                ctypes.byref(thread), None, callback, None)
            assert started == 0
            library.pthread_join(thread, None)
        print(len(seen), set(seen) == {here})
        ''')
    for interp in interps:
        interp.close()
    """)
    assert out == "3 True\n" * 2


def test_a_copy_that_declares_support_after_all(script, modules):
    """Its init function has run then, and left itself where it will be called."""
    out = script.ok(f"""
    import subinterpreters
    for _ in range(3):
        interp = subinterpreters.create()
        interp.exec('''
        import sys
        sys.path.insert(0, {str(modules)!r})
        from samples import unsure
        print(unsure.count())
        ''')
        interp.close()
    """)
    assert out == "1\n2\n3\n"


def test_extensions_any_is_the_default(ask):
    with subinterpreters.create(extensions="any") as lenient:
        source = "from samples import single as m; result = m.count()"
        assert ask(lenient, source) == 1


@pytest.mark.parametrize("value", ["all", "", "ANY", "any\0"])
def test_extensions_must_be_known(value):
    with pytest.raises(ValueError, match="'any' or 'declared'"):
        subinterpreters.create(extensions=value)


def test_extensions_must_be_text():
    with pytest.raises(TypeError, match="extensions must be str, not int"):
        subinterpreters.create(extensions=1)
    with pytest.raises(TypeError, match="positional"):
        subinterpreters.create("any")


def test_capsule_users_are_copied_whatever_they_declare(
    compile_c, ask, interp, other, modules
):
    """They keep pointers into other modules, which are copies here."""
    target = modules / ("capsules" + SUFFIX)
    text = (SOURCES / "declared.c").read_text()
    text += "\nvoid *user(PyObject *o) { return PyCapsule_GetPointer(o, 0); }\n"
    source = modules / "capsules.c"
    source.write_text(text)
    compile_c(
        source,
        target,
        "-DNAME=capsules",
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


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="PyInterpreterView_FromMain is of CPython 3.15"
)
def test_a_view_of_main_is_one_of_the_copys_interpreter(ask, interp, other):
    source = """
        from samples import multi as m
        import subinterpreters
        seen = []
        m.by_view(lambda: seen.append(subinterpreters.get_current().id))
        result = seen"""
    for target in (interp, other):
        assert ask(target, source) == [target.id]


def test_calls_from_a_thread_that_runs_other_interpreters(ask, interp, other):
    """The same OS thread is attached to several interpreters in turn."""
    source = "from samples import single as m; result = [m.is_main(), m.count()]"
    for number in range(1, 4):
        assert ask(interp, source) == [True, number]
        assert ask(other, source) == [True, number]


def test_global_symbols_stay_in_their_interpreter(
    compile_c, ask, interp, other, tmp_path
):
    """sys.setdlopenflags(RTLD_GLOBAL): later modules see symbols of earlier ones."""
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


def test_tracemalloc_can_be_imported(ask, interp):
    """CPython's has one table for all interpreters; here it traces nothing."""
    source = """
        import _tracemalloc, tracemalloc
        result = [sorted(n for n in dir(_tracemalloc) if n[:2] != '__'),
                  tracemalloc.is_tracing(), tracemalloc.get_traceback_limit(),
                  tracemalloc.get_traced_memory(), tracemalloc.stop(),
                  tracemalloc.get_object_traceback([])]
        for use in tracemalloc.start, tracemalloc.take_snapshot:
            try:
                use(3) if use is tracemalloc.start else use()
            except RuntimeError as error:
                result.append(str(error))"""
    names, *values, refused, untraced = ask(interp, source)
    assert names == [n for n in dir(_tracemalloc) if n[:2] != "__"]
    assert values == [False, 1, [0, 0], None, None]
    assert "tracemalloc.start() works only in the main interpreter" in refused
    assert "must be tracing" in untraced


@pytest.fixture(scope="module")
def inline_variables(compile_c, tmp_path_factory):
    """inline_variables(*options): a folder with modules that share a variable as C++
    does: two with a library that has it too, two without."""

    @functools.cache
    def inline_variables(*options):
        folder = tmp_path_factory.mktemp("inline")
        source = SOURCES / "unique.c"
        compile_c(source, folder / "libinline.so", *options)
        library = ["-DWITH_LIBRARY", f"-L{folder}", "-linline", "-Wl,-rpath,$ORIGIN"]
        for name, more in [("a", library), ("b", library), ("c", []), ("d", [])]:
            target = folder / (name + SUFFIX)
            compile_c(source, target, f"-DNAME={name}", *more, *options)
        return folder

    return inline_variables


@pytest.mark.parametrize("order", ["abcd", "dcba", "cabd"])
def test_inline_variables_are_one_per_interpreter(
    ask, interp, other, inline_variables, order
):
    source = f"""
        sys.path.insert(0, {str(inline_variables())!r})
        import {", ".join(order)}
        result = [a.count(), b.count(), a.count_there(), b.count_there(), c.count(),
                  d.count()]"""
    assert ask(interp, source) == [1, 2, 3, 4, 5, 6]
    assert ask(other, source) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_weak_variables_are_one_for_what_is_loaded_together(
    script, inline_variables, order
):
    """As in the main interpreter: whoever comes second has a variable of its own."""
    first, second = order
    source = f"""
    import sys, {first}, {second}
    print({first}.count(), {first}.count_there(), {second}.count(),
          {second}.count_there())
    """
    out = script.ok(
        f"""
        import subinterpreters, sys
        source = {textwrap.dedent(source)!r}
        for interp in [subinterpreters.create() for _ in range(2)]:
            interp.prepare_main(folder=sys.argv[1])
            interp.exec('import sys; sys.path.insert(0, folder)')
            interp.exec(source)
        sys.path.insert(0, sys.argv[1])
        exec(source)
        """,
        inline_variables("-DWEAK"),
    )
    assert out == "1 2 1 3\n" * 3


def test_built_in_modules_are_loaded_or_refused(script):
    """They have no library that could be copied."""
    out = script.ok(
        """
        import subinterpreters, sys
        for name in sys.builtin_module_names:
            interp = subinterpreters.create()
            try:
                interp.exec(f'import {name}')
            except subinterpreters.ExecutionFailed as error:
                refusal = f'module {name} does not support loading in subinterpreters'
                assert error.excinfo.msg == refusal, error
            interp.close()
        print('all')
        """
    )
    assert out == "all\n"


def test_faulthandler_can_be_imported(ask, interp):
    source = """
        import faulthandler
        result = [faulthandler.is_enabled() in (True, False)]
        try:
            faulthandler.enable()
        except RuntimeError as error:
            result.append(str(error))"""
    imported, text = ask(interp, source)
    assert imported
    assert "faulthandler.enable()" in text


def test_wakeup_descriptor_is_recorded(ask, interp):
    source = """
        import signal
        result = [signal.set_wakeup_fd(5), signal.set_wakeup_fd(-1)]"""
    assert ask(interp, source) == [-1, 5]


def test_imports_do_not_wait_for_the_main_interpreter(script):
    """CPython initialises every module under the main interpreter's GIL."""
    out = script.ok("""
    import ctypes, os, subinterpreters, threading
    ready, say_ready = os.pipe()
    go, say_go = os.pipe()
    done, say_done = os.pipe()
    interp = subinterpreters.create()
    interp.prepare_main(say_ready=say_ready, go=go, say_done=say_done)
    source = '''
    import os
    os.write(say_ready, b"x")
    os.read(go, 1)
    import _bisect, _csv, _heapq, _json, _random, _statistics, array, cmath, select
    os.write(say_done, b"x")
    '''
    thread = threading.Thread(target=interp.exec, args=(source,))
    thread.start()
    os.read(ready, 1)
    read = ctypes.PyDLL(None).read  # keeps the GIL
    os.write(say_go, b"x")
    print(read(done, ctypes.create_string_buffer(1), 1))
    thread.join()
    """)
    assert out == "1\n"


@pytest.mark.parametrize("name", ["_json", "_struct", "_heapq", "array", "select"])
def test_modules_of_the_standard_library_are_as_in_cpython(ask, interp, name):
    """What is initialised here, and what CPython initialises."""
    source = f"""
        import {name} as m
        result = [sorted(dir(m)), m.__name__, m.__package__, m.__doc__,
                  type(m.__loader__).__name__, m.__spec__.origin,
                  getattr(m, '__file__', None)]"""
    with subinterpreters.create(extensions="declared") as plain:
        assert ask(interp, source) == ask(plain, source)


def test_audit_event(ask, interp):
    source = """
        seen = []
        def note(event, args):
            if event == "import":
                seen.append(args[:2])
        sys.addaudithook(note)
        from samples import multi as m
        result = ["samples.multi", m.__file__] in [list(pair) for pair in seen]"""
    assert ask(interp, source) is True


if sys.version_info >= (3, 15):

    def test_exported_slots(compile_c, ask, interp, other, tmp_path):
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
