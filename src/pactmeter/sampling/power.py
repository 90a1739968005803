"""The devices of a run during its calls: polls in, cells of power rows out, gaps remembered."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pactmeter.clock import now_s
from pactmeter.model.channel import Channel, Kind
from pactmeter.sampling.gaps import GapLog
from pactmeter.sampling.lag import Lags
from pactmeter.sampling.poller import Poller
from pactmeter.sampling.series import NOTHING, CounterSeries, GaugeSeries, Roughness, Slice
from pactmeter.sampling.stuck import StuckWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.sampling.polling import Batch
    from pactmeter.sensors.base import Device
    from pactmeter.store.table import Cell

_STEPS_KEPT = 64


@dataclass(slots=True)
class _Steps:
    """How often a channel's value really changes (its update period, as seen by our polls)."""

    value: float | None = None
    changed_s: float | None = None
    spans_s: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS_KEPT))

    def see(self, time_s: float, value: float | None) -> None:
        if value is None or value == self.value:
            return
        if self.changed_s is not None and self.value is not None:
            self.spans_s.append(time_s - self.changed_s)
        self.value, self.changed_s = value, time_s

    @property
    def period_s(self) -> float | None:
        return round(statistics.median(self.spans_s), 4) if len(self.spans_s) >= 5 else None


@dataclass(slots=True)
class _Watched:
    """One channel: its series during a call, and its joules since the run's start."""

    channel: Channel
    total_j: float = 0.0
    series: GaugeSeries | CounterSeries | None = None
    row: Slice = NOTHING
    steps: _Steps = field(default_factory=_Steps)
    roughness: Roughness = field(default_factory=Roughness)
    lags: Lags = field(default_factory=Lags)
    taken_back: Slice = NOTHING

    def begin(self, start_s: float) -> None:
        if self.channel.kind is Kind.ENERGY:
            self.series = CounterSeries(start_s)
        else:
            self.series = GaugeSeries(start_s, self.channel.resolution or 0.0)
        self.steps.changed_s = None

    def end(self) -> None:
        """The call's polls are all in: keep what they say of the sensor."""
        if isinstance(self.series, GaugeSeries) and self.channel.kind is Kind.POWER:
            self.roughness += self.series.roughness
            self.lags.add(self.series.lag)
        self.series = None

    def take_back(self, since_s: float) -> None:
        """What was read after this time is not to be believed: rows may hold it already."""
        if self.series is not None:
            self.taken_back += self.series.take_back(since_s)

    @property
    def about_sensor(self) -> dict[str, Any]:
        """What the polls of all calls say of a gauge, for the manifest."""
        rough, lags, back = self.roughness, self.lags, self.taken_back
        return {
            "seen_update_period_s": self.steps.period_s,
            "roughness": asdict(rough) if rough.pairs else None,
            "lag": {
                "calls": lags.calls,
                "tau_s": round(lags.tau_s, 4),
                "energy_j": lags.energy_j,
            }
            if lags.tau_s is not None
            else None,
            "taken_back": {"energy_j": back.energy_j, "covered_s": back.covered_s}
            if back.covered_s
            else None,
        }

    def take(self, time_s: float) -> None:
        """Add what is known up to this time to the row under way, and let its polls go."""
        if self.series is not None:
            self.row += self.series.cut(time_s)

    def cells(self, time_s: float) -> list[Cell]:
        """Return this row's cells of the channel."""
        self.take(time_s)
        cut, self.row = self.row, NOTHING
        if self.channel.kind is Kind.QUANTITY:
            return [cut.mean]
        if cut.mean is None:
            return [None, None, cut.polls]
        self.total_j += cut.energy_j
        return [cut.mean, self.total_j, cut.polls]


class Power:
    """All devices of a run, each polled by a thread of its own."""

    def __init__(
        self,
        devices: Sequence[Device],
        period_s: float,
        poller: Callable[[Device, float], Poller] = Poller,
    ) -> None:
        self._pollers = [poller(device, period_s) for device in devices]
        self._period_s = period_s
        self._watched = [[_Watched(c) for c in device.channels] for device in devices]
        self._call = 0
        self._end_s: float | None = None
        self._stuck = StuckWatch(devices, period_s)
        self._gaps = GapLog(devices, period_s)

    @property
    def columns(self) -> list[str]:
        """Columns of the power table that belong to channels."""
        return [column for w in self._all() for column in w.channel.columns]

    @property
    def channels(self) -> list[dict[str, Any]]:
        """What the manifest says of each channel."""
        return [
            {
                **w.channel.to_dict(),
                "device": poller.device.name,
                "columns": list(w.channel.columns),
                "poll_period_s": self._period_s,
                **w.about_sensor,
            }
            for poller, watched in zip(self._pollers, self._watched, strict=True)
            for w in watched
        ]

    def begin(self, call: int, start_s: float) -> None:
        """A call starts."""
        self._call, self._end_s = call, None
        self._stuck.begin()
        self._gaps.begin(start_s)
        for watched in self._all():
            watched.begin(start_s)
        for poller in self._pollers:
            poller.begin(call, start_s)

    def end(self, end_s: float, wait_s: float) -> None:
        """The call has ended: ask for the closing edge and wait at most so long for it."""
        self._end_s = end_s
        for poller in self._pollers:
            poller.end(end_s)
        until_s = now_s() + wait_s
        for poller in self._pollers:
            poller.wait_edge(until_s)

    @property
    def resting(self) -> bool:
        """Whether every device has been polled long enough after the call's end."""
        return all(poller.resting for poller in self._pollers)

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """All gaps so far; see `GapLog`."""
        return self._gaps.gaps

    @property
    def gaps_left_out(self) -> int:
        """How many more there were."""
        return self._gaps.left_out

    @property
    def any_busy_gpu(self) -> bool:
        """Whether a GPU was busy when it was last polled."""
        return any(
            w.channel.name.endswith("util_sm_pct") and (w.steps.value or 0.0) > 0.0
            for w in self._all()
        )

    def cells(self, time_s: float, *, final: bool) -> list[Cell]:
        """Return the channels' cells of the row that ends at this time."""
        self._take_polls()
        if final and self._end_s is not None:
            for w in self._all():
                if w.series is not None:
                    w.series.end(self._end_s)
            self._gaps.end(self._end_s)
        cells = [cell for w in self._all() for cell in w.cells(time_s)]
        if final:
            for w in self._all():
                w.end()
        return cells

    def digest(self) -> None:
        """Take in what was polled, so that a long row does not keep its polls in memory."""
        self._take_polls()
        for w in self._all():
            w.take(now_s() - 3 * self._period_s)

    def _take_polls(self) -> None:
        taken: list[tuple[float, int, Batch]] = []
        for index, poller in enumerate(self._pollers):
            while poller.batches:
                batch = poller.batches.popleft()
                if batch.call == self._call:
                    taken.append((batch.time_s, index, batch))
        for _, index, batch in sorted(taken, key=lambda one: one[:2]):
            self._feed(index, self._believed(index, batch))

    def _believed(self, index: int, batch: Batch) -> Batch:
        """Return the poll, without its values if the device is stuck."""
        if batch.edge or (self._end_s is not None and batch.time_s >= self._end_s):
            return batch
        stuck = self._stuck.stuck_since(index, batch)
        if stuck is None:
            return batch
        since_s, reason = stuck
        if not self._gaps.is_open(index):
            self._gaps.open(index, since_s, reason)
            for w in self._watched[index]:
                w.take_back(since_s)
        return replace(batch, values=None, reason=reason)

    def close(self) -> None:
        """Stop all threads; one that hangs in its device is left behind (it is a daemon)."""
        for poller in self._pollers:
            poller.close(0.2)

    def _all(self) -> list[_Watched]:
        return [w for watched in self._watched for w in watched]

    def _feed(self, device_index: int, batch: Batch) -> None:
        for index, w in enumerate(self._watched[device_index]):
            poll = batch.poll(index, self._period_s)
            if w.series is not None:
                if batch.edge:
                    w.series.add_edge(poll)
                else:
                    w.series.add(poll)
            w.steps.see(poll.time_s, poll.value)
        self._gaps.see(device_index, batch, math.inf if self._end_s is None else self._end_s)
