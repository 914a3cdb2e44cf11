"""The files of the checkout. A gate that would check nothing raises here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PRODUCT_C = ("core", "binding")
ALL_C = (*PRODUCT_C, "tests/core")
ALL_PYTHON = ("python", "tests", "tools", "benchmarks", "examples")
SCRIPT_FOLDERS = ("tools", ".ci")


def name(path):
    """The path as it is written in tables and messages."""
    return path.relative_to(ROOT).as_posix()


def some(found, what):
    """FOUND as a list; an error if it is empty, since a gate must check something."""
    found = list(found)
    if not found:
        raise AssertionError(f"found no {what}: this gate would check nothing")
    return found


def files(folders, *suffixes):
    """Every file below FOLDERS that ends with one of SUFFIXES, as names. Each folder
    must have one."""
    found = []
    for folder in folders:
        here = [
            name(path)
            for path in sorted((ROOT / folder).rglob("*"))
            if path.suffix in suffixes and path.is_file() and not is_made(path)
        ]
        found += some(here, f"{' '.join(suffixes)} files in {folder}")
    return found


def is_made(path):
    """Whether a tool made it, or the folder that it lies in."""
    parts = path.relative_to(ROOT).parts
    return any(part == "__pycache__" or part.startswith(".") for part in parts)


def read(file):
    return (ROOT / file).read_text(encoding="utf-8")


def scripts(*interpreters):
    """The files whose first line names one of INTERPRETERS, and which have no suffix or
    are the shell's."""
    found = []
    for folder in SCRIPT_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if not path.is_file() or path.suffix in (".py", ".pyc"):
                continue
            with path.open("rb") as file:
                first = file.readline().decode(errors="replace").rstrip()
            if first.startswith("#!") and first.endswith(interpreters):
                found.append(name(path))
    return some(found, f"scripts for {' or '.join(interpreters)}")


def report(problems):
    """Fails with one problem a line."""
    problems = list(problems)
    assert not problems, f"{len(problems)} problem(s)\n" + "\n".join(problems)
