"""Whether readings follow a burst, or only look as if: against bursts that never were.

The times of a burst are drawn at random, so others were as likely. Readings that have nothing to do
with the load follow it no better than those (randomisation test: Edgington and Onghena,
Randomization Tests, 4th ed., 2007), whatever they look like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.signal import detrend

from pactmeter.analysis.sync.search import LAGS_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.sync.burst import Phase

Floats = NDArray[np.float64]

_OTHERS = 199
_STEP_S = 0.1
_SEED = 20


def chance(times_s: Floats, power_w: Floats, phases: Sequence[Phase]) -> float:
    """Return how likely readings without any relation would follow a burst at least so well.

    How well is the highest correlation with the load at any lag; a sensor that averages lowers it
    little.

    Args:
        times_s: The middle of each reading, in seconds, in order.
        power_w: The readings, in watts.
        phases: When the load was on, in order of time.

    Returns:
        A probability, not below 1/200.
    """
    edges_s = np.array(phases).ravel()
    grid_s = np.arange(times_s[0], times_s[-1], _STEP_S)
    random = np.random.default_rng(_SEED)
    dwells_s = random.choice(np.diff(edges_s), (_OTHERS, 4 * len(edges_s)))
    firsts_s = random.uniform(grid_s[0] - 8.0, grid_s[0], (_OTHERS, 1))
    others_s = np.concatenate((firsts_s, firsts_s + np.cumsum(dwells_s, axis=1)), axis=1)
    loads = np.stack([_load(one_s, grid_s) for one_s in (edges_s, *others_s)])
    loads -= loads.mean(axis=1, keepdims=True)
    shown_w = detrend(np.interp(grid_s, times_s, power_w))
    size = 2 * len(grid_s)
    joint = np.fft.irfft(np.fft.rfft(shown_w, size) * np.fft.rfft(loads, size).conj(), size)
    lags = np.arange(round(LAGS_S[0] / _STEP_S), round(LAGS_S[1] / _STEP_S))
    best = joint[:, lags].max(axis=1) / np.maximum(loads.std(axis=1), 1e-9)
    return float(np.mean(best >= best[0] - 1e-9 * abs(best[0])))


def _load(edges_s: Floats, grid_s: Floats) -> Floats:
    return (np.searchsorted(edges_s, grid_s, side="right") % 2).astype(np.float64)
