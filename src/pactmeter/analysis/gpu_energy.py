"""Whether a GPU's energy counter and its power readings tell the same, and what polling costs.

Counter and power come from one sensor: where they agree, that proves arithmetic, not trueness.
Where they do not, at least one of them is wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pactmeter.analysis.gpu_stats import student_95
from pactmeter.analysis.gpu_update import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pactmeter.sensors.gpu_load import Burst
    from pactmeter.sensors.gpu_probe import Block, Series


class _Stretch(NamedTuple):
    """Joules of a stretch, and how exactly its edges are known as a share of its length."""

    counter_j: float
    power_j: float
    edge: float


_FEWEST = 3
_LEAST_READINGS = 20


@dataclass(frozen=True, slots=True)
class Closure:
    """The energy counter against the integral of a power reading.

    Attributes:
        closure_pct: By how much the counter gives more, in percent of the integral.
        u_pct: Its uncertainty (k=2), in percent.
        counter_j: What the counter gave, in joules.
        stretches: How many stretches were compared.
    """

    closure_pct: float
    u_pct: float
    counter_j: float
    stretches: int


@dataclass(frozen=True, slots=True)
class PollingCost:
    """What fast polling adds to the power at rest.

    Attributes:
        extra_w: Mean power when polled fast less that when polled slowly, in watts.
        u_w: Half-width of its 95 % interval, in watts.
        rest_w: Mean power when polled slowly, in watts.
        per_poll_j: The same for one round of polls more, in joules.
        fast_hz: Polls a second in fast blocks.
        slow_hz: Polls a second in slow blocks.
        blocks: How many blocks there were.
    """

    extra_w: float
    u_w: float
    rest_w: float
    per_poll_j: float
    fast_hz: float
    slow_hz: float
    blocks: int


def loaded_closure(
    energy: Series, power: Series, bursts: Iterable[Burst], period_s: float
) -> Closure | Unknown:
    """Return how counter and power agree over bursts of load, each from rest to rest.

    At rest it does not matter that a reading lags. The edges of a stretch are put at steps of the
    counter, where its energy is that of the very moment.

    Args:
        energy: Readings of the counter.
        power: Readings of power.
        bursts: Each between two moments of rest.
        period_s: How often the counter is renewed, in seconds.
    """
    stretches = []
    for burst in bursts:
        edges = [_step_after(energy, moment_s, period_s) for moment_s in burst]
        stretches.append(_stretch(energy, power, *edges))
    return _closure(stretches)


def resting_closure(blocks: Iterable[Block], power: str, period_s: float) -> Closure | Unknown:
    """Return how counter and power agree at rest, over the stretches that were polled fast."""
    stretches = []
    for block in blocks:
        if not block.fast:
            continue
        energy = block.readings.get("energy")
        series = block.readings.get(power)
        if energy is None or series is None or len(energy) < _LEAST_READINGS:
            continue
        stretches.append(_stretch(energy, series, *_ends(energy, period_s)))
    return _closure(stretches)


def _ends(energy: Series, period_s: float) -> tuple[int, int]:
    """Return the first and the last step of the counter."""
    first = _step_after(energy, energy.times_s[0], period_s)
    return first, max(first + 1, _step_after(energy, energy.times_s[-1] - 2 * period_s, period_s))


def _step_after(energy: Series, moment_s: float, period_s: float) -> int:
    """Return the first reading behind a step of the counter after a moment, or one at it."""
    first = max(1, bisect_left(energy.times_s, moment_s))
    for i in range(first, len(energy)):
        if energy.times_s[i] > moment_s + 2 * period_s:
            break
        if energy.values[i] != energy.values[i - 1]:
            return i
    return min(first, len(energy) - 1)


def _stretch(energy: Series, power: Series, first: int, last: int) -> _Stretch | None:
    """Return what counter and power give; None where the readings do not suffice."""
    if last <= first or first < 1 or len(power) < _LEAST_READINGS:
        return None
    edges_s = [(energy.times_s[i] + energy.times_s[i - 1]) / 2 for i in (first, last)]
    gaps_s = [energy.times_s[i] - energy.times_s[i - 1] for i in (first, last)]
    power_j = _integral_j(power, *edges_s)
    if power_j is None:
        return None
    counter_j = energy.values[last] - energy.values[first]
    return _Stretch(counter_j, power_j, max(gaps_s) / (edges_s[1] - edges_s[0]))


def _integral_j(power: Series, from_s: float, to_s: float) -> float | None:
    """Return the energy of a power between two times, each reading held until the next."""
    times_s, values = power.times_s, power.values
    first, last = bisect_left(times_s, from_s), bisect_left(times_s, to_s)
    if first == 0 or last - first < _LEAST_READINGS:
        return None
    total_j = values[first - 1] * (times_s[first] - from_s)
    for i in range(first, last - 1):
        total_j += values[i] * (times_s[i + 1] - times_s[i])
    return total_j + values[last - 1] * (to_s - times_s[last - 1])


def _closure(stretches: Iterable[_Stretch | None]) -> Closure | Unknown:
    had = [stretch for stretch in stretches if stretch is not None]
    count = len(had)
    if not count:
        return Unknown("too few readings")
    counter_j = math.fsum(stretch.counter_j for stretch in had)
    power_j = math.fsum(stretch.power_j for stretch in had)
    if power_j <= 0.0:
        return Unknown("the power reads 0")
    if count < _FEWEST:
        return Unknown(f"only {count} stretches to compare, too few for an uncertainty")
    ratio = counter_j / power_j
    squares = math.fsum((one.counter_j - ratio * one.power_j) ** 2 for one in had)
    spread = math.sqrt(squares / (count * (count - 1))) / (power_j / count)
    # the steps may lie alike between the polls, then the edges of all stretches err alike
    edges = 2 / math.sqrt(6) * max(stretch.edge for stretch in had)
    u_pct = 100 * math.hypot(student_95(count - 1) * spread, edges)
    return Closure(100 * (ratio - 1), u_pct, counter_j, count)


def polling_cost(blocks: Sequence[Block], period_s: float) -> PollingCost | Unknown:
    """Return what fast polling adds to the power at rest, by the energy counter.

    The means of the stretches are fitted by least squares with a straight drift over time, so that
    a card that cools meanwhile costs nothing. Where the counter was polled fast it is taken at its
    steps; where slowly, its last step lies up to an update period back, which spreads the means.

    Args:
        blocks: The stretches at rest.
        period_s: How often the counter is renewed, in seconds.
    """
    rows: list[tuple[bool, float, float]] = []
    for block in blocks:
        energy = block.readings.get("energy")
        if energy is None:
            return Unknown("no energy counter; a reading itself would show the card awake")
        if len(energy) >= (_LEAST_READINGS if block.fast else 2):
            first, last = _ends(energy, period_s) if block.fast else (0, len(energy) - 1)
            from_s, to_s = energy.times_s[first], energy.times_s[last]
            counted_j = energy.values[last] - energy.values[first]
            rows.append((block.fast, (from_s + to_s) / 2, counted_j / (to_s - from_s)))
    if sum(fast for fast, _, _ in rows) < 2 or len(rows) < 5:
        return Unknown("too few stretches at rest with readings of the energy counter")
    if all(mean_w == 0.0 for _, _, mean_w in rows):
        return Unknown("the energy counter does not move at rest")
    extra_w, u_w = _step_with_drift(rows)
    slow_w = [mean_w for fast, _, mean_w in rows if not fast]
    paces_hz = [
        sum(b.polls for b in blocks if b.fast == fast)
        / sum(b.duration_s for b in blocks if b.fast == fast)
        for fast in (True, False)
    ]
    per_poll_j = extra_w / (paces_hz[0] - paces_hz[1])
    rest_w = sum(slow_w) / len(slow_w)
    return PollingCost(extra_w, u_w, rest_w, per_poll_j, paces_hz[0], paces_hz[1], len(rows))


def _step_with_drift(rows: Sequence[tuple[bool, float, float]]) -> tuple[float, float]:
    """Return by how much the fast rows lie above the slow, in watts, and its 95 % half-width."""
    count = len(rows)
    steps = _without_drift([(time_s, float(fast)) for fast, time_s, _ in rows])
    watts = _without_drift([(time_s, mean_w) for _, time_s, mean_w in rows])
    weight = math.fsum(step * step for step in steps)
    extra_w = math.fsum(step * watt for step, watt in zip(steps, watts, strict=True)) / weight
    left = math.fsum((w - extra_w * s) ** 2 for s, w in zip(steps, watts, strict=True))
    spread_w = math.sqrt(left / (count - 3) / weight)
    # as many degrees as one side has: mostly the slow one alone spreads
    return extra_w, student_95(count // 2 - 1) * spread_w


def _without_drift(points: Sequence[tuple[float, float]]) -> list[float]:
    """Return the second of each pair less a straight line in the first."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    sxx = math.fsum((x - mean_x) ** 2 for x, _ in points)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / sxx
    return [y - mean_y - slope * (x - mean_x) for x, y in points]
