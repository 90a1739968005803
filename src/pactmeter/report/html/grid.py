"""Rows of a table as points of a plot: all of them, or an envelope where there are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUCKETS = 4000
_MOST_WHOLE_ROWS = 20_000
"""Rows beside region borders that stay single within an envelope."""
_MOST_BESIDE = 500
_LEAST_PAUSE_S = 1e-3
_MOST_PAUSES = 5000


@dataclass(frozen=True, slots=True)
class Grid:
    """Stretches of time, in order.

    Attributes:
        start_s: Where each begins, in seconds since the run's start.
        end_s: Where it ends.
        pauses: Of each, whether nothing was measured right before it; of the first it is True.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    pauses: NDArray[np.bool_]


def grid(start_s: NDArray[np.float64], length_s: NDArray[np.float64]) -> Grid:
    """Return the grid of some rows; times of a damaged file that go backwards stand still."""
    start_s = np.maximum.accumulate(np.nan_to_num(start_s))
    end_s = start_s + np.maximum(np.nan_to_num(length_s), 0.0)
    end_s[:-1] = np.minimum(end_s[:-1], start_s[1:])
    skipped_s = start_s[1:] - end_s[:-1]
    least_s = _LEAST_PAUSE_S
    if np.count_nonzero(skipped_s > least_s) > _MOST_PAUSES:
        least_s = float(np.partition(skipped_s, -_MOST_PAUSES)[-_MOST_PAUSES])
    return Grid(start_s, end_s, np.concatenate([[True], skipped_s > least_s]))


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope's grid, and which rows each of its stretches is made of.

    Attributes:
        grid: The stretches.
        first: Index of the first row of each.
        length_s: Length of each row, in seconds: its weight in a mean.
    """

    grid: Grid
    first: NDArray[np.int64]
    length_s: NDArray[np.float64]

    def of(
        self, values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return smallest, mean and largest value of each stretch; NaN where none is known."""
        known = np.isfinite(values)
        weights = np.where(known, self.length_s, 0.0)
        sums = np.add.reduceat(np.where(known, values, 0.0) * weights, self.first)
        known_s = np.add.reduceat(weights, self.first)
        with np.errstate(invalid="ignore", divide="ignore"):
            low = np.fmin.reduceat(values, self.first)
            high = np.fmax.reduceat(values, self.first)
            return low, np.where(known_s > 0, sums / known_s, np.nan), high


def envelope(rows: Grid, borders_s: list[float]) -> Envelope:
    """Return some 4000 stretches in place of the rows; beside region borders each row stays."""
    span_s = float(rows.end_s[-1] - rows.start_s[0]) or 1.0
    bucket_s = span_s / BUCKETS
    middle_s = (rows.start_s + rows.end_s) / 2
    bucket = np.floor((middle_s - rows.start_s[0]) / bucket_s).astype(np.int64)
    alone = _beside(rows, borders_s)
    begins = np.concatenate([[True], np.diff(bucket) != 0]) | alone
    begins[1:] |= alone[:-1]
    begins[1:] |= rows.start_s[1:] - rows.end_s[:-1] > bucket_s
    first = np.flatnonzero(begins)
    last = np.concatenate([first[1:], [len(begins)]]) - 1
    start_s, end_s = rows.start_s[first], rows.end_s[last]
    pauses = np.concatenate([[True], start_s[1:] - end_s[:-1] > bucket_s])
    return Envelope(Grid(start_s, end_s, pauses), first, rows.end_s - rows.start_s)


def _beside(rows: Grid, borders_s: list[float]) -> NDArray[np.bool_]:
    """Tell which rows are so near to a border that they stay single."""
    count = len(rows.start_s)
    alone = np.zeros(count, dtype=np.bool_)
    if not borders_s:
        return alone
    beside = min(_MOST_BESIDE, _MOST_WHOLE_ROWS // (2 * len(borders_s)))
    if beside < 2:  # so many borders show in the envelope, or nowhere
        return alone
    for k in np.searchsorted(rows.start_s, np.asarray(sorted(borders_s))):
        alone[max(0, int(k) - beside) : int(k) + beside] = True
    return alone
