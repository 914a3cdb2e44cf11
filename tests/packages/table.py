"""table.py run|write: measures every package of the catalogue; makes the table of it.

run    checks and measures them with this Python, one process each, and writes
       results/VERSION.json beside this file
write  puts the table of all results into docs/guide/packages.md, between its marks
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys

import catalogue

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
GUIDE = HERE.parents[1] / "docs" / "guide" / "packages.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
CHECKS = ("two", "four", "cycles")
MODES = (*CHECKS, "figures")
TIME_LIMIT = 900


def check(package: str, mode: str, environment: dict[str, str]) -> dict[str, object]:
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "worker.py"), package, mode],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "why": f"did not end within {TIME_LIMIT} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"ok"')]
    found: dict[str, object] = json.loads(lines[-1]) if lines else {"ok": False}
    if done.returncode != 0 and found["ok"]:
        found = {"ok": False, "why": f"exit status {done.returncode}"}
    if not found["ok"]:
        found.setdefault("why", f"exit status {done.returncode}: {done.stderr[-200:]}")
    return found


def run(only: list[str], modes: list[str], packages: str | None) -> None:
    environment = dict(os.environ)
    if packages is not None:
        environment["PYTHONPATH"] = packages
        sys.path.insert(0, packages)
    path = RESULTS / f"{sys.version_info[0]}.{sys.version_info[1]}.json"
    results = {"python": platform.python_version(), "packages": {}}
    if path.exists():
        results = json.loads(path.read_text())
    results["python"] = platform.python_version()
    for package in only or catalogue.ALL:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # All of them were to be installed, from wheels.
            results["packages"][package] = {"no_wheel": True}
            print(package, "no wheel", flush=True)
        else:
            entry = results["packages"].setdefault(package, {})
            entry.pop("no_wheel", None)
            entry["version"] = version
            for mode in modes:
                entry[mode] = check(package, mode, environment)
            print(package, {mode: entry[mode]["ok"] for mode in modes}, flush=True)
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def cell(entry: dict[str, dict[str, object]]) -> str:
    """What one version of Python says of a package: "yes" takes all three checks."""
    if "no_wheel" in entry:
        return "no wheel"
    checks = [entry[mode]["ok"] for mode in CHECKS if mode in entry]
    if not all(checks):
        return "no"
    return "yes" if len(checks) == len(CHECKS) else "partly" if checks else "-"


def megabytes(entry: dict[str, dict[str, object]], mode: str, key: str) -> str:
    value = entry.get(mode, {}).get(key)
    return "-" if value is None else f"{int(str(value)) / 1024:.1f}"


def milliseconds(entry: dict[str, dict[str, object]], key: str) -> str:
    value = entry.get("figures", {}).get(key)
    return "-" if value is None else str(value)


def table() -> str:
    found = {
        path.stem: json.loads(path.read_text())
        for path in sorted(
            RESULTS.glob("*.json"), key=lambda p: int(p.stem.split(".")[1])
        )
    }
    columns = [data["python"] for data in found.values()]
    lines = [
        "| Package | Version | "
        + " | ".join(columns)
        + " | Time (ms) | Process | Memory (MB) | Process | Left per close (MB) |",
        "|---|---|" + "---|" * len(columns) + "---:|---:|---:|---:|---:|",
    ]
    for package in catalogue.ALL:
        entries = [data["packages"].get(package, {}) for data in found.values()]
        version = next(
            (e["version"] for e in reversed(entries) if "version" in e), None
        )
        if version is None:
            continue
        measured = next((e for e in reversed(entries) if "figures" in e), {})
        grown = next((e for e in reversed(entries) if "cycles" in e), {})
        lines.append(
            f"| {package} | {version} | "
            + " | ".join(cell(entry) for entry in entries)
            + f" | {milliseconds(measured, 'time_ms')}"
            + f" | {milliseconds(measured, 'process_time_ms')}"
            + f" | {megabytes(measured, 'figures', 'memory_kb')}"
            + f" | {megabytes(measured, 'figures', 'process_memory_kb')}"
            + f" | {megabytes(grown, 'cycles', 'growth_kb')} |"
        )
    return "\n".join(lines)


def write() -> None:
    text = GUIDE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    GUIDE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--packages", help="folder that they are installed in")
    runs.add_argument("--modes", default=",".join(MODES))
    runs.add_argument("only", nargs="*", metavar="PACKAGE")
    commands.add_parser("write")
    chosen = parser.parse_args()
    if chosen.command == "run":
        run(chosen.only, chosen.modes.split(","), chosen.packages)
    else:
        write()


if __name__ == "__main__":
    main()
