"""Two sets side by side: checked, and the difference of their means with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import special

from pactmeter.analysis.stats.moments import checked, moments
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.stats.moments import Array, Moments


@dataclass(frozen=True, slots=True)
class Gap:
    """Difference of two means.

    Attributes:
        value: Mean of the first set less that of the second, in the unit of the values.
        error: Its standard error, in the same unit.
        degrees: Degrees of freedom of ``error``.
        n_eff: Effective number of values of each set; of pairs, of their differences.
        note: Why the figures are approximate; None where nothing speaks against them.
    """

    value: float
    error: float
    degrees: float
    n_eff: tuple[float, ...]
    note: str | None

    def ends(self, tail: float) -> tuple[float, float]:
        """Return the ends of Student's interval, with a probability below the upper one."""
        half = float(special.stdtrit(self.degrees, tail)) * self.error
        return self.value - half, self.value + half


def two_sets(
    new: Sequence[float],
    base: Sequence[float],
    statistic: str,
    *,
    needed: int = 2,
    paired: bool = False,
    positive: bool = False,
) -> tuple[Array, Array]:
    """Return two sets as arrays, checked as `checked` does.

    Raises:
        PactError: As `checked`; or they are pairs and of different length.
    """
    sets = (
        checked(new, needed, f"{statistic} (first set)", positive=positive),
        checked(base, needed, f"{statistic} (second set)", positive=positive),
    )
    if paired and sets[0].size != sets[1].size:
        raise PactError(
            f"{statistic} of pairs needs as many values in both sets, "
            f"there are {sets[0].size} and {sets[1].size}",
            "leave out the runs without a partner, or compare unpaired",
        )
    return sets


def samples(sets: tuple[Array, Array], *, paired: bool) -> tuple[Array, ...]:
    """Return what scatters independently: the differences of the pairs, else both sets."""
    return (sets[0] - sets[1],) if paired else sets


def gap(sets: tuple[Array, Array], *, paired: bool) -> Gap:
    """Return the difference of the means of two sets.

    Unpaired, the degrees of freedom are Welch and Satterthwaite's; no two sets of runs are taken
    to scatter alike.
    """
    each = [moments(sample) for sample in samples(sets, paired=paired)]
    error = math.hypot(*(one.error for one in each))
    shares = [(one.error / error) ** 4 / one.degrees for one in each] if error > 0 else []
    return Gap(
        value=each[0].mean if paired else each[0].mean - each[1].mean,
        error=error,
        degrees=1 / sum(shares) if shares else min(one.degrees for one in each),
        n_eff=tuple(one.n_eff for one in each),
        note=note(each),
    )


def note(each: Sequence[Moments]) -> str | None:
    """Return what there is to say on some sets, each thing once."""
    return "; ".join(dict.fromkeys(one.note for one in each if one.note)) or None


def counts_of(sets: tuple[Array, Array]) -> tuple[int, int]:
    """Return the number of values in each of two sets."""
    return sets[0].size, sets[1].size
