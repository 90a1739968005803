"""How wrong a model is of workloads, and of families of workloads, that it has not seen.

All windows of a workload are predicted by a model fitted without any of it. So are the baselines
that it must beat: the mean, and a line in CPU and GPU power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from sklearn.metrics import mean_absolute_percentage_error
from sklearn.model_selection import LeaveOneGroupOut

from pactmeter.analysis.powermodel.fit import linear, mean, predicted_w
from pactmeter.errors import PactError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from pactmeter.analysis.powermodel.fit import Fit, Floats
    from pactmeter.analysis.powermodel.table import Table
    from pactmeter.model.power_model import Formula

MEAN, LINE = "the mean", "a line in CPU and GPU power"
LEAST_GROUPS = 3
CHANCE_PCT = 5.0
"""A model beats a baseline if chance alone would do so in fewer than so many of 100 cases,"""
LEAST_BETTER_PCT = 1.0
"""and if its error is smaller by so much: less is rounding, not worth a model."""


@dataclass(frozen=True, slots=True)
class Errors:
    """How far predictions are from what was measured.

    Attributes:
        windows: Number of windows.
        mape_pct: Mean absolute error over the measured value, in percent; None where a measured
            value is zero or negative.
        wmape_pct: Sum of absolute errors over the sum of absolute measured values, in percent.
        of_dc_pct: The same over the DC output power of the supply.
        bias_w: Mean of predicted less measured, in watts.
        mean_square_w2: Mean square error.
        variance_w2: Variance of the measured values.
        range_w: Largest less smallest measured value.
    """

    windows: int
    mape_pct: float | None
    wmape_pct: float | None
    of_dc_pct: float
    bias_w: float
    mean_square_w2: float
    variance_w2: float
    range_w: float

    @property
    def rmse_w(self) -> float:
        """Root mean square error, in watts."""
        return math.sqrt(self.mean_square_w2)

    @property
    def r2(self) -> float | None:
        """Share of the variance that is told; None where there is no variance."""
        return 1 - self.mean_square_w2 / self.variance_w2 if self.variance_w2 > 0 else None

    @property
    def dre_pct(self) -> float | None:
        """Dynamic range error: RMSE over the range of the measured values (Rivoire 2008)."""
        return 100 * self.rmse_w / self.range_w if self.range_w > 0 else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model beside a baseline, on the same left-out groups.

    Attributes:
        baseline: Its name.
        errors: Its errors.
        better_pct: How much smaller the model's RMSE is in the typical group (geometric mean).
        chance_pct: How often chance alone would do so, in percent: one-sided paired t on the log
            ratio of each left-out group.
    """

    baseline: str
    errors: Errors
    better_pct: float
    chance_pct: float

    @property
    def is_beaten(self) -> bool:
        """Whether the model is better than this baseline."""
        return self.better_pct >= LEAST_BETTER_PCT and self.chance_pct < CHANCE_PCT


@dataclass(frozen=True, slots=True)
class Validation:
    """What leaving out one group after the other has shown.

    Attributes:
        by: ``workload`` or ``family``.
        errors: Errors over all groups.
        each: Errors of each group.
        comparisons: The baselines.
        window_w: Half-width of the 95 % prediction interval of a window, in watts.
        mean_w: The same for the mean over a whole workload.
        slopes: Slope of the error over each temperature in watts a kelvin, with half of its 95 %
            interval: Student's t over the means of the groups.
        coverage_pct: Share of windows inside the interval that the other groups alone give, each
            group counting alike, in percent.
        chosen: In how many of the fits each feature was taken.
    """

    by: str
    errors: Errors
    each: dict[str, Errors]
    comparisons: tuple[Comparison, ...]
    window_w: float
    mean_w: float
    coverage_pct: float
    chosen: dict[str, int]
    slopes: dict[str, tuple[float, float]]

    @property
    def beats(self) -> bool:
        """Whether the model is better than every baseline."""
        return all(comparison.is_beaten for comparison in self.comparisons)


def validate(table: Table, features: pd.DataFrame, fit: Fit, by: str = "workload") -> Validation:
    """Leave out one workload (or family) after the other, and compare with the baselines.

    Args:
        table: The windows.
        features: What the model is fitted on, of them.
        fit: How.
        by: ``workload`` or ``family``.

    Raises:
        PactError: There are too few groups.
    """
    groups = table.workload if by == "workload" else table.family
    names = list(map(str, np.unique(groups)))
    if len(names) < LEAST_GROUPS:
        raise PactError(
            f"to leave one {by} out needs at least {LEAST_GROUPS} of them,"
            f" {len(names)} given ({', '.join(names)})",
            "record more workloads, or tell them apart with `--group NAME=PATTERN`",
        )
    guess_w, formulas = left_out(table, features, fit, groups)
    each = _each(table, guess_w, groups)
    comparisons = []
    for baseline, inputs, recipe in (
        (MEAN, table.meters, mean),
        (LINE, table.meters, linear),
    ):
        if baseline == LINE and table.meters.empty:
            continue
        theirs_w, _ = left_out(table, inputs, recipe, groups)
        comparisons.append(_compared(baseline, table, theirs_w, groups, each))
    off_w = [(guess_w - table.power_w)[groups == name] for name in names]
    return Validation(
        by=by,
        errors=errors(table.power_w, guess_w, table.dc_w),
        each=each,
        comparisons=tuple(comparisons),
        window_w=half_width_w(off_w),
        mean_w=half_width_w([part.mean(keepdims=True) for part in off_w]),
        coverage_pct=_coverage_pct(off_w),
        chosen={
            str(name): sum(name in formula.names for formula in formulas)
            for name in features.columns
        },
        slopes=_slopes(table.temperatures_c, guess_w - table.power_w, groups),
    )


def left_out(
    table: Table, features: pd.DataFrame, fit: Fit, groups: npt.NDArray[np.str_]
) -> tuple[Floats, list[Formula]]:
    """Predict each group by a fit without it.

    Returns:
        The predicted power of each window, in watts, and the formulas.
    """
    guess_w = np.empty(len(table.power_w))
    formulas = []
    for known, unseen in LeaveOneGroupOut().split(features, groups=groups):
        formula = fit(features.iloc[known], table.power_w[known], table.workload[known])
        guess_w[unseen] = predicted_w(formula, features.iloc[unseen])
        formulas.append(formula)
    return guess_w, formulas


def errors(power_w: Floats, guess_w: Floats, dc_w: Floats) -> Errors:
    """Return how far predictions are from what was measured; all in watts."""
    off_w = guess_w - power_w
    total_w = float(np.abs(power_w).sum())
    mape_pct = None
    if power_w.min() > 0:
        mape_pct = 100 * float(mean_absolute_percentage_error(power_w, guess_w))
    return Errors(
        windows=len(power_w),
        mape_pct=mape_pct,
        wmape_pct=100 * float(np.abs(off_w).sum()) / total_w if total_w > 0 else None,
        of_dc_pct=100 * float(np.abs(off_w).sum() / max(float(dc_w.sum()), 1e-12)),
        bias_w=float(off_w.mean()),
        mean_square_w2=float(np.mean(off_w**2)),
        variance_w2=float(power_w.var()),
        range_w=float(np.ptp(power_w)),
    )


def half_width_w(off_w: list[Floats]) -> float:
    """Return the half-width of the 95 % interval from the errors of each left-out group, in watts.

    Student's t with as many degrees of freedom as there are groups less one, times the root of the
    groups' average mean square error: windows of one group err alike, and do not count as many.
    """
    mean_square_w2 = float(np.mean([np.mean(part**2) for part in off_w]))
    return float(stats.t.ppf(0.975, len(off_w) - 1)) * math.sqrt(mean_square_w2)


def _slopes(
    temperatures_c: pd.DataFrame, off_w: Floats, groups: npt.NDArray[np.str_]
) -> dict[str, tuple[float, float]]:
    means = temperatures_c.assign(off_w=off_w).groupby(groups).mean()
    result = {}
    for name in temperatures_c.columns:
        known = means[[name, "off_w"]].dropna()
        if len(known) >= LEAST_GROUPS and known[name].nunique() > 1:
            line = stats.linregress(known[name], known["off_w"])
            half = float(stats.t.ppf(0.975, len(known) - 2) * line.stderr)
            result[str(name)] = (float(line.slope), half)
    return result


def _coverage_pct(off_w: list[Floats]) -> float:
    inside = []
    for place, part in enumerate(off_w):
        others = off_w[:place] + off_w[place + 1 :]
        inside.append(float(np.mean(np.abs(part) <= half_width_w(others))))
    return 100 * float(np.mean(inside))


def _each(table: Table, guess_w: Floats, groups: npt.NDArray[np.str_]) -> dict[str, Errors]:
    return {
        str(name): errors(*(a[groups == name] for a in (table.power_w, guess_w, table.dc_w)))
        for name in np.unique(groups)
    }


def _compared(
    baseline: str,
    table: Table,
    theirs_w: Floats,
    groups: npt.NDArray[np.str_],
    mine: dict[str, Errors],
) -> Comparison:
    theirs = _each(table, theirs_w, groups)
    floor_w = 1e-9 * (1 + float(np.abs(table.power_w).max()))  # an exact fit has no logarithm
    logs = [math.log((theirs[k].rmse_w + floor_w) / (mine[k].rmse_w + floor_w)) for k in mine]
    better = float(np.mean(logs))
    chance_pct = 100.0
    if better > 0:
        chance_pct = 0.0
        if np.ptp(logs) > 1e-12:
            test = stats.ttest_1samp(logs, 0.0, alternative="greater")
            chance_pct = 100 * float(test.pvalue)
    return Comparison(
        baseline=baseline,
        errors=errors(table.power_w, theirs_w, table.dc_w),
        better_pct=100 * (1 - math.exp(-better)),
        chance_pct=chance_pct,
    )
