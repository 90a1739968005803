"""What the data of a fit must be: numbers, enough of them, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pactmeter.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MOST = 1e15
"""No watts, joules or seconds of a machine are more; sums of squares stay finite."""


def numbers(
    name: str, values: ArrayLike, *, least: int, negative: bool = False
) -> NDArray[np.float64]:
    """Return a column of finite numbers.

    Args:
        name: What the column is, for the error.
        values: The column.
        least: How many values are needed.
        negative: Whether they may be negative, as times may.

    Raises:
        ConfigError: It is not a plain column, holds what is no number, or too few.
    """
    try:
        given = np.asarray(values)
        column = given.astype(np.float64) if given.dtype.kind not in "cmMV" else np.empty((0, 0))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{name}: not all are numbers ({error})") from error
    if column.ndim != 1:
        raise ConfigError(f"{name}: needs one plain column of numbers")
    if len(column) < least:
        raise ConfigError(f"{name}: {len(column)} values, at least {least} are needed")
    bad = np.flatnonzero(~np.isfinite(column))
    if len(bad):
        raise ConfigError(
            f"{name}: value {bad[0] + 1} of {len(column)} is {column[bad[0]]}",
            "leave rows without a value out",
        )
    if np.abs(column).max() > _MOST:
        raise ConfigError(f"{name}: {np.abs(column).max():g} is no possible value")
    if not negative and column.min() < 0:
        at = int(column.argmin())
        raise ConfigError(f"{name}: value {at + 1} of {len(column)} is negative ({column[at]:g})")
    return column


def same_length(**columns: NDArray[np.float64]) -> None:
    """Check that columns belong together row by row.

    Raises:
        ConfigError: One is longer than another.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ConfigError(f"columns of different length: {told}")


def rising(name: str, times_s: NDArray[np.float64]) -> None:
    """Check that each time is after the one before.

    Raises:
        ConfigError: Times repeat or run backwards.
    """
    steps_s = np.diff(times_s)
    wrong = np.flatnonzero(steps_s <= 0)
    if len(wrong):
        what = "the same time as" if steps_s[wrong[0]] == 0 else "earlier than"
        raise ConfigError(
            f"{name}: time {wrong[0] + 2} of {len(times_s)} is {what} the one before",
            "sort the rows by time and keep one for each time",
        )
