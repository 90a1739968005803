"""Readings that stand still while the machine does not: a device that repeats itself.

A code that repeats is legal: a supply rounds to 2 W, an idle GPU stays where it is, a sensor may be
renewed more seldom than it is asked. So a device counts as stuck only if all its codes were the
same for ten polls, and for much longer than it was seen to take for a new reading, while another
meter of the machine moved by more than three of its steps; and if it should have moved too: the
only supply moves with the rest, a processor's counter always does, a GPU that says of itself that
it is at work.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
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
_LEAST_STEP_W = 2.0
"""Finer steps than this are noise: other meters move by as much all the time."""
_APART_S = 0.075
"""Polls that are closer together show how often they were made, not how a machine moves."""
_RENEWALS = 5.0
"""A device stands still for so many of its own update periods before it can be stuck."""
_UNKNOWN_RENEWAL_S = 0.5
"""Update period of a device that has not yet been seen to change twice."""
_SLOW_S = 1.2
"""What a device asks for about once a second may still change so long after it froze."""


_Power = tuple[float, float, float, float]
"""From and to when, in seconds; the power, in watts; how long the exchange took, in seconds."""


@dataclass(slots=True)
class _Meter:
    """One device that gives a power of this machine, as it was seen so far in this call."""

    name: str
    main: list[int]
    feeds: bool
    counts: bool
    work: int | None
    step_w: float
    update_s: float | None
    codes: tuple[float | None, ...] | None = None
    same: int = 0
    since_s: float = 0.0
    power_codes: tuple[float | None, ...] | None = None
    power_since_s: float = 0.0
    changed_s: float | None = None
    shortest_s: float = math.inf
    stuck: tuple[float, str] | None = None
    seen_s: float | None = None
    works: bool = False
    powers: deque[_Power] = field(default_factory=lambda: deque(maxlen=_KEPT))
    last: tuple[float, float] | None = None

    def forget(self) -> None:
        """What was seen says nothing about what follows."""
        self.codes = self.power_codes = self.last = self.seen_s = None
        self.changed_s = self.stuck = None
        self.same = 0

    def is_too_soon(self, batch: Batch) -> bool:
        """Return whether a poll says nothing that the one before did not."""
        if batch.values is None or self.seen_s is None or batch.time_s - self.seen_s >= _APART_S:
            return False
        return self.stuck is None or batch.values == self.codes

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
            if self.changed_s is not None:
                self.shortest_s = min(self.shortest_s, batch.time_s - self.changed_s)
            # since when its first codes are there is not known
            self.changed_s = batch.time_s if self.power_codes is not None else None
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
            self.powers.append((batch.time_s, batch.time_s, total, batch.spent_s))
        elif before is not None and not batch.lost and batch.time_s > before[0]:
            mean_w = (total - before[1]) / (batch.time_s - before[0])
            self.powers.append((before[0], batch.time_s, mean_w, batch.spent_s))

    @property
    def is_still(self) -> bool:
        """Whether its codes have been the same for longer than a healthy device's can be."""
        if self.same < LEAST_POLLS or self.seen_s is None:
            return False
        seen_s = 0.0 if math.isinf(self.shortest_s) else self.shortest_s
        return self.seen_s - self.since_s >= _RENEWALS * max(self.renewal_s, seen_s)

    @property
    def renewal_s(self) -> float:
        """How long a reading may stay the same: as its sensor says, else as was seen."""
        if self.update_s is not None:
            return self.update_s
        return _UNKNOWN_RENEWAL_S if math.isinf(self.shortest_s) else self.shortest_s

    @property
    def stuck_since_s(self) -> float:
        """Since when its powers have stood still, if it is stuck, in monotonic seconds."""
        return max(self.power_since_s, self.since_s - _SLOW_S)

    def moved_w(self, from_s: float) -> float:
        """Return by how much its power surely moved since a time, in watts."""
        recent = [one for one in self.powers if one[0] >= from_s]
        if len(recent) < 2 * _SMOOTH:
            return 0.0
        sums = [0.0, *accumulate(power_w for _, _, power_w, _ in recent)]
        means = [(b - a) / _SMOOTH for a, b in zip(sums, sums[_SMOOTH:], strict=False)]
        if not self.counts:
            return max(means) - min(means)
        # A counter that is updated in steps may give one step too much here, one too little there;
        # and it was read somewhere within the exchange.
        span_s = (recent[-1][1] - recent[0][1]) * _SMOOTH / (len(recent) - 1)
        unsure_s = self.renewal_s + max(spent_s for *_, spent_s in recent)
        jitter_w = 2 * max(means) * unsure_s / span_s if span_s > 0 else math.inf
        return max(means) - min(means) - jitter_w


class StuckWatch:
    """All meters of a run, compared with one another."""

    def __init__(self, devices: Sequence[Device], period_s: float) -> None:
        self._period_s = period_s
        self._meters = [_meter(device) for device in devices]

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
        if not meter.is_too_soon(batch):
            meter.see(batch)
            meter.stuck = self._judge(meter)
        return meter.stuck

    def _judge(self, meter: _Meter) -> tuple[float, str] | None:
        if not meter.is_still:
            return None
        if not (meter.feeds or meter.works or (meter.counts and meter.work is None)):
            return None
        others = [one for one in self._meters if one is not None and one is not meter]
        if meter.feeds and any(o.feeds and o.power_since_s > meter.since_s for o in others):
            return None  # another supply has moved, and may be what feeds all that did
        bound_w = _STEPS * meter.step_w
        for other in others:
            if other.is_still:
                continue
            # a period later: the two are not read at the same moment
            moved_w = other.moved_w(meter.since_s + self._period_s)
            if moved_w > bound_w:
                return meter.stuck_since_s, (
                    f"stuck: {meter.name} gave the same readings {meter.same + 1} times while "
                    f"{other.name} moved by {moved_w:.0f} W"
                )
        return None


def _meter(device: Device) -> _Meter | None:
    channels = device.channels
    mains = [
        index
        for index, channel in enumerate(channels)
        if channel.kind is not Kind.QUANTITY
        and channel.domain in _METERS
        and channel.origin is not Origin.ESTIMATED
    ]
    if any(channels[index].domain is Domain.PACKAGE for index in mains):
        # psys contains the packages: their movement would count twice
        mains = [index for index in mains if channels[index].domain is not Domain.PSYS]
    if not mains:
        return None
    first = channels[mains[0]]
    counts = first.kind is Kind.ENERGY
    step_w = _LEAST_STEP_W if counts else max(first.resolution or 0.0, _LEAST_STEP_W)
    update_s = first.update_period_s
    if update_s is not None and not math.isfinite(update_s):
        update_s = None
    work = (n for n, channel in enumerate(channels) if channel.unit is Unit.PERCENT)
    feeds = first.domain is Domain.DC
    return _Meter(device.name, mains, feeds, counts, next(work, None), step_w, update_s)
