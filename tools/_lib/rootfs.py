"""CPython 3.14 and 3.15 of Debian's next suite, in a root file system of their own.

It is used through chroot in a private mount namespace, where the machine's folders
(the checkout, homes, temporary files) keep their paths. Only root on Debian makes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import machine
from common import CHECKOUT, WORK, ToolError, locked, progress, remove, run_logged

SUITE = "forky"
VERSIONS = ("3.14", "3.15")
ROOT = WORK / f"root-{SUITE}"
ORIGIN = f"Debian {SUITE} root file system"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = [
    *(f"python{version}" for version in VERSIONS),
    *(f"python{version}-dev" for version in VERSIONS),
    *(f"python{version}-venv" for version in VERSIONS),
    *(f"libpython{version}-testsuite" for version in VERSIONS),
    *("ca-certificates", "gcc", "libc6-dev", "libcmocka-dev", "ninja-build"),
    "pkgconf",
]

# Debian packages that build and enter the root file system, by a file of each.
BUILDERS = {
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "mount": "/usr/bin/mount",
}
# What belongs to the system itself stays the root file system's own.
SYSTEM_FOLDERS = frozenset(
    [
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found"),
        *("proc", "run", "sbin", "sys", "usr", "var"),
    ]
)
SHOWN_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")
# Environment variables that name certificates and settings for pip.
SHOWN_BY_VARIABLE = (
    *("PIP_CERT", "PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_FIND_LINKS"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


def possible() -> bool:
    return machine.can_install()


def complete() -> bool:
    return _stamp().is_file() and _stamp().read_text() == _contents()


def exact(version: str) -> str:
    """The exact CPython version inside, as Debian's package is called."""
    packages = (ROOT / "var/lib/dpkg/status").read_text(errors="replace")
    pattern = rf"^Package: python{re.escape(version)}\n(?:.+\n)*?Version: ([\w.]+)"
    match = re.search(pattern, packages, re.MULTILINE)
    return match.group(1) if match else version


def ensure() -> None:
    """Build the root file system unless it is there."""
    if complete():
        return
    if not possible():
        raise ToolError(
            f"CPython {' and '.join(VERSIONS)} were not found on this machine, and the "
            "tools can fetch them only as root on Debian. Install them, for example "
            f"with pyenv (pyenv install {VERSIONS[0]}), or on a Debian or Ubuntu that "
            "has them: apt-get install "
            + " ".join(f"python{v} python{v}-dev python{v}-venv" for v in VERSIONS)
        )
    with locked(ROOT.name):
        if not complete():
            _build()


def _build() -> None:
    lacking = [package for package, file in BUILDERS.items() if not Path(file).exists()]
    if lacking:
        machine.install(*lacking)
    partial = ROOT.with_suffix(".partial")
    _stamp().unlink(missing_ok=True)
    for folder in (ROOT, partial):
        remove(folder)
    log = WORK / "log" / f"{ROOT.name}.log"
    progress(f"building the {ORIGIN}, once (about a minute; log: {log})")
    options = [
        'Acquire::Check-Valid-Until "false"',
        'APT::Install-Recommends "false"',
        # The checkout may lie where apt's own user must not look.
        'APT::Sandbox::User "root"',
    ]
    run_logged(
        [
            *("mmdebstrap", "--variant=apt", *(f"--aptopt={o}" for o in options)),
            *(f"--include={','.join(PACKAGES)}", SUITE, str(partial)),
        ],
        log,
        machine.administrator(),
    )
    # The machine's file is mounted over it; a link would lead out of the folder.
    (partial / "etc/resolv.conf").unlink(missing_ok=True)
    (partial / "etc/resolv.conf").touch()
    partial.rename(ROOT)
    _stamp().write_text(_contents())


def _stamp() -> Path:
    return ROOT.with_suffix(".stamp")


def _contents() -> str:
    return "\n".join([SUITE, *PACKAGES, ""])


def inside(command: Sequence[str], folder: str, programs: str) -> list[str]:
    """COMMAND as it must be called from outside, with PROGRAMS first on PATH.

    The caller starts it in FOLDER.
    """
    if os.geteuid() != 0:
        raise ToolError(f"the {ORIGIN} can be entered only as root")
    enter = CHECKOUT / "tools" / "_lib" / "enter-root"
    return [
        *("unshare", "--mount", "--propagation", "private", "--"),
        *("bash", str(enter), str(ROOT), folder, *_shown(), "--"),
        *("/usr/bin/env", f"PATH={programs}:{PATH}", *command),
    ]


def _shown() -> list[str]:
    """The paths of the machine that are visible inside."""
    folders = [
        f"/{name}"
        for name in sorted(os.listdir("/"))
        if name not in SYSTEM_FOLDERS
        and os.path.isdir(f"/{name}")
        and not os.path.islink(f"/{name}")
    ]
    folders.append("/var/tmp")
    if not any(str(CHECKOUT).startswith(f"{folder}/") for folder in folders):
        folders.append(str(CHECKOUT))
    files = list(SHOWN_FILES)
    for variable in SHOWN_BY_VARIABLE:
        files += os.environ.get(variable, "").split()
    visible = tuple(f"{folder}/" for folder in folders)
    return folders + [
        path
        for path in dict.fromkeys(files)
        if os.path.isfile(path) and not path.startswith(visible)
    ]
