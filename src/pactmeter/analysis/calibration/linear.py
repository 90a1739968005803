"""A line from the power that a source reports to that of a reference meter.

The interval of a prediction is that of runs which the line has not seen: each group (a model, a
workload, a load) is left out in turn, and what the line misses there, as a share of the power
predicted, gives the bounds. No shape is assumed, so heavy or lopsided tails stay as they are
(residuals of whole groups left out: Barber et al. 2021, Ann. Stat. 49:486; Dunn et al. 2023, JASA
118:2491).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats
from sklearn.model_selection import GroupKFold

from pactmeter.analysis.calibration.checks import numbers, same_length
from pactmeter.errors import ConfigError
from pactmeter.model.calibration import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

LEVEL = 0.95
"""Share of new runs that an interval is to hold."""
LEAST_GROUPS = 3
"""So many groups a line needs, for one can be left out only where the others still make a line."""
MOST_FOLDS = 40
"""More groups than this are left out several at a time, whole."""
_ENOUGH = 39
"""From so many independent residuals on, their own quantiles reach both ends of `LEVEL`: below,
the ends would lie beyond the largest one."""
_HUBER = 1.345
"""Huber's bound in robust standard deviations: 95 % efficient where errors are normal."""
_ROBUST_GROUPS = 6
"""With fewer groups there is no telling which one is out of line, so that all count fully."""
_MOST_W = 1e12


def calibrate(
    source_w: ArrayLike,
    reference_w: ArrayLike,
    groups: Sequence[object],
    *,
    source_step_w: float = 0.0,
    reference_step_w: float = 0.0,
) -> Line:
    """Fit the line of mean powers with its intervals: robustly (Huber) from six groups on.

    Args:
        source_w: Mean power of each run after the source, in watts.
        reference_w: The same after the reference, in watts.
        groups: What each run belongs to (its model, workload or load); runs of a group err alike.
            Where each run stands for itself, give it a name of its own.
        source_step_w: Resolution of the source's mean power, in watts: a steady load is rounded
            the same way in all runs of its group.
        reference_step_w: The same of the reference.

    Raises:
        ConfigError: The data are too few, no numbers, or make no rising line.
    """
    x, y, labels = checked(source_w, reference_w, groups, LEAST_GROUPS)
    for step_w in (source_step_w, reference_step_w):
        if not (math.isfinite(step_w) and step_w >= 0):
            raise ConfigError(f"a resolution of {step_w:g} W")
    fit = _huber if labels.max() + 1 >= _ROBUST_GROUPS else least_squares
    offset_w, gain = fit(x, y)
    if gain <= 0:
        raise ConfigError(
            f"the source does not rise with the reference (gain {gain:.3g})",
            "check that both tell of the same machine at the same time",
        )
    residuals, lines = np.empty(len(x)), []
    for others, left in left_out(labels):
        line = fit(x[others], y[others])
        predicted = line[0] + line[1] * x[left]
        if predicted.min() <= 0:
            raise ConfigError(
                "without one of the groups the line runs below zero watts",
                "measure at more loads: idle, and at least two others",
            )
        residuals[left] = y[left] / predicted - 1
        lines.append(line)
    low, high = _bounds(residuals, labels)
    covariance = _covariance(x, y - offset_w - gain * x, np.array(lines))
    covariance += _rounding(x, labels, math.hypot(gain * source_step_w, reference_step_w))
    return Line(
        terms=(offset_w, gain),
        covariance=(float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])),
        low_pct=100 * low,
        high_pct=100 * high,
        scatter_pct=100 * math.sqrt((residuals**2).mean()),
        from_w=float(x.min()),
        to_w=float(x.max()),
        runs=len(x),
        groups=len(set(labels.tolist())),
    )


def checked(
    source_w: ArrayLike, reference_w: ArrayLike, groups: Sequence[object], least: int
) -> tuple[Floats, Floats, Rows]:
    """Return both columns, and a number for each run's group.

    Raises:
        ConfigError: The data are no powers, of different length, or of too few groups.
    """
    x = numbers("source power", source_w, least=least)
    y = numbers("reference power", reference_w, least=least)
    same_length(source=x, reference=y, groups=np.zeros(len(groups)))
    if y.min() == 0 or x.max() > _MOST_W or y.max() > _MOST_W:
        raise ConfigError("reference powers must be above 0 W, and all powers below 1e12 W")
    _, labels = np.unique([str(each) for each in groups], return_inverse=True)
    found = int(labels.max()) + 1
    if found < least:
        raise ConfigError(
            f"{found} groups of runs, at least {least} are needed",
            "measure more models, workloads or loads, or name each run its own group",
        )
    return x, y, labels


def left_out(labels: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows to fit and the rows left out, whole groups at a time."""
    folds = min(MOST_FOLDS, len(np.unique(labels)))
    yield from GroupKFold(n_splits=folds).split(labels, groups=labels)


def least_squares(x: Floats, y: Floats) -> tuple[float, float]:
    """Return offset and gain by least squares.

    Raises:
        ConfigError: The source does not vary.
    """
    if np.ptp(x) <= 1e-9 * x.max():
        raise ConfigError(
            "the source's power does not vary, so there is no line",
            "measure at several loads: leaving any group out must still leave two",
        )
    found = stats.linregress(x, y)
    return float(found.intercept), float(found.slope)


def _huber(x: Floats, y: Floats) -> tuple[float, float]:
    """Return offset and gain after Huber (1964): least squares that large errors pull less."""
    offset, gain = least_squares(x, y)
    scale = float(stats.median_abs_deviation(y - offset - gain * x, scale="normal"))
    if scale <= 1e-9 * y.max():  # half of the points lie on one line
        return offset, gain
    # about the middle and in units of the spread, so that both terms are of like size
    middle, width = x.mean(), x.std()
    terms = np.stack([np.ones(len(x)), (x - middle) / width], axis=1)
    found = optimize.least_squares(
        lambda line: (terms @ line - y) / scale,
        (offset + gain * middle, gain * width),
        jac=lambda _line: terms / scale,
        loss="huber",
        f_scale=_HUBER,
        x_scale=max(scale, 1e-3 * float(y.std())),
    ).x
    return float(found[0] - found[1] * middle / width), float(found[1] / width)


def _covariance(x: Floats, errors: Floats, lines: Floats) -> Floats:
    """Return the covariance of offset and gain, widened so that twice its root holds `LEVEL`.

    The larger of two: that of independent runs, as least squares has it, and how the line changes
    with the groups it has seen (delete-a-group jackknife, Kott 2001). Few groups cannot tell which
    of the two is the right one.
    """
    tail = (1 + LEVEL) / 2
    freedom = len(x) - 2
    alone = _inverse(x) * (errors**2).sum() / freedom * (stats.t.ppf(tail, freedom) / 2) ** 2
    folds = len(lines)
    spread = np.cov(lines.T, bias=True) * (folds - 1) * (stats.t.ppf(tail, folds - 1) / 2) ** 2
    grouped: Floats = spread if spread[1, 1] > alone[1, 1] else alone
    return grouped


def _rounding(x: Floats, labels: Rows, step_w: float) -> Floats:
    """Return the covariance from one rounding error for each group (GUM: step / sqrt(12))."""
    design = np.stack([np.ones(len(x)), x], axis=1)
    pull = _inverse(x) @ np.stack([design[labels == each].sum(axis=0) for each in set(labels)]).T
    made: Floats = pull @ pull.T * step_w**2 / 12
    return made


def _inverse(x: Floats) -> Floats:
    """Return the inverse of the normal equations of a line, by its closed form."""
    middle = x.mean()
    gain = 1 / ((x - middle) ** 2).sum()
    return np.array([[1 / len(x) + middle**2 * gain, -middle * gain], [-middle * gain, gain]])


def _bounds(residuals: Floats, labels: Rows) -> tuple[float, float]:
    """Return the ends that hold `LEVEL` of the residuals of groups left out.

    Quantiles of the residuals themselves. Where too few are independent for that, not less than a
    t interval.
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(residuals, [tail, 1 - tail], method="weibull")
    sizes = np.bincount(labels)
    # runs of a group that err alike count for less (design effect, Kish 1965)
    count = len(residuals) / (1 + (len(residuals) / len(sizes) - 1) * _alike(residuals, labels))
    if count < _ENOUGH:
        # nothing was fitted to what was left out, so no degree of freedom is lost
        half = stats.t.ppf(1 - tail, count) * math.sqrt((residuals**2).mean())
        low, high = min(low, -half), max(high, half)
    return min(0.0, float(low)), max(0.0, float(high))


def _alike(errors: Floats, labels: Rows) -> float:
    """Return how much runs of a group err alike, 0 to 1.

    The intraclass correlation of a one-way analysis of variance.
    """
    sizes = np.bincount(labels)
    n, k = len(errors), len(sizes)
    if n == k:
        return 0.0
    means = np.bincount(labels, errors) / sizes
    between = float((sizes * (means - errors.mean()) ** 2).sum()) / (k - 1)
    within = float(((errors - means[labels]) ** 2).sum()) / (n - k)
    typical = (n - (sizes**2).sum() / n) / (k - 1)
    total = between + (typical - 1) * within
    return min(1.0, max(0.0, (between - within) / total)) if total > 0 else 0.0
