"""Numbers as short text: integers, byte planes, zlib, base64. ``page.js`` has the other side."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TICK_S = 1e-5
"""Step of times."""
_STEPS_A_WATT = 100
_NO_WATTS = -(2**31)
_NO_CODE = 2**16 - 1
_MOST_CODED = 2.0**58
_LEVEL = 6


def packed(values: NDArray[Any]) -> str:
    """Return integers as text; like bytes stand together, where zlib finds what repeats."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    planes = little.view(np.uint8).reshape(-1, little.itemsize).T
    return base64.b64encode(zlib.compress(planes.tobytes(), _LEVEL)).decode("ascii")


def ticks(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return times in steps of 10 us; 64 bits, as 32 last for six hours only."""
    return np.rint(times_s / TICK_S).astype(np.int64)


def watts(values_w: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return power in steps of 10 mW; what is not known is the smallest integer."""
    known = np.isfinite(values_w)
    steps = np.rint(np.where(known, values_w, 0.0) * _STEPS_A_WATT)
    return np.where(known, np.clip(steps, _NO_WATTS + 1, 2**31 - 1), _NO_WATTS).astype(np.int32)


def codes(counts: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return counts in 16 bits: exact below 2048, else their 11 leading bits (to 0.05 %).

    What is not known, or is no count, is the largest code.

    >>> codes(np.array([0.0, 7.0, 2047.0, 1e9, np.nan]))[:3].tolist()
    [0, 7, 2047]
    """
    known = (counts >= 0) & (counts < _MOST_CODED)
    whole = np.rint(np.where(known, counts, 0.0))
    shift = np.maximum(np.frexp(whole)[1] - 11, 0)
    leading = np.rint(np.ldexp(whole, -shift)).astype(np.int64)
    return np.where(known, (shift.astype(np.int64) << 10) + leading, _NO_CODE).astype(np.uint16)
