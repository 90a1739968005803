"""Pairs compared by their log ratio: an interval, how many pairs it takes, and when to stop.

Runs of a pair follow one another, so that what drifts slowly (the room, the fans) is in both alike
and cancels in their ratio; the pairs' log ratios scatter by what is left, and Student's t of them
gives the interval.

A comparison that may stop before its last pair stops on the *width* of the interval alone: at the
first pair, from `FIRST_LOOK` on, where it is as narrow as wanted. Whether B looks better or worse
has no part in that: of normal values the mean is independent of all the scatter seen so far, so
that stopping favours no outcome (Anscombe, Sequential estimation, J. R. Stat. Soc. B 15, 1953; Chow
and Robbins, Ann. Math. Stat. 36, 1965). What remains is that one stops when the scatter happens to
look small, and the interval is then too narrow (Starr, Ann. Math. Stat. 37, 1966). So it is taken
at `CONFIDENCE_UNTIL` instead of 95 %, with which at least 95 % hold the truth whatever the scatter
and the wanted width are, and the two one-sided tests of a margin at `ONE_SIDED_UNTIL` instead of
90 %, with which each errs in 5 % at most: tests/exact/test_ab_rule.py computes both. That goes for
every figure, not only for the one that decides: energy per unit of the same work has its scatter.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from pactmeter.analysis import combined
from pactmeter.analysis.stats.pairs import gap, two_sets
from pactmeter.analysis.stats.sets import antilogs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.model.energy import Energy

CONFIDENCE = 0.95
CONFIDENCE_UNTIL = 0.97
"""Nominal confidence of an interval at which a comparison may stop early; see above."""
ONE_SIDED, ONE_SIDED_UNTIL = 0.90, 0.935
"""Confidence of the interval that goes with two one-sided tests at 5 % (Schuirmann 1987), and the
nominal one where a comparison may stop early."""
FIRST_LOOK = 6
"""Pairs before a comparison may stop early."""
MOST_PAIRS = 1000
"""Nobody is told of more pairs than these."""

_BY_CHANCE = ("sampling", "gaps", "duty")
"""Items that err by another amount in every run, a load and a sensor not being in step: they are in
the scatter of the pairs already."""
_ALIKE = ("edges", "late", "lag")
"""Items that err the same way in every run, by the same time or share of it."""


@dataclass(frozen=True, slots=True)
class Paired:
    """One figure of two commands, compared pair by pair.

    Attributes:
        unit: Of ``a`` and ``b``.
        a: Mean of A's runs.
        b: Mean of B's runs.
        n: Number of pairs.
        value: How many times A's figure B's is: the geometric mean of the pairs' ratios.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Of the paired t test of the log ratios; None where they do not scatter.
        spread_pct: Standard deviation of the pairs' log ratios, in percent.
        left_pct: What the sensor's own errors leave of themselves in the ratio (k=2), in percent of
            it; part of the interval. None where that is unknown.
        half_pct: Half the width of the interval, in percent of the ratio.
        same: Whether B is A within the margin that was stated; None where none was.
        note: Why the interval is approximate; None where nothing speaks against it.
    """

    unit: str
    a: float
    b: float
    n: int
    value: float
    low: float
    high: float
    p_value: float | None
    spread_pct: float
    left_pct: float | None
    half_pct: float
    same: bool | None
    note: str | None

    @property
    def differ(self) -> bool:
        """Whether a difference is shown: the interval does not hold 1."""
        return self.p_value is not None and not self.low <= 1 <= self.high

    @property
    def change_pct(self) -> float:
        """How much more than A's figure B's is, in percent."""
        return 100 * (self.value - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "differ": self.differ, "change_pct": self.change_pct}


def paired(
    new: Sequence[float],
    base: Sequence[float],
    unit: str,
    *,
    left_pct: float | None = 0.0,
    margin_pct: float | None = None,
    may_stop: bool = False,
) -> Paired:
    """Return one figure of two commands compared.

    Args:
        new: B's figure in each pair, above zero.
        base: A's, in the same order.
        unit: Their unit.
        left_pct: What the sensor's own errors leave in the ratio (k=2), in percent; None: unknown.
        margin_pct: Largest difference that counts as none, in percent.
        may_stop: Whether the comparison may stop as soon as a figure of it is narrow enough.

    Raises:
        PactError: There are fewer than two pairs, or a value is not above zero.
    """
    sets = two_sets(new, base, "a comparison of pairs", paired=True, positive=True)
    found = gap((np.log(sets[0]), np.log(sets[1])), paired=True)
    confidence = CONFIDENCE_UNTIL if may_stop else CONFIDENCE
    left = (left_pct or 0.0) / 100
    half = math.hypot(_half(found.error, found.degrees, confidence), left)
    low, high = antilogs(found.value - half, found.value + half)
    same = None
    if margin_pct is not None:
        one_sided = ONE_SIDED_UNTIL if may_stop else ONE_SIDED
        within = math.hypot(_half(found.error, found.degrees, one_sided), left)
        ends = antilogs(found.value - within, found.value + within)
        same = ends[0] > 1 - margin_pct / 100 and ends[1] < 1 + margin_pct / 100
    n = sets[0].size
    p_value = None
    if found.error > 0:
        p_value = 2 * float(special.stdtr(found.degrees, -abs(found.value) / found.error))
    return Paired(
        unit=unit,
        a=float(sets[1].mean()),
        b=float(sets[0].mean()),
        n=n,
        value=math.exp(found.value),
        low=low,
        high=high,
        p_value=p_value,
        spread_pct=100 * found.error * math.sqrt(n),
        left_pct=left_pct,
        half_pct=100 * half,
        same=same,
        note=found.note,
    )


def _half(error: float, degrees: float, confidence: float) -> float:
    return float(special.stdtrit(degrees, (1 + confidence) / 2)) * error


def pairs_for(found: Paired, half_pct: float, *, may_stop: bool = False) -> int | None:
    """Return how many pairs would make the interval so narrow, at the scatter seen so far.

    Args:
        found: What the pairs gave so far.
        half_pct: The wanted half-width, in percent of the ratio.
        may_stop: As of `paired`.

    Returns:
        The number of pairs in all; None where no number would do: what the sensor's own errors
        leave is no less, or it would take more than `MOST_PAIRS`.
    """
    n = np.arange(2, MOST_PAIRS + 1)
    confidence = CONFIDENCE_UNTIL if may_stop else CONFIDENCE
    times = special.stdtrit(n - 1, (1 + confidence) / 2) / np.sqrt(n)
    enough = np.hypot(times * found.spread_pct, found.left_pct or 0.0) <= half_pct
    return int(n[np.argmax(enough)]) if enough.any() else None


def remaining_pct(pairs: Sequence[tuple[Energy, Energy]]) -> float | None:
    """Return what the sensor's own errors leave in the ratio of two energies (k=2), in percent.

    The sensor is the same in both, so its gain cancels, and what it does at the edges of a run
    counts by as much as both runs differ in it. What errs by chance is no part of it: that is in
    the scatter of the pairs. Of several pairs the median.

    Args:
        pairs: B's energy and A's, pair by pair.

    Returns:
        None where the uncertainty of an energy is unknown.
    """
    found = []
    for new, base in pairs:
        if new.u_j is None or base.u_j is None:
            return None
        ratio = combined.ratio(_lasting(new), _lasting(base), same_sensor=True)
        found.append(100 * (ratio.u or 0.0) / ratio.value)
    return statistics.median(found)


def _lasting(energy: Energy) -> Energy:
    """Return an energy with what errs alike in every run as its budget."""
    kept = []
    for item in energy.budget:
        kind = item.name.rpartition(" ")[2]  # that of a sum has its domain in front
        if kind not in _BY_CHANCE:
            kept.append(replace(item, is_systematic=True) if kind in _ALIKE else item)
    return energy.with_budget(tuple(kept))
