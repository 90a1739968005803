"""What every statistic of a set starts from: checked values, their mean and its standard error.

Values that follow one another (windows of a run, runs back to back while the room warms up) hang
together, and then n of them say less than n independent ones. From `SERIES` values on the
standard error counts that in, as a first-order autoregression AR(1). scipy has none of this, so
that the t statistics of this folder start here; without autocorrelation they are scipy's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SERIES = 20
"""From this many values on, autocorrelation is counted in: with fewer it cannot be estimated well
enough, and doing so would make intervals of independent values too wide."""

LARGEST = 1e100
"""Beyond this, or nearer to zero than its inverse, squares would leave the range of a float."""

_DRIFT = 0.99  # an AR(1) above this is a drift: it has no mean to speak of
_ROUNDING = 1e-12  # of the largest value: less than that is no scatter
_FEWEST_LAGS = 8  # with fewer the bias correction is larger than what it corrects


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean of a set and how well it is known.

    Attributes:
        n: Number of values.
        mean: Mean, in the unit of the values.
        spread: Standard deviation of the values, in their unit.
        error: Standard error of the mean, in the unit of the values.
        degrees: Degrees of freedom of ``error``.
        n_eff: Number of independent values that would say as much.
        note: Why the figures are approximate, or an empty text.
    """

    n: int
    mean: float
    spread: float
    error: float
    degrees: float
    n_eff: float
    note: str


def checked(
    values: Sequence[float], needed: int, statistic: str, *, positive: bool = False
) -> Array:
    """Return values as an array.

    Args:
        values: The values, in any one unit.
        needed: How many the statistic needs.
        statistic: Its name, for the error.
        positive: Whether all must be above zero, because their logarithm is taken.

    Raises:
        PactError: There are too few, or one of them is no finite number or not positive.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PactError(f"{statistic} needs numbers: {error}") from None
    if array.ndim != 1:
        raise PactError(f"{statistic} needs one list of numbers, not {array.ndim} dimensions")
    sizes = np.abs(array)
    bad = ~(sizes <= LARGEST) | ((sizes > 0) & (sizes < 1 / LARGEST))
    if bad.any():
        place = int(np.argmax(bad))
        raise PactError(
            f"{statistic} needs finite numbers; value {place + 1} is {array[place]:g}",
            "leave out the runs that have no figure",
        )
    if positive and (array <= 0).any():
        place = int(np.argmax(array <= 0))
        raise PactError(
            f"{statistic} needs values above zero; value {place + 1} is {array[place]:g}",
            "compare by the difference instead",
        )
    if array.size < needed:
        raise PactError(
            f"{statistic} needs at least {needed} values, there are {array.size}",
            f"repeat the run until there are {needed}",
        )
    return array


def moments(array: Array) -> Moments:
    """Return the mean of at least two values, with its standard error.

    From `SERIES` values on they are taken as an AR(1) where the lag-1 autocorrelation, corrected
    for its small-sample bias (Marriott and Pope 1954), is above its standard error 1/sqrt(n). It
    gives the number of effective values and corrects the standard deviation, which
    autocorrelation makes too small (Bayley and Hammersley 1946). The degrees of freedom are those
    of a chi-square with the variance that this estimate has: 2/n + 4/n_eff for its logarithm,
    from the errors of the innovations' variance and of the autocorrelation. Negative
    autocorrelation is not believed: it would make intervals narrower.

    Args:
        array: Values in the order in which they were measured.
    """
    n = array.size
    mean = float(array.mean())
    if np.ptp(array) <= _ROUNDING * np.abs(array).max():
        return Moments(n, mean, 0.0, 0.0, n - 1.0, n, "all values are equal: no scatter")
    parts = array - mean
    spread, times = float(array.std(ddof=1)), 1.0
    degrees = n - 1.0
    notes = []
    lag1 = _lag1(parts) if n >= _FEWEST_LAGS else 0.0
    if n >= SERIES and lag1 > 1 / math.sqrt(n):
        times = _inflation(n, lag1)
        spread *= math.sqrt((n - 1) / (n - times))
        degrees = max(1.0, 1 / (1 / n + 2 * times / n))
        notes.append(f"autocorrelation {lag1:.2f}: {n} values count as {n / times:.1f}")
        if n / times < 10:
            notes.append("the values drift: approximate")
    elif lag1 > 2 / math.sqrt(n):
        notes.append(
            f"each value resembles the one before (autocorrelation {lag1:.2f}), which {n} values "
            "are too few to correct for: approximate, too narrow"
        )
    notes += _shape(array)
    error = spread * math.sqrt(times / n)
    return Moments(n, mean, spread, error, degrees, n / times, "; ".join(notes))


def _lag1(parts: Array) -> float:
    """Return the lag-1 autocorrelation of deviations from a mean, less its bias -(1 + 4 rho)/n."""
    n = parts.size
    found = float(parts[1:] @ parts[:-1] / (parts @ parts))
    return min((n * found + 1) / (n - 4), _DRIFT)


def _inflation(n: int, rho: float) -> float:
    """Return how many times the variance of the mean of n AR(1) values is that of independent."""
    far = 2 * rho * (1 - rho**n) / (n * (1 - rho) ** 2)
    return (1 + rho) / (1 - rho) - far


def _shape(array: Array) -> list[str]:
    """Say where the values are too few or too skewed for an interval to be more than near.

    Skewed is what is beyond the skewness that one normal set in ten has by chance (1.645 standard
    errors), and beyond 1/2.
    """
    n = array.size
    if n < 5:
        return [f"only {n} values: approximate unless they are normally distributed"]
    skewness = float(stats.skew(array, bias=False))
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    if abs(skewness) > max(1.645 * error, 0.5):
        return [f"skewed values (skewness {skewness:.1f}): approximate"]
    return []
