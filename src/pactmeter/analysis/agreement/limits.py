"""Limits of agreement (Bland & Altman) with repeated measures in each run, and how sure they are.

Between which ratios do two sources lie in 95 % of the windows of a run yet to come? Windows of one
run err alike, so the spread has two components: between runs and within them (Bland & Altman,
Stat Methods Med Res 1999;8:135, section 5.3; J Biopharm Stat 2007;17:571). The intervals of the
limits are those of Zou (Stat Methods Med Res 2013;22:630): the intervals of each component are
put together by MOVER, the method of variance estimates recovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pactmeter.analysis.agreement.pairs import CONFIDENCE, Array, Estimate
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.agreement.pairs import Pairs

LEAST_UNITS = 3
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bias and limits of agreement, each with its interval, in the unit of the differences.

    Attributes:
        bias: Mean difference; each run counts as one.
        lower: Below it lie 2.5 % of the differences of another run.
        upper: Above it lie 2.5 %.
        variances: Between runs and within them, in the unit of the differences squared.
        units: How many runs or segments they were found from.
        unit: What they are.
        windows: How many windows.
    """

    bias: Estimate
    lower: Estimate
    upper: Estimate
    variances: tuple[float, float]
    units: int
    unit: str
    windows: int


def ratio_limits(pairs: Pairs) -> Limits:
    """Return bias and limits of the source against the reference, in percent of the reference.

    They are found on the log ratio, so that a gain error is the same at every load, and turned
    back: the bias is that of the geometric mean. The variances stay those of the log ratio.

    Raises:
        PactError: A power is zero, or there are too few runs or windows.
    """
    pairs = pairs.independent()
    found = limits(pairs.log_ratios(), pairs.unit)
    return Limits(
        _in_percent(found.bias),
        _in_percent(found.lower),
        _in_percent(found.upper),
        found.variances,
        found.units,
        found.unit,
        found.windows,
    )


def _in_percent(log_ratio: Estimate) -> Estimate:
    value, low, high = (float(100 * np.expm1(x)) for x in (log_ratio.value, *log_ratio.interval))
    return Estimate(value, (low, high))


def limits(differences: Sequence[Array], unit: str = "runs") -> Limits:
    """Return bias and limits of agreement of differences, one array for each run (or segment).

    Raises:
        PactError: There are fewer than `LEAST_UNITS` of them.
    """
    groups = [np.asarray(group, np.float64) for group in differences]
    runs, windows = len(groups), sum(group.size for group in groups)
    if runs < LEAST_UNITS:
        raise PactError(
            f"the agreement in {runs} {unit} says nothing", f"{LEAST_UNITS} {unit} are needed"
        )
    means = np.array([group.mean() for group in groups])
    of_means = float(means.var(ddof=1))
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    within = squares / (windows - runs) if windows > runs else 0.0
    # the part of the spread within runs that the means of so many windows no longer show
    hidden = 1 - float(np.mean([1 / group.size for group in groups]))
    bias = float(means.mean())
    total = of_means + hidden * within
    below, above = _variance_margins(
        [(of_means, runs - 1), (hidden * within, windows - runs)],
    )
    reach = float(stats.norm.ppf(_TAILS[1]))
    sd = float(np.sqrt(total))
    mean_margin = float(stats.t.ppf(_TAILS[1], runs - 1)) * float(np.sqrt(of_means / runs))
    inward = float(np.hypot(mean_margin, reach * (sd - np.sqrt(total - below))))
    outward = float(np.hypot(mean_margin, reach * (np.sqrt(total + above) - sd)))
    low, high = bias - reach * sd, bias + reach * sd
    return Limits(
        Estimate(bias, (bias - mean_margin, bias + mean_margin)),
        Estimate(low, (low - outward, low + inward)),
        Estimate(high, (high - inward, high + outward)),
        (max(0.0, of_means - (1 - hidden) * within), within),
        runs,
        unit,
        windows,
    )


def _variance_margins(parts: list[tuple[float, int]]) -> tuple[float, float]:
    """Return how far a sum of variances may lie below and above what was found (MOVER).

    Args:
        parts: Variance and degrees of freedom of each; none where the part is not there.
    """
    below = above = 0.0
    for variance, degrees in parts:
        if degrees > 0:
            low, high = stats.chi2.ppf(_TAILS, degrees) / degrees
            below += (variance * (1 - 1 / high)) ** 2
            above += (variance * (1 / low - 1)) ** 2
    return float(np.sqrt(below)), float(np.sqrt(above))
