"""Sets of runs described and compared: all of the figures that `pactmeter compare` prints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from pactmeter.analysis.stats.intervals import Estimate, mean_interval, olympic_mean
from pactmeter.analysis.stats.moments import checked, moments
from pactmeter.analysis.stats.pairs import two_sets
from pactmeter.analysis.stats.sets import difference, effect_size, ratio
from pactmeter.analysis.stats.significance import (
    LEVEL,
    Equivalence,
    Significance,
    equivalence,
    holm,
    mann_whitney,
    permutation_test,
    t_test,
)
from pactmeter.errors import ConfigError, PactError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_Figure = TypeVar("_Figure")

TESTS = ("mann-whitney", "permutation")
"""Names of the tests that are done on request."""


@dataclass(frozen=True, slots=True)
class SetSummary:
    """One set of runs.

    Attributes:
        mean: Mean with its interval.
        spread: Standard deviation of the runs, in the unit of the values.
        half_pct: Half the width of the mean's interval, in percent of the mean; None for a mean
            of zero.
        olympic: Mean without the best and the worst run; None under five runs.
    """

    mean: Estimate
    spread: float
    half_pct: float | None
    olympic: Estimate | None


@dataclass(frozen=True, slots=True)
class SetsCompared:
    """Two sets of runs side by side.

    Attributes:
        new: The runs of a variant.
        base: The runs that it is compared with.
        difference: Mean of ``new`` less that of ``base``, in the unit of the values.
        ratio: How many times ``new`` is ``base``.
        effect: Hedges' g.
        t_test: Whether the means differ: Welch's t, or the paired t.
        p_value: That of ``t_test``, corrected for ``comparisons`` after Holm.
        comparisons: Number of comparisons made at once.
        equivalence: Whether they are the same within a margin; None where none was stated.
        ranks: Mann-Whitney's test, on request.
        cliff: Cliff's delta, on request.
        permutation: Permutation test, on request.
        left_out: Why a figure is None that was not left out by choice.
    """

    new: SetSummary
    base: SetSummary
    difference: Estimate
    ratio: Estimate | None
    effect: Estimate | None
    t_test: Significance | None
    p_value: float | None
    comparisons: int
    equivalence: Equivalence | None
    ranks: Significance | None
    cliff: Estimate | None
    permutation: Significance | None
    left_out: tuple[str, ...]

    @property
    def differ(self) -> bool | None:
        """Whether a difference is shown at 5 %: by the test, and by the interval; None untested.

        Both must say so, lest a difference is claimed beside an interval that holds zero.
        """
        if self.p_value is None:
            return None
        return self.p_value < LEVEL and not self.difference.low <= 0 <= self.difference.high

    @property
    def verdict(self) -> str:
        """What is shown, in words for a reader."""
        if self.differ is None:
            return "not tested: the runs do not scatter"
        same = self.equivalence is not None and self.equivalence.equivalent
        margin = f"within {self.equivalence.margin_pct:g} %" if self.equivalence else ""
        if self.differ:
            return f"different, but the same {margin}" if same else "different"
        return f"the same {margin}" if same else "neither a difference nor equality is shown"


def describe_set(values: Sequence[float]) -> SetSummary:
    """Return mean, interval and spread of one set of runs.

    Args:
        values: One figure of each run, in one unit, in the order in which they were measured.

    Raises:
        PactError: There are fewer than two runs, or one has no finite figure.
    """
    mean = mean_interval(values)
    array = checked(values, 2, "a set of runs")
    half = (mean.high - mean.low) / 2
    return SetSummary(
        mean=mean,
        spread=moments(array).spread,
        half_pct=100 * half / abs(mean.value) if mean.value else None,
        olympic=olympic_mean(values) if array.size >= 5 else None,
    )


def compare_sets(
    new: Sequence[float],
    base: Sequence[float],
    *,
    margin_pct: float | None = None,
    paired: bool = False,
    tests: Collection[str] = (),
) -> SetsCompared:
    """Return by how much two sets of runs differ, and whether that is more than chance.

    Args:
        new: One figure of each run of a variant, in the order in which they were measured.
        base: One figure of each run that it is compared with, in the same unit.
        margin_pct: Largest difference that counts as none, in percent: tests for equivalence.
        paired: Whether the n-th of both belong together (run side by side or in turns).
        tests: Further tests, of `TESTS`.

    Raises:
        ConfigError: A test is unknown or cannot take pairs, or the margin is impossible.
        PactError: There are fewer runs than what was asked for needs (it says how many), one has
            no finite figure, or pairs are incomplete.
    """
    for name in tests:
        if name not in TESTS:
            raise unknown_name("test", name, TESTS)
    if paired and "mann-whitney" in tests:
        raise ConfigError("a Mann-Whitney test takes no pairs", "use the permutation test")
    two_sets(new, base, "a comparison", paired=paired)
    ranks, cliff = mann_whitney(new, base) if "mann-whitney" in tests else (None, None)
    permuted = permutation_test(new, base, paired=paired) if "permutation" in tests else None
    left_out: list[str] = []
    tested = _or_said(left_out, lambda: t_test(new, base, paired=paired))
    return SetsCompared(
        new=describe_set(new),
        base=describe_set(base),
        difference=difference(new, base, paired=paired),
        ratio=_or_said(left_out, lambda: ratio(new, base, paired=paired)),
        effect=_or_said(left_out, lambda: effect_size(new, base, paired=paired)),
        t_test=tested,
        p_value=tested.p_value if tested else None,
        comparisons=1,
        equivalence=None
        if margin_pct is None
        else _or_said(
            left_out, lambda: equivalence(new, base, margin_pct=margin_pct, paired=paired)
        ),
        ranks=ranks,
        cliff=cliff,
        permutation=permuted,
        left_out=tuple(left_out),
    )


def compare_many(
    variants: Mapping[str, Sequence[float]],
    base: Sequence[float],
    *,
    margin_pct: float | None = None,
    paired: bool = False,
    tests: Collection[str] = (),
) -> dict[str, SetsCompared]:
    """Return each of many variants compared with one base, its p-value corrected after Holm.

    So all of them together give one false alarm in twenty studies. Equivalence is not corrected:
    it is stated for each variant on its own. Arguments and errors are those of `compare_sets`.
    """
    found = {
        name: compare_sets(values, base, margin_pct=margin_pct, paired=paired, tests=tests)
        for name, values in variants.items()
    }
    given = {name: one.p_value for name, one in found.items() if one.p_value is not None}
    if given:
        corrected = zip(given, holm(list(given.values())), strict=True)
        for name, p_value in corrected:
            found[name] = replace(found[name], p_value=p_value, comparisons=len(given))
    return found


def _or_said(left_out: list[str], figure: Callable[[], _Figure]) -> _Figure | None:
    """Return a figure; or None where the data do not allow it, with the reason said."""
    try:
        return figure()
    except ConfigError:
        raise
    except PactError as error:
        left_out.append(error.message)
        return None
