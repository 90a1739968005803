"""CPU time of a fixed piece of work with and without a sampler, in interleaved short runs."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.counters_tools import (
    NO_PERF,
    Bench,
    pact,
    perf_record,
    perf_record_all,
    perf_stat,
    run,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 0.01
WORK_CPU_S = 0.5
"""About so much CPU time a run: short, so that a machine that slows down for a while slows both."""
SWITCH_ROUNDS = 200_000
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


def _sets(bench: Bench, ways: dict[str, Callable[[], list[str]]], count: int, first: int) -> list:
    """Run each way once a set, each set in the order opposite to the one before."""
    sets = []
    for turn in range(first, first + count):
        order = list(ways) if turn % 2 else list(reversed(ways))
        costs_s = {}
        for way in order:
            with bench.scratch() as folder:
                costs_s[way] = said(run(ways[way](), folder))["cpu_s"]
        sets.append(costs_s)
    return sets


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
    ways = {"bare": lambda: words, "PACT": lambda: pact(bench, 0.001, words)}
    if bench.has_perf:
        ways["record"] = lambda: perf_record_all(0.001, words)
        ways["clock"] = lambda: perf_record(0.001, words)
    sets: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        sets += _sets(bench, ways, triples, len(sets))
        medians, between = {}, (0.0, 0.0, 0.0)
        for way in list(ways)[1:]:
            medians[way] = statistics.median(one[way] / one["bare"] - 1 for one in sets)
        if not bench.has_perf:
            break
        between = common.median_interval([one["PACT"] / one["record"] - 1 for one in sets])
        common.say(f"counters: slow-down at 1 ms: {medians}, {len(sets)} triples")
        # more, as long as it is over and noise may be all there is between the two
        if medians["PACT"] <= medians["record"] or between[1] > 0 or bench.quick:
            break
    held = between[1] <= 0 if bench.has_perf else NO_PERF
    beyond = ""
    if bench.has_perf:
        beyond = (
            f"; over `perf record`, run by run: median {between[0]:+.2%},"
            f" 95 % interval {between[1]:+.2%} to {between[2]:+.2%}"
        )
    made.add(
        "PACT at 1 ms",
        f"median {medians['PACT']:+.2%} (n = {len(sets)} triples{beyond})",
        "not above `perf record` of the same events, by that interval",
        held=held,
    )
    for way, what in (("record", "of the same events"), ("clock", "of cpu-clock alone")):
        beside = f"median {medians[way]:+.2%}" if bench.has_perf else NO_PERF
        made.add(f"beside: `perf record` {what}, at 1 ms", beside)
