"""Gain, offset, lag and time constant of a sensor, fitted together to its readings under a burst.

The interval of a figure is what it comes to in all combinations of lag and width that the readings
do not reject (profile likelihood, 95 %: Pawitan, In All Likelihood, 2001, 3.4). That holds for a
quick sensor too, whose readings jump with the lag: there no derivative would tell.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from pactmeter.analysis.gpu_update import Unknown
from pactmeter.analysis.sync.burst import in_order
from pactmeter.analysis.sync.follows import chance
from pactmeter.analysis.sync.response import Response, Shape
from pactmeter.analysis.sync.search import LAGS_S, TIMES_S, WIDEST_S, Judge, Nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pactmeter.analysis.sync.burst import Phase

Floats = NDArray[np.float64]
Between = tuple[float, float]

LEAST_READINGS = 20
_BEFORE_S = 5.0
"""What lies longer before the burst, or behind its longest lag, tells of drift alone."""
_FOLLOWS = 5.0
"""So many standard errors from 0 a gain must be, as the best of some thousand that are tried."""
_ALARM = 0.01
"""A series without any relation to the load may be taken to follow it that often."""
_END = 0.98
"""What lies nearer to the end of what is tried may lie beyond it."""
_VAGUE_S = 1.0
"""A delay that may lie anywhere in a longer interval is not told."""
_LEVEL = 0.95
_TERMS = 5
"""Gain, offset, drift, delay and width are found from the readings."""
_SELDOM = 3.5
"""Readings that repeat so often are those of a sensor that is renewed more seldom than read."""
_MOST_ALIKE = 0.98
_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, slots=True)
class Readings:
    """What a sensor showed, and when.

    Attributes:
        times_s: The middle of each reading, in seconds on the clock of the load.
        power_w: The readings, in watts; a gap is left out, or no number.
        over_s: The time that a reading is a mean over, in seconds; 0: it is of a moment.
        poll_s: What lies between the polls that the mean is of; 0: it is of all that time.
        step_w: Resolution, in watts.
    """

    times_s: Floats
    power_w: Floats
    over_s: float = 0.0
    poll_s: float = 0.0
    step_w: float = 0.0


@dataclass(frozen=True, slots=True)
class SensorFit:
    """How a sensor follows a load; each figure with its interval of 95 %.

    Attributes:
        gain_w: What the load adds as the sensor shows it, in watts.
        gain_between_w: Its interval.
        offset_w: What the sensor shows while the load is off, in watts.
        offset_between_w: Its interval.
        lag_s: From the load to where the sensor begins to follow (dead time), in seconds.
        lag_between_s: Its interval.
        tau_s: Time constant, or length of the window where the shape is a boxcar, in seconds.
        tau_between_s: Its interval.
        delay_s: Mean delay, lag and averaging together, in seconds: two series are aligned by it.
        delay_between_s: Its interval.
        shape: ``first-order``, ``boxcar``, or ``either`` where the readings do not tell.
        noise_w: Standard deviation of what the fit leaves, in watts.
        explained_pct: Share of the readings' variance that the load explains, in percent.
        readings: How many it was found from.
        phases: Under how many on-phases.
    """

    gain_w: float
    gain_between_w: Between
    offset_w: float
    offset_between_w: Between
    lag_s: float
    lag_between_s: Between
    tau_s: float
    tau_between_s: Between
    delay_s: float
    delay_between_s: Between
    shape: str
    noise_w: float
    explained_pct: float
    readings: int
    phases: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return asdict(self)


def fit(readings: Readings, phases: Iterable[tuple[float, float]]) -> SensorFit | Unknown:
    """Return how a sensor follows a burst, or why that is unknown.

    Args:
        readings: Of the sensor, from before the burst to behind it.
        phases: When the load was on, in seconds on the same clock.

    Raises:
        ConfigError: The phases are no burst.
    """
    on = in_order(phases)
    readings = _cleaned(readings, on[0].start_s - _BEFORE_S, on[-1].end_s + LAGS_S[1])
    times_s, power_w = readings.times_s, readings.power_w
    if why := _why_not(readings, on):
        return Unknown(why)
    response = Response(on, times_s, readings.over_s, readings.poll_s, LAGS_S[1] + WIDEST_S)
    plain = Judge(response, times_s, power_w)
    left_w, _ = plain.left_w(_best([plain.search(shape) for shape in Shape]))
    # what this first fit leaves tells how long the noise lasts
    judge = Judge(response, times_s, power_w, _alike(left_w))
    found = [judge.search(shape) for shape in Shape]
    best = _best(found)
    own_w, moved = judge.left_w(best)
    left_w, _ = plain.left_w(best)
    explained = 1 - float(left_w @ left_w) / max(plain.free_w2, _TINY)
    degrees = len(times_s) - _TERMS
    least_w2 = float(best.left_w2.min())
    if judge.free_w2 - least_w2 < _FOLLOWS**2 * least_w2 / degrees:
        return Unknown("does not follow")
    # of a sensor that is renewed seldom, each edge is seen late by anything up to that
    gain_w = float(best.gain_w[best.best])
    held_s = _held_s(times_s, power_w, float(left_w @ left_w) / gain_w**2 / (2 * len(on)))
    times_u_s = TIMES_S + 2 * held_s / math.sqrt(12 * 2 * len(on))
    told = _told(found, degrees, (_roughness(own_w, moved), _lasting(own_w)), times_u_s)
    if isinstance(told, Unknown):
        return told
    return replace(
        told,
        noise_w=float(left_w.std()),
        explained_pct=100 * explained,
        readings=len(times_s),
        phases=len(on),
    )


def _why_not(readings: Readings, on: Sequence[Phase]) -> str | None:
    """Return why these readings have no fit, if that is seen without one."""
    times_s, power_w = readings.times_s, readings.power_w
    if len(times_s) < LEAST_READINGS:
        return f"{len(times_s)} readings under the burst, {LEAST_READINGS} are needed"
    if float(np.ptp(power_w)) <= readings.step_w:
        return "does not follow: the readings do not move"
    if np.ptp(times_s) < (on[-1].end_s - on[0].start_s) / 2:
        return "was read in less than half of the burst"
    return "does not follow" if chance(times_s, power_w, on) > _ALARM else None


def _cleaned(readings: Readings, from_s: float, to_s: float) -> Readings:
    """Return the readings of a time in their order, without gaps and repeated times."""
    times_s = np.asarray(readings.times_s, dtype=np.float64)
    power_w = np.asarray(readings.power_w, dtype=np.float64)
    good = (times_s > from_s) & (times_s < to_s) & np.isfinite(power_w)
    times_s, places = np.unique(times_s[good], return_index=True)
    return replace(readings, times_s=times_s, power_w=power_w[good][places])


def _best(found: list[Nodes]) -> Nodes:
    return min(found, key=lambda nodes: float(nodes.left_w2.min()))


def _alike(left_w: Floats) -> float:
    """Return how much of each error is that of the one before, 0 to 1."""
    alike = float(left_w[1:] @ left_w[:-1]) / max(float(left_w @ left_w), _TINY)
    return min(max(alike, 0.0), _MOST_ALIKE)


def _roughness(left_w: Floats, moved: Floats) -> float:
    """Return how much larger the noise (its variance) is where a delay shows than elsewhere.

    It is larger where the times of readings or edges are not quite those that were written down,
    and where a sensor is renewed at moments that nobody knows (White 1980: robust variances).
    """
    weight, all_w2 = float(moved @ moved), float(left_w @ left_w)
    if not weight or not all_w2:
        return 1.0
    return max(1.0, float(moved**2 @ left_w**2) / weight / (all_w2 / len(left_w)))


def _lasting(left_w: Floats) -> float:
    """Return how much larger the variance of a mean is as the noise still lasts over readings.

    Some of it does where it is a sum, as of a load beside and of the sensor's steps (Newey and West
    1987: with their weights, over the 4 (n/100)^(2/9) lags that they found good, doubled).
    """
    count = len(left_w)
    most = min(count - 1, int(8 * (count / 100) ** (2 / 9)))
    alike = [float(left_w[k:] @ left_w[: count - k]) for k in range(1, most + 1)]
    weights = 1 - np.arange(1, most + 1) / (most + 1)
    return max(1.0, 1 + 2 * float(weights @ alike) / max(float(left_w @ left_w), _TINY))


def _held_s(times_s: Floats, power_w: Floats, left: float) -> float:
    """Return how long a reading stays as it is, in seconds, where noise does not make it short.

    Args:
        times_s: Times of the readings.
        power_w: The readings.
        left: Squares that the fit leaves at each edge of the load, as a share of the gain's. Of a
            sensor that is renewed at any moment within a time, on average a sixth of it is left.
    """
    ends = np.flatnonzero(np.diff(power_w, append=np.nan))
    lengths = np.diff(ends, prepend=-1)
    repeated = lengths[lengths > 1]
    typical = float(np.quantile(repeated, 0.25)) if len(repeated) else 0.0
    spacing_s = float(np.median(np.diff(times_s)))
    return min(typical, 6 * left) * spacing_s if typical > _SELDOM else 0.0


def _told(
    found: list[Nodes], degrees: float, noise: tuple[float, float], times_u_s: float
) -> SensorFit | Unknown:
    """Return the figures of all combinations that the readings do not reject."""
    least_w2 = min(float(nodes.left_w2.min()) for nodes in found)
    spread_w2 = least_w2 / degrees * float(student.ppf((1 + _LEVEL) / 2, degrees)) ** 2
    roughness, lasting = noise
    most_w2 = least_w2 + roughness * spread_w2
    kept = [nodes.left_w2 <= most_w2 for nodes in found]

    def every(name: str) -> Floats:
        values = [getattr(nodes, name)[few] for nodes, few in zip(found, kept, strict=True)]
        return np.concatenate(values)

    spare_w2 = np.maximum(least_w2 + lasting * spread_w2 - every("left_w2"), 0.0)
    weights = np.exp((least_w2 - every("left_w2")) * (degrees / (2 * roughness * least_w2)))

    def figure(name: str, half: Floats | float) -> tuple[float, Between]:
        values = every(name)
        between = float((values - half).min()), float((values + half).max())
        return float(np.average(values, weights=weights)), between

    lag_s, lag_between_s = figure("lag_s", times_u_s)
    delay_s, delay_between_s = figure("delay_s", times_u_s)
    tau_s, (low_s, high_s) = figure("width_s", times_u_s)
    if high_s > _END * WIDEST_S or delay_between_s[1] > _END * LAGS_S[1]:
        return Unknown("follows, but too slowly to tell its delay")
    if delay_between_s[1] - delay_between_s[0] > _VAGUE_S:
        low, high = delay_between_s
        return Unknown(f"follows, but its delay is anything from {low:.2f} to {high:.2f} s")
    gain_w, gain_between_w = figure("gain_w", np.sqrt(spare_w2 * every("gain_share")))
    offset_w, offset_between_w = figure("offset_w", np.sqrt(spare_w2 * every("offset_share")))
    shapes = [nodes.shape.value for nodes, few in zip(found, kept, strict=True) if few.any()]
    return SensorFit(
        gain_w,
        gain_between_w,
        offset_w,
        offset_between_w,
        lag_s,
        lag_between_s,
        tau_s,
        (max(0.0, low_s), high_s),
        delay_s,
        delay_between_s,
        shapes[0] if len(shapes) == 1 else "either",
        noise_w=0.0,
        explained_pct=0.0,
        readings=0,
        phases=0,
    )
