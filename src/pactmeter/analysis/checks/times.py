"""Q1 to Q4: is the time covered, without long gaps, long enough, and read often enough?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.analysis.checks.check import FAIL, NOT_CHECKED, PASS, WARN, Case, Check, worst
from pactmeter.model.channel import Kind

if TYPE_CHECKING:
    from pactmeter.model.energy import Energy

LEAST_S = 60.0
LEAST_READINGS = 60
FEWEST_READINGS = 10
_MOST_BETWEEN_PCT = 2.0
"""What lies between the polls may add so much (k=2) where the sensor is as quick as they are."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How a figure was sampled; what the timing rules of EEHPC and MLPerf are about.

    Attributes:
        duration_s: Time measured, in seconds.
        uncovered_s: The part of it that is not known, in seconds.
        readings: Good readings; of a sum those of the part that is covered least.
        longest_gap_s: Longest gap, in seconds.
        counts: Whether every part is an energy counter, which loses nothing between readings.
    """

    duration_s: float
    uncovered_s: float
    readings: int
    longest_gap_s: float
    counts: bool

    @property
    def interval_s(self) -> float | None:
        """Mean time between two readings, in seconds."""
        known_s = self.duration_s - self.uncovered_s
        return known_s / self.readings if self.readings else None


def timing(case: Case) -> Timing:
    """Return how the figure was sampled."""
    kinds = {c.name: c.kind for c in case.run.channels}
    parts = case.parts
    return Timing(
        duration_s=case.run.duration_s,
        uncovered_s=max(part.gap_s for part in parts),
        readings=min(_readings(case, part) for part in parts),
        longest_gap_s=max(_longest_gap_s(case, part, kinds) for part in parts),
        counts=all(kinds.get(part.channel) is Kind.ENERGY for part in parts),
    )


def _readings(case: Case, part: Energy) -> int:
    """Return how many readings there were: fewer than polls of a meter that is renewed seldom."""
    update_s = case.run.about(part.channel).get("update_period_s")
    return part.polls if not update_s else min(part.polls, int(part.covered_s / update_s))


def _longest_gap_s(case: Case, part: Energy, kinds: dict[str, Kind]) -> float:
    """Return a channel's longest gap, as noted or as seen in the rows, in seconds."""
    run = case.run
    spans_s = [
        (case.last_s if gap["end_s"] is None else gap["end_s"]) - gap["start_s"]
        for gap in run.manifest.get("gaps", [])
        if part.channel in gap.get("channels", ())
    ]
    open_s = 0.0
    for window_s, mean_w in zip(
        run.windows_s, run.columns.get(f"{part.channel}_w", []), strict=False
    ):
        open_s = open_s + window_s if mean_w is None else 0.0
        spans_s.append(open_s)
    longest_s = max(spans_s, default=0.0)
    # the next reading of a counter bridges a gap: nothing is lost in it
    return min(longest_s, part.gap_s) if kinds.get(part.channel) is Kind.ENERGY else longest_s


def coverage(case: Case) -> Check:
    """Q1: the share of the time that is known (EEHPC: what is not covered at the edges)."""
    share, silence = case.figure.coverage, case.figure.silence
    outcome = PASS if share >= 0.99 else WARN if share >= 0.95 else FAIL
    text = f"{100 * share:.1f} % of the time is covered (99 % wanted)"
    return Check(
        "Q1",
        FAIL if silence else outcome,
        round(share, 6),
        silence or text,
        "share of the time covered: at least 0.99; below 0.95, or a device without reading, fails",
        "the manifest's gaps have the reasons; measure again without them",
    )


def gaps(case: Case, found: Timing) -> Check:
    """Q2: the longest gap."""
    period_s = float(case.run.manifest.get("config", {}).get("measure_period_s") or 1.0)
    bound_s = min(3 * period_s, 0.01 * found.duration_s)
    return Check(
        "Q2",
        PASS if found.longest_gap_s <= bound_s else WARN,
        round(found.longest_gap_s, 6),
        f"longest gap {found.longest_gap_s:.2f} s",
        "longest gap in s: at most 3 measure periods and 1 % of the time",
        "the manifest's gaps have the reasons; measure again without them",
    )


def duration(found: Timing) -> Check:
    """Q3: enough time and readings (MLPerf Training, EEHPC; hpl-phases for the least)."""
    duration_s, readings = found.duration_s, found.readings
    if duration_s >= LEAST_S and readings >= LEAST_READINGS:
        outcome = PASS
    else:
        # two readings of a counter are enough: what its steps and edges cost stands in U
        too_few = readings < FEWEST_READINGS and not found.counts
        outcome = FAIL if too_few else WARN
    return Check(
        "Q3",
        outcome,
        round(duration_s, 6),
        f"{duration_s:.1f} s, {readings} readings ({LEAST_S:g} s and {LEAST_READINGS} wanted)",
        f"time in s: {LEAST_S:.0f} and {LEAST_READINGS} readings; below {FEWEST_READINGS} readings"
        " of a gauge fails",
        "measure for a minute at least: repeat the work within one call",
    )


def update_period(case: Case) -> Check:
    """Q4: how often the sensor renews its reading, against how often it is read."""
    return worst(_update_period(case, part) for part in case.parts)


def _update_period(case: Case, part: Energy) -> Check:
    rule = (
        "share of polls that only repeat; a gauge polled at most twice an update: what lies between"
        f" the polls is at most {_MOST_BETWEEN_PCT:g} % (k=2)"
    )
    poll_s, update_s = case.poll_s(part.channel), case.update_s(part.channel)
    if update_s is None:
        text = f"{part.channel}: fewer than five changes were seen, so no update period"
        return Check("Q4", NOT_CHECKED, None, text, rule)
    stale = max(0.0, 1 - poll_s / update_s)
    between_j = sum(item.u_j for item in part.budget if item.name == "sampling")
    between_pct = 200 * between_j / part.energy_j if part.energy_j > 0 else 0.0
    is_quick = update_s < 2 * poll_s and part in case.gauges
    text = (
        f"{part.channel} renews every {update_s:.3g} s, is polled every {poll_s:.3g} s:"
        f" {100 * stale:.0f} % of the polls repeat"
    )
    if is_quick and between_pct > _MOST_BETWEEN_PCT:
        text += f", and what lies between them may be {between_pct:.1f} %"
        todo = "measure longer, or with a shorter measure_period (below 0.1 s)"
        return Check("Q4", WARN, round(stale, 6), text, rule, todo)
    return Check("Q4", PASS, round(stale, 6), text, rule)
