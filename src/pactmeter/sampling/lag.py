"""What a lagging gauge still owes when a call ends, from the polls around the call's two edges.

A first-order sensor of time constant tau shows y with ``P = y + tau * dy/dt``, so over a call
``energy = integral of y + tau * (y at its end - y at its start)``. Once the load has gone, the
readings fall like an exponential, and that tells tau: from the polls after the call, no data sheet.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.sampling.series import Poll

_TAUS_S = [0.05 * 1.06**k for k in range(52)]  # to 1 s
"""The shortest is half of what lies between two polls: what falls faster has fallen by the second
poll, and what remains then is the machine settling."""
_LEAST_POINTS = 4
_LEAST_STEPS = 6.0
"""A fall of fewer steps of the sensor's resolution tells nothing."""
_MISFIT = 0.03
"""Readings may miss the exponential by this share of the fall, or by one step."""
_QUICKER = 0.35
"""How much more of its rise than the lag allows a sensor may show at the first poll of a call."""
_TAUS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of one gauge in one call.

    Attributes:
        tau_s: Time constant, in seconds.
        energy_j: What the readings inside the call miss, in joules; negative: have too much.
    """

    tau_s: float
    energy_j: float


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A call that the next one followed too soon for a lag to show.

    Attributes:
        rise_w: How much more its gauge showed at its end than at its start, in watts.
        held_j: What its readings have too little (negative: too much) where the first and the last
            were held to the edges, if the gauge lags, in joules.
    """

    rise_w: float
    held_j: float


@dataclass(slots=True)
class Lags:
    """The lags of one gauge in all calls of a run.

    The lag is the sensor's: what some calls show of it holds for those that could show nothing.

    Attributes:
        found: In how many calls it was found to lag.
        refused: In how many it was not, though there was time to see it.
        unjudged: How many were too close to the next.
    """

    found: int = 0
    refused: int = 0
    unjudged: int = 0
    _found_j: float = 0.0
    _rise_w: float = 0.0
    _held_j: float = 0.0
    _taus_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TAUS_KEPT))

    def add(self, seen: Lag | Unjudged | None) -> None:
        """Take in what a call has shown."""
        if isinstance(seen, Lag):
            self.found += 1
            self._found_j += seen.energy_j
            self._taus_s.append(seen.tau_s)
        elif isinstance(seen, Unjudged):
            self.unjudged += 1
            self._rise_w += seen.rise_w
            self._held_j += seen.held_j
        else:
            self.refused += 1

    @property
    def tau_s(self) -> float | None:
        """Median time constant of the latest calls, in seconds; None if there is none."""
        return statistics.median(self._taus_s) if self._taus_s else None

    @property
    def calls(self) -> int:
        """How many calls `energy_j` is of."""
        return self.found + (self.unjudged if self._holds_for_all else 0)

    @property
    def energy_j(self) -> float:
        """What the readings of these calls miss, in joules."""
        if self.tau_s is None or not self._holds_for_all:
            return self._found_j
        return self._found_j + self.tau_s * self._rise_w + self._held_j

    @property
    def _holds_for_all(self) -> bool:
        return self.found > self.refused


_Point = tuple[float, float]
_Fall = tuple[float, float, float]
"""Time constant in seconds, height of the fall and level it ends at, in watts."""


def seen_lag(
    opening: Sequence[Poll],
    inside: Sequence[Poll],
    closing: Sequence[Poll],
    times_s: tuple[float, float],
    step_w: float,
) -> Lag | Unjudged | None:
    """Return the lag that the polls around a call show; None if they show none.

    Args:
        opening: The poll of the opening edge and the first ones inside the call.
        inside: The first and the last poll inside the call; empty where there is none.
        closing: The poll of the closing edge and those after the call.
        times_s: When the call started and ended.
        step_w: Resolution of the gauge, in watts.
    """
    start_s, end_s = times_s
    before, after = _points(opening, start_s), _points(closing, end_s)
    if not before or not after:
        return None
    if len(after) < _LEAST_POINTS:
        start_w, end_w = before[0][1], after[0][1]
        return Unjudged(end_w - start_w, _held_j((start_w, end_w), times_s, inside))
    fall = _fit(after, step_w)
    if fall is None:
        return None
    tau_s, height_w, level_w = fall
    if _is_quicker(before, tau_s, step_w):
        return None  # what fell so slowly was the machine, not the sensor
    at_start_w, at_end_w = _at_start_w(before, tau_s), level_w + height_w
    missing_j = tau_s * (at_end_w - at_start_w)
    return Lag(tau_s, missing_j + _held_j((at_start_w, at_end_w), times_s, inside))


def _held_j(
    edges_w: tuple[float, float], times_s: tuple[float, float], inside: Sequence[Poll]
) -> float:
    """Return what a series misses that holds its first and last reading to the call's edges.

    A sensor that lags does not jump there.
    """
    return sum(
        (edge_w - (poll.value or 0.0)) / 2 * abs(poll.time_s - edge_s)
        for edge_w, edge_s, poll in zip(edges_w, times_s, inside, strict=False)
    )


def _points(polls: Sequence[Poll], zero_s: float) -> list[_Point]:
    return [(p.time_s - zero_s, p.value) for p in polls if p.value is not None]


def _fit(points: list[_Point], step_w: float) -> _Fall | None:
    """Return the exponential through the points, or None where they do not follow one."""
    misfit_w2, fall = min((_misfit(points, tau_s) for tau_s in _TAUS_S), key=lambda one: one[0])
    tau_s, height_w, _ = fall
    if abs(height_w) < _LEAST_STEPS * max(step_w, 1.0) or tau_s in {_TAUS_S[0], _TAUS_S[-1]}:
        return None
    allowed_w = max(step_w, _MISFIT * abs(height_w))
    return fall if misfit_w2 <= allowed_w**2 else None


def _misfit(points: list[_Point], tau_s: float) -> tuple[float, _Fall]:
    """Return the mean square miss of the best exponential of a time constant, and that one."""
    n = len(points)
    decays = [math.exp(-t / tau_s) for t, _ in points]
    mean_x = sum(decays) / n
    mean_y = sum(w for _, w in points) / n
    spread = sum((x - mean_x) ** 2 for x in decays)
    joint = sum((x - mean_x) * (w - mean_y) for x, (_, w) in zip(decays, points, strict=True))
    height_w = joint / spread if spread > 0 else 0.0
    level_w = mean_y - height_w * mean_x
    missed = (w - level_w - height_w * x for x, (_, w) in zip(decays, points, strict=True))
    return sum(m * m for m in missed) / n, (tau_s, height_w, level_w)


def _is_quicker(before: list[_Point], tau_s: float, step_w: float) -> bool:
    """Return whether the sensor followed the start of the call faster than the lag allows."""
    (zero_s, zero_w), *inside = before
    if len(inside) < 2:
        return False
    most_w = max(abs(w - zero_w) for _, w in inside)
    if most_w < _LEAST_STEPS * max(step_w, 1.0):
        return False
    first_s, last_s = inside[0][0] - zero_s, inside[-1][0] - zero_s
    expected = (1 - math.exp(-first_s / tau_s)) / (1 - math.exp(-last_s / tau_s))
    return abs(inside[0][1] - zero_w) / most_w > expected + _QUICKER


def _at_start_w(before: list[_Point], tau_s: float) -> float:
    """Return what the sensor showed at the very start; its first poll came a little later."""
    zero_s, zero_w = before[0]
    if len(before) < 2 or zero_s <= 0.0:
        return zero_w
    following_s, following_w = before[1]
    decay = math.exp(-(following_s - zero_s) / tau_s)
    target_w = (following_w - zero_w * decay) / (1 - decay)
    return target_w + (zero_w - target_w) * math.exp(zero_s / tau_s)
