"""One device's polls: on which grid, what becomes of a failure, when it rests; no threads here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.clock import Ticker, now_s
from pactmeter.errors import CounterResetError, PactError, ReadError
from pactmeter.model.channel import Kind
from pactmeter.sampling.series import Poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.sensors.base import Device, Reading

POLL_PERIOD_S = 0.1
TAIL_POLLS = 2
TAIL_POLLS_MOVING = 6
"""So many where the readings still move: a sensor that averages lags behind its load."""
REOPEN_S = 1.0
"""A device that fails is closed and opened again at most this often."""
_LONGEST_READ_S = 0.5
"""A gauge that took longer to answer does not stand for the time it took."""
_LONGEST_POLL_S = 1.0
"""What came after longer is of no known moment: the device hung, or this process was stopped."""
_STILL = 0.02
"""A gauge that changes by less than this share between two polls has settled."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One poll of a device.

    Attributes:
        call: Which call it belongs to.
        edge: Whether it was taken for an edge of the call.
        time_s: Middle of the exchange.
        spent_s: How long the exchange took.
        values: One value a channel; None if the poll failed.
        reason: Why it failed.
        lost: A counter started again.
    """

    call: int
    edge: bool
    time_s: float
    spent_s: float
    values: Reading | None
    reason: str | None = None
    lost: bool = False

    def reach_s(self, period_s: float) -> float:
        """Return how far to either side a reading may stand for its neighbourhood."""
        return 0.75 * period_s + min(self.spent_s, _LONGEST_READ_S)

    def poll(self, index: int, period_s: float) -> Poll:
        """Return the poll of one channel."""
        value = self.values[index] if self.values is not None else None
        return Poll(self.time_s, value, self.reach_s(period_s), self.lost)


class Polling:
    """When a device is polled: at the edges of a call, on a grid during it, some times after it.

    `Poller` runs it in a thread; tests run it on a clock of their own.
    """

    def __init__(
        self,
        device: Device,
        period_s: float,
        clock: Callable[[], float] = now_s,
        *,
        is_open: bool = True,
    ) -> None:
        self.device = device
        self.period_s = period_s
        self.clock = clock
        self._gauges = [i for i, c in enumerate(device.channels) if c.kind is Kind.POWER]
        self._call = 0
        self._ticker: Ticker | None = None
        self._taken: Ticker | None = None
        self._edge_wanted = False
        self._tail: list[Batch] | None = None
        self._lost = False
        self._open = is_open
        self._reopen_s = 0.0

    def begin(self, call: int, start_s: float) -> None:
        """A call starts: poll its edge now, then on a grid that starts with it."""
        self._call, self._tail = call, None
        self._ticker = Ticker(self.period_s, start_s)
        self._edge_wanted = True

    def end(self, end_s: float) -> None:
        """The call ends: poll its edge now, then some times on a grid that starts there."""
        self._tail = []
        # a lag shows in the time after the call, not in the number of polls
        self._ticker = Ticker(max(self.period_s, POLL_PERIOD_S), end_s)
        self._edge_wanted = True

    @property
    def edge_wanted(self) -> bool:
        """Whether an edge waits for its poll."""
        return self._edge_wanted

    @property
    def resting(self) -> bool:
        """Whether nothing more will come for the call that ended."""
        return self._ticker is None

    @property
    def due_s(self) -> float:
        """When the next poll is due: minus infinity for an edge, infinity at rest."""
        if self._edge_wanted:
            return -math.inf
        return math.inf if self._ticker is None else self._ticker.due_s

    def take(self) -> tuple[int, bool]:
        """Return the call that the poll which is due belongs to, and whether it is an edge."""
        edge, self._edge_wanted = self._edge_wanted, False
        self._taken = self._ticker
        return self._call, edge

    def done(self, batch: Batch) -> None:
        """Account for a poll: move on the grid, rest once the tail is long enough."""
        if self._ticker is None or self._ticker is not self._taken:
            return  # a call has begun or ended meanwhile, and waits for its edge
        if not batch.edge:
            self._ticker.advance(self.clock())
        if self._tail is None:
            return
        self._tail.append(batch)
        grid_polls = len(self._tail) - 1
        enough = grid_polls >= TAIL_POLLS and not self._is_moving()
        if enough or grid_polls >= TAIL_POLLS_MOVING:
            self._ticker = self._tail = None

    def _is_moving(self) -> bool:
        """Return whether a gauge still falls (or rises), ever more slowly: a lag, not a load."""
        tail = (self._tail or [])[-3:]
        for index in self._gauges:
            seen = [batch.values[index] for batch in tail if batch.values is not None]
            first, second, third = seen if len(seen) == 3 else (None, None, None)
            if first is None or second is None or third is None:
                continue
            before, now = second - first, third - second
            step = self.device.channels[index].resolution or 0.0
            if max(step, _STILL * third) < abs(now) < 1.2 * abs(before) and now * before > 0:
                return True
        return False

    def poll(self, call: int, *, edge: bool) -> Batch:
        """Read the device once; a failure is a batch without values, and its reason."""
        before_s = self.clock()
        values: Reading | None = None
        reason = None
        try:
            self._reopen_if_needed(before_s)
            values = self.device.read()
        except CounterResetError as error:
            self._lost, reason = True, error.message
        except ReadError as error:
            self._open, reason = False, error.message
        except PactError as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001  a plug-in's bug is a gap, never the run's end
            self._open, reason = False, f"{type(error).__name__}: {error}"
        after_s = self.clock()
        if values is not None and after_s - before_s > _LONGEST_POLL_S:
            values = None
            reason = f"{self.device.name} took {after_s - before_s:.1f} s to answer"
        lost = self._lost and values is not None
        if values is not None:
            self._lost = False
        return Batch(call, edge, (before_s + after_s) / 2, after_s - before_s, values, reason, lost)

    def _reopen_if_needed(self, time_s: float) -> None:
        if self._open:
            return
        if time_s >= self._reopen_s:
            self._reopen_s = time_s + REOPEN_S
            self.device.close()
            self.device.open()
        self._open = True  # until the next failure; reading tells
