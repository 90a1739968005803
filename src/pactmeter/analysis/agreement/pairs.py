"""Two sources over the same windows of several runs, checked once for all statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

Array: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
ENOUGH_RUNS = 5
"""From so many runs on, each run is one observation; fewer are cut into segments."""
SEGMENTS = 10
LEAST_W, MOST_W = 1e-6, 1e12
"""Below the one a power is as good as none; above the other it is no power of any machine."""
NO_POWER = f"a power is negative, or more than {MOST_W:g} W"
WHICH_CHANNEL = "`pactmeter report` says which channel is faulty"
_LONGER = "compare longer windows, or only those in which both sources draw power"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a sample and the 95 % interval in which that of the population lies.

    Attributes:
        value: The figure.
        interval: Lower and upper end.
    """

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Mean powers of two sources over the same windows, in watts, run by run; see `pair`.

    Attributes:
        reference_w: What is compared with: an array for each run.
        source_w: What is compared.
        left_out: Windows without a reading of one of the two.
        unit: What each array is of: ``runs`` or ``segments``.
    """

    reference_w: tuple[Array, ...]
    source_w: tuple[Array, ...]
    left_out: int = 0
    unit: str = "runs"

    @property
    def windows(self) -> int:
        """How many windows there are in all runs."""
        return sum(len(run) for run in self.reference_w)

    def independent(self) -> Pairs:
        """Return the pairs in units that err independently: the runs, or segments of few runs.

        Neighbouring windows err alike, so they are no independent observations. Segments that are
        long against that memory are (batch means; Law & Kelton, Simulation Modeling, ch. 9); how
        runs differ from one another is not in what they say.

        Raises:
            PactError: There are fewer than `ENOUGH_RUNS` runs, and too few windows for segments.
        """
        runs = len(self.reference_w)
        if runs >= ENOUGH_RUNS or self.unit != "runs":
            return self
        each = -(-SEGMENTS // runs)
        fewest = min(run.size for run in self.reference_w)
        if fewest < 2 * each:
            raise PactError(
                f"{runs} run{'s' * (runs > 1)} of {fewest} windows say nothing of how sure it is",
                f"{ENOUGH_RUNS} runs are needed, or {2 * each} windows of each run:"
                " shorter spans (--span), or longer runs",
            )
        return Pairs(
            tuple(part for run in self.reference_w for part in np.array_split(run, each)),
            tuple(part for run in self.source_w for part in np.array_split(run, each)),
            self.left_out,
            "segments",
        )

    def log_ratios(self) -> list[Array]:
        """Return ln(source / reference) of every window, run by run.

        Raises:
            PactError: A power is zero, so that there is no ratio.
        """
        zeros = sum(
            int(np.count_nonzero((x <= 0) | (y <= 0)))
            for x, y in zip(self.reference_w, self.source_w, strict=True)
        )
        if zeros:
            raise PactError(f"0 W in {zeros} of {self.windows} windows: there is no ratio", _LONGER)
        return [np.log(y) - np.log(x) for x, y in zip(self.reference_w, self.source_w, strict=True)]


def plausible(power_w: Array) -> bool:
    """Return whether all readings could be powers of a machine; NaN is none."""
    known = power_w[~np.isnan(power_w)]
    return bool(((known >= 0) & (known <= MOST_W)).all())


def pair(reference_w: Sequence[Sequence[float]], source_w: Sequence[Sequence[float]]) -> Pairs:
    """Return the windows in which both sources have a reading (NaN: none), run by run.

    Args:
        reference_w: Mean powers in watts: one sequence for each run, one figure for each window.
        source_w: Those of the other source, in the same runs and windows.

    Raises:
        PactError: The runs or windows are not the same, a power is negative or absurd, or there is
            no window in which both have a reading.
    """
    if len(reference_w) != len(source_w):
        raise PactError(
            f"{len(reference_w)} runs of one source, {len(source_w)} of the other",
            "compare sources of the same runs",
        )
    kept: list[tuple[Array, Array]] = []
    left_out = 0
    for number, (first, second) in enumerate(zip(reference_w, source_w, strict=True), 1):
        x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
        if x.ndim != 1 or x.shape != y.shape:
            raise PactError(
                f"run {number}: {x.size} windows of one source, {y.size} of the other",
                "compare sources over the same windows",
            )
        known = ~(np.isnan(x) | np.isnan(y))
        x, y = x[known], y[known]
        if not all(plausible(each) for each in (x, y)):
            raise PactError(f"run {number}: {NO_POWER}", WHICH_CHANNEL)
        x, y = np.where(x < LEAST_W, 0, x), np.where(y < LEAST_W, 0, y)
        left_out += known.size - x.size
        if x.size:
            kept.append((x, y))
    if not kept:
        raise PactError("there is no window in which both sources have a reading")
    return Pairs(tuple(x for x, _ in kept), tuple(y for _, y in kept), left_out)


def jackknife(value: float, left_out: Array, degrees: int) -> Estimate:
    """Return a figure with the interval from the figures with one unit left out each.

    Args:
        value: The figure of all units.
        left_out: The figures without the first unit, without the second and so on.
        degrees: Degrees of freedom of Student's t.
    """
    n = left_out.size
    error = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    return Estimate(value, (value - margin, value + margin))
