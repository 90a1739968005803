"""Q9, Q11, Q15 to Q17: idle machine, clocks, interference, uncertainty, files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pactmeter.analysis.checks.check import FAIL, NOT_CHECKED, PASS, WARN, Case, Check

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

LEVELS_PCT = (1, 2, 5)
"""The accuracy levels (EEHPC L3, L2, L1)."""
STEP_S = 0.2
"""MLPerf Inference allows 0.2 s between the clocks of two machines (its checker 0.8 s)."""
_IDLE_S = 60.0
_IDLE_PCT = 2.0
_MOST_LATE = 0.05
_BUSY_GPU = "a GPU was busy at the edge"
_ROUNDED_S, _MOST_FALL_J = 1e-5, 1e-4
"""Times and joules are written to six places."""
COMING = (
    Check("Q10", NOT_CHECKED, None, "warm-up: not checked", "start of the steady state in s"),
    Check(
        "Q14",
        NOT_CHECKED,
        None,
        "repetition: not checked, one run tells nothing of it",
        "half-width of the mean's interval in %: at most 2, of five runs or more",
        "repeat the run, and compare sets of runs",
    ),
)
"""Those that one run cannot answer."""


def baseline(case: Case) -> Check:
    """Q9: whether the idle machine drew the same before and after (EEHPC levels 2 and 3)."""
    rule = f"change of idle power in %: at most {_IDLE_PCT:g}, {_IDLE_S:g} s before and after"
    todo = "`pactmeter baseline` before and after the run"
    idle = case.beside.idle
    if not idle:
        return Check("Q9", NOT_CHECKED, None, "idle: not measured", rule, todo)
    if len(idle) < 2:
        return Check("Q9", WARN, None, "idle: measured once only", rule, todo)
    before, after = idle[0], idle[-1]
    shortest_s = min(before.duration_s, after.duration_s)
    if before.mean_w <= 0 or shortest_s < _IDLE_S:
        text = f"idle: measured for {shortest_s:.0f} s only"
        return Check("Q9", WARN, None, text, rule, todo)
    change_pct = 100 * (after.mean_w / before.mean_w - 1)
    text = f"idle: {before.mean_w:.1f} W before, {after.mean_w:.1f} W after ({change_pct:+.1f} %)"
    if abs(change_pct) <= _IDLE_PCT:
        return Check("Q9", PASS, round(change_pct, 4), text, rule)
    todo = "let the machine settle: something else ran, or it had not cooled down"
    return Check("Q9", WARN, round(change_pct, 4), text, rule, todo)


def clock(case: Case) -> Check:
    """Q11: steps of UTC against the monotonic clock, between start and end of the sampler.

    Both are slewed alike by NTP, so what differs is a step, or a time in which the machine slept.
    No energy depends on UTC: the figure counts where the run is compared with another machine.
    """
    rule = f"step of UTC against CLOCK_MONOTONIC in s: at most {STEP_S:g}"
    pair = case.run.manifest.get("clock") or {}
    start, end = pair.get("start"), pair.get("end")
    if not start or not end:
        text = "both clocks at start and end are not recorded"
        return Check("Q11", NOT_CHECKED, None, text, rule)
    utc_s, monotonic_s = (float(end[key]) - float(start[key]) for key in ("utc_s", "monotonic_s"))
    step_s = utc_s - monotonic_s
    text = f"UTC moved by {step_s:+.3f} s against the monotonic clock"
    if abs(step_s) <= STEP_S:
        return Check("Q11", PASS, round(step_s, 6), text, rule)
    todo = "the clock was set, or the machine slept: do not compare times with another machine's"
    return Check("Q11", WARN, round(step_s, 6), text, rule, todo)


def interference(case: Case) -> Check:
    """Q15: what else went on, as far as it was recorded."""
    rule = f"share of rows later than 50 ms: at most {_MOST_LATE:g}; no GPU busy at an edge"
    sampler = case.run.manifest.get("sampler") or {}
    late, rows = sampler.get("late_rows"), len(case.run.windows_s)
    if late is None or not rows:
        return Check("Q15", NOT_CHECKED, None, "nothing of it was recorded", rule)
    share = int(late) / rows
    text = f"{late} of {rows} rows late; other programs, swap and throttling are not recorded"
    busy = [n for n in case.run.manifest.get("notes", []) if str(n).startswith(_BUSY_GPU)]
    if busy:
        todo = "synchronise the GPU before the function returns (sync=True does it for torch)"
        return Check("Q15", WARN, round(share, 6), str(busy[0]), rule, todo)
    # one late row of a short run says nothing
    if late > 1 and share > _MOST_LATE:
        todo = "leave a core free, or measure with --realtime"
        return Check("Q15", WARN, round(share, 6), text, rule, todo)
    return Check("Q15", PASS, round(share, 6), text, rule)


def uncertainty(case: Case) -> Check:
    """Q16: U (k=2) against the levels."""
    rule = f"U (k=2) in % of the energy, in whole percent: at most {LEVELS_PCT[-1]}"
    relative = relative_pct(case.figure)
    if relative is None:
        text = "the uncertainty is not known"
        return Check("Q16", FAIL, None, text, rule, "calibrate the sensor (`pactmeter validate`)")
    biggest = max(case.figure.budget, key=lambda item: item.u_j)
    text = f"U is {relative:.1f} %, most of it: {biggest.name}"
    if round(relative) <= LEVELS_PCT[-1]:
        return Check("Q16", PASS, round(relative, 4), text, rule)
    todo = "`pactmeter report FILE --budget` has the items; the largest is the one to work on"
    return Check("Q16", FAIL, round(relative, 4), text, rule, todo)


def relative_pct(figure: Energy) -> float | None:
    """Return U (k=2) in percent of the energy; None where it is not known."""
    if figure.u_j is None or figure.energy_j <= 0:
        return None
    return 100 * figure.u_j / figure.energy_j


def integrity(case: Case) -> Check:
    """Q17: whether the power table is whole and in order."""
    rule = "rows that are missing, out of order or against the laws of a sum: 0"
    manifest, rows = case.run.manifest, len(case.run.windows_s)
    wrong = disorder(case.run, [part.channel for part in case.parts])
    if wrong:
        text = f"{wrong} rows are out of order, of negative length, or take energy back"
        todo = "the file was changed: use the original (`pactmeter audit` compares)"
        return Check("Q17", FAIL, float(wrong), text, rule, todo)
    told = (manifest.get("sampler") or {}).get("rows")
    problems = manifest.get("problems") or []
    if case.run.status == "incomplete":
        text = f"the run is incomplete: {case.run.reason}"
        return Check("Q17", WARN, None, text, rule, "measure again if all of it is wanted")
    if problems:
        return Check("Q17", WARN, None, str(problems[0]), rule, "free space on the disk")
    if case.run.status != "complete" or told is None:
        return Check("Q17", NOT_CHECKED, None, "the rows are not counted", rule)
    if rows == told:
        return Check("Q17", PASS, 0.0, f"all {told} rows are there", rule)
    text = f"{rows} rows, of {told} that were written"
    todo = "`pactmeter audit FILE` tells more; use the original file"
    return Check("Q17", WARN, float(abs(told - rows)), text, rule, todo)


def disorder(run: RecordedRun, channels: list[str]) -> int:
    """Return how many rows overlap the one before, have a negative length, or take energy back."""
    rows = [
        (read_s - window_s, read_s)
        for read_s, window_s in zip(run.columns.get("read_s", []), run.windows_s, strict=False)
        if read_s is not None
    ]
    wrong = sum(not start_s <= end_s for start_s, end_s in rows)
    wrong += sum(not start_s >= end_s - _ROUNDED_S for (_, end_s), (start_s, _) in pairwise(rows))
    for channel in channels:
        totals_j = [j for j in run.columns.get(f"{channel}_j", []) if j is not None]
        wrong += sum(
            not after_j >= before_j - _MOST_FALL_J for before_j, after_j in pairwise(totals_j)
        )
    return wrong
