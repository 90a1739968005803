"""Whether two sets of runs differ, or are the same for all practical purposes, at 5 %."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from pactmeter.analysis.stats.intervals import CONFIDENCE_PCT, TAIL, Estimate
from pactmeter.analysis.stats.moments import moments
from pactmeter.analysis.stats.pairs import counts_of, gap, two_sets
from pactmeter.analysis.stats.sets import antilogs, mean_difference
from pactmeter.errors import ConfigError, PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.stats.moments import Array

LEVEL = 0.05
"""Share of false alarms that a test may give."""

_RESAMPLES = 9999
_SEED = 20240923  # the same data give the same p-value


@dataclass(frozen=True, slots=True)
class Significance:
    """Outcome of a test whether two sets differ.

    Attributes:
        p_value: Probability of a difference at least so large where there is none.
        statistic: The test's statistic.
        degrees: Degrees of freedom; None where the test has none.
        method: The test.
        n: Number of values in each set.
        n_eff: Number of independent values that would say as much, for each set (of pairs: once).
        note: Why the p-value is only approximate; None where nothing speaks against it.
    """

    p_value: float
    statistic: float
    degrees: float | None
    method: str
    n: tuple[int, int]
    n_eff: tuple[float, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Outcome of a test whether two sets are the same within some percent.

    Attributes:
        equivalent: Whether that is shown, at 5 %.
        margin_pct: Largest difference that counts as none, in percent.
        p_value: Probability of such closeness where they differ by just ``margin_pct``.
        ratio: Ratio of the geometric means, with the 90 % interval that goes with the test.
    """

    equivalent: bool
    margin_pct: float
    p_value: float
    ratio: Estimate


def t_test(new: Sequence[float], base: Sequence[float], *, paired: bool = False) -> Significance:
    """Test whether the means differ: Welch's t, or Student's t of the differences of pairs.

    Args:
        new: Figures of the runs of one variant, in the order in which they were measured.
        base: Figures of the runs that it is compared with, in the same unit.
        paired: Whether the n-th of both belong together.

    Raises:
        PactError: There are fewer than two values, one is not finite, pairs are incomplete, or
            all values are equal.
    """
    sets = two_sets(new, base, "a t test", paired=paired)
    found = gap(sets, paired=paired)
    if found.error == 0:
        raise _no_scatter("a t test")
    statistic = found.value / found.error
    return Significance(
        p_value=2 * float(special.stdtr(found.degrees, -abs(statistic))),
        statistic=statistic,
        degrees=found.degrees,
        method="paired t" if paired else "Welch's t",
        n=counts_of(sets),
        n_eff=found.n_eff,
        note=found.note,
    )


def equivalence(
    new: Sequence[float], base: Sequence[float], *, margin_pct: float, paired: bool = False
) -> Equivalence:
    """Test whether ``new`` is ``base`` within ± some percent: two one-sided t tests (TOST).

    The tests are on the log ratio (Schuirmann 1987), against 1 - x and 1 + x. Equivalence is shown
    where the 90 % interval of the ratio lies between both. That it is not shown does not say that
    they differ.

    Args:
        new: As in `t_test`.
        base: As in `t_test`.
        margin_pct: Largest difference that counts as none, in percent of ``base``.
        paired: As in `t_test`.

    Raises:
        ConfigError: ``margin_pct`` is not above 0 and below 100.
        PactError: As `t_test`, or a value is not above zero.
    """
    if not 0 < margin_pct < 100:
        raise ConfigError(
            f"a margin of {margin_pct:g} % is not possible", "use more than 0, less than 100"
        )
    sets = two_sets(new, base, "an equivalence test", paired=paired, positive=True)
    found = gap((np.log(sets[0]), np.log(sets[1])), paired=paired)
    if found.error == 0:
        raise _no_scatter("an equivalence test")
    above = (found.value - math.log1p(-margin_pct / 100)) / found.error
    below = (math.log1p(margin_pct / 100) - found.value) / found.error
    p_value = float(special.stdtr(found.degrees, -min(above, below)))
    low, high = antilogs(*found.ends(1 - LEVEL))
    shown = Estimate(
        value=math.exp(found.value),
        low=low,
        high=high,
        confidence_pct=100 * (1 - 2 * LEVEL),
        method=f"TOST, {'paired ' if paired else ''}t on the log ratio",
        n=counts_of(sets),
        n_eff=found.n_eff,
        note=found.note,
    )
    return Equivalence(p_value < LEVEL, margin_pct, p_value, shown)


def permutation_test(
    new: Sequence[float], base: Sequence[float], *, paired: bool = False
) -> Significance:
    """Test whether the sets differ, by the difference of their means under relabelling.

    Exact where there are fewer than 10 000 ways to relabel, else from 9 999 random ones. Supposes
    nothing of the distribution, but independent runs. Arguments are those of `t_test`.

    Raises:
        PactError: As `t_test`, or there are too few values for any outcome to be significant.
    """
    sets = two_sets(new, base, "a permutation test", paired=paired)
    ways = 2 ** min(sets[0].size, 64) if paired else math.comb(sum(counts_of(sets)), sets[0].size)
    _can_be_significant(ways, "a permutation test", 6 if paired else 4)
    found = stats.permutation_test(
        *(sets, mean_difference),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, 2_000_000 // sum(counts_of(sets))),
        random_state=np.random.default_rng(_SEED),
    )
    return Significance(
        p_value=float(found.pvalue),
        statistic=float(found.statistic),
        degrees=None,
        method="permutation test of the means" + (", pairs" if paired else ""),
        **_taken_as_independent(sets, None),
    )


def mann_whitney(new: Sequence[float], base: Sequence[float]) -> tuple[Significance, Estimate]:
    """Test by ranks whether values of one set tend to be larger, with Cliff's delta.

    Delta is the share of pairs in which ``new`` is larger less the share in which it is smaller.
    Its interval is the asymmetric one of Feng and Cliff (2004), with Student's t and the unbiased
    variance. Both suppose independent runs.

    Raises:
        PactError: As `permutation_test`.
    """
    sets = two_sets(new, base, "a Mann-Whitney test")
    counts = counts_of(sets)
    _can_be_significant(math.comb(sum(counts), counts[0]), "a Mann-Whitney test", 4)
    tested = stats.mannwhitneyu(*sets, alternative="two-sided")
    ties = np.unique(np.concatenate(sets)).size < sum(counts)
    significance = Significance(
        p_value=float(tested.pvalue),
        statistic=float(tested.statistic),
        degrees=None,
        method="Mann-Whitney U",
        **_taken_as_independent(sets, "equal values: p is approximate" if ties else None),
    )
    delta = 2 * float(tested.statistic) / (counts[0] * counts[1]) - 1
    low, high = _cliff_ends(*sets, delta)
    shown = Estimate(
        value=delta,
        low=low,
        high=high,
        confidence_pct=CONFIDENCE_PCT,
        method="Cliff's delta, Feng and Cliff",
        **_taken_as_independent(sets, "few values: approximate" if min(counts) < 10 else None),
    )
    return significance, shown


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values for many comparisons, so corrected that one false alarm in all has 5 %.

    By Holm (1979), which scipy does not have: the i-th smallest of m times m + 1 - i, never below
    the one before, at most 1.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)

    Raises:
        ConfigError: One is no probability, or there is none.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1 or given.size == 0 or not ((given >= 0) & (given <= 1)).all():
        raise ConfigError("a correction for many comparisons needs p-values from 0 to 1")
    order = np.argsort(given)
    steps = np.arange(given.size, 0, -1) * given[order]
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(corrected.tolist())


def _no_scatter(statistic: str) -> PactError:
    return PactError(
        f"{statistic} needs scatter: all values of a set are equal",
        "the meter's steps are too coarse for these runs: make them longer",
    )


def _taken_as_independent(sets: tuple[Array, Array], said: str | None) -> dict[str, Any]:
    """Return size and note of a test that takes runs as independent, with what speaks against."""
    counts = counts_of(sets)
    each = [moments(x) for x in sets]
    close = any("autocorrelation" in one.note for one in each)
    hint = "autocorrelated runs, taken as independent: approximate" if close else None
    return {
        "n": counts,
        "n_eff": tuple(float(count) for count in counts),
        "note": "; ".join(filter(None, (said, hint))) or None,
    }


def _can_be_significant(ways: int, statistic: str, needed: int) -> None:
    if 2 / ways > LEVEL:
        raise PactError(
            f"{statistic} of so few values can never tell two sets apart at 5 %",
            f"use at least {needed} values in each set",
        )


def _cliff_ends(new: Array, base: Array, delta: float) -> tuple[float, float]:
    """Return the ends of the 95 % interval of Cliff's delta."""
    n, m = new.size, base.size
    factor = float(special.stdtrit(n + m - 2, TAIL))
    if abs(delta) == 1:  # no overlap: there is no variance to go by (Feng and Cliff 2004)
        near = (min(n, m) - factor**2) / (min(n, m) + factor**2)
        return (near, 1.0) if delta > 0 else (-1.0, -near)
    below = np.searchsorted(np.sort(base), new, "left")
    above = m - np.searchsorted(np.sort(base), new, "right")
    rows = (below - above) / m
    over = n - np.searchsorted(np.sort(new), base, "right")
    columns = (over - np.searchsorted(np.sort(new), base, "left")) / n
    squares = float((below + above).sum()) - n * m * delta**2
    by_row, by_column = (float(((each - delta) ** 2).sum()) for each in (rows, columns))
    variance = (m**2 * by_row + n**2 * by_column - squares) / (n * m * (n - 1) * (m - 1))
    variance = max(variance, (1 - delta**2) / (n * m - 1))  # the unbiased one can be negative
    reach = factor * math.sqrt(variance * ((1 - delta**2) ** 2 + factor**2 * variance))
    scale = 1 - delta**2 + factor**2 * variance
    centre = delta - delta**3
    return (centre - reach) / scale, (centre + reach) / scale
