"""gcc and clang find nothing to say, and clang follows the locks."""

import pytest

from gate import tools, tree

WARNINGS = {
    "gcc": ["-Werror"],
    # Without optimisation and with assertions, which gcc's run leaves out. There must
    # be no lock that is not given back, and no call under a lock that must be free.
    "clang": [
        *("-Werror", "-UNDEBUG", "-O0", "-fsyntax-only"),
        *("-Wthread-safety", "-Wno-unknown-warning-option"),
    ],
}

UNLOCKED_TWICE = """\
#include "core/platform/mutex.h"
void si_sample(si_mutex *mu);
void si_sample(si_mutex *mu) { si_mutex_lock(mu); si_mutex_unlock(mu);
                               si_mutex_unlock(mu); }
"""

sources = pytest.mark.parametrize("source", tree.files(tree.ALL_C, ".c"))
compilers = pytest.mark.parametrize("compiler", WARNINGS)


def warnings(compiler, entry):
    # The model runs one thread of its own making: its mutex is no lock to clang.
    is_modelled = "/test_model_" in entry.output
    return [*WARNINGS[compiler], *(["-Wno-thread-safety"] if is_modelled else [])]


def commands(build, folder):
    """{(source, output): command} of every compilation."""
    return {
        (entry.source, entry.output): entry.command(
            *warnings(build.compiler, entry),
            *("-o", folder / entry.output.replace("/", "-")),
        )
        for entry in build.entries
    }


@pytest.fixture(scope="session")
def object_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("warned")


@compilers
@sources
def test_no_warning(compiler, source, compile_with, jobs, object_folder):
    build = compile_with(compiler)
    for entry in build.entries_for(source):
        key = (entry.source, entry.output)
        status, output = jobs.result(
            f"warnings-{compiler}", key, lambda: commands(build, object_folder)
        )
        command = " ".join(entry.command(*warnings(compiler, entry)))
        assert status == 0, f"{command}\n{output}"


def test_clang_follows_the_locks(tmp_path):
    clang = tools.system("clang", "its -Wthread-safety checks the locks")
    sample = tmp_path / "sample.c"
    sample.write_text(UNLOCKED_TWICE)
    options = ["-std=c11", "-D_GNU_SOURCE", "-I", tree.ROOT, *WARNINGS["clang"]]
    status, output = tools.run([clang, *options, "-c", sample])
    assert status != 0, "a lock given back twice was accepted"
    assert "thread-safety" in output, output
