"""Sums of bins against totals and getrusage; a stopped sampler; how long stopping takes."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.counters_tools import (
    NO_PERF,
    Bench,
    ended_well,
    manifest,
    pact,
    pact_bins,
    pact_totals,
    perf_stat,
    run,
    said,
    started,
    stat_bins,
    wait_target,
)

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "before": "three threads started before",
    "churn": "1 000 threads a second",
    "children": "child processes",
    "exec": "children that exec, and exec again",
}
EVENTS = {"faults": "faults", "context-switches": "switches"}
"""Columns of PACT that getrusage counts too, and their names in a target's own words."""
SHARE, LEAST = 0.001, 5
STOPPED_S, FINE_S = 1.0, 0.001
STOP_S = 0.05


def table(bench: Bench) -> common.Table:
    """Measure, and return the table."""
    made = common.Table("Exactness: sums of bins, totals, and getrusage")
    span_s = 1.0 if bench.quick else 2.0
    for case, title in CASES.items():
        with bench.scratch() as folder:
            ended = run(program(bench, case, span_s), folder)
            truth = json.loads(ended.output.splitlines()[-1])
            _sums(made, f"decorator, {title}", folder)
            title = f"decorator, {title}"
            _agrees(made, title, folder, "faults", truth["faults"] - truth["execs"])
            _agrees(made, title, folder, "context-switches", truth["switches"], truth["ending"])
        common.say(f"counters: exact: {case}")
    with bench.scratch() as folder:
        truth = said(run(pact(bench, 0.01, bench.words("tree", span_s)), folder))
        title = "`pactmeter run`, thread churn and children that exec"
        _sums(made, title, folder)
        _bracketed(made, title, folder, truth)
    _beside(made, bench, span_s)
    made.notes.append(
        "The truth of a decorated function is getrusage (self and children) read in it first and"
        " last. A command that is run counts its start too, which getrusage has only in part:"
        " PACT must lie between what it used since main() and what it used in all, with the same"
        " tolerance. Two things no perf event sees: the fault of the page into which exec puts the"
        " arguments (no instruction of the process makes it), taken off getrusage here, one an"
        " exec; and switches of a process that has ended so far that the kernel has taken its"
        " counters. These are bounded by what each child counts of itself in its last act, less"
        " than which nobody may count."
    )
    _stopped(made, bench)
    _stopping(made, bench)
    return made


def program(bench: Bench, case: str, span_s: float, period_s: float = 0.01) -> list[str]:
    """Return the command of a decorated program."""
    arguments = {"perf_measure_period": period_s}
    if bench.backend:
        arguments["counter_backend"] = bench.backend
    words = [case, f"{span_s:g}", json.dumps(arguments), str(bench.target)]
    return [*common.python_program("counter_exact.py"), *words]


def _sums(made: common.Table, figure: str, folder: Path) -> None:
    bins, totals = pact_bins(folder), pact_totals(folder)
    off = {name: bins.total(name) - total for name, total in totals.items()}
    wrong = {name: by for name, by in off.items() if by}
    made.add(
        f"{figure}: bins less power rows",
        ", ".join(f"{name} {by:+d}" for name, by in wrong.items()) or f"0, of {len(off)} events",
        "0",
        held=not wrong and bool(off),
    )


def _tolerance(truth: int) -> float:
    return max(LEAST, SHARE * truth)


def _agrees(made, title: str, folder: Path, column: str, used: int, ending=0, slack=0) -> None:
    """Add a row: a column against getrusage, where ``ending`` less and ``slack`` more may be."""
    counted = pact_bins(folder).total(column)
    off = counted - used
    free = f", {ending} of them while processes ended" if ending else ""
    bound = f"within {SHARE:.1%} or {LEAST}"
    bound += f", less up to {ending}" if ending else ""
    bound += f", up to {slack} of its start more" if slack else ""
    made.add(
        f"{title}: {column}",
        f"{counted} of {used}{free} ({off:+d}, {off / max(1, used):+.3%})",
        bound,
        held=-ending - _tolerance(used) <= off <= slack + _tolerance(used),
    )


def _bracketed(made, title: str, folder: Path, truth: dict) -> None:
    """Compare with what the target says of itself; what it used before main() is known in part."""
    used, before = _since_main(truth, "faults")
    _agrees(made, title, folder, "faults", used, 0, before)
    used, before = _since_main(truth, "switches")
    _agrees(made, title, folder, "context-switches", used, truth["ending"], before)


def _since_main(truth: dict, name: str) -> tuple[int, int]:
    before, after = truth[name]
    execs = truth["children"] if name == "faults" else 0  # each child has exec'd once
    return after - before - execs, before


def _beside(made: common.Table, bench: Bench, span_s: float) -> None:
    """Show that what getrusage has more is no fault of PACT's."""
    title = "beside: `perf stat` on the same command"
    if not bench.has_perf:
        made.add(title, NO_PERF)
        return
    with bench.scratch() as folder:
        command = perf_stat(span_s * 10, bench.words("tree", span_s))
        truth = said(run(command, folder))
        bins = stat_bins(folder / "stat", 0.0)
    for column, name in EVENTS.items():
        used, before = _since_main(truth, name)
        ending = truth["ending"] if name == "switches" else 0
        counted = f"{bins.total(column)} of {used}"
        counted += f", {ending} of them while processes ended" if ending else ""
        made.add(f"{title}: {column}", f"{counted}; up to {before} of its start more")


def _stopped(made: common.Table, bench: Bench) -> None:
    """Stop the sampler for a second in mid-run, at the finest period."""
    words = pact(bench, FINE_S, bench.words("busy", 4))
    with bench.scratch() as folder, started(words, folder) as process:
        sampler = common.wait_sampler(folder)
        wait_target(bench)
        time.sleep(1.0)
        os.kill(sampler, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(sampler, signal.SIGCONT)
        ended_well(process, folder)
        truth = json.loads((folder / "output").read_text())
        holes, lost = pact_bins(folder).holes(FINE_S), _lost(folder)
        figure = f"sampler stopped for {STOPPED_S:g} s at {FINE_S * 1e3:g} ms"
        if lost is None:
            made.add(f"{figure}: records lost", "", "0", held="not told by this version")
        else:
            made.add(f"{figure}: records lost", str(lost), "0", held=lost == 0)
        made.add(f"{figure}: bins missing", str(holes), "0", held=holes == 0)
        _sums(made, figure, folder)
        _bracketed(made, figure, folder, truth)
    common.say("counters: exact: stopped sampler")


def _lost(folder: Path) -> int | None:
    return manifest(folder)["sampler"].get("lost_records")


def _stopping(made: common.Table, bench: Bench) -> None:
    """From the last act of a decorated function to its return, and of a command to ours."""
    for period_s in (0.01, FINE_S):
        with bench.scratch() as folder:
            ended = run(program(bench, "stop", 0.3, period_s), folder)
            stops_s = json.loads(ended.output.splitlines()[-1])
        figure = f"decorator, at {period_s * 1e3:g} ms: from the end of the call to its return"
        made.wall(figure, stops_s, STOP_S)
    ends_s = []
    for _ in range(3 if bench.quick else 10):
        with bench.scratch() as folder:
            ended = run(pact(bench, 0.01, bench.words("busy", 0.2)), folder)
            ends_s.append(time.monotonic() - said(ended)["end_s"])
    measured = f"median {common.seconds(sorted(ends_s)[len(ends_s) // 2])}"
    made.add(
        "beside: `pactmeter run`, from the end of the command to its own",
        f"{measured} ({common.spread(ends_s)}; n = {len(ends_s)})",
    )
    common.say("counters: exact: stopping")
