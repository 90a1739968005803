"""What the uncertainty of an energy is made of, item by item, after GUM (JCGM 100).

Items are standard uncertainties (k=1) in joules and independent of each other: what errs alike has
been added linearly before it becomes an item.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.model.channel import Kind, Origin
from pactmeter.model.energy import GAPS, BudgetItem, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pactmeter.model.channel import Channel
    from pactmeter.model.energy import Energy

LOW_LOAD_PCT = 10.0
"""Below this share of a supply's rating its efficiency is extrapolated, and AC power no better
known than by as much."""
ALIAS_PCT = {True: 0.8, False: 1.1}
"""Half-width of what beats between load and polls leave however long one measures, in percent, at
5 Hz and faster / slower: the largest errors left in simulations of a training-like load over ten
minutes. Of a load that moves by less than its mean from poll to poll, less in proportion."""
_ALIAS_OVER_S = 60.0
"""Shorter calls leave more, with the root of the time."""
_MOST_TAU_S = 0.5
"""A sensor that was not seen to lag may do so by as much: the longest that was found."""
_ENOUGH_PAIRS, _LEAST_PAIRS = 10, 3
"""So many pairs of polls say what lies between polls; from the lesser number on with a factor."""
_UNSEEN, _BETWEEN = 1 / 2, 1 / 12
"""Variance of what a poll misses of its stretch, over the mean square difference of polls that
follow each other: where these have nothing in common (von Neumann 1941), and where power steps now
and then, at any moment between two polls."""
_LAG_DOUBT = 0.5
"""Half-width (k=2) of a lag correction, as a share of it, where a lag shows during the call too."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run tells of how a channel was read.

    Attributes:
        calls: Number of calls.
        poll_s: The poll period asked for, in seconds.
        update_s: Update period of the sensor, in seconds.
        low_w: Lowest mean power of a row, in watts.
        peak_w: Highest mean power of a row, in watts.
        roughness: How polls differ: ``pairs`` and ``square_w2``, and ``triples`` and
            ``square2_w2`` (those of every second poll) where they were recorded.
        lag: The correction for the sensor's lag: ``energy_j``, ``tau_s``.
        window_s: Over how long a reading is a mean, in seconds; None if that is unknown.
        most_w: The most that the device can draw, in watts; None if that is unknown.
        is_aperiodic: Whether the load is known not to repeat in step with the sensor.
        curve_pct: Half-width (k=2) of the efficiency curve alone, in percent, where AC power is
            taken from one; it is part of the channel's accuracy.
        low_load_j: Energy (AC) while a supply gave less than a tenth of its rating, in joules.
        rated_w: That rating, in watts.
    """

    calls: int = 1
    poll_s: float = 0.1
    update_s: float = 0.1
    low_w: float = 0.0
    peak_w: float = 0.0
    roughness: Mapping[str, float] | None = None
    lag: Mapping[str, float] | None = None
    window_s: float | None = None
    most_w: float | None = None
    is_aperiodic: bool = False
    curve_pct: float = 0.0
    low_load_j: float = 0.0
    rated_w: float = 0.0

    @property
    def is_half_blind(self) -> bool:
        """Whether the sensor looks away for a part of each of its periods."""
        return self.window_s is not None and self.window_s < self.update_s


def items(energy: Energy, channel: Channel, seen: Seen) -> tuple[BudgetItem, ...]:
    """Return the items of an energy; none where its uncertainty is unknown.

    That is so where the sensor's accuracy is, and where it looks away and nobody knows how much
    the device could draw meanwhile.
    """
    if channel.accuracy_pct is None:
        return ()
    if seen.is_half_blind and not seen.is_aperiodic and seen.most_w is None:
        return ()
    found = _sensor(channel, energy, seen)
    found += _resolution(energy, channel, seen)
    if channel.kind is Kind.POWER:
        update_s = channel.update_period_s or 0.0  # what is seen of it, a steady load makes long
        found += [_gauge_edges(energy, seen), *_late(energy, seen, update_s)]
        found += [_sampling(energy, seen, update_s), *_lag(energy, seen)]
    else:
        found.append(_counter_edges(energy, seen))
    found += _duty(energy, seen)
    found += _gaps(energy, seen)
    return tuple(found)


def _item(name: str, half_width_j: float, shape: Shape, basis: str) -> BudgetItem:
    return BudgetItem(name, half_width_j / shape.divisor, basis, shape)


def _systematic(name: str, share_pct: float, energy_j: float, basis: str) -> BudgetItem:
    return BudgetItem(name, share_pct / 100 * energy_j / 2, basis, is_systematic=True)


def _sensor(channel: Channel, energy: Energy, seen: Seen) -> list[BudgetItem]:
    """Return the sensor's own error, that of the curve behind it, and what low load adds.

    The energy taken at low load shall have `LOW_LOAD_PCT` at least.
    """
    accuracy_pct, basis = channel.accuracy_pct or 0.0, channel.accuracy_source or "Type B"
    if seen.curve_pct <= 0:
        name = "sensor" if energy.origin is Origin.MEASURED else "model"
        found = [_systematic(name, accuracy_pct, energy.energy_j, basis)]
    else:
        own_pct = math.sqrt(max(0.0, accuracy_pct**2 - seen.curve_pct**2))
        curve = f"{seen.curve_pct:g} %: the efficiency curve"
        found = [
            _systematic("sensor", own_pct, energy.energy_j, f"{own_pct:.1f} %: its DC side"),
            _systematic("curve", seen.curve_pct, energy.energy_j, curve),
        ]
    if seen.low_load_j > 0 and accuracy_pct < LOW_LOAD_PCT:
        more_pct = math.sqrt(LOW_LOAD_PCT**2 - accuracy_pct**2)
        share_pct = 100 * seen.low_load_j / energy.energy_j if energy.energy_j > 0 else 100.0
        basis = (
            f"{share_pct:.0f} % of it at less than {LOW_LOAD_PCT:g} % of {seen.rated_w:g} W, where"
            f" U is at least {LOW_LOAD_PCT:g} %"
        )
        found.append(_systematic("extrapolated", more_pct, seen.low_load_j, basis))
    return found


def _resolution(energy: Energy, channel: Channel, seen: Seen) -> list[BudgetItem]:
    step = channel.resolution
    if not step:
        return []
    if channel.kind is Kind.POWER:
        half_j, basis = (
            step / 2 * energy.covered_s,
            f"half a step of {step:g} W, the same all along",
        )
        return [_item("resolution", half_j, Shape.RECTANGULAR, basis)]
    half_j, basis = step * math.sqrt(seen.calls), "difference of two readings, in each call"
    return [_item("resolution", half_j, Shape.TRIANGULAR, basis)]


def _gauge_edges(energy: Energy, seen: Seen) -> BudgetItem:
    """Return what lies between an edge of a call and the poll next to it.

    Calls of one function are alike in this: they add linearly.
    """
    apart_s = _apart_s(energy, seen)
    half_j = (energy.mean_w or 0.0) * apart_s * seen.calls
    basis = f"polls {apart_s:.3g} s apart, at both edges of {_calls(seen)}"
    return _item("edges", half_j, Shape.TRIANGULAR, basis)


def _late(energy: Energy, seen: Seen, update_s: float) -> list[BudgetItem]:
    """Return what a gauge that is renewed more seldom than it is polled shows too late.

    A reading that is a mean over its update period, and stands for another, tells of the load one
    to two periods late: what is missing at the start of a call comes when it is over. The delay is
    anything from none to two periods; the standard uncertainty is its root mean square.
    """
    if update_s <= 1.5 * _apart_s(energy, seen) or energy.covered_s <= 0:
        return []
    u_j = (energy.mean_w or 0.0) * update_s * math.sqrt(4 / 3) * seen.calls
    basis = f"renewed every {update_s:.3g} s: up to two of them late, in {_calls(seen)}"
    return [BudgetItem("late", u_j, basis, Shape.ONE_SIDED)]


def _counter_edges(energy: Energy, seen: Seen) -> BudgetItem:
    """Return what a counter that is updated in steps shows too late.

    Of a load that begins and ends with the call, the end is missing, up to one update, and nothing
    at the start makes up for it: the errors of all calls have one sign. The standard uncertainty
    is the root mean square of what is missing, whose mean is half an update a call.
    """
    late_j = (energy.mean_w or 0.0) * seen.update_s
    u_j = late_j * math.hypot(seen.calls / 2, math.sqrt(seen.calls / 12))
    basis = f"up to {seen.update_s:.3g} s not yet counted at the end of {_calls(seen)}"
    return BudgetItem("edges", u_j, basis, Shape.RECTANGULAR)


def _calls(seen: Seen) -> str:
    return "the call" if seen.calls == 1 else f"{seen.calls} calls, which err alike"


def _apart_s(energy: Energy, seen: Seen) -> float:
    """Return how far apart the polls were: a busy machine or device is not polled as asked for."""
    return energy.covered_s / energy.polls if energy.polls else seen.poll_s


def _sampling(energy: Energy, seen: Seen, update_s: float) -> BudgetItem:
    """Return what lies between the polls, from how much they differ.

    Polls of a reading that was not renewed in between differ by nothing, and so show too little.
    What repeats with the very period of the polls cannot be seen so.
    """
    rough = seen.roughness or {}
    pairs = int(rough.get("pairs", 0))
    alias = ALIAS_PCT[seen.poll_s <= 0.2] / 100
    if pairs < _LEAST_PAIRS:
        short = max(1.0, math.sqrt(_ALIAS_OVER_S / max(energy.covered_s, 1e-3)))
        half_j = alias * short * energy.energy_j
        basis = f"bound of beats, {pairs} pairs of polls being too few to tell"
        return _item("sampling", half_j, Shape.RECTANGULAR, basis)
    square_w2 = rough["square_w2"] / pairs
    alias_w = alias * min(math.sqrt(square_w2), abs(energy.mean_w or 0.0))
    alias_j = alias_w * energy.covered_s / math.sqrt(3)
    apart_s = _apart_s(energy, seen)
    u_j = math.sqrt(energy.covered_s * apart_s * _missed(rough) * square_w2)
    if update_s > apart_s > 0:
        u_j *= update_s / apart_s
    dof = max(1, round(2 * pairs / 3))
    few = ""
    if pairs < _ENOUGH_PAIRS:
        # 95 % of Student's t over that of the normal distribution (Abramowitz and Stegun 26.7.5)
        u_j *= 1 + 1.21 / dof + 1.44 / dof**2
        few = ", with a factor for so few"
    if u_j < alias_j:
        basis = f"bound of beats between load and polls, {100 * alias:g} % of what polls differ by"
        return BudgetItem("sampling", alias_j, basis, Shape.RECTANGULAR)
    return BudgetItem("sampling", u_j, f"differences of {pairs} pairs of polls{few}", dof=dof)


def _growth(rough: Mapping[str, float], errors: float) -> float | None:
    """Return how much more every second poll differs than the next one, as mean squares.

    1 where polls have nothing in common, 2 where power steps now and then, up to 4 where it
    glides: the first two points of a variogram (Matheron 1963). So many of its standard errors are
    added. None where it is not known.
    """
    if not rough.get("triples") or not rough.get("square_w2"):
        return None
    next_w2 = rough["square_w2"] / rough["pairs"]
    second_w2 = rough["square2_w2"] / rough["triples"]
    return second_w2 / next_w2 + errors / math.sqrt(rough["triples"])


def _missed(rough: Mapping[str, float]) -> float:
    """Return the variance that a poll misses of its stretch over the mean square difference.

    Power is taken for a sum of what is new at every poll and of what steps now and then.
    """
    steps = min(1.0, max(0.0, (_growth(rough, -2.0) or 1.0) - 1.0))
    return (1 - steps) * _UNSEEN + steps * _BETWEEN


def _duty(energy: Energy, seen: Seen) -> list[BudgetItem]:
    """Return the bound for a sensor that looks away for a part of each of its periods.

    A load in step with it hides any other power there (Yang 2023, arXiv 2312.02741), from none to
    the most the device can draw; nothing in the readings shows it.
    """
    if seen.window_s is None or not seen.is_half_blind or seen.is_aperiodic:
        return []
    share = seen.window_s / seen.update_s
    mean_w = energy.mean_w or 0.0
    off_w = max(mean_w, seen.peak_w - mean_w, (seen.most_w or 0.0) - mean_w)
    basis = f"sees {100 * share:.0f} % of the time; the rest within {off_w:.0f} W of it"
    half_j = (1 - share) * off_w * energy.covered_s
    return [_item("duty", half_j, Shape.RECTANGULAR, basis)]


def _lag(energy: Energy, seen: Seen) -> list[BudgetItem]:
    """Return the doubt in a lag correction, or what a lag that nobody could see may have cost.

    What falls slowly after a call may be the machine, not the sensor: then all of the correction is
    wrong. A lag shows within the call too, unless power stays the same there.
    """
    rough = seen.roughness or {}
    apart_s = _apart_s(energy, seen)
    if not seen.lag:
        tau_s = _longest_tau_s(rough, apart_s)
        half_j = tau_s * (seen.peak_w - seen.low_w) * math.sqrt(seen.calls)
        basis = f"none seen; up to {tau_s:.2g} s of what power differed by from end to end"
        return [_item("lag", half_j, Shape.RECTANGULAR, basis)] if half_j > 0 else []
    correction_j, tau_s = abs(float(seen.lag["energy_j"])), float(seen.lag["tau_s"])
    growth = _growth(rough, 2.0)
    # what follows at once may step from poll to poll, what lags by tau only glides
    glides = 1 + math.exp(-apart_s / tau_s) if tau_s > 0 else 1.0
    if growth is not None and growth >= glides:
        basis = f"half of the correction by {correction_j:.3g} J, tau {tau_s:g} s"
        return [_item("lag", _LAG_DOUBT * correction_j, Shape.NORMAL, basis)]
    basis = f"all of the correction by {correction_j:.3g} J, tau {tau_s:g} s: no other sign of it"
    return [_item("lag", correction_j, Shape.RECTANGULAR, basis)]


def _longest_tau_s(rough: Mapping[str, float], apart_s: float) -> float:
    """Return the longest time constant that the polls of a call leave possible.

    Where power steps, a sensor that lags keeps ``q = exp(-apart / tau)`` of what it misses from one
    poll to the next, and every second poll differs by ``2 * (1 + q)`` times as much, squared.
    """
    growth = _growth(rough, 2.0)
    if growth is None or growth >= 4.0:
        return _MOST_TAU_S
    kept = max(growth / 2 - 1, math.exp(-2.0))
    return min(_MOST_TAU_S, apart_s / -math.log(kept))


def _gaps(energy: Energy, seen: Seen) -> list[BudgetItem]:
    """Return what the gaps may hold: from nothing to the largest power of a row."""
    if energy.coverage > 1 - 1e-6 or energy.covered_s <= 0:
        return []
    most_j = max(seen.peak_w, energy.mean_w or 0.0) * energy.gap_s
    basis = f"{energy.gap_s:.3g} s unknown, up to {most_j:.3g} J too little"
    return [_item(GAPS, most_j, Shape.ONE_SIDED, basis)]
