"""How much later one source tells of the same load than another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pactmeter.analysis.agreement.pairs import SEGMENTS, Array, Estimate, jackknife
from pactmeter.analysis.agreement.rows import aligned
from pactmeter.errors import ConfigError, PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.agreement.rows import Rows

_MOST_ROWS, _MOST_S = 3, 3.0
"""The greatest delay that is looked for: so many rows, and at least so many seconds."""
_UNEVEN = 0.05
"""By what share of a row's length rows may differ in length, or lie apart, in an even stretch."""
_LEAST_MARGIN = 0.1
_RIVAL = 0.9
"""A second peak of the correlation that reaches so much of the first may be the true one."""
_LEAST_CORRELATION = 0.2
_BURST = "let the load change at random over some minutes (`pactmeter sync` makes such a burst)"


@dataclass(frozen=True, slots=True)
class Lag:
    """The delay of a source behind the reference.

    Attributes:
        lag_s: Delay in seconds; below zero where the source is ahead.
        rivals_s: Other delays at which both agree nearly as well, as under a periodic load: the
            true one may be among them.
    """

    lag_s: Estimate
    rivals_s: tuple[float, ...]

    @property
    def applied(self) -> bool:
        """Whether it may be taken out: no other delay fits as well."""
        return not self.rivals_s


def find_lag(table: Sequence[Rows], reference: str, source: str) -> Lag:
    """Return the delay of a channel behind another, from the longest stretch that has no gap.

    It is looked for once more in what is left after the first has been taken out: near zero the
    shape of the load moves the peak to neither side.

    Args:
        table: The rows of runs in which both channels are.
        reference: The one.
        source: The other.

    Raises:
        PactError: There is no such stretch, or no delay can be told in it.
    """
    first = _in_longest_stretch(table, reference, source)
    found_s = first.lag_s.value
    moved = [aligned(rows, reference, source, found_s) for rows in table]
    rest = _in_longest_stretch(moved, reference, source).lag_s
    ends = rest.interval[0] + found_s, rest.interval[1] + found_s
    return Lag(Estimate(rest.value + found_s, ends), first.rivals_s)


def _in_longest_stretch(table: Sequence[Rows], reference: str, source: str) -> Lag:
    best: tuple[Array, Array, float] | None = None
    for rows in table:
        first, second = rows.source(reference), rows.source(source)
        if first is None or second is None:
            continue
        step_s = float(np.median(rows.window_s))
        even = np.abs(rows.window_s - step_s) <= _UNEVEN * step_s
        even &= ~(np.isnan(first.power_w) | np.isnan(second.power_w))
        joined = np.abs(rows.start_s[1:] - rows.end_s[:-1]) <= _UNEVEN * step_s
        cut = np.flatnonzero(~(joined & even[1:] & even[:-1])) + 1
        stretch = max(np.split(np.arange(even.size), cut), key=len)
        if best is None or stretch.size > best[0].size:
            best = first.power_w[stretch], second.power_w[stretch], step_s
    if best is None:
        raise PactError("no run has both sources")
    step_s = best[2]
    return lag(*best[:2], step_s, max(_MOST_ROWS * step_s, _MOST_S))


def lag(
    reference_w: Sequence[float] | Array,
    source_w: Sequence[float] | Array,
    step_s: float,
    most_s: float,
) -> Lag:
    """Return the delay at which two equally sampled series correlate best.

    Between the samples the peak is where a parabola through the three highest points has its top.
    The interval is that of the jackknife over `SEGMENTS` segments, and never narrower than
    `_LEAST_MARGIN` of a step: the load's own shape moves a peak between samples by as much.

    Args:
        reference_w: Powers in watts, one every `step_s`.
        source_w: Those of the other source at the same times.
        step_s: Time between two samples in seconds.
        most_s: Greatest delay, either way, that is looked for, in seconds.

    Raises:
        ConfigError: A time is not above zero.
        PactError: The series are not equal in length, too short, have gaps, or do not change
            alike at any of these delays.
    """
    x, y = np.asarray(reference_w, np.float64), np.asarray(source_w, np.float64)
    if not (0 < step_s <= most_s < np.inf):
        raise ConfigError(
            f"no delay up to {most_s:g} s can be looked for in steps of {step_s:g} s",
            "give a step above zero, and a greatest delay of at least one step",
        )
    reach = int(np.ceil(most_s / step_s)) + 1  # one more, so that a peak at the end has neighbours
    _check(x, y, reach)
    sums = _sums(x - x.mean(), y - y.mean(), reach)
    curve = _correlation(sums.sum(axis=0))
    best = int(np.argmax(curve))
    if curve[best] < _LEAST_CORRELATION:
        raise PactError("the two sources do not change alike: there is no delay to find", _BURST)
    if best in {0, curve.size - 1}:
        raise PactError(
            f"the two sources agree best at {most_s:g} s or beyond", "look for greater delays"
        )
    value = (_peak(curve, best) - reach) * step_s
    left_out = np.array([_peak(_correlation(rest), best) for rest in sums.sum(axis=0) - sums])
    found = jackknife(value, (left_out - reach) * step_s, SEGMENTS - 1)
    margin = max(found.interval[1] - value, _LEAST_MARGIN * step_s)
    rivals = [
        (_peak(curve, k) - reach) * step_s
        for k in range(1, curve.size - 1)
        if k != best and curve[k] >= max(curve[k - 1], curve[k + 1], _RIVAL * curve[best])
    ]
    return Lag(Estimate(value, (value - margin, value + margin)), tuple(rivals))


def _check(x: Array, y: Array, reach: int) -> None:
    if x.ndim != 1 or x.shape != y.shape:
        raise PactError(
            f"{x.size} samples of one source, {y.size} of the other: no delay can be found",
            "compare sources over the same windows",
        )
    needed = 2 * reach + SEGMENTS * max(10, reach)
    if x.size < needed:
        raise PactError(
            f"{x.size} samples are too few to find a delay", f"{needed} are needed without a gap"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise PactError("the series have gaps", "find the delay in a stretch without them")


def _sums(x: Array, y: Array, reach: int) -> Array:
    """Return, for each segment and shift, all that a correlation needs to know."""
    inner = x[reach : x.size - reach]
    shifted = sliding_window_view(y, 2 * reach + 1)  # row i: y from i - reach to i + reach
    sums = []
    for part in np.array_split(np.arange(inner.size), SEGMENTS):
        a, b = inner[part], shifted[part]
        flat = np.ones(2 * reach + 1)
        sums.append(
            np.stack(
                [a.size * flat, a.sum() * flat, (a @ a) * flat, b.sum(0), (b * b).sum(0), a @ b]
            )
        )
    return np.array(sums)


def _correlation(sums: Array) -> Array:
    """Return Pearson's correlation at each shift; 0 where a series does not change."""
    n, x, xx, y, yy, xy = sums
    spread = np.sqrt(np.maximum((xx - x * x / n) * (yy - y * y / n), 0))
    least = 1e-9 * np.sqrt(np.maximum(xx * yy, 1e-300))
    found: Array = np.divide(xy - x * y / n, spread, out=np.zeros_like(xy), where=spread > least)
    return found


def _peak(curve: Array, near: int) -> float:
    """Return where the parabola through the highest point near an index has its top."""
    k = int(np.clip(near + np.argmax(curve[near - 1 : near + 2]) - 1, 1, curve.size - 2))
    before, top, after = curve[k - 1 : k + 2]
    bend = before - 2 * top + after
    return k + float(np.clip(0.5 * (before - after) / bend, -1, 1)) if bend < 0 else float(k)
