"""One virtual environment per CPython version, with the package installed in it.

Each step of the set-up leaves a stamp that says what it was made from, and is done
again only when that changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
import rootfs
from common import CHECKOUT, WORK, ToolError, in_ci, locked, progress, run_logged

SOURCES = ("core", "binding", "python")
SOURCE_FILES = (
    "meson.build",
    "meson.options",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)

SANITIZE = (
    *("-Db_sanitize=address,undefined", "-Db_lundef=false"),
    "-Dbuildtype=debugoptimized",
)
# CPython itself leaks at its exit. What is freed is freed to the C library, so that
# AddressSanitizer sees every use of it; and it must be asked before the package loads.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
}


@dataclass
class Environment:
    version: str
    # The package is built with AddressSanitizer and UndefinedBehaviorSanitizer.
    sanitized: bool = False

    def __post_init__(self) -> None:
        self.name = self.version + ("-asan" if self.sanitized else "")
        self.folder = WORK / f"venv-{self.name}"
        self.python = str(self.folder / "bin" / "python")
        self.build = WORK / f"build-{self.name}"
        self.log = WORK / "log" / f"setup-{self.name}.log"

    # -- Use ---------------------------------------------------------------------

    def command(
        self,
        arguments: Sequence[str],
        program: str = "",
        folder: str = str(CHECKOUT),
    ) -> list[str]:
        """How to call its python (or PROGRAM) with ARGUMENTS from outside.

        The caller starts it in FOLDER, the checkout unless given.
        """
        command = [program or self.python, *arguments]
        if not self.in_rootfs:
            return command
        return rootfs.inside(command, folder, f"{self.folder}/bin")

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        """BASE with the environment's programs first on PATH."""
        path = f"{self.folder}/bin{os.pathsep}{base.get('PATH', os.defpath)}"
        return {**base, "PATH": path, "VIRTUAL_ENV": str(self.folder)}

    def test_variables(self, base: Mapping[str, str]) -> dict[str, str]:
        """The same, to run tests with; where they are sanitized, so is each process."""
        variables = self.variables(base)
        if self.sanitized:
            library = _sanitizer_library()
            variables.update(SANITIZERS, LD_PRELOAD=library)
        return variables

    @property
    def in_rootfs(self) -> bool:
        return self._base().get("source") == rootfs.ORIGIN

    def describe(self) -> str:
        """The exact version and where it comes from, by running it."""
        code = "import platform, sys; print(platform.python_version(), sys.prefix)"
        done = subprocess.run(
            self.command(["-c", code]), stdout=subprocess.PIPE, text=True, check=True
        )
        base = self._base()
        return f"CPython {done.stdout.split()[0]} ({base['source']})"

    # -- Set-up ------------------------------------------------------------------

    def ensure(self, groups: Sequence[str] = ("test",)) -> None:
        """Set up what is missing or out of date."""
        steps = [
            (".stamp-base", self._base_key, self._make_venv),
            *((f".stamp-{g}", self._needs_key, self._needs_maker(g)) for g in groups),
            (".stamp-package", self._package_key, self._install_package),
        ]
        if all(self._current(stamp, key()) for stamp, key, _ in steps):
            return
        with locked(self.folder.name):
            for name, key, make in steps:
                # Sources may change meanwhile: the key is taken before the work.
                wanted = key()
                if not self._current(name, wanted):
                    (self.folder / name).unlink(missing_ok=True)
                    make()
                    (self.folder / name).write_text(wanted or key())

    def _current(self, stamp: str, key: str) -> bool:
        file = self.folder / stamp
        return key != "" and file.is_file() and file.read_text() == key

    def _base(self) -> dict[str, str]:
        try:
            base: dict[str, str] = json.loads((self.folder / ".base.json").read_text())
        except FileNotFoundError:
            return {}
        return base

    def _base_key(self) -> str:
        """Identifies the CPython beneath; empty when there is none or it went away."""
        base = self._base()
        if not base:
            return ""
        outside = base["executable"]
        if base["source"] == rootfs.ORIGIN:
            if not rootfs.complete():
                return ""
            outside = f"{rootfs.ROOT}{outside}"
        try:
            facts = os.stat(outside)
        except FileNotFoundError:
            return ""
        return f"{outside} {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"

    def _make_venv(self) -> None:
        machine.need_compiler()
        found = machine.find(self.version)
        if found is None:
            found = self._rootfs_python()
        progress(f"setting up CPython {found.exact} ({found.source}); log: {self.log}")
        for folder in (self.folder, self.build):
            shutil.rmtree(folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        base = {"executable": found.executable, "source": found.source}
        (self.folder / ".base.json").write_text(json.dumps(base))
        self._log(["-m", "venv", str(self.folder)], program=found.executable)

    def _rootfs_python(self) -> machine.Found:
        if self.version not in rootfs.VERSIONS:
            raise ToolError(
                f"CPython {self.version} was not found (looked on PATH, in pyenv's "
                "versions folders, /usr/local/bin and /usr/bin). Install it with its "
                f"headers, for example: pyenv install {self.version}, or on a Debian "
                f"or Ubuntu that has it: apt-get install python{self.version} "
                f"python{self.version}-dev python{self.version}-venv"
            )
        rootfs.ensure()
        python = f"/usr/bin/python{self.version}"
        return machine.Found(python, rootfs.exact(self.version), rootfs.ORIGIN)

    def _needs_key(self) -> str:
        return _digest([CHECKOUT / "pyproject.toml"], [])

    def _needs_maker(self, group: str) -> Callable[[], None]:
        def make() -> None:
            progress(f"{self.name}: installing what building and '{group}' need")
            lister = str(CHECKOUT / "tools" / "_lib" / "needs.py")
            needs = subprocess.run(
                self.command([lister, str(CHECKOUT / "pyproject.toml"), group]),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout.split("\n")
            # Another meson does not take over a build folder.
            shutil.rmtree(self.build, ignore_errors=True)
            self._log(["-m", "pip", "install", *filter(None, needs)])

        return make

    def _package_key(self) -> str:
        files = [CHECKOUT / name for name in SOURCE_FILES]
        for name in SOURCES:
            files += _source_files(CHECKOUT / name)
        settings = [os.environ.get(name, "") for name in ("CC", "CFLAGS", "LDFLAGS")]
        options = SANITIZE if self.sanitized else ()
        key = _digest(files, [*settings, *options])
        # What was built with warnings as errors is good for everybody.
        strict = f"{key} without warnings"
        there = self._current(".stamp-package", strict)
        return strict if in_ci() or there else key

    def _install_package(self) -> None:
        progress(f"{self.name}: building and installing the package")
        options = [f"-Csetup-args={option}" for option in self._meson_options()]
        self._log(
            [
                *("-m", "pip", "install", "--no-build-isolation", "--no-deps"),
                *("--force-reinstall", f"-Cbuild-dir={self.build}", *options),
                str(CHECKOUT),
            ]
        )

    def _meson_options(self) -> list[str]:
        # A newer compiler's new warning must not keep a user from building.
        werror = f"-Dwerror={'true' if in_ci() else 'false'}"
        return [werror, *SANITIZE] if self.sanitized else [werror]

    def _log(self, arguments: Sequence[str], program: str = "") -> None:
        env = self.variables(os.environ)
        # `make -j` would be taken for an offer to share its job server.
        for name in ("MAKEFLAGS", "MAKELEVEL", "PYTHONPATH", "PYTHONHOME"):
            env.pop(name, None)
        env.setdefault("PIP_CACHE_DIR", str(WORK / "pip-cache"))
        env.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        env.setdefault("PIP_ROOT_USER_ACTION", "ignore")
        try:
            run_logged(self.command(arguments, program), self.log, env)
        except ToolError as error:
            raise ToolError(f"{error}\nset-up of CPython {self.name} failed") from None


def _sanitizer_library() -> str:
    """Where gcc's AddressSanitizer is; it has to be loaded first."""
    done = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], stdout=subprocess.PIPE, text=True
    )
    library = done.stdout.strip()
    if not os.path.isabs(library):
        raise ToolError("gcc has no libasan.so; on Debian: apt-get install libasan8")
    return library


def _source_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(parent, name) for name in sorted(names))


def _digest(files: Sequence[Path], settings: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(settings).encode())
    for path in files:
        try:
            contents = path.read_bytes()
        except FileNotFoundError:
            continue
        header = f"\0{path.relative_to(CHECKOUT)}\0{len(contents)}\0"
        digest.update(header.encode(errors="surrogateescape") + contents)
    return digest.hexdigest()
