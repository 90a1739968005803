"""What the counter benchmarks share: the tools that count, their targets, what they wrote."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.sampler import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = ("cpu-clock", "faults", "context-switches", "migrations")
NO_PERF = "no perf here: apt-get install linux-perf"
NO_PROFILER = "performance-features is not built here (make .venv/perf.stamp)"
SETTLE_S = 1.0
"""Until a tool has started: what comes after is its steady state."""


@dataclass(frozen=True)
class Bench:
    """Where everything is, and how thoroughly to measure."""

    folder: Path
    target: Path
    quick: bool = False
    pact_options: tuple[str, ...] = ()
    profiler_python: str | None = None
    has_perf: bool = field(default_factory=lambda: shutil.which("perf") is not None)

    def words(self, *words: object) -> list[str]:
        """Return the command of the target in one of its modes."""
        return [str(self.target), *map(str, words)]

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder for one run."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{time.monotonic_ns()}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @property
    def backend(self) -> str | None:
        """The backend that PACT was told to use, None where it chooses."""
        with contextlib.suppress(ValueError, IndexError):
            return self.pact_options[self.pact_options.index("--counter-backend") + 1]
        return None


def build(folder: Path) -> Path:
    """Compile the target."""
    if shutil.which("gcc") is None:
        raise SystemExit("counters: the target is in C: apt-get install gcc libc6-dev")
    made = folder / "counter_target"
    source = common.PROGRAMS / "counter_target.c"
    subprocess.run(["gcc", "-O2", "-pthread", str(source), "-o", str(made)], check=True)
    return made


# --- commands ------------------------------------------------------------------------------------


def pact(bench: Bench, period_s: float, words: list[str]) -> list[str]:
    """Return the command line of PACT, as a module: only the sampler has the sampler's name."""
    options = ["--psu", "none", "-q", "-o", "PACT.csv", "-e", ",".join(EVENTS)]
    options += ["--perf-period", f"{period_s:g}", *bench.pact_options]
    return [sys.executable, "-m", "pactmeter", "run", *options, "--", *words]


def perf_stat(period_s: float, words: list[str]) -> list[str]:
    options = ["-e", ",".join(EVENTS), "-x", ",", "-I", str(round(period_s * 1e3)), "-o", "stat"]
    return ["perf", "stat", *options, "--", *words]


def perf_record(period_s: float, words: list[str]) -> list[str]:
    options = ["-q", "-e", "cpu-clock", "-c", str(round(period_s * 1e9)), "-o", "record"]
    return ["perf", "record", *options, "--", *words]


def perf_record_all(period_s: float, words: list[str]) -> list[str]:
    """Return `perf record` with the samples that PACT takes and the other events counted."""
    rare = 10**9
    periods = dict.fromkeys(EVENTS, rare) | {"cpu-clock": round(period_s * 1e9)}
    periods["context-switches"] = 1
    events = [word for name, n in periods.items() for word in ("-e", f"{name}/period={n}/")]
    return ["perf", "record", "-q", *events, "-o", "record", "--", *words]


def perf_record_read(period_s: float, pid: int, control: str) -> list[str]:
    """Return `perf record` that reads the counts with each sample, as PACT does.

    perf 6.1 inherits no event that is read so, so it is given a process whose threads have started.
    """
    clock = f"cpu-clock/period={round(period_s * 1e9)}/"
    options = ["-e", f"{{{','.join([clock, *EVENTS[1:]])}}}:S", "-p", str(pid)]
    return ["perf", "record", "-q", "-D", "-1", "--control", control, *options, "-o", "record"]


def profiler(bench: Bench, period_s: float, words: list[str]) -> list[str]:
    program = common.python_program("counter_pf.py", str(bench.profiler_python))
    return [*program, f"{period_s:g}", "--", *words]


# --- running -------------------------------------------------------------------------------------


def run(words: list[str], folder: Path, timeout_s: float = 60.0) -> common.Ended:
    """Run a command to its end in a folder; one that fails ends the benchmark."""
    ended = common.run_program(words, folder, env=common.plain_environment(), timeout_s=timeout_s)
    if ended.status != 0:
        last = (ended.errors.strip() or ended.output.strip())[-400:]
        raise SystemExit(f"counters: exit status {ended.status} of {' '.join(words)}\n{last}")
    return ended


def said(ended: common.Ended) -> dict:
    """Return what a target said of itself: the last JSON object in its output."""
    lines = [line for line in ended.output.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"counters: the target said nothing: {ended.errors[-400:]}")
    return json.loads(lines[-1])


@contextlib.contextmanager
def started(words: list[str], folder: Path) -> Iterator[subprocess.Popen]:
    """Start a command; it is ended with the block at the latest, and its children with it."""
    with (folder / "output").open("wb") as output, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=common.plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
        process.wait()


def ended_well(process: subprocess.Popen, folder: Path, timeout_s: float = 30.0) -> None:
    """Wait for a command to end; stop the benchmark where it fails."""
    status = process.wait(timeout_s)
    if status != 0:
        errors = (folder / "errors").read_text(errors="replace")[-400:]
        raise SystemExit(f"counters: exit status {status} of {process.args}\n{errors}")


def wait_target(bench: Bench, timeout_s: float = 10.0) -> int:
    """Return the target's process, as soon as it has become the target by its exec."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if (entry / "exe").readlink() == bench.target:
                    return int(entry.name)
        time.sleep(0.005)
    raise SystemExit("counters: the target has not started")


def share(pid: int, seconds: float) -> float:
    """Return the CPU time a process takes, of one core: by its threads' schedstat."""
    start_s, before_s = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    used_s = cpu_seconds(pid) - before_s
    return used_s / (time.monotonic() - start_s)


# --- what they wrote -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bins:
    """Counters over time: edges in seconds on CLOCK_MONOTONIC, and one count a bin and event."""

    starts_s: list[float]
    ends_s: list[float]
    counts: dict[str, list[int | None]]

    def total(self, event: str) -> int:
        """Return the sum of an event over all bins."""
        return sum(value or 0 for value in self.counts[event])

    def uneven(self, period_s: float) -> float:
        """Return which share of the bins is off the period by more than 10 % (the last may be)."""
        widths_s = [e - s for s, e in zip(self.starts_s[:-1], self.ends_s[:-1], strict=True)]
        off = sum(abs(width_s / period_s - 1) > 0.1 for width_s in widths_s)
        return off / max(1, len(widths_s))

    def holes(self, period_s: float) -> int:
        """Return how many bins are missing: between two, or because one lasts for several."""
        missing = sum(
            max(0, round((end_s - start_s) / period_s) - 1)
            for start_s, end_s in zip(self.starts_s, self.ends_s, strict=True)
        )
        for end_s, start_s in zip(self.ends_s, self.starts_s[1:], strict=False):
            if start_s - end_s > 5e-6:  # what times lose by being written in microseconds
                missing += max(1, round((start_s - end_s) / period_s))
        return missing


def manifest(folder: Path) -> dict:
    """Return what PACT says of a run."""
    return json.loads((folder / "PACT.json").read_text())


def pact_bins(folder: Path) -> Bins:
    """Read PACT's counter rows."""
    zero_s = manifest(folder)["zero_monotonic_s"]
    with (folder / "PACT.counters.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    starts_s = [zero_s + float(row["start_s"]) for row in rows]
    ends_s = [start_s + float(row["dt_s"]) for start_s, row in zip(starts_s, rows, strict=True)]
    named = [event for event in EVENTS if rows and event in rows[0]]
    counts = {event: [_whole(row[event]) for row in rows] for event in named}
    return Bins(starts_s, ends_s, counts)


def pact_totals(folder: Path) -> dict[str, int]:
    """Add up the events of PACT's power rows."""
    with (folder / "PACT.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    named = [event for event in EVENTS if rows and event in rows[0]]
    return {event: sum(_whole(row[event]) or 0 for row in rows) for event in named}


def stat_bins(path: Path, begin_s: float) -> Bins:
    """Read the intervals of `perf stat -I`; its clock is laid on ours at the time given."""
    counts: dict[str, dict[float, float]] = {event: {} for event in EVENTS}
    for line in path.read_text(errors="replace").splitlines():
        words = line.split(",")
        if len(words) > 3 and words[3] in counts:
            value = float(words[1]) if words[1][:1].isdigit() else 0.0  # <not counted>
            counts[words[3]][float(words[0])] = value
    ends_s = sorted(counts["faults"])
    starts_s = [0.0, *ends_s[:-1]]
    return Bins(
        [begin_s + each_s for each_s in starts_s],
        [begin_s + each_s for each_s in ends_s],
        {event: [round(of[each_s]) for each_s in ends_s if each_s in of]
         for event, of in counts.items()},
    )  # fmt: skip


def _whole(text: str) -> int | None:
    return int(text) if text else None
