"""Uncertainties without a model of the errors: from parts of the data against each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_STUDENT_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


def student_95(degrees: int) -> float:
    """Return the factor of a 95 % interval for a number of degrees of freedom (1 or more).

    >>> student_95(1), student_95(9), student_95(100)
    (12.706, 2.262, 2.0)
    """
    return _STUDENT_95[degrees - 1] if degrees <= len(_STUDENT_95) else 2.0


def jackknife(items: Sequence[T], figure: Callable[[Sequence[T]], float], blocks: int) -> float:
    """Return the half-width of the 95 % interval of a figure, by leaving out a block at a time.

    Blocks of neighbours are left out together, so that errors that hang together do not look
    small. Infinite where there are fewer than two blocks.
    """
    size = max(1, math.ceil(len(items) / blocks))
    left_out = [
        figure([*items[:start], *items[start + size :]])
        for start in range(0, len(items), size)
        if len(items) > size
    ]
    return from_left_out(left_out)


def from_left_out(figures: Sequence[float]) -> float:
    """Return the half-width of the 95 % interval from the figures with one block left out each."""
    count = len(figures)
    if count < 2:
        return math.inf
    mean = sum(figures) / count
    variance = (count - 1) / count * sum((figure - mean) ** 2 for figure in figures)
    return student_95(count - 1) * math.sqrt(variance)
