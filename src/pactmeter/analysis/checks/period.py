"""The load's own period: from what the program marked, or from what its processors counted.

A gauge that is locked to its load shows a constant, so the gauge's own readings cannot tell
(Yang 2023, arXiv 2312.02741); neither regions nor counters pass through it.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import mul
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from pactmeter.analysis.regions import region_rows
from pactmeter.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.run import RecordedRun

LOCK = 0.02
"""Two periods are locked where their ratio is a whole number within this at most."""
MOST_LOOKS = 4
"""With more readings than this in a period of the load they differ, and U holds by how much."""
MOST_TURNS = 10
"""More turns of the load than this between two readings: what one misses is a small part of it."""
_LEAST_STARTS = 10
_MOST_REGIONS = 20_000
_MOST_BINS = 3000
_LEAST_BINS = 300
_MOST_LAG = 300
_ALIKE = 0.5
"""Least autocorrelation of a series that is said to repeat."""


@dataclass(frozen=True, slots=True)
class Period:
    """A load that repeats.

    Attributes:
        name: What repeats: a region or an event.
        period_s: Its mean period, in seconds.
        span_s: For how long it was seen to repeat, in seconds.
        wander_s: By how much its phase may wander meanwhile, in seconds.
    """

    name: str
    period_s: float
    span_s: float
    wander_s: float

    def is_locked(self, sensor_s: float, doubt_pct: float) -> bool:
        """Return whether it may keep its phase against a sensor's period for all of that time.

        One period must be a whole multiple of the other, within what lets the phase slip by less
        than one turn; more slip averages out, and so does a phase that wanders by half a turn.

        Args:
            sensor_s: Period of the sensor, in seconds.
            doubt_pct: By how much that may be wrong, as a sensor has a clock of its own.
        """
        shorter_s, longer_s = sorted((self.period_s, sensor_s))
        if shorter_s <= 0 or self.wander_s >= shorter_s / 2:
            return False
        ratio = longer_s / shorter_s
        order = round(ratio)
        most = MOST_LOOKS if self.period_s > sensor_s else MOST_TURNS
        slip = max(longer_s / self.span_s, ratio * doubt_pct / 100)
        return order <= most and abs(ratio - order) <= min(LOCK, slip)


def load_periods(run: RecordedRun) -> list[Period]:
    """Return the periods of a run's load; empty where none is known."""
    return _marked(run) or _counted(run)


def _marked(run: RecordedRun) -> list[Period]:
    """Return the period of each region (or call) that comes ten times or more, first ones first."""
    starts_s: dict[str, list[float]] = {}
    try:
        rows = region_rows(run)
        next(rows)
        for row in islice(rows, _MOST_REGIONS):
            starts_s.setdefault(row[2], []).append(float(row[0]))
    except (FileError, ValueError, IndexError):  # no regions were recorded, or another wrote them
        return []
    found = []
    for name, times_s in starts_s.items():
        if len(times_s) < _LEAST_STARTS:
            continue
        steps_s = [after_s - before_s for before_s, after_s in pairwise(sorted(times_s))]
        span_s = math.fsum(steps_s)
        if 0 < span_s < math.inf:
            wander_s = stdev(steps_s) * math.sqrt(len(steps_s))
            found.append(Period(name, span_s / len(steps_s), span_s, wander_s))
    return found


def _counted(run: RecordedRun) -> list[Period]:
    """Return the period of the first event whose counts repeat, from the first bins."""
    counted = [e["column"] for e in run.manifest.get("events", []) if e.get("status") == "ok"]
    try:
        with run.files.counters.open(newline="") as file:
            rows = list(csv.DictReader(islice(file, _MOST_BINS + 1)))
    except (OSError, ValueError, csv.Error):
        return []
    for name in counted:
        try:
            bins = [
                (float(row["start_s"]), float(row["dt_s"]), float(row[name]))
                for row in rows
                if row.get(name)
            ]
        except (KeyError, TypeError, ValueError):  # a torn line, or a file of another
            continue
        found = repeats(bins, name)
        if found is not None:
            return [found]
    return []


def repeats(bins: Sequence[tuple[float, float, float]], name: str) -> Period | None:
    """Return the period of counts in bins (start, length, count), by their autocorrelation.

    The first peak gives the period, its multiples sharpen it; that the last of them, at half of the
    time, is as high as the first one tells that the phase is kept.
    """
    if len(bins) < _LEAST_BINS:
        return None
    bin_s = median(dt_s for _, dt_s, _ in bins)
    zero_s = bins[0][0]
    size = round((bins[-1][0] + bins[-1][1] - zero_s) / bin_s) if bin_s > 0 else 0
    if not _LEAST_BINS <= size <= 2 * _MOST_BINS:  # mostly pauses, or times that run backwards
        return None
    series = [0.0] * size
    for start_s, dt_s, count in bins:
        first, last = (round((t_s - zero_s) / bin_s) for t_s in (start_s, start_s + dt_s))
        for index in range(max(0, first), min(size, last)):
            series[index] = count / dt_s
    middle = fmean(series)
    series = [value - middle for value in series]
    power = math.fsum(map(mul, series, series)) / size
    if not power > 0:
        return None

    def alike(lag: int) -> float:
        total: float = sum(map(mul, series, series[lag:]))
        return total / (size - lag) / power

    found = _first_peak([alike(k) for k in range(min(_MOST_LAG, size // 4))])
    if found is None:
        return None
    lag = found
    high = alike(lag)
    turns, peak = 1, float(lag)
    while 2 * peak < size / 2:
        turns *= 2
        near = round(2 * peak)
        reach = max(1, min(turns, lag // 4))
        around = {k: alike(k) for k in range(near - reach - 1, near + reach + 2)}
        best = max(range(near - reach, near + reach + 1), key=around.__getitem__)
        peak = best + _vertex(around[best - 1], around[best], around[best + 1])
        if around[best] < _ALIKE * high:  # the phase was lost
            return None
    return Period(name, peak / turns * bin_s, size * bin_s, 0.0)


def _first_peak(alike: list[float]) -> int | None:
    """Return the lag of the first peak that is high enough, once the series was unlike itself."""
    fell = next((k for k, value in enumerate(alike) if value < _ALIKE / 2), None)
    if fell is None:
        return None
    highest = max(alike[fell:], default=0.0)
    if highest < _ALIKE:
        return None
    rose = next(k for k in range(fell, len(alike)) if alike[k] >= 0.9 * highest)
    while rose + 1 < len(alike) and alike[rose + 1] > alike[rose]:
        rose += 1
    return rose


def _vertex(left: float, middle: float, right: float) -> float:
    """Return where between its neighbours a parabola through three points is highest."""
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0
