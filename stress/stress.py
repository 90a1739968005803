"""Run the rows of input.txt one after another, each under PACT, as the first PACT's suite did.

    python stress/stress.py 1 0.01

The results lie in PACTData beside input.txt: `<name>_<trial>_PACT.csv` (with its sidecars) and
`<name>_<trial>_out.csv` (what the load printed). Earlier results are renamed; what failed goes to
PACTData/failed, is told at the end, and makes the exit code 1.
"""

import argparse
import csv
import fcntl
import os
import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path

from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.store.files import RunFiles
from pactmeter.study import child, stress_loads, stress_preflight

HERE = Path(__file__).parent
CLOSING_S = 10.0
"""How long a load may take to close its run when it is ended."""


def arguments():
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("measure_period", type=float, nargs="?", default=1.0, help="seconds of a row of power (1)")
    add("perf_period", type=float, nargs="?", default=0.01, help="of a row of counters (0.01)")
    add("--input", type=Path, metavar="FILE", help="rows (./input.txt, else the one beside this)")
    add("--results", type=Path, metavar="DIR", help="(PACTData beside the input)")
    add("--psu", default="auto", metavar="NAME", help="a power supply, 'auto' or 'none'")
    args = parser.parse_args()
    if args.input is None:
        args.input = next(filter(Path.is_file, [Path("input.txt")]), HERE / "input.txt")
    args.input = args.input.resolve()
    args.results = (args.results or args.input.with_name("PACTData")).resolve()
    return args


def rows(path):
    """Return name, trial and command of every row.

    Raises:
        ConfigError: A row is none.
    """
    try:
        lines = list(csv.reader(path.read_text().splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    found = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        where = f"{path}, line {number}"
        try:
            name, trial, words = line[0].strip(), int(line[1]), shlex.split(",".join(line[2:]))
        except (IndexError, ValueError) as error:
            raise ConfigError(f"{where} is no row", "as cpu_1_200,1,stress --cpu 1 ...") from error
        if not words or not name or name.startswith(".") or "/" in name:
            raise ConfigError(f"{where}: a name for files and a command are wanted")
        if (name, trial) in found:
            raise ConfigError(f"{where}: {name} has trial {trial} already", "number its trials")
        found[name, trial] = words
    if not found:
        raise ConfigError(f"{path} has no rows", "as cpu_1_200,1,stress --cpu 1 --timeout 200")
    return [(*key, words) for key, words in found.items()]


def load_of(name, words, base):
    """Return the arguments of load.py that a row stands for."""
    if len(words) == 1 and words[0].replace(".", "", 1).isdigit():
        if "idle" not in name:
            raise ConfigError(f"{name}: {words[0]} is no command", "seconds alone are idle's")
        return ["idle", "--seconds", words[0]]
    program = base / words[0] if "/" in words[0] else None
    if stress_loads.tool_of(words) == "gpu-burn" and not (
        program.is_file() if program else shutil.which(words[0])
    ):
        seconds = stress_loads.duration_s(words)
        print(f"{name}: no {words[0]} here; another gpu-burn or torch loads the GPU instead")
        return ["gpu", "--seconds", f"{seconds or 200:g}"]
    return ["command", "--", str(program or words[0]), *words[1:]]


def stamp_of(path):
    """Return when a file was written, as earlier results are named with."""
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().strftime("-%Y%m%dT%H%M%S")


def keep_earlier(files, out):
    """Rename an earlier result of that name with the time it was written."""
    old = [*files.all, out]
    there = [path for path in old if path.exists()]
    if not there:
        return
    stamp = stamp_of(there[0])
    for ending in (stamp, *(f"{stamp}-{attempt}" for attempt in range(2, 1000))):
        new = [*files.with_suffix(ending).all, out.with_stem(out.stem + ending)]
        if not any(path.exists() for path in new):
            break
    for path, aside in zip(old, new, strict=True):
        if path.exists():
            path.rename(aside)


def put(running, folder, stem):
    """Move a row's files to where results lie."""
    folder.mkdir(exist_ok=True)
    keep_earlier(RunFiles(folder / f"{stem}_PACT.csv"), folder / f"{stem}_out.csv")
    for path in running.iterdir():
        if path.name.startswith(f"{stem}_"):
            path.rename(folder / path.name)


def run_row(args, row, running):
    """Run one row; return why it failed, or None."""
    name, trial, words = row
    stem = f"{name}_{trial}"
    shutil.rmtree(running, ignore_errors=True)
    running.mkdir()
    out, why = running / f"{stem}_out.csv", "it was ended"
    try:
        kind, *rest = load_of(name, words, args.input.parent)
        measuring = ["--measure-period", f"{args.measure_period:g}", "--psu", args.psu]
        measuring += ["--perf-period", f"{args.perf_period:g}"]
        measuring += ["--tracker-file", str(running / f"{stem}_PACT.csv")]
        command = [sys.executable, str(HERE / "load.py"), kind, *measuring, *rest]
        with out.open("wb") as log:
            ended = child.run(command, log, folder=running, soft_s=CLOSING_S)
        print(f"Time:  {ended.took_s:.2f}", flush=True)
        why = None
        if ended.code:
            told = [line for line in out.read_text(errors="replace").splitlines() if line.strip()]
            said = [line for line in told if line.startswith("load: ")]
            why = (said or told or [f"exit code {ended.code}"])[-1].removeprefix("load: ")
    except PactError as error:
        why = error.message
    finally:
        put(running, args.results if why is None else args.results / "failed", stem)
    return why


def main():
    """Run all rows; return the exit code."""
    args = arguments()
    todo = rows(args.input)
    args.results.mkdir(parents=True, exist_ok=True)
    lock = os.open(args.results, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError(f"another suite is running in {args.results}", "--results DIR") from None
    for name, words in {name: words for name, _, words in todo}.items():
        try:
            stress_preflight.check(words, args.results)
        except PactError as error:
            print(f"{name} will fail: {error}", flush=True)
    failed, running = [], args.results / ".running"
    if running.exists():  # a suite was killed
        (args.results / "failed").mkdir(exist_ok=True)
        running.rename(args.results / "failed" / f"killed{stamp_of(running)}")
    try:
        with child.ended_by_signals():
            for number, row in enumerate(todo, 1):
                print(f"[{number}/{len(todo)}] {row[0]} trial {row[1]}", flush=True)
                if why := run_row(args, row, running):
                    print(f"failed: {why}", flush=True)
                    failed.append(f"{row[0]} trial {row[1]}: {why}")
    finally:
        shutil.rmtree(running, ignore_errors=True)
        if failed:
            print(f"{len(failed)} of {len(todo)} failed; what there is of them lies in"
                  f" {args.results / 'failed'}:")  # fmt: skip
            print("\n".join(f"  {line}" for line in failed), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PactError as error:
        print(f"stress: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
