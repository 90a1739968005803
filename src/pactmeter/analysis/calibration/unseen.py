"""How a calibration does on groups of runs that it has not seen, and what simpler ways do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pactmeter.analysis.calibration.linear import (
    LEAST_GROUPS,
    LEVEL,
    calibrate,
    checked,
    least_squares,
    left_out,
)
from pactmeter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]
    Fit = Callable[[Floats, Floats], tuple[float, float]]

OURS, LEAST_SQUARES, RATIO = "robust line", "least squares", "constant ratio"


@dataclass(frozen=True, slots=True)
class Unseen:
    """How a way of calibrating does on groups that it has not seen.

    Attributes:
        name: The way.
        mape_pct: Mean absolute error, in percent of the reference.
        p95_pct: 95th percentile of the absolute error, in percent of the reference.
        bias_pct: Error of the sum of all powers, in percent.
        coverage_pct: Share of the runs inside their 95 % prediction interval, in percent.
        score_w: Mean interval score, in watts: width, and 2/0.05 of what lies outside (Gneiting
            and Raftery 2007, JASA 102:359); smaller is better.
        width_w: Median width of the interval, in watts.
        runs: Number of runs.
        groups: Number of groups.
    """

    name: str
    mape_pct: float
    p95_pct: float
    bias_pct: float
    coverage_pct: float
    score_w: float
    width_w: float
    runs: int
    groups: int


def validate_by_group(
    source_w: ArrayLike, reference_w: ArrayLike, groups: Sequence[object]
) -> tuple[Unseen, ...]:
    """Try `calibrate` on groups left out, and beside it least squares and a constant ratio.

    The two others carry the usual t intervals of independent normal errors.

    Args:
        source_w: As `calibrate`.
        reference_w: As `calibrate`.
        groups: As `calibrate`; one more than it needs.

    Raises:
        ConfigError: As `calibrate`.
    """
    x, y, labels = checked(source_w, reference_w, groups, LEAST_GROUPS + 1)

    def ours(others: Rows, left: Rows) -> Floats:
        line = calibrate(x[others], y[others], labels[others].tolist())
        made = [line.apply(float(each)) for each in x[left]]
        return np.array([(each.power_w, each.low_w, each.high_w) for each in made])

    def usual(fit: Fit, terms: int) -> Callable[[Rows, Rows], Floats]:
        return lambda others, left: _t_interval(fit, terms, x[others], y[others], x[left])

    ways = {OURS: ours, LEAST_SQUARES: usual(least_squares, 2), RATIO: usual(_ratio, 1)}
    judged = []
    for name, way in ways.items():
        found = np.empty((len(x), 3))
        for others, left in left_out(labels):
            found[left] = way(others, left)
        judged.append(_judged(name, y, found, len(set(labels.tolist()))))
    return tuple(judged)


def _judged(name: str, y: Floats, found: Floats, groups: int) -> Unseen:
    """Return how predictions and their intervals did against what came."""
    value, low, high = found.T
    off_pct = 100 * np.abs(value / y - 1)
    outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return Unseen(
        name=name,
        mape_pct=float(off_pct.mean()),
        p95_pct=float(np.percentile(off_pct, 95)),
        bias_pct=float(100 * (value.sum() / y.sum() - 1)),
        coverage_pct=float(100 * (outside == 0).mean()),
        score_w=float((high - low + 2 / (1 - LEVEL) * outside).mean()),
        width_w=float(np.median(high - low)),
        runs=len(y),
        groups=groups,
    )


def _ratio(x: Floats, y: Floats) -> tuple[float, float]:
    """Return no offset and the mean ratio."""
    if x.min() == 0:
        raise ConfigError("the source tells 0 W in a run: a constant ratio has no meaning")
    return 0.0, float((y / x).mean())


def _t_interval(fit: Fit, terms: int, x: Floats, y: Floats, new: Floats) -> Floats:
    """Return prediction and its t interval for independent, normal errors, row by row."""
    offset, gain = fit(x, y)
    freedom = len(x) - terms
    scale = math.sqrt(((y - offset - gain * x) ** 2).sum() / freedom)
    if terms == 2:
        lever = 1 / len(x) + (new - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    else:
        lever = new**2 / (x**2).sum()
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * scale * np.sqrt(1 + lever)
    value = offset + gain * new
    return np.stack([value, value - half, value + half], axis=1)
