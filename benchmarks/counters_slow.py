"""CPU time of a fixed piece of work with and without a sampler, in interleaved short runs."""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.counters_tools import (
    NO_PERF,
    Bench,
    pact,
    perf_record,
    perf_record_all,
    perf_record_read,
    perf_stat,
    run,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 0.01
WORK_CPU_S = 0.5
"""About so much CPU time a run: short, so that a machine that slows down for a while slows both."""
THREADS = 4
ATTACH_S = 10.0
SWITCH_ROUNDS = 200_000
FINE_S = 0.001
RECORDS = {
    "read": "reads the counts at each tick, as PACT does (`:S`, attached)",
    "record": "counts the same events and reads none at a tick (inherited)",
}
ROUNDS = 3
"""At most so many times the runs that were asked for, as long as they do not tell."""


def table(bench: Bench) -> common.Table:
    """Measure, and return the table."""
    made = common.Table("Slow-down: CPU time of the target, over that without a sampler")
    units = _calibrate(bench)
    pairs, triples = (8, 4) if bench.quick else (120, 60)
    _coarse(made, bench, units, pairs)
    _fine(made, bench, units, triples)
    _switching(made, bench, 2 if bench.quick else 5)
    made.notes.append(
        f"Four threads, {units} units of work each: CLOCK_PROCESS_CPUTIME_ID of the target itself,"
        " from its main function on. The order turns from one set to the next."
    )
    return made


def _calibrate(bench: Bench) -> int:
    trial = 30
    with bench.scratch() as folder:
        costs_s = [said(run(bench.words("work", trial), folder))["cpu_s"] for _ in range(3)]
    return max(10, round(trial * WORK_CPU_S / min(costs_s)))


def _switching(made, bench: Bench, count: int) -> None:
    """Print what each switch costs a program more that does nothing else."""
    words = bench.words("switch", SWITCH_ROUNDS)
    polled = replace(bench, pact_options=("--counter-backend", "poll"))
    ways = {
        "bare": lambda: words,
        "PACT": lambda: pact(bench, 0.01, words),
        "PACT, polled": lambda: pact(polled, 0.01, words),
    }
    if bench.has_perf:
        ways["`perf stat -I`"] = lambda: perf_stat(0.01, words)
        ways["`perf record`"] = lambda: perf_record(0.01, words)
    sets = _sets(bench, ways, count, 0)
    for way in list(ways)[1:]:
        more_us = [1e6 * (one[way] - one["bare"]) / (4 * SWITCH_ROUNDS) for one in sets]
        bare_us = statistics.median(1e6 * one["bare"] / (4 * SWITCH_ROUNDS) for one in sets)
        made.add(
            f"beside: {way} at 10 ms, on four threads that only wake each other",
            f"+{statistics.median(more_us):.2f} us a wake-up of {bare_us:.2f} us (n = {count})",
        )


def _sets(
    bench: Bench,
    ways: dict[str, Callable[[], list[str]]],
    count: int,
    first: int,
    attached: dict[str, Callable[[Path], float]] | None = None,
) -> list:
    """Run each way once a set, each set in the order opposite to the one before."""
    sets = []
    for turn in range(first, first + count):
        names = [*ways, *(attached or {})]
        costs_s = {}
        for way in names if turn % 2 else reversed(names):
            with bench.scratch() as folder:
                if way in ways:
                    costs_s[way] = said(run(ways[way](), folder))["cpu_s"]
                else:
                    costs_s[way] = attached[way](folder)
        sets.append(costs_s)
    return sets


def _read_cpu_s(bench: Bench, units: int, period_s: float, folder: Path) -> float:
    """Return the target's CPU time under a `perf record` that reads the counts with each sample."""
    for name in ("control", "ack"):
        os.mkfifo(folder / name)
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        words = bench.words("work", units, "wait")
        target = stack.enter_context(subprocess.Popen(words, **piped))
        stack.callback(target.kill)
        _wait_threads(target.pid)
        # opened to read and write, an end of a pipe waits for nobody
        control = stack.enter_context((folder / "control").open("r+b", buffering=0))
        ack = stack.enter_context((folder / "ack").open("r+b", buffering=0))
        command = perf_record_read(period_s, target.pid, "fifo:control,ack")
        perf = stack.enter_context(subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE))
        stack.callback(perf.kill)
        control.write(b"enable\n")
        if not select.select([ack], [], [], ATTACH_S)[0]:
            perf.kill()
            raise SystemExit(f"counters: perf record attaches to nothing: {perf.communicate()[1]}")
        output, _ = target.communicate("\n", timeout=60)
        perf.wait(timeout=60)
    return said(common.Ended(0, output, "", 0.0, 0.0))["cpu_s"]


def _wait_threads(pid: int) -> None:
    """Wait until the target's threads stand at their gate."""
    until_s = time.monotonic() + ATTACH_S
    while len(list(Path(f"/proc/{pid}/task").iterdir())) < 1 + THREADS:
        if time.monotonic() > until_s:
            raise SystemExit("counters: the target has not started its threads")
        time.sleep(0.002)


def _coarse(made, bench: Bench, units: int, pairs: int) -> None:
    words = bench.words("work", units)
    ways = {"bare": lambda: words, "PACT": lambda: pact(bench, 0.01, words)}
    sets: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        sets += _sets(bench, ways, pairs, len(sets))
        ratios = [one["PACT"] / one["bare"] - 1 for one in sets]
        middle, low, high = common.median_interval(ratios)
        common.say(f"counters: slow-down at 10 ms: {low:+.2%} to {high:+.2%}, {len(sets)} pairs")
        if (-low <= BOUND and high <= BOUND) or low > BOUND or high < -BOUND or bench.quick:
            break
    mean, mean_low, mean_high = common.mean_interval(ratios)
    made.add(
        "PACT at 10 ms",
        f"median {middle:+.2%}, 95 % interval {low:+.2%} to {high:+.2%} (mean {mean:+.2%},"
        f" {mean_low:+.2%} to {mean_high:+.2%}; n = {len(ratios)} pairs)",
        f"median's interval within {BOUND:.0%} of none",
        held=max(-low, high) <= BOUND,
    )


def _fine(made, bench: Bench, units: int, triples: int) -> None:
    words = bench.words("work", units)
    ways = {"bare": lambda: words, "PACT": lambda: pact(bench, FINE_S, words)}
    attached = {}
    if bench.has_perf:
        ways["record"] = lambda: perf_record_all(FINE_S, words)
        ways["clock"] = lambda: perf_record(FINE_S, words)
        attached["read"] = lambda folder: _read_cpu_s(bench, units, FINE_S, folder)
    sets: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        sets += _sets(bench, ways, triples, len(sets), attached)
        medians = {
            way: statistics.median(one[way] / one["bare"] - 1 for one in sets)
            for way in [*ways, *attached]
        }
        if not bench.has_perf:
            break
        over = {
            way: common.median_interval([one["PACT"] / one[way] - 1 for one in sets])
            for way in ("read", "record")
        }
        common.say(f"counters: slow-down at 1 ms: {medians}, {len(sets)} sets")
        # more, as long as it is over and noise may be all there is between the two
        if all(each[0] <= 0 or each[1] > 0 for each in over.values()) or bench.quick:
            break
    if not bench.has_perf:
        made.add("PACT at 1 ms", f"median {medians['PACT']:+.2%}", "of perf's", held=NO_PERF)
        return
    made.add("PACT at 1 ms", f"median {medians['PACT']:+.2%} (n = {len(sets)} sets)")
    for way, what in RECORDS.items():
        middle, low, high = over[way]
        made.add(
            f"PACT at 1 ms over `perf record` that {what}",
            f"run by run: median {middle:+.2%}, 95 % interval {low:+.2%} to {high:+.2%}",
            "not above, by that interval",
            held=low <= 0,
        )
        made.add(f"beside: `perf record` that {what}", f"median {medians[way]:+.2%}")
    made.add("beside: `perf record` of cpu-clock alone, at 1 ms", f"median {medians['clock']:+.2%}")
