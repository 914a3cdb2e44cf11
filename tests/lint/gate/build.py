"""The build as meson sees it: which files it compiles, and how."""

import importlib.util
import json
import os
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gate import tools, tree

# The other half of the files in which a switch chooses between two implementations.
SWITCHES = ["-DSI_FAULT_INJECTION", "-DSI_FUTEX_PORTABLE"]


class Jobs:
    """Commands that run ahead of the tests that want their results."""

    def __enter__(self):
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._batches = {}
        return self

    def __exit__(self, *exc):
        self._pool.shutdown(cancel_futures=True)

    def result(self, batch, key, commands):
        """(status, output) of commands()[key]; the first question starts them all."""
        if batch not in self._batches:
            self._batches[batch] = {
                name: self._pool.submit(tools.run, command)
                for name, command in tree.some(commands().items(), "commands")
            }
        futures = self._batches[batch]
        return futures[key].result() if key in futures else None


class Entry:
    """One compilation of one file."""

    def __init__(self, raw):
        self.source = tree.name(Path(raw["directory"], raw["file"]).resolve())
        self.output = raw["output"]
        self.is_product = not self.output.startswith("tests/")
        compiler, *self.flags = self._flags(raw)
        self.compiler = [compiler]

    def _flags(self, raw):
        """The command without its files, relative folders made absolute, and the
        headers of others as system headers: their warnings are not ours."""
        words, kept = iter(shlex.split(raw["command"])), []
        for word in words:
            if word in ("-o", "-MF", "-MQ", "-c"):
                next(words)
            elif word == "-MD" or word.startswith("-fdiagnostics-color"):
                continue
            elif word.startswith("-I"):
                folder = Path(raw["directory"], word[2:]).resolve()
                ours = folder.is_relative_to(tree.ROOT)
                kept += ["-I" if ours else "-isystem", str(folder)]
            else:
                kept.append(word)
        return kept

    def command(self, *more):
        # First, so that the exceptions in the flags of the build still count.
        return [
            *self.compiler,
            "-Wall",
            "-Wextra",
            *self.flags,
            *more,
            "-c",
            self.source,
        ]


class Build:
    """The compile commands of one configured build folder."""

    def __init__(self, folder, compiler, has_tests):
        raw = json.loads((folder / "compile_commands.json").read_text())
        self.entries = [Entry(one) for one in tree.some(raw, "compile commands")]
        self.compiler = compiler
        self.has_tests = has_tests

    def of(self, source):
        return [entry for entry in self.entries if entry.source == source]

    def product(self):
        """One entry per file of core and binding."""
        found = {entry.source: entry for entry in self.entries if entry.is_product}
        return tree.some(found.values(), "files of the product")

    def entries_for(self, source):
        """The compilations of SOURCE; the test ends if there is a reason for none."""
        found = self.of(source)
        if not found and source.startswith("tests/") and not self.has_tests:
            pytest.skip("no cmocka (libcmocka-dev, pkg-config): C tests not compiled")
        if not found and "/machine_" in source:
            pytest.skip("for another processor")
        assert found, f"{source} is in no meson.build that applies here"
        return found

    def objects(self, jobs, folder):
        """[(source, object)] of core and binding, core with its switches as well."""
        commands, made = {}, []
        for entry in self.product():
            variants = {"plain": []}
            if entry.source.startswith("core/"):
                variants["switched"] = SWITCHES
            for variant, defines in variants.items():
                target = folder / f"{entry.source.replace('/', '-')}-{variant}.o"
                key = (entry.source, variant)
                commands[key] = entry.command("-O0", "-w", *defines, "-o", target)
                made.append((entry.source, target, key))
        for source, _, key in made:
            status, output = jobs.result("objects", key, lambda: commands)
            assert status == 0, f"{source} does not compile\n{output}"
        return [(source, target) for source, target, _ in made]


def configure(compiler, folder):
    """Sets meson up in FOLDER for COMPILER."""
    path = tools.system(compiler, "a C compiler")
    if importlib.util.find_spec("mesonbuild") is None:
        tools.missing("meson is not installed")
    env = {**os.environ, "CC": path, "CFLAGS": "", "LDFLAGS": ""}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    has_tests = _has_cmocka()
    tests = f"-Dtests={'enabled' if has_tests else 'disabled'}"
    meson = [sys.executable, "-m", "mesonbuild.mesonmain"]
    tools.accept([*meson, "setup", tests, folder, tree.ROOT], env=env)
    return Build(folder, compiler, has_tests)


def _has_cmocka():
    if shutil.which("pkg-config") is None:
        return False
    return tools.run(["pkg-config", "--exists", "cmocka"])[0] == 0
