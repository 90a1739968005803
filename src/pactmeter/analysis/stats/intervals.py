"""Means of one set of runs, with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from pactmeter.analysis.stats.moments import checked, moments

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE_PCT = 95.0
TAIL = 0.975
"""Probability below the upper end of a two-sided interval of that confidence."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure from a set of values or two, with its interval.

    Attributes:
        value: The figure, in the unit of the values (a ratio or an effect size has none).
        low: Lower end of its interval, in the same unit.
        high: Upper end, in the same unit.
        confidence_pct: How often such an interval holds the true figure, in percent.
        method: How it was found.
        n: Number of values in each set.
        n_eff: Number of independent values that would say as much, for each set (of pairs: once).
        note: Why the interval is only approximate; None where nothing speaks against it.
    """

    value: float
    low: float
    high: float
    confidence_pct: float
    method: str
    n: tuple[int, ...]
    n_eff: tuple[float, ...]
    note: str | None


def mean_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of two values or more, with Student's t interval.

    Values that hang together count as fewer, from `moments.SERIES` on.

    Args:
        values: Figures of runs (or of windows of a run), in one unit, in the order in which they
            were measured.

    >>> found = mean_interval([101.0, 99.0, 100.0, 102.0, 98.0])
    >>> f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"
    '100.0 [98.0, 102.0]'

    Raises:
        PactError: There are fewer than two values, or one is not finite.
    """
    found = moments(checked(values, 2, "a mean with an interval"))
    half = float(special.stdtrit(found.degrees, TAIL)) * found.error
    corrected = found.n_eff < found.n
    return Estimate(
        value=found.mean,
        low=found.mean - half,
        high=found.mean + half,
        confidence_pct=CONFIDENCE_PCT,
        method="mean, Student's t" + (" with effective n, AR(1)" if corrected else ""),
        n=(found.n,),
        n_eff=(found.n_eff,),
        note=found.note or None,
    )


def olympic_mean(values: Sequence[float]) -> Estimate:
    """Return the mean without the best and the worst value, as MLPerf scores its runs.

    The interval is that of a trimmed mean, from the winsorised sum of squares (Tukey and
    McLaughlin 1963). It takes the values as independent.

    >>> olympic_mean([90.0, 101.0, 99.0, 100.0, 250.0]).value
    100.0

    Raises:
        PactError: There are fewer than five values, or one is not finite.
    """
    array = checked(values, 5, "an Olympic mean")
    inner = np.sort(array)[1:-1]
    value, kept = float(inner.mean()), inner.size
    winsorised = np.clip(array, inner[0], inner[-1])
    error = float(winsorised.std()) * math.sqrt(array.size / (kept * (kept - 1)))
    half = float(special.stdtrit(kept - 1, TAIL)) * error
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        confidence_pct=CONFIDENCE_PCT,
        method="Olympic mean, winsorised t",
        n=(array.size,),
        n_eff=(float(array.size),),
        note=moments(array).note or None,
    )
