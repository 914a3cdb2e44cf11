"""What the tests of the extension loader share: modules as people write them."""

import json
import os
import pathlib
import subprocess
import sysconfig
import textwrap

import pytest
import subinterpreters

SOURCES = pathlib.Path(__file__).parent / "loader_modules"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

MODULES = {
    "single": ["-DSINGLE"],
    "multi": [],
    "declared": [],
    "unsure": ["-DUNSURE"],
    "tied": ["-DDECLARED"],
    "fails": ["-DFAILS"],
    "fails_single": ["-DFAILS", "-DSINGLE"],
    "one": ["-DUSES_HELPER"],
    "two": ["-DUSES_HELPER", "-DSINGLE"],
    "at_end": ["-DAT_END", "-DSINGLE"],
}

# The others are made from sample.c.
FROM_DECLARED = ("declared", "unsure")


@pytest.fixture(scope="session")
def compile_c():
    """compile_c(source, target, *options): makes a shared library."""

    def compile_c(source, target, *options):
        subprocess.run(
            [
                *("cc", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"),
                *(f"-I{sysconfig.get_path('include')}", source, "-o", target),
                *options,
            ],
            check=True,
        )

    return compile_c


@pytest.fixture(scope="session")
def modules(tmp_path_factory, compile_c):
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
            SOURCES / ("declared.c" if name in FROM_DECLARED else "sample.c"),
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
