"""What a probed GPU's readings are worth: update period, window, closure, cost of polling.

Everything is found from the readings themselves and the times of the load. What they do not tell
stays unknown, with the reason.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.gpu_energy import (
    Closure,
    PollingCost,
    loaded_closure,
    polling_cost,
    resting_closure,
)
from pactmeter.analysis.gpu_update import (
    Unknown,
    Update,
    UpdatePeriod,
    poll_spacing_s,
    update_period,
    updates,
)
from pactmeter.analysis.gpu_window import BOXCAR, Window, window
from pactmeter.sensors.gpu_load import Burst

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pactmeter.sensors.gpu_probe import Readings, Recording, Series

ENERGY = "energy"
_WATCHED_STRETCHES = 6
_CLOSES_PCT = 5.0
"""A counter farther than that from its own sensor's power is not believed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The share of time that a reading of power sees.

    Attributes:
        seen_pct: Window over update period, at most 100, in percent.
        u_pct: Its uncertainty (k=2), in percent.
    """

    seen_pct: float
    u_pct: float


@dataclass(slots=True)
class Probe:
    """What was found of one card, by reading (``usage``, ``instant``, ``average``, ``energy``).

    Attributes:
        periods: How often each is renewed.
        windows: What each reading of power averages over.
        seen: The share of time that each sees.
        loaded: Energy counter against each reading of power, under load.
        is_watched: Whether there was no load of known times: `loaded` is the card as it was.
        resting: The same at rest.
        polling: What fast polling costs at rest.
        poll_s: Median spacing of the polls under load, in seconds.
        advice: What follows for whoever measures with this card.
    """

    periods: dict[str, UpdatePeriod | Unknown] = field(default_factory=dict)
    windows: dict[str, Window | Unknown] = field(default_factory=dict)
    seen: dict[str, Seen | Unknown] = field(default_factory=dict)
    loaded: dict[str, Closure | Unknown] = field(default_factory=dict)
    is_watched: bool = False
    resting: dict[str, Closure | Unknown] = field(default_factory=dict)
    polling: PollingCost | Unknown = Unknown("not probed")  # noqa: RUF009  it is frozen
    poll_s: float | None = None
    advice: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data; what is unknown has a `reason` alone."""
        groups: dict[str, Mapping[str, Any]] = {
            "update_period": self.periods,
            "averaging_window": self.windows,
            "seen": self.seen,
            "closure_loaded": self.loaded,
            "closure_at_rest": self.resting,
        }
        data: dict[str, Any] = {
            name: {reading: asdict(found) for reading, found in group.items()}
            for name, group in groups.items()
        }
        data["polling_cost"] = asdict(self.polling)
        data["poll_s"] = self.poll_s
        data["advice"] = self.advice
        return data


def examine(recording: Recording) -> Probe:
    """Return what the readings of one card tell."""
    found = Probe(is_watched=not recording.bursts)
    wave = recording.wave
    spacings_s = [poll_spacing_s(series) for series in wave.values() if len(series) > 1]
    found.poll_s = min(spacings_s, default=None)
    for name, series in wave.items():
        found.periods[name] = update_period(series)
    powers = [name for name in wave if name != ENERGY]
    for name in powers:
        found.windows[name] = _window(recording, wave[name], found.periods[name])
        found.seen[name] = _seen(found.windows[name], found.periods[name])
    counted = found.periods.get(ENERGY)
    period_s = counted.period_s if isinstance(counted, UpdatePeriod) else 0.0
    if counted is not None:
        bursts = recording.bursts or _watched(wave)
        for name in powers:
            found.loaded[name] = loaded_closure(wave[ENERGY], wave[name], bursts, period_s)
            found.resting[name] = (
                Unknown(recording.no_blocks)
                if recording.no_blocks
                else resting_closure(recording.blocks, name, period_s)
            )
    found.polling = (
        Unknown(recording.no_blocks)
        if recording.no_blocks
        else polling_cost(recording.blocks, period_s)
    )
    found.advice = _advice(found)
    return found


def _window(
    recording: Recording, series: Series, period: UpdatePeriod | Unknown
) -> Window | Unknown:
    if not recording.edges:
        return Unknown(f"no load of known times: {recording.no_load}")
    if isinstance(period, UpdatePeriod):
        renewed, period_s = updates(series, period.period_s), period.period_s
    elif len(series) < 2 or len(set(series.values)) < 2:
        return Unknown(period.reason)
    else:  # renewed faster than it is polled: every poll brings a new reading
        period_s = poll_spacing_s(series)
        renewed = [Update(*pair) for pair in zip(series.times_s, series.values, strict=True)]
    unclear_s = math.hypot(poll_spacing_s(series), recording.edge_u_s)
    return window(renewed, recording.edges, period_s, unclear_s)


def _seen(seen_in: Window | Unknown, period: UpdatePeriod | Unknown) -> Seen | Unknown:
    if isinstance(seen_in, Unknown):
        return seen_in
    if isinstance(period, Unknown):
        return period
    if seen_in.shape != BOXCAR and seen_in.length_s + seen_in.u_s < period.period_s:
        return Unknown("the shape of the window is not clear")
    share_pct = 100 * seen_in.length_s / period.period_s
    if share_pct >= 100:
        return Seen(100.0, 0.0)
    return Seen(share_pct, 100 * seen_in.u_s / period.period_s)


def _watched(wave: Readings) -> list[Burst]:
    """Return equal stretches of a card that was watched without a load of known times."""
    times_s = wave[ENERGY].times_s
    if len(times_s) < 2:
        return []
    first_s, last_s = times_s[0] + 0.1, times_s[-1] - 0.3
    step_s = (last_s - first_s) / _WATCHED_STRETCHES
    edges_s = [first_s + number * step_s for number in range(_WATCHED_STRETCHES + 1)]
    return [Burst(*pair) for pair in itertools.pairwise(edges_s)]


def _advice(found: Probe) -> list[str]:
    trusted = _counter_is_believed(found)
    told: dict[str, list[str]] = {}
    for name in found.windows:
        text = _of_reading(found, name, trusted=trusted)
        if text:
            told.setdefault(text, []).append(name)
    lines = [f"{' and '.join(names)}: {text}" for text, names in told.items()]
    lines += _of_counter(found, trusted=trusted)
    cost = found.polling
    if isinstance(cost, PollingCost):
        if cost.extra_w > cost.u_w:
            lines.append(
                f"polling {cost.fast_hz:.0f} times a second costs {cost.extra_w:.1f} W at rest: "
                "poll slowly where the baseline is measured"
            )
        else:
            most_w = max(0.0, cost.extra_w) + cost.u_w
            lines.append(f"no cost of polling seen; it is below {most_w:.2g} W")
    return lines


def _of_reading(found: Probe, name: str, *, trusted: bool) -> str | None:
    """Return what the window of a reading of power means for whoever uses it."""
    seen, period, length = found.seen[name], found.periods[name], found.windows[name]
    if isinstance(seen, Unknown) or isinstance(period, Unknown) or isinstance(length, Unknown):
        return None
    update_ms, window_ms = 1000 * period.period_s, 1000 * length.length_s
    if seen.seen_pct + seen.u_pct < 100:
        cure = (
            "take energy from the counter"
            if trusted
            else f"a load that repeats every {update_ms:.0f} ms can be read far wrong"
        )
        return f"sees {window_ms:.0f} of {update_ms:.0f} ms; {cure}"
    if length.length_s > 3 * period.period_s:
        return f"mean over {length.length_s:.2g} s; too slow for calls that are not far longer"
    return None


def _counter_is_believed(found: Probe) -> bool:
    closures = [c for c in found.loaded.values() if isinstance(c, Closure)]
    return any(abs(c.closure_pct) <= max(_CLOSES_PCT, c.u_pct) for c in closures)


def _of_counter(found: Probe, *, trusted: bool) -> list[str]:
    period = found.periods.get(ENERGY)
    if period is None:
        return ["no energy counter: energy is the integral of the power readings"]
    if isinstance(period, Unknown) and "never" in period.reason:
        return ["the energy counter does not move: do not use it"]
    off = [
        (name, where, closure)
        for where, group in (("under load", found.loaded), ("at rest", found.resting))
        for name, closure in group.items()
        if isinstance(closure, Closure) and abs(closure.closure_pct) > _CLOSES_PCT + closure.u_pct
    ]
    if off:
        name, where, closure = max(off, key=lambda row: abs(row[2].closure_pct))
        text = f"counter and {name} differ by {closure.closure_pct:+.0f} % {where}"
        return [f"{text}: at least one is wrong, only a meter tells which"]
    if trusted:
        return ["counter and power agree; it is the same sensor, so that proves no trueness"]
    return []
