"""CPU time of the samplers in mid-run, by the same external clock for each, interleaved."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import common
from benchmarks.counters_tools import (
    EVENTS,
    NO_PERF,
    NO_PROFILER,
    SETTLE_S,
    Bench,
    ended_well,
    pact,
    perf_record,
    perf_stat,
    profiler,
    share,
    started,
    wait_target,
)
from benchmarks.sampler import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS = {0.01: 6, 0.001: 8}
"""Period in seconds: `perf stat -I` costs at least so many times what PACT does."""
TAIL_S = 0.5


class Cost(NamedTuple):
    """CPU time of a sampler and of what waits beside it, each of one core."""

    sampler: float
    waiting: float = 0.0


def table(bench: Bench) -> common.Table:
    """Measure, and return the table."""
    made = common.Table("CPU time of the sampler, of one core: four busy threads, four events")
    span_s, repeats = (4.0, 1) if bench.quick else (12.0, 3)
    for period_s, factor in BOUNDS.items():
        _rows(made, bench, period_s, factor, span_s, repeats)
    made.notes.append(
        f"Each by the difference of /proc/PID/task/*/schedstat over {span_s:g} s in mid-run;"
        f" medians of {repeats} interleaved run(s), in brackets smallest to largest. PACT: rings or"
        " polls, bins and CSV, the whole sampler process. `perf stat` writes CSV into a file, `perf"
        " record` samples cpu-clock alone and keeps no counts (what it does at its end, after the"
        " target, is not in mid-run), the Profiler keeps its rows in memory"
        " and is the process that also starts the target."
    )
    return made


def _rows(made, bench: Bench, period_s: float, factor: int, span_s: float, repeats: int) -> None:
    words = bench.words("busy", SETTLE_S + span_s + TAIL_S)
    compared: dict[str, Callable[[], Cost]] = {"PACT": lambda: _pact(bench, period_s, words)}
    beside: dict[str, Callable[[], Cost]] = {}
    if bench.has_perf:
        compared["stat"] = lambda: _other(bench, perf_stat(period_s, words))
        beside[f"`perf stat -I {period_s * 1e3:g} -p`, attached to the four threads,"] = lambda: (
            _attached(bench, words, lambda pid: [*perf_stat(period_s, [])[:-1], "-p", str(pid)])
        )
        beside["`perf record -c`"] = lambda: _other(bench, perf_record(period_s, words))
    if bench.profiler_python:
        beside["PF Profiler"] = lambda: _other(bench, profiler(bench, period_s, words))
    beside["the rings drained into a file, nothing else,"] = lambda: _attached(
        bench,
        words,
        lambda pid: [
            *common.python_program("counter_spool.py"),
            *(str(pid), f"{period_s:g}", ",".join(EVENTS)),
        ],
    )
    costs: dict[str, list[Cost]] = {name: [] for name in (*compared, *beside)}
    for turn in range(repeats):
        for name, measure in (compared if turn else {**compared, **beside}).items():
            costs[name].append(measure())
            common.say(f"counters: cost at {period_s * 1e3:g} ms: {name} {costs[name][-1]}")
    at = f"at {period_s * 1e3:g} ms"
    stat = f"`perf stat -I {period_s * 1e3:g}`"
    mine = statistics.median(cost.sampler for cost in costs["PACT"])
    bound = f"at most 1/{factor} of {stat}"
    if bench.has_perf:
        theirs = statistics.median(cost.sampler for cost in costs["stat"])
        measured = f"{_share(costs['PACT'])}: 1/{theirs / mine:.1f}"
        made.add(f"PACT {at}", measured, bound, held=mine * factor <= theirs)
        made.add(f"{stat}", _share(costs["stat"]))
    else:
        made.add(f"PACT {at}", _share(costs["PACT"]), bound, held=NO_PERF)
    waiting = statistics.median(cost.waiting for cost in costs["PACT"])
    made.add(f"beside: `pactmeter run` itself, waiting, {at}", f"{waiting:.3%}")
    for name in beside:
        made.add(f"beside: {name} {at}", _share(costs[name]))
    if not bench.profiler_python:
        made.add(f"beside: PF Profiler {at}", NO_PROFILER)


def _pact(bench: Bench, period_s: float, words: list[str]) -> Cost:
    command = pact(bench, period_s, words)
    with bench.scratch() as folder, started(command, folder) as process:
        sampler = common.wait_sampler(folder)
        wait_target(bench)
        time.sleep(SETTLE_S)
        before_s = cpu_seconds(process.pid)
        start_s = time.monotonic()
        cost = share(sampler, _span_s(words))
        waiting = (cpu_seconds(process.pid) - before_s) / (time.monotonic() - start_s)
        ended_well(process, folder)
    return Cost(cost, waiting)


def _other(bench: Bench, command: list[str]) -> Cost:
    words = command[command.index("--") + 1 :]
    with bench.scratch() as folder, started(command, folder) as process:
        wait_target(bench)
        time.sleep(SETTLE_S)
        cost = share(process.pid, _span_s(words))
        ended_well(process, folder)
    return Cost(cost)


def _attached(bench: Bench, words: list[str], command: Callable[[int], list[str]]) -> Cost:
    with bench.scratch() as folder, started(words, folder) as target:
        time.sleep(SETTLE_S / 2)  # its threads have started
        inner = folder / "tool"
        inner.mkdir()
        with started(command(target.pid), inner) as process:
            time.sleep(SETTLE_S / 2)
            cost = share(process.pid, _span_s(words))
            ended_well(target, folder)
            ended_well(process, inner)
    return Cost(cost)


def _span_s(words: list[str]) -> float:
    """Return how much of a target's time is looked at."""
    return float(words[-1]) - SETTLE_S - TAIL_S


def _share(costs: list[Cost]) -> str:
    values = [cost.sampler for cost in costs]
    middle = f"{statistics.median(values):.3%}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3%} to {max(values):.3%})"
