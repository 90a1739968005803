"""Gain and offset of one source against another that errs too (Deming regression)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.analysis.agreement.pairs import Array, Estimate, jackknife
from pactmeter.errors import ConfigError, PactError

if TYPE_CHECKING:
    from pactmeter.analysis.agreement.pairs import Pairs

_MOST_UNLIKE = 1e6
_MORE_LOADS = "compare runs of different loads, among them idle: one load tells a ratio alone"


@dataclass(frozen=True, slots=True)
class Line:
    """source = offset + gain * reference.

    Attributes:
        gain: Slope, without a unit.
        offset_w: What the source says at a reference of nothing, in watts.
        range_w: Least and greatest power of the reference; the line says nothing beyond.
        errors_w: How large the errors of reference and source were taken to be, in watts; only
            their ratio counts.
        units: How many runs or segments it was found from.
        unit: What they are.
    """

    gain: Estimate
    offset_w: Estimate
    range_w: tuple[float, float]
    errors_w: tuple[float, float]
    units: int
    unit: str

    @property
    def variance_ratio(self) -> float:
        """Variance of the source's errors over that of the reference's, as it was assumed."""
        return (self.errors_w[1] / self.errors_w[0]) ** 2


def deming(pairs: Pairs, errors_w: tuple[float, float] = (1.0, 1.0)) -> Line:
    """Return gain and offset of the source against the reference, with 95 % intervals.

    The line is that of Deming (Statistical Adjustment of Data, 1943), the intervals those of the
    jackknife with Student's t of n - 2 degrees of freedom (Linnet, Stat Med 1990;9:1463), where
    whole runs (or segments) are left out: windows of one run err alike.

    Args:
        pairs: Mean powers of both sources.
        errors_w: How large the random errors of one window of the reference and of the source are,
            in watts; only their ratio counts.

    Raises:
        ConfigError: An error is not above zero.
        PactError: There are too few runs or windows, or the load hardly varies.
    """
    positive = all(np.isfinite(u_w) and u_w > 0 for u_w in errors_w)
    if not positive or not 1 / _MOST_UNLIKE <= errors_w[1] / errors_w[0] <= _MOST_UNLIKE:
        raise ConfigError(
            f"the errors of the two sources are {errors_w[0]:g} and {errors_w[1]:g} W",
            "both must be above zero, and no million times apart; equal where both err alike",
        )
    pairs = pairs.independent()
    every_x, every_y = np.concatenate(pairs.reference_w), np.concatenate(pairs.source_w)
    centre = float(every_x.mean()), float(every_y.mean())
    sums = np.array(
        [
            _sums(x - centre[0], y - centre[1])
            for x, y in zip(pairs.reference_w, pairs.source_w, strict=True)
        ]
    )
    whole, ratio = sums.sum(axis=0), (errors_w[1] / errors_w[0]) ** 2
    gain, offset_w = _fit(whole, ratio, centre)
    gains, offsets_w = _fit(whole - sums, ratio, centre)
    units = gains.size
    known = bool(np.isfinite(gain) and np.isfinite(gains).all())
    found = jackknife(float(gain), gains, units - 2)
    # where the interval holds 0, the sources do not even rise together within their errors
    if not known or found.interval[0] <= 0:
        raise PactError("gain and offset cannot be told apart: the load hardly varies", _MORE_LOADS)
    return Line(
        found,
        jackknife(float(offset_w), offsets_w, units - 2),
        (float(every_x.min()), float(every_x.max())),
        errors_w,
        units,
        pairs.unit,
    )


def _sums(x: Array, y: Array) -> list[float]:
    """Return all that a fit needs to know of a run, as figures that add."""
    return [float(x.size), *(float(v.sum()) for v in (x, y, x * x, y * y, x * y))]


def _fit(sums: Array, ratio: float, centre: tuple[float, float]) -> tuple[Array, Array]:
    """Return slope and intercept of one or several sets of sums; NaN where there is no line."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    cxx, cyy, cxy = xx - x * x / n, yy - y * y / n, xy - x * y / n
    # what rounding leaves of a load that does not vary is no slope
    least = 1e-12 * np.sqrt((xx + n * centre[0] ** 2) * (yy + n * centre[1] ** 2))
    cxy = np.where(np.abs(cxy) > least, cxy, np.nan)
    lean = cyy - ratio * cxx
    root = np.sqrt(lean * lean + 4 * ratio * cxy * cxy)
    # of the two ways to write the root, that in which nothing cancels
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(lean > 0, (lean + root) / (2 * cxy), 2 * ratio * cxy / (root - lean))
    return gain, centre[1] + y / n - gain * (centre[0] + x / n)
