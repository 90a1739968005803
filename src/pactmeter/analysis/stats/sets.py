"""Two sets of runs: by how much they differ, and how sure that is."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from pactmeter.analysis.stats.intervals import CONFIDENCE_PCT, TAIL, Estimate
from pactmeter.analysis.stats.moments import moments
from pactmeter.analysis.stats.pairs import counts_of, gap, note, samples, two_sets
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.analysis.stats.moments import Array
    from pactmeter.analysis.stats.pairs import Gap

BOOTSTRAP = 10
"""From this many runs in each set on, the interval comes from the bootstrap."""

_RESAMPLES = 9999
_MOST = 1000  # beyond, the t interval is as good and the resamples would fill the memory
_FARTHEST = 3.0  # standard errors; farther out there are too few resamples to tell
_SEED = 20240923  # the same data give the same interval


def difference(new: Sequence[float], base: Sequence[float], *, paired: bool = False) -> Estimate:
    """Return the mean of ``new`` less that of ``base``, in the unit of the values.

    Under `BOOTSTRAP` runs by Welch's t (paired: Student's), from there on by the BCa bootstrap
    (see `_bootstrap`), and by t again where runs are so autocorrelated that it cannot serve.

    Args:
        new: Figures of the runs of one variant, in the order in which they were measured.
        base: Figures of the runs that it is compared with, in the same unit.
        paired: Whether the n-th of both belong together (run side by side or in turns).

    Raises:
        PactError: There are fewer than two values, one is not finite, or pairs are incomplete.
    """
    sets = two_sets(new, base, "a difference", paired=paired)
    found = gap(sets, paired=paired)
    ends = _bootstrap(sets, sets, mean_difference, found, paired=paired)
    if ends is not None:
        method = "BCa bootstrap, expanded"
    else:
        ends, method = found.ends(TAIL), "paired t" if paired else "Welch's t"
    return Estimate(
        *(found.value, *ends, CONFIDENCE_PCT, method),
        n=counts_of(sets),
        n_eff=found.n_eff,
        note=found.note,
    )


def ratio(new: Sequence[float], base: Sequence[float], *, paired: bool = False) -> Estimate:
    """Return how many times ``new`` is ``base``.

    Under `BOOTSTRAP` runs by t on the log ratio, which is the ratio of the geometric means; from
    there on the ratio of the means by the BCa bootstrap; by t on the log ratio again where runs are
    so autocorrelated that the bootstrap cannot serve. Arguments are those of `difference`.

    >>> found = ratio([110.0, 111.0, 109.0], [100.0, 101.0, 99.0])
    >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    '1.10 [1.08, 1.12]'

    Raises:
        PactError: As `difference`, or a value is not above zero.
    """
    sets = two_sets(new, base, "a ratio", paired=paired, positive=True)
    logs = (np.log(sets[0]), np.log(sets[1]))
    found = gap(logs, paired=paired)
    ends = _bootstrap(sets, logs, _mean_ratio, found, paired=paired)
    if ends is not None:
        value, method = float(_mean_ratio(*sets)), "ratio of means, BCa bootstrap, expanded"
        said = gap(sets, paired=paired).note  # it is the values that were drawn, not their logs
    else:
        ends = antilogs(*found.ends(TAIL))
        value, method = math.exp(found.value), "ratio of geometric means, t on the log ratio"
        said = found.note
    return Estimate(
        *(value, *ends, CONFIDENCE_PCT, method),
        n=counts_of(sets),
        n_eff=found.n_eff,
        note=said,
    )


def effect_size(new: Sequence[float], base: Sequence[float], *, paired: bool = False) -> Estimate:
    """Return Hedges' g: the difference in standard deviations, without its small-sample bias.

    Paired, the standard deviation is that of the differences (g_z), else the pooled one. The
    interval comes from the noncentral t distribution (Steiger and Fouladi 1997) and takes both
    sets as equally scattered. Arguments are those of `difference`.

    Raises:
        PactError: As `difference`; there is no scatter to measure by, or far too little.
    """
    sets = two_sets(new, base, "an effect size", needed=3 if paired else 2, paired=paired)
    each = [moments(sample) for sample in samples(sets, paired=paired)]
    degrees = sum(one.n_eff - 1 for one in each)
    if degrees < 2:
        raise PactError(
            f"an effect size needs independent values; {len(sets[0])} that hang together so "
            f"closely count as {degrees + len(each):.1f}",
            "repeat the runs in random order, with rests",
        )
    scatter = math.sqrt(sum((one.n_eff - 1) * one.spread**2 for one in each) / degrees)
    distance = each[0].mean - (0.0 if paired else each[1].mean)
    root = math.sqrt(sum(1 / one.n_eff for one in each))
    if not abs(distance) < 1000 * scatter * root:  # beyond, the noncentral t is not computed well
        raise PactError(
            "an effect size needs scatter to measure by; these values hardly scatter",
            "compare by the difference or the ratio",
        )
    # Hedges 1981: E(d) is delta divided by this
    unbiased = math.exp(special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2))
    unbiased /= math.sqrt(degrees / 2)
    low, high = (
        unbiased * root * float(special.nctdtrinc(degrees, part, distance / scatter / root))
        for part in (TAIL, 1 - TAIL)
    )
    method = "Hedges' g of paired differences" if paired else "Hedges' g"
    return Estimate(
        value=unbiased * distance / scatter,
        low=low,
        high=high,
        confidence_pct=CONFIDENCE_PCT,
        method=f"{method}, noncentral t",
        n=counts_of(sets),
        n_eff=tuple(one.n_eff for one in each),
        note=note(each),
    )


def mean_difference(new: Array, base: Array, axis: int = -1) -> Any:
    """Return the difference of the means along an axis, for what scipy resamples."""
    return new.mean(axis=axis) - base.mean(axis=axis)


def antilogs(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an interval of a ratio from those of its logarithm.

    Raises:
        PactError: The upper end is beyond all numbers.
    """
    if high > 700:
        raise PactError(
            "the values scatter over so many powers of ten that their ratio has no interval",
            "look for runs that failed, or repeat the runs",
        )
    return math.exp(low), math.exp(high)


def _mean_ratio(new: Array, base: Array, axis: int = -1) -> Any:
    return new.mean(axis=axis) / base.mean(axis=axis)


def _bootstrap(
    sets: tuple[Array, Array],
    scale: tuple[Array, Array],
    statistic: Callable[..., Any],
    found: Gap,
    *,
    paired: bool,
) -> tuple[float, float] | None:
    """Return the ends of a BCa bootstrap interval; None where t is what serves.

    A bootstrap of few values is too narrow, for it divides by n and knows neither t nor effective
    n. So its percentiles are moved out by just that (expanded percentiles: Hesterberg, What
    Teachers Should Know about the Bootstrap, The American Statistician 69, 2015): for normal data
    it comes to the t interval.

    Args:
        sets: The values.
        scale: The values on the scale on which ``found`` was computed (logarithms for a ratio).
        statistic: What is asked for.
        found: The difference with its standard error, on that scale.
        paired: Whether to draw pairs.
    """
    smallest, largest = sorted(counts_of(sets))
    if smallest < BOOTSTRAP or largest > _MOST or found.error == 0:
        return None
    of_resamples = math.sqrt(sum(x.var() / x.size for x in samples(scale, paired=paired)))
    distance = float(special.stdtrit(found.degrees, TAIL)) * found.error / of_resamples
    if distance > _FARTHEST:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate data, for which there is t
        ends = stats.bootstrap(
            *(sets, statistic),
            vectorized=True,
            paired=paired,
            n_resamples=_RESAMPLES,
            batch=_MOST,
            confidence_level=1 - 2 * float(special.ndtr(-distance)),
            method="BCa",
            random_state=np.random.default_rng(_SEED),
        ).confidence_interval
    low, high = float(ends.low), float(ends.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
