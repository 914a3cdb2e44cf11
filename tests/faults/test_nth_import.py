"""The import of an extension module while the 1st, 2nd, 3rd ... request fails.

An import that fails says which module, which file and why, and leaves nothing behind:
the next one works. One that succeeds all the same is as good as any.
"""

import pathlib
import subprocess
import sysconfig

import pytest
from tests.faults.conftest import OUTCOME

SOURCES = pathlib.Path(__file__).parents[1] / "python" / "loader_modules"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

# A module: its options, and the libraries that are to be copied with it.
MODULES = {
    "single": (["-DSINGLE"], 0),
    "multi": ([], 0),
    "declared": ([], None),
    "unsure": (["-DUNSURE"], 0),
    "bundled": (["-DUSES_HELPER", "-lhelper", "-Wl,-rpath,$ORIGIN/beside"], 1),
    "linked": (["-DUSES_HELPER", "-louter", "-Wl,-rpath,{beside}"], 2),
    "linked_by_rpath": (
        ["-DUSES_HELPER", "-louter", "-Wl,-rpath,{beside},--disable-new-dtags"],
        2,
    ),
    "linked_by_path": (["-DUSES_HELPER", "{beside}/libouter.so"], 2),
    "on_module": (["{beside}/base" + SUFFIX], 1),
}

CAUSES = [
    "no memory",
    "Cannot allocate memory",
    "failed to map segment from shared object",
    "Too many open files",
    "No space left on device",
    "Input/output error",
]

SCRIPT = """
    import ctypes, os, subinterpreters, sys
    folder, name, path, copies, *causes = sys.argv[1:]

    IMPORT = '''if True:
        import ctypes, importlib, os, re, sys
        faults = ctypes.CDLL(None)
        sys.path.insert(0, folder)

        def left_open():
            return sorted(os.listdir('/proc/self/fd'))

        def copied():
            with open('/proc/self/maps') as maps:
                found = re.findall(r'([0-9]+) +/memfd:subinterpreters:', maps.read())
            return len(set(found))

        def load():
            return importlib.import_module(name)

        files, before = left_open(), copied()
        module = error = None
        faults.fail_nth(n)
        try:
            module = load()
        except (ImportError, MemoryError) as e:
            error = e
        failed = faults.fail_nth(0)
        assert left_open() == files, (files, left_open())
        if error is not None:
            assert failed, error
            assert copied() - before in (0, copies), copied()
            assert name not in sys.modules
        if isinstance(error, ImportError):
            text = str(error)
            assert (error.name, error.path) == (name, path), (text, error.name)
            assert text.startswith(f'cannot load {name!r} from {path}: '), text
            assert any(cause in text for cause in causes), text
            assert '/proc/' not in text
        if error is not None:
            module = load()
        assert copied() - before == copies, copied() - before
        assert left_open() == files
        assert module.count() > 0
        if hasattr(module, 'shared'):
            assert module.shared('this') is None
            assert module.shared(None) == 'this'
        if name == 'on_module':
            sys.path.insert(0, folder + '/beside')
            import base
            assert base.count() == 1
            assert copied() - before == copies
        '''

    GRANTED, SURVIVED, REFUSED, BROKEN = range(4)

    def perform(n):
        with subinterpreters.create() as interp:
            interp.prepare_main(folder=folder, name=name, path=path, n=n,
                                causes=tuple(causes), copies=int(copies))
            interp.exec(IMPORT)
            if interp.call(eval, 'error is not None'):
                return REFUSED
            return SURVIVED if interp.call(eval, 'failed') else GRANTED

    # Each in a process where nothing is known of the files yet.
    outcomes = [outcome(1)]
    while outcomes[-1] in (SURVIVED, REFUSED):
        outcomes.append(outcome(len(outcomes) + 1))
    assert outcomes[-1] == GRANTED, (len(outcomes), outcomes[-1])
    print(outcomes.count(REFUSED), outcomes.count(SURVIVED))
    """


@pytest.fixture(scope="module")
def compile_module(tmp_path_factory):
    """compile_module(name) -> folder, path, how many copies are made of it."""
    folder = tmp_path_factory.mktemp("modules")
    beside = folder / "beside"
    beside.mkdir()
    outer = beside / "outer.c"
    outer.write_text("int outer(void) { return 1; }\n")

    def cc(source, target, *options):
        command = ["cc", "-O2", "-fPIC", "-shared", "-pthread", "-Wl,--no-as-needed"]
        command += [f"-I{sysconfig.get_path('include')}", source, "-o", target]
        subprocess.run([*command, f"-L{beside}", *options], check=True)

    cc(SOURCES / "helper.c", beside / "libhelper.so")
    cc(SOURCES / "sample.c", beside / ("base" + SUFFIX), "-DNAME=base", "-DPACKAGE=x")
    cc(outer, beside / "libouter.so", "-lhelper", f"-Wl,-rpath,{beside}")
    outer.unlink()

    def compile_module(name):
        options, libraries = MODULES[name]
        source = "declared.c" if name in ("declared", "unsure") else "sample.c"
        package = folder / name
        package.mkdir()
        target = package / (name + SUFFIX)
        if libraries:
            (package / "beside").symlink_to(beside)
        given = [option.format(beside=beside) for option in options]
        cc(SOURCES / source, target, f"-DNAME={name}", "-DPACKAGE=x", *given)
        return package, target, 0 if libraries is None else 1 + libraries

    return compile_module


@pytest.mark.parametrize("name", MODULES)
def test_import(script, failing, compile_module, name):
    folder, path, copies = compile_module(name)
    source = OUTCOME + SCRIPT
    done = script.run(source, folder, name, path, copies, *CAUSES, env=failing)
    assert done.returncode == 0, done.stdout + done.stderr
    refused, survived = map(int, done.stdout.split())
    print(f"{name}: {refused} failures refused the import, {survived} did not")
    assert refused > 0
