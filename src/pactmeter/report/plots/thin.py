"""Series as a picture can hold them: gaps stay gaps, long ones become envelopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pactmeter.report.plots.style import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pactmeter.analysis.agreement.pairs import Array

MOST = 1500
"""A picture two columns wide has about 2000 dots at 300 dpi: more points than this say no more."""
_HOLE = 0.5
"""Stretches lie apart if more than this share of a stretch is between them."""


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity over stretches of time; NaN where it is not known.

    Attributes:
        start_s: When each stretch began, in seconds.
        end_s: When it ended.
        low: Smallest value in each.
        mean: Mean of each, weighted by time.
        high: Largest value in each.
        has_gaps: Whether a part of a stretch is not known, which is too short to be seen.
        is_thinned: Whether several stretches were joined into one.
    """

    start_s: Array
    end_s: Array
    low: Array
    mean: Array
    high: Array
    has_gaps: Array
    is_thinned: bool = False


def holes(start_s: Array, end_s: Array) -> NDArray[np.intp]:
    """Return the places before which there is a hole: a pause between calls, rows that are lost."""
    if start_s.size < 2:
        return np.empty(0, np.intp)
    least_s = _HOLE * float(np.median(end_s - start_s))
    return np.flatnonzero(start_s[1:] - end_s[:-1] > least_s) + 1


def thinned(start_s: Array, end_s: Array, values: Array, most: int = MOST) -> Series:
    """Return a series of at most so many stretches: of each the least, the mean and the most.

    Args:
        start_s: When each stretch began, in seconds; they do not overlap.
        end_s: When it ended.
        values: The quantity in each; NaN where it is not known.
        most: How many stretches a picture shows.
    """
    if values.size <= most:
        return Series(start_s, end_s, values, values, values, np.zeros(values.size))
    edges = np.linspace(start_s[0], end_s[-1], most + 1)
    middle = np.searchsorted(edges, (start_s + end_s) / 2, side="right") - 1
    place = np.clip(middle, 0, most - 1)
    known = ~np.isnan(values)
    low, high = np.full(most, np.inf), np.full(most, -np.inf)
    np.minimum.at(low, place[known], values[known])
    np.maximum.at(high, place[known], values[known])
    time_s = np.bincount(place[known], (end_s - start_s)[known], minlength=most)
    total = np.bincount(place[known], (values * (end_s - start_s))[known], minlength=most)
    is_empty = time_s <= 0
    mean = np.divide(total, time_s, out=np.full(most, np.nan), where=~is_empty)
    low[is_empty] = high[is_empty] = np.nan
    has_gaps = np.zeros(most)
    has_gaps[place[~known]] = 1
    has_gaps[place[holes(start_s, end_s)]] = 1
    # what is beside an empty stretch belongs to a gap that is seen
    has_gaps[is_empty] = 0
    has_gaps[1:][is_empty[:-1]] = has_gaps[:-1][is_empty[1:]] = 0
    return Series(edges[:-1], edges[1:], low, mean, high, has_gaps, is_thinned=True)


def steps(start_s: Array, end_s: Array, *values: Array) -> tuple[Array, ...]:
    """Return times and values of a line that is level in each stretch and broken between them."""
    times = np.column_stack([start_s, end_s]).ravel()
    apart = 2 * holes(start_s, end_s)
    return tuple(
        np.insert(each, apart, np.nan) for each in (times, *(np.repeat(v, 2) for v in values))
    )


def draw(axes: Axes, series: Series, unit_s: float, color: str, **line: Any) -> None:
    """Draw a series over time: its mean as a line, and where it was thinned its envelope.

    Gaps that are too short to be seen are ticks at the foot.
    """
    start, end = series.start_s / unit_s, series.end_s / unit_s
    times, mean, low, high = steps(start, end, series.mean, series.low, series.high)
    axes.plot(times, mean, color=color, **line)
    if series.is_thinned:
        axes.fill_between(times, low, high, color=color, alpha=0.25, linewidth=0)
    at = ((start + end) / 2)[series.has_gaps > 0]
    if at.size:
        foot = axes.get_xaxis_transform()
        ticks = {"linestyle": "none", "marker": "|", "color": GREY, "markersize": 4.0}
        axes.plot(at, np.full(at.size, 0.01), transform=foot, clip_on=False, **ticks)  # type: ignore[arg-type]
