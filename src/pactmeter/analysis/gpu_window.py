"""What stretch of time a reading of power is a mean over, found from a load of known times.

Each reading is compared with the share of time that the load was on in a window before it. The
window whose shares follow the readings best (least squares) is the one that the sensor averages
over. A first-order sensor, whose memory fades instead of ending, is tried against it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pactmeter.analysis.gpu_stats import from_left_out
from pactmeter.analysis.gpu_update import Unknown, Update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.sensors.gpu_load import Edge

    _Shares = Callable[["_Wave", Sequence[Update], float, float], list[float]]

BOXCAR, EXPONENTIAL, EITHER = "boxcar", "exponential", "boxcar or exponential"

_LENGTHS_S = (0.002, 3.0)
_RATIO = 1.25
_DELAYS_S = (-0.004, 0.0, 0.004, 0.01, 0.02, 0.04, 0.07, 0.1)
"""From the end of the window to the moment at which the reading can be seen."""
_MOST_UPDATES = 2500
_LEAST_UPDATES = 20
_LEAST_R2 = 0.5
_CLEARER = 0.8
"""Ratio of the squared residuals below which one shape is taken over the other."""
_CAUGHT = 0.02
"""A share between this and 1 less this: the window held an edge of the load."""
_LEAST_CAUGHT = 8
_BLOCKS = 8
_FINEST_S = 2e-5


@dataclass(frozen=True, slots=True)
class Window:
    """What a reading averages over.

    Attributes:
        shape: ``boxcar`` (a window with an end), ``exponential`` (a fading memory), or either.
        length_s: Length of the window, or the time constant, in seconds.
        u_s: Its uncertainty (k=2), in seconds.
        delay_s: From the end of the window to the reading, in seconds.
        explained_pct: Share of the readings' variance that the load explains, in percent.
        updates: How many readings it was found from.
    """

    shape: str
    length_s: float
    u_s: float
    delay_s: float
    explained_pct: float
    updates: int


class _Fit(NamedTuple):
    """A window and what it leaves of the readings' variance; the smallest is the best."""

    left: float
    length_s: float
    lag_s: float


class _Wave:
    """The load over time: on or off, and how long it has been on."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        self.times_s = [edge.time_s for edge in edges]
        self.states = [1.0 if edge.on else 0.0 for edge in edges]
        self._on_s = [0.0]
        for i in range(1, len(edges)):
            passed_s = self.times_s[i] - self.times_s[i - 1]
            self._on_s.append(self._on_s[-1] + self.states[i - 1] * passed_s)

    def on_s(self, time_s: float) -> float:
        """Return how long the load has been on until a time, in seconds."""
        i = bisect_right(self.times_s, time_s) - 1
        if i < 0:
            return 0.0
        return self._on_s[i] + self.states[i] * (time_s - self.times_s[i])


def _boxcar(wave: _Wave, updates: Sequence[Update], length_s: float, lag_s: float) -> list[float]:
    """Return the share of time that the load was on in the window of each reading."""
    on_s = wave.on_s
    end_s, start_s = lag_s - length_s / 2, lag_s + length_s / 2
    return [(on_s(t - end_s) - on_s(t - start_s)) / length_s for t, _ in updates]


def _exponential(
    wave: _Wave, updates: Sequence[Update], length_s: float, lag_s: float
) -> list[float]:
    """Return what a first-order sensor would show at each reading, between 0 and 1."""
    delay_s = lag_s - length_s
    shown, state, since_s, place = 0.0, 0.0, 0.0, 0
    found = []
    for update in updates:
        at_s = update.time_s - delay_s
        while place < len(wave.times_s) and wave.times_s[place] <= at_s:
            edge_s = wave.times_s[place]
            shown = state + (shown - state) * math.exp((since_s - edge_s) / length_s)
            state, since_s = wave.states[place], edge_s
            place += 1
        faded = math.exp((since_s - at_s) / length_s) if place else 1.0
        found.append(state + (shown - state) * faded)
    return found


def window(
    updates: Sequence[Update], edges: Sequence[Edge], period_s: float, unclear_s: float
) -> Window | Unknown:
    """Return what a reading averages over, or why that is unknown.

    Args:
        updates: Every renewal of the reading.
        edges: When the load was switched.
        period_s: How often the reading is renewed, in seconds.
        unclear_s: How exactly the times of updates and edges are known, in seconds.
    """
    first_s, last_s = edges[0].time_s - _LENGTHS_S[1], edges[-1].time_s + _LENGTHS_S[1]
    within = [update for update in updates if first_s <= update.time_s <= last_s]
    within = _thinned(within, _MOST_UPDATES)
    if len(within) < _LEAST_UPDATES:
        return Unknown(f"only {len(within)} updates under the load")
    wave = _Wave(edges)
    fits = {
        BOXCAR: _best(_boxcar, wave, within),
        EXPONENTIAL: _best(_exponential, wave, within),
    }
    shape = min(fits, key=fits.__getitem__)
    best = fits[shape]
    if 1 - best.left < _LEAST_R2:
        return Unknown("the reading does not follow the load")
    if best.length_s > 0.95 * _LENGTHS_S[1]:
        return Unknown(f"longer than {_LENGTHS_S[1]:.0f} s")
    shares = _boxcar if shape == BOXCAR else _exponential
    spread_s = from_left_out(_left_out(shares, wave, within, best))
    found = shares(wave, within, best.length_s, best.lag_s)
    caught = sum(_CAUGHT < share < 1 - _CAUGHT for share in found)
    is_clear = caught >= _LEAST_CAUGHT and (
        best.left < _CLEARER * max(fit.left for fit in fits.values())
    )
    if caught < _LEAST_CAUGHT:  # a short window: bounded by how seldom an edge falls into it
        spread_s += (1 + 2 * math.sqrt(caught + 1)) * period_s / len(edges)
    u_s = math.hypot(spread_s, unclear_s)
    delay_s = best.lag_s - (best.length_s / 2 if shape == BOXCAR else best.length_s)
    if delay_s < -2 * max(unclear_s, u_s):
        return Unknown("the readings came before their load: its times are wrong")
    return Window(
        shape if is_clear else EITHER,
        best.length_s,
        u_s,
        delay_s,
        100 * (1 - best.left),
        len(within),
    )


def _thinned(updates: list[Update], most: int) -> list[Update]:
    return updates[:: math.ceil(len(updates) / most)] if len(updates) > most else updates


def _left(shares: Sequence[float], updates: Sequence[Update]) -> float:
    """Return the share of the readings' variance that a straight line in the shares leaves."""
    count = len(updates)
    mean_share = sum(shares) / count
    mean_w = sum(update.value for update in updates) / count
    sxx = sxy = syy = 0.0
    for share, (_, value) in zip(shares, updates, strict=True):
        x, y = share - mean_share, value - mean_w
        sxx += x * x
        sxy += x * y
        syy += y * y
    if sxx <= 0.0 or syy <= 0.0 or sxy <= 0.0:
        return 1.0
    return 1.0 - sxy * sxy / (sxx * syy)


def _best(shares: _Shares, wave: _Wave, updates: list[Update]) -> _Fit:
    """Return the best window: a coarse search over all, then a fine one around the best."""
    few = _thinned(updates, _MOST_UPDATES // 5)
    fits = []
    length_s = _LENGTHS_S[0]
    while length_s < _LENGTHS_S[1]:
        middle_s = length_s / 2 if shares is _boxcar else length_s
        for delay_s in _DELAYS_S:
            lag_s = delay_s + middle_s
            fits.append(_Fit(_left(shares(wave, few, length_s, lag_s), few), length_s, lag_s))
        length_s *= _RATIO
    best = min(fits)
    return _refined(shares, wave, updates, best, (_RATIO - 1) * best.length_s)


def _refined(
    shares: _Shares, wave: _Wave, updates: Sequence[Update], start: _Fit, step_s: float
) -> _Fit:
    """Return the best window near another: steps in each direction, halved where none helps.

    Length and lag (of the window's middle) hardly depend on each other, so each may have its way.
    """

    def tried(length_s: float, lag_s: float) -> _Fit:
        length_s = min(max(length_s, _LENGTHS_S[0] / 4), _LENGTHS_S[1])
        return _Fit(_left(shares(wave, updates, length_s, lag_s), updates), length_s, lag_s)

    best = tried(start.length_s, start.lag_s)
    while step_s > max(_FINEST_S, 2e-4 * best.length_s):
        around = [
            tried(best.length_s + a * step_s, best.lag_s + b * step_s / 2)
            for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))
        ]
        better = min(around)
        if better.left < best.left:
            best = better
        else:
            step_s /= 2
    return best


def _left_out(shares: _Shares, wave: _Wave, updates: Sequence[Update], best: _Fit) -> list[float]:
    """Return the length found with one block of neighbours left out each, in seconds."""
    size = math.ceil(len(updates) / _BLOCKS)
    step_s = max(0.02 * best.length_s, 16 * _FINEST_S)
    return [
        _refined(shares, wave, [*updates[:i], *updates[i + size :]], best, step_s).length_s
        for i in range(0, len(updates), size)
    ]
