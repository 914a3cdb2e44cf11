"""Coverage-guided fuzzing (libFuzzer, ASan, UBSan) of what reads foreign bytes.

A target is tests/fuzz/fuzz_TARGET.c with the sources that it needs. It starts from the
files in tests/fuzz/corpus/TARGET, and keeps what it finds in .work/fuzz.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import machine
from common import CHECKOUT, WORK, ToolError, progress, run_group, run_logged
from environment import Environment

FOLDER = WORK / "fuzz"
TARGETS = ("elf", "transfer")
FLAGS = (
    *("-std=c11", "-O1", "-g", "-D_GNU_SOURCE", f"-I{CHECKOUT}"),
    *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"),
)
# One input may take so long (seconds), and be so long (bytes).
INPUT_LIMIT = 30
SIZES = {"elf": 1 << 16, "transfer": 2000}

PROBE = """
import json, sys, sysconfig
get = sysconfig.get_config_var
print(json.dumps({
    "python": sys.executable,
    "include": sysconfig.get_path("include"),
    "folder": get("LIBDIR"),
    "library": "python" + (get("LDVERSION") or get("VERSION")),
    "shared": bool(get("Py_ENABLE_SHARED")),
}))
"""


def compiler() -> str | None:
    """A clang that has libFuzzer; installed where that may be done."""
    found = _clang()
    if found is None and machine.can_install():
        machine.install("clang")
        found = _clang()
    if found is not None and not _has_fuzzer(found) and machine.can_install():
        machine.install(f"libclang-rt-{_major(found)}-dev")
    return found if found is not None and _has_fuzzer(found) else None


def _clang() -> str | None:
    """One with libFuzzer, else the newest."""
    names = ["clang", *(f"clang-{major}" for major in range(30, 13, -1))]
    there = [path for path in map(shutil.which, names) if path is not None]
    return next(filter(_has_fuzzer, there), there[0] if there else None)


def _answer(command: list[str]) -> str:
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def _major(clang: str) -> str:
    match = re.search(r"version (\d+)", _answer([clang, "--version"]))
    if match is None:
        raise ToolError(f"{clang} --version says no version")
    return match.group(1)


def _has_fuzzer(clang: str) -> bool:
    resources = Path(_answer([clang, "-print-resource-dir"]))
    return any(resources.glob("lib/*/libclang_rt.fuzzer*.a"))


def run(environment: Environment, clang: str, target: str, seconds: int) -> str:
    """Fuzz TARGET for SECONDS; "" or what went wrong, its input among it."""
    program = _build(environment, clang, target)
    found = FOLDER / f"found-{target}"
    found.mkdir(parents=True, exist_ok=True)
    seeds = _seeds(target)
    lines: list[str] = []
    status = run_group(
        [
            *(str(program), f"-max_total_time={seconds}", f"-timeout={INPUT_LIMIT}"),
            *(f"-max_len={SIZES[target]}", f"-artifact_prefix={FOLDER}/{target}-"),
            *("-print_final_stats=1", "-use_value_profile=1"),
            *(str(found), str(seeds)),
        ],
        {**os.environ, "ASAN_OPTIONS": f"detect_leaks={int(target == 'elf')}"},
        seconds + 120,
        lines.append,
    )
    if status == 0:
        shown = [line for line in lines if line.startswith("stat::number_of_executed")]
        progress(f"{target}: {''.join(shown).strip() or 'no statistics'}")
        return ""
    ending = "no end" if status is None else f"exit status {status}"
    return f"{''.join(lines[-60:])}\nfuzzing {target}: {ending}"


def _seeds(target: str) -> Path:
    """What fuzzing starts from: the corpus, or a library as compilers make them."""
    if target != "elf":
        return CHECKOUT / "tests" / "fuzz" / "corpus" / target
    seeds = FOLDER / "seeds-elf"
    seeds.mkdir(parents=True, exist_ok=True)
    _compile(
        [
            *("cc", "-O2", "-shared", "-fPIC", "-s", "-Wl,-z,noseparate-code"),
            *("-Wl,-rpath,$ORIGIN/beside", str(CHECKOUT / "tests/core/elf/sample.c")),
            *("-lm", "-o", str(seeds / "sample.so")),
        ]
    )
    return seeds


def _build(environment: Environment, clang: str, target: str) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = FOLDER / f"fuzz_{target}"
    main = CHECKOUT / "tests" / "fuzz" / f"fuzz_{target}.c"
    options = _python(environment) if target == "transfer" else []
    sources = [str(source) for source in (main, *_sources(target))]
    _compile([clang, *FLAGS, *sources, *options, "-o", str(program)])
    return program


def _compile(command: list[str]) -> None:
    run_logged(command, WORK / "log" / "fuzz.log")


def _sources(target: str) -> list[Path]:
    core, binding = CHECKOUT / "core", CHECKOUT / "binding"
    if target == "elf":
        known = core / "elf" / f"machine_{platform.machine()}.c"
        elf = known if known.exists() else core / "elf" / "machine_none.c"
        names = ("elf/image.c", "elf/patch.c", "elf/ranges.c", "base/alloc.c")
        checks = sorted((core / "elf").glob("check*.c"))
        return [*checks, *(core / name for name in names), elf]
    return [
        CHECKOUT / "tests/python/transfer/engine_module.c",
        *(
            core / name
            for name in (
                "memory/block.c",
                "base/alloc.c",
                "platform/pages.c",
                "platform/thread.c",
            )
        ),
        *sorted((binding / "transfer").glob("*.c")),
        *sorted((binding / "compat").glob("*.c")),
    ]


def _python(environment: Environment) -> list[str]:
    """What embeds the environment's CPython."""
    facts = json.loads(_answer(environment.command(["-c", PROBE])))
    if not facts["shared"]:
        raise ToolError(f"{facts['python']} has no shared library to embed")
    return [
        *(f"-I{facts['include']}", f'-DFUZZ_PYTHON="{facts["python"]}"'),
        f'-DFUZZ_SEEDS="{CHECKOUT}/tests/fuzz/seeds.py"',
        *(f"-L{facts['folder']}", f"-Wl,-rpath,{facts['folder']}"),
        f"-l{facts['library']}",
    ]
