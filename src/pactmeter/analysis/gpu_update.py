"""How often a polled reading is renewed, found from the times at which it changes.

A reading that stays the same over some updates changes after two, three or more periods, and a
poll that is missed hides a change. So no spacing of changes is the period by itself: the period is
the longest one of which nearly all spacings are whole multiples.
"""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pactmeter.analysis.gpu_stats import jackknife

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.sensors.gpu_probe import Series

_LEAST_CHANGES = 8
_MISSED = 3.0
"""Polls that lie so many spacings apart: some between them were missed."""
_STEP = 1.004
"""Ratio of neighbouring candidates for the period."""
_MOST_SPACINGS = 400
_FAR = 20.0
"""Spacings of more periods say nothing about a candidate that is a little wrong."""
_AGREE = 0.5
"""Mean cosine of the spacings' phases that a period must reach (1: exact multiples)."""
_MARGIN = 0.03
"""A period and its half fit alike but for jitter; the longest within the margin is taken."""
_BLOCKS = 10


class Change(NamedTuple):
    """A reading differs from the one before.

    Attributes:
        time_s: The middle between the two polls, in seconds.
        gap_s: How far apart they were, in seconds.
        value: What is read from then on.
    """

    time_s: float
    gap_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """A figure that could not be found, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class UpdatePeriod:
    """How often a reading is renewed.

    Attributes:
        period_s: Mean time between two updates, in seconds.
        u_s: Its uncertainty (k=2), in seconds.
        poll_s: Median spacing of the polls, in seconds.
        changes: How many changes of the reading it was found from.
    """

    period_s: float
    u_s: float
    poll_s: float
    changes: int


class Update(NamedTuple):
    """A reading was renewed.

    Attributes:
        time_s: When, in seconds.
        value: What it has been from then on.
    """

    time_s: float
    value: float


def poll_spacing_s(series: Series) -> float:
    """Return the median spacing of the polls in seconds."""
    return statistics.median(b - a for a, b in itertools.pairwise(series.times_s))


def changes(series: Series) -> list[Change]:
    """Return where the reading changed."""
    times_s, values = series.times_s, series.values
    return [
        Change((times_s[i] + times_s[i - 1]) / 2, times_s[i] - times_s[i - 1], values[i])
        for i in range(1, len(series))
        if values[i] != values[i - 1]
    ]


def update_period(series: Series) -> UpdatePeriod | Unknown:
    """Return how often a reading is renewed, or why that is unknown."""
    if len(series) < _LEAST_CHANGES:
        return Unknown(series.error or "too few readings")
    poll_s = poll_spacing_s(series)
    found = changes(series)
    if not found:
        return Unknown("the reading never changed")
    exact = [change for change in found if change.gap_s < _MISSED * poll_s]
    if len(found) < _LEAST_CHANGES or len(exact) <= _LEAST_CHANGES // 2:
        missed = len(found) - len(exact)
        more = f", {missed} of them while polls were missed" if missed else ""
        return Unknown(f"the reading changed only {len(found)} times{more}")
    spacings_s = [b.time_s - a.time_s for a, b in itertools.pairwise(exact)]
    rough_s = _longest_common_period(spacings_s, 2.5 * poll_s)
    if rough_s is None:
        often = statistics.median(spacings_s) < 2.5 * poll_s
        ms = f"{1000 * poll_s:.1f} ms"
        return Unknown(
            f"renewed faster than it was polled ({ms})" if often else "changes without a period"
        )
    # the short ones first: an error of the rough period grows with the multiple
    short = _multiples(spacings_s, rough_s, 0.5 * _FAR)
    terms = _multiples(spacings_s, _mean_s(short), 2.5 * _FAR) if short else []
    if len(terms) < _LEAST_CHANGES // 2:
        return Unknown("changes without a period")
    # the ends of an unbroken chain of spacings are each known to within one poll
    ends_s = poll_s / sum(k for _, k in terms)
    u_s = math.hypot(jackknife(terms, _mean_s, _BLOCKS), ends_s)
    return UpdatePeriod(_mean_s(terms), u_s, poll_s, len(found))


def _mean_s(terms: Sequence[tuple[float, int]]) -> float:
    """Return the mean period of spacings with their numbers of periods, in seconds."""
    return sum(spacing_s for spacing_s, _ in terms) / sum(count for _, count in terms)


def _multiples(
    spacings_s: Sequence[float], period_s: float, most: float
) -> list[tuple[float, int]]:
    """Return the spacings that are about a whole number of periods, and that number."""
    found = []
    for spacing_s in spacings_s:
        count = round(spacing_s / period_s)
        if 1 <= count <= most and abs(spacing_s - count * period_s) < 0.25 * period_s:
            found.append((spacing_s, count))
    return found


def _longest_common_period(spacings_s: Sequence[float], least_s: float) -> float | None:
    """Return the longest period that nearly all spacings are multiples of."""
    most_s = 1.1 * statistics.median(spacings_s)
    chosen = spacings_s[:: max(1, len(spacings_s) // _MOST_SPACINGS)]
    scores: list[tuple[float, float]] = []
    candidate_s = least_s
    while candidate_s <= most_s:
        near = [d for d in chosen if d < _FAR * candidate_s]
        if len(near) >= max(_LEAST_CHANGES // 2, len(chosen) // 5):
            turns = 2 * math.pi / candidate_s
            score = sum(math.cos(turns * d) for d in near) / len(near)
            scores.append((score, candidate_s))
        candidate_s *= _STEP
    best = max(scores, default=(0.0, 0.0))[0]
    if best < _AGREE:
        return None
    # the top of the last peak that reaches the margin
    place = max(i for i, (score, _) in enumerate(scores) if score >= best - _MARGIN)
    while place and scores[place - 1][0] > scores[place][0]:
        place -= 1
    return scores[place][1]


def updates(series: Series, period_s: float) -> list[Update]:
    """Return every update of a reading, also those that brought the same value again.

    Between two changes that lie a whole number of periods apart the others are put at equal
    distances; where they do not, or where polls were missed, none are made up. A value that is
    replaced within half a period was no update of its own: the one that follows takes its place.
    """
    times_s = series.times_s
    vague_s = _MISSED * poll_spacing_s(series)
    blind_s = max(vague_s, 0.5 * period_s)
    gaps_s = [b for a, b in itertools.pairwise(times_s) if b - a >= blind_s]
    found = _lasting(changes(series), period_s)
    made: list[Update] = []
    for place, change in enumerate(found):
        if change.gap_s >= vague_s:
            continue
        made.append(Update(change.time_s, change.value))
        if place + 1 == len(found) or found[place + 1].gap_s >= vague_s:
            continue
        next_s = found[place + 1].time_s
        if bisect_right(gaps_s, next_s) > bisect_right(gaps_s, change.time_s):
            continue  # what was missed may have changed and changed back
        count = round((next_s - change.time_s) / period_s)
        if count > 1 and abs(next_s - change.time_s - count * period_s) < 0.25 * period_s:
            step_s = (next_s - change.time_s) / count
            made += [Update(change.time_s + k * step_s, change.value) for k in range(1, count)]
    return made


def _lasting(found: list[Change], period_s: float) -> list[Change]:
    """Return the changes, with those soon replaced given the value that replaced them."""
    kept: list[Change] = []
    for change in found:
        if kept and change.time_s - kept[-1].time_s < 0.5 * period_s:
            kept[-1] = kept[-1]._replace(value=change.value)
        else:
            kept.append(change)
    return kept
