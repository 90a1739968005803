"""What ``from trackerPACT import PACT`` costs, and that it touches nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

IMPORT = "from trackerPACT import PACT"
CPU_S = 0.06

_CALL = re.compile(r"^(?:\d+\s+)?(\w+)\(")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--runs", type=int, help="interleaved runs of each (30; quick: 8)")
    args = parser.parse_args()
    table = common.Table(f"`{IMPORT}`")
    _cpu(table, args.runs or (8 if args.quick else 30))
    _audited(table)
    _traced(table)
    return table.finish()


def _cpu(table: common.Table, runs: int) -> None:
    """CPU time over that of bare Python; it gates as it stands, being no wall time."""
    times: dict[str, list[float]] = {"pass": [], IMPORT: []}
    with common.scratch() as folder:
        for _ in range(runs + 1):
            for code, values in times.items():
                done = common.run_program([sys.executable, "-c", code], folder)
                if done.status != 0:
                    raise SystemExit(f"python -c {code!r} failed:\n{done.errors}")
                values.append(done.cpu_s)
    bare, loaded = (values[1:] for values in times.values())  # the first ones write caches
    added_s = statistics.median(loaded) - statistics.median(bare)
    table.add(
        "CPU time over bare Python",
        f"{common.seconds(added_s)} (medians {common.seconds(statistics.median(loaded))} and"
        f" {common.seconds(statistics.median(bare))}; n = {runs} each)",
        f"at most {common.seconds(CPU_S)}",
        held=added_s <= CPU_S,
    )


def _audited(table: common.Table) -> None:
    """What the interpreter itself reports."""
    with common.scratch() as folder:
        done = common.run_program(common.python_program("audited_import.py"), folder)
    if done.status != 0:
        table.add("audit of the import", done.errors.strip()[-160:], "runs", held=False)
        return
    seen = json.loads(done.output)
    for what in ("sockets", "devices", "processes", "threads"):
        found = seen[what]
        table.add(f"{what} opened or started (audit hook)", _list(found), "none", held=not found)
    told = ", ".join(seen["heavy"]) or "none"
    table.add("numpy, pandas, torch and the like loaded", told, "none", held=not seen["heavy"])
    table.add("modules loaded over bare Python", str(seen["modules"]))


def _traced(table: common.Table) -> None:
    """What the kernel sees, less what bare Python does too."""
    if shutil.which("strace") is None:
        table.notes.append("strace is not installed: the audit hook alone was asked.")
        return
    bare, loaded = _trace("pass"), _trace(IMPORT)
    if bare is None or loaded is None:
        table.notes.append("strace may not trace here: the audit hook alone was asked.")
        return
    found = sorted(loaded - bare)
    table.add("system calls of network, devices, processes (strace)", _list(found), "none",
              held=not found)  # fmt: skip


def _trace(code: str) -> set[str] | None:
    """Return the system calls that touch network, devices or processes, or None if untraceable."""
    with common.scratch() as folder:
        log = folder / "trace"
        calls = "trace=network,openat,open,clone,clone3,fork,vfork"
        command = ["strace", "-f", "-o", str(log), "-e", calls, sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not log.exists():
            return None
        lines = log.read_text(errors="replace").splitlines()
    found = set()
    for line in lines:
        call = _CALL.match(line)
        if call is None:
            continue
        name = call.group(1)
        if name not in ("openat", "open"):
            found.add(name)
        elif (path := _PATH.search(line)) and _is_device(path.group(1)):
            found.add(f"{name} {path.group(1)}")
    return found


def _is_device(path: str) -> bool:
    return os.path.normpath(path).startswith(("/dev/", "/sys/"))


def _list(found: list[str]) -> str:
    return "none" if not found else ", ".join(f"`{what}`" for what in found[:6])


if __name__ == "__main__":
    raise SystemExit(main())
