"""How many events are put in the wrong bin: beside every page fault with its time stamp."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import struct
import subprocess
import sys
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.counters_tools import (
    NO_PERF,
    Bench,
    Bins,
    pact,
    pact_bins,
    perf_stat,
    run,
    said,
    started,
    stat_bins,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOUND = 0.03
PERIOD_S = 0.01
SHIFT_S, STEP_S = 0.4, 0.001
"""What `perf stat` is granted, as its time stamps are relative to a start that it does not tell."""
SAMPLE, LOST = 9, 2


def table(bench: Bench) -> common.Table:
    """Measure, and return the table."""
    made = common.Table(f"Page faults put in the wrong bin of {PERIOD_S * 1e3:g} ms, bursty target")
    rounds, repeats = (8, 2) if bench.quick else (20, 5)
    seen: dict[str, list[float]] = {"lost": [], "uneven": []}
    for hogs, load in ((0, "machine otherwise idle"), (4, "with 4 spinning hogs")):
        shares: dict[str, list[float]] = {"PACT": [], "stat": []}
        for seed in range(1, repeats + 1):
            for tool in shares if bench.has_perf else ["PACT"]:
                with bench.scratch() as folder, _hogs(bench, folder, hogs):
                    shares[tool].append(_once(bench, folder, tool, rounds, seed, seen))
                common.say(f"counters: wrong bin, {load}: {tool} {shares[tool][-1]:.2%}")
        middle = statistics.median(shares["PACT"])
        made.add(
            f"PACT, {load}", _spread(shares["PACT"]), f"at most {BOUND:.0%}", held=middle <= BOUND
        )
        beside = f"beside: `perf stat -I {PERIOD_S * 1e3:g}`, best shift, {load}"
        made.add(beside, _spread(shares["stat"]) if shares["stat"] else NO_PERF)
    made.notes.append(
        "Half the sum of |bin - truth| over the sum of the truth; medians of"
        f" {repeats} interleaved runs, in brackets smallest to largest. The truth is every page"
        " fault of the target, stamped by the kernel on CLOCK_MONOTONIC, on the tool's own bin"
        f" edges; `perf stat` gets the best of all time shifts within {SHIFT_S * 1e3:g} ms."
    )
    made.notes.append(
        f"Of PACT's bins, {statistics.fmean(seen['uneven']):.1%} were more than 10 % longer or"
        " shorter than asked. Runs in which the recorder of the truth lost records:"
        f" {len(seen['lost'])}."
    )
    return made


@contextlib.contextmanager
def _hogs(bench: Bench, folder: Path, count: int) -> Iterator[None]:
    if not count:
        yield
        return
    inner = folder / "hogs"
    inner.mkdir()
    with started(bench.words("hog", 120), inner):
        yield


def _once(
    bench: Bench, folder: Path, tool: str, rounds: int, seed: int, seen: dict[str, list[float]]
) -> float:
    target = bench.words("bursty", rounds, seed)
    with _recorder(folder / "faults") as stop:
        begin_s = time.monotonic()
        stat = tool == "stat"
        ended = run(perf_stat(PERIOD_S, target) if stat else pact(bench, PERIOD_S, target), folder)
        stop()
    times_s, lost = recorded((folder / "faults").read_bytes(), said(ended)["pid"])
    if lost:  # the truth is short of them: the share comes out too high
        seen["lost"].append(lost)
    if not stat:
        bins = pact_bins(folder)
        seen["uneven"].append(bins.uneven(PERIOD_S))
        return wrong_share(bins, times_s)
    bins = stat_bins(folder / "stat", begin_s)
    steps = round(SHIFT_S / STEP_S)
    return min(wrong_share(bins, times_s, step * STEP_S) for step in range(-steps, steps + 1))


def wrong_share(bins: Bins, times_s: list[float], shift_s: float = 0.0) -> float:
    """Return which share of the events is not in the bin in which they happened."""
    edges_s = [*bins.starts_s, bins.ends_s[-1]]
    below = [bisect_left(times_s, edge_s + shift_s) for edge_s in edges_s]
    true = [after - before for before, after in itertools.pairwise(below)]
    told = bins.counts["faults"]
    off = sum(abs((ours or 0) - truth) for ours, truth in zip(told, true, strict=True))
    return off / 2 / max(1, sum(true))


@contextlib.contextmanager
def _recorder(path: Path) -> Iterator:
    """Record all faults of the machine from a process beside; gives what ends it."""
    command = [sys.executable, "-P", str(common.PROGRAMS / "fault_recorder.py"), str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:

        def stop() -> None:
            process.stdin.close()
            process.wait(30)

        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"counters: {process.stderr.read().strip()}")
            yield stop
        finally:
            if process.poll() is None:
                process.kill()


def recorded(data: bytes, pid: int) -> tuple[list[float], int]:
    """Return when a process faulted, in order, and how many records were lost."""
    times_ns, lost, at = [], 0, 0
    header, sample, loss = struct.Struct("=IHH"), struct.Struct("=IIQ"), struct.Struct("=QQ")
    while at < len(data):
        kind, _, size = header.unpack_from(data, at)
        if kind == SAMPLE:
            process, _, time_ns = sample.unpack_from(data, at + header.size)
            if process == pid:
                times_ns.append(time_ns)
        elif kind == LOST:
            lost += loss.unpack_from(data, at + header.size)[1]
        at += size
    return [time_ns / 1e9 for time_ns in sorted(times_ns)], lost


def _spread(shares: list[float]) -> str:
    return f"median {statistics.median(shares):.2%} ({min(shares):.2%} to {max(shares):.2%})"
