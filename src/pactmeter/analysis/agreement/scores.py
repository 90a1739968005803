"""How far a source is off, window by window, in the measures that papers of the field print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, r2_score

from pactmeter.analysis.agreement.pairs import Estimate, jackknife
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from pactmeter.analysis.agreement.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors of a source against the reference. They describe these windows, and infer nothing.

    The correlation is not among them: two sources of which one is always 40 % low correlate
    perfectly, and the greater the range of the loads, the greater it is.

    Attributes:
        mape_pct: Mean absolute error of a window, in percent of the reference there.
        wmape_pct: Sum of absolute errors in percent of the reference's sum: idle weighs less.
        r2_pct: Share of the reference's variance that the source explains *as it stands*, without
            a fitted line, in percent; below zero where the mean of the reference would have been
            nearer to it. None where the reference does not vary.
        windows: How many windows they were found from.
    """

    mape_pct: float
    wmape_pct: float
    r2_pct: float | None
    windows: int


def scores(pairs: Pairs) -> Scores:
    """Return the errors of the source over all windows of all runs.

    Raises:
        PactError: The reference is 0 W in some window.
    """
    reference_w, source_w = np.concatenate(pairs.reference_w), np.concatenate(pairs.source_w)
    if (reference_w == 0).any():
        raise PactError(
            "the reference is 0 W in some windows: no error is a percentage of nothing",
            "compare longer windows, or only those in which the reference draws power",
        )
    varies = np.ptp(reference_w) > 1e-9 * reference_w.mean()
    return Scores(
        100 * float(mean_absolute_percentage_error(reference_w, source_w)),
        100 * float(mean_absolute_error(reference_w, source_w)) / float(reference_w.mean()),
        100 * float(r2_score(reference_w, source_w)) if varies else None,
        pairs.windows,
    )


@dataclass(frozen=True, slots=True)
class Bias:
    """By how much a source says more than the reference, over all of the time.

    Attributes:
        mean_w: Difference of the mean powers, in watts.
        total_pct: Difference of the energies, in percent of the reference.
        units: How many runs or segments the intervals were found from.
        unit: What they are.
    """

    mean_w: Estimate
    total_pct: Estimate
    units: int
    unit: str


def bias(pairs: Pairs) -> Bias:
    """Return the bias of the source with 95 % intervals (jackknife over runs or segments).

    Raises:
        PactError: There are too few runs or windows, or the reference is 0 W all along.
    """
    pairs = pairs.independent()
    count = np.array([run.size for run in pairs.reference_w])
    x, y = (np.array([run.sum() for run in runs]) for runs in (pairs.reference_w, pairs.source_w))
    rest = x.sum() - x
    if not (rest > 0).all():
        raise PactError("the reference draws nothing: no bias is a percentage of that")
    units = count.size
    mean_w = (y.sum() - x.sum()) / count.sum()
    means_w = (y.sum() - y - rest) / (count.sum() - count)
    return Bias(
        jackknife(float(mean_w), means_w, units - 1),
        jackknife(
            float(100 * (y.sum() / x.sum() - 1)), 100 * ((y.sum() - y) / rest - 1), units - 1
        ),
        units,
        pairs.unit,
    )
