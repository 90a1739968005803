"""Readings that stand still while the machine does not: a device that repeats itself.

A code that repeats is legal: a supply rounds to 2 W, an idle GPU stays where it is. So a device
counts as stuck only if all its codes were the same for ten polls while another meter of the machine
moved by more than three of its steps, and if it should have moved too: a counter always does, the
only supply that moves with the rest, a power that says of itself that it is at work.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.sampling.polling import Batch
    from pactmeter.sensors.base import Device

LEAST_POLLS = 10
_STEPS = 3.0
_SMOOTH = 5
"""Movement is told from means of so many polls: one spike need not show in a slower meter."""
_KEPT = 100
_METERS = frozenset({Domain.DC, Domain.PACKAGE, Domain.PSYS, Domain.GPU})
_UNKNOWN_STEP_W = 2.0
_SLOW_S = 1.2
"""What a device asks for about once a second may still change so long after it froze."""


@dataclass(slots=True)
class _Meter:
    """One device that gives a power of this machine, as it was seen so far in this call."""

    name: str
    main: list[int]
    feeds: bool
    counts: bool
    work: int | None
    step_w: float
    update_s: float
    codes: tuple[float | None, ...] | None = None
    same: int = 0
    since_s: float = 0.0
    power_codes: tuple[float | None, ...] | None = None
    power_since_s: float = 0.0
    seen_s: float | None = None
    works: bool = False
    powers: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    last: tuple[float, float] | None = None

    def forget(self) -> None:
        """What was seen says nothing about what follows."""
        self.codes = self.power_codes = self.last = self.seen_s = None
        self.same = 0

    def see(self, batch: Batch) -> None:
        if batch.values is None:
            self.forget()
            return
        if batch.values == self.codes:
            self.same += 1
        else:
            self.codes, self.same, self.since_s = batch.values, 0, batch.time_s
        main = [batch.values[index] for index in self.main]
        before_s, self.seen_s = self.seen_s, batch.time_s
        self.works = self.work is not None and (batch.values[self.work] or 0.0) > 0.0
        if tuple(main) != self.power_codes:
            # a gauge froze before the first of its equal readings, which is old already
            self.power_codes, self.power_since_s = tuple(main), batch.time_s
            if before_s is not None and not self.counts:
                self.power_since_s = before_s
        known = [value for value in main if value is not None]
        if len(known) < len(main):
            self.last = None
            return
        total = sum(known)
        before, self.last = self.last, (batch.time_s, total)
        if not self.counts:
            self.powers.append((batch.time_s, batch.time_s, total))
        elif before is not None and not batch.lost and batch.time_s > before[0]:
            mean_w = (total - before[1]) / (batch.time_s - before[0])
            self.powers.append((before[0], batch.time_s, mean_w))

    @property
    def stuck_since_s(self) -> float:
        """Since when its powers have stood still, if it is stuck, in monotonic seconds."""
        return max(self.power_since_s, self.since_s - _SLOW_S)

    def moved_w(self, from_s: float) -> float:
        """Return by how much its power surely moved since a time, in watts."""
        recent = [one for one in self.powers if one[0] >= from_s]
        if len(recent) < 2 * _SMOOTH:
            return 0.0
        watts = [power_w for _, _, power_w in recent]
        means = [sum(watts[k : k + _SMOOTH]) / _SMOOTH for k in range(len(watts) - _SMOOTH + 1)]
        span_s = (recent[-1][1] - recent[0][1]) * _SMOOTH / (len(recent) - 1)
        # a counter that is updated in steps may give one step too much here, one too little there
        jitter_w = 2 * max(means) * self.update_s / span_s if self.counts and span_s > 0 else 0.0
        return max(means) - min(means) - jitter_w


class StuckWatch:
    """All meters of a run, compared with one another."""

    def __init__(self, devices: Sequence[Device], period_s: float) -> None:
        self._period_s = period_s
        self._meters = [_meter(device, period_s) for device in devices]

    def begin(self) -> None:
        """A call starts: what was seen before says nothing about it."""
        for meter in filter(None, self._meters):
            meter.forget()
            meter.powers.clear()

    def stuck_since(self, index: int, batch: Batch) -> tuple[float, str] | None:
        """Take in a poll of a device, in order of time over all devices.

        Returns:
            Since when (monotonic seconds) its readings are not to be believed, and why; None if
            they are.
        """
        meter = self._meters[index]
        if meter is None:
            return None
        meter.see(batch)
        if meter.same < LEAST_POLLS:
            return None
        if not (meter.counts or meter.feeds or meter.works):
            return None
        others = [one for one in self._meters if one is not None and one is not meter]
        if meter.feeds and any(o.feeds and o.power_since_s > meter.since_s for o in others):
            return None  # another supply has moved, and may be what feeds all that did
        bound_w = _STEPS * meter.step_w
        for other in others:
            if other.same >= LEAST_POLLS:
                continue
            # a period later: the two are not read at the same moment
            moved_w = other.moved_w(meter.since_s + self._period_s)
            if moved_w > bound_w:
                return meter.stuck_since_s, (
                    f"stuck: {meter.name} gave the same readings {meter.same + 1} times while "
                    f"{other.name} moved by {moved_w:.0f} W"
                )
        return None


def _meter(device: Device, period_s: float) -> _Meter | None:
    mains = [
        index
        for index, channel in enumerate(device.channels)
        if channel.kind is not Kind.QUANTITY
        and channel.domain in _METERS
        and channel.origin is not Origin.ESTIMATED
    ]
    if not mains:
        return None
    first = device.channels[mains[0]]
    counts = first.kind is Kind.ENERGY
    step = _UNKNOWN_STEP_W if counts else first.resolution or _UNKNOWN_STEP_W
    update_s = first.update_period_s or period_s
    if not math.isfinite(update_s):
        update_s = period_s
    work = (n for n, channel in enumerate(device.channels) if channel.unit is Unit.PERCENT)
    feeds = first.domain is Domain.DC
    return _Meter(device.name, mains, feeds, counts, next(work, None), step, update_s)
