"""One thread a device: polls it on its own grid, so that a slow one costs no other its time."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pactmeter.clock import Ticker, now_s
from pactmeter.errors import CounterResetError, PactError, ReadError
from pactmeter.sampling.series import Poll

if TYPE_CHECKING:
    from pactmeter.sensors.base import Device, Reading

POLL_PERIOD_S = 0.1
TAIL_POLLS = 2
REOPEN_S = 1.0
"""A device that fails is closed and opened again at most this often."""
_LONGEST_READ_S = 0.5
"""A gauge that took longer to answer does not stand for the time it took."""


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

    def poll(self, index: int, period_s: float) -> Poll:
        """Return the poll of one channel."""
        reach_s = 0.75 * period_s + min(self.spent_s, _LONGEST_READ_S)
        value = self.values[index] if self.values is not None else None
        return Poll(self.time_s, value, reach_s, self.lost)


class _State(Enum):
    IDLE = 0
    POLLING = 1
    TAIL = 2


class Poller:
    """Polls one device in a thread of its own while a call goes on, and a little after."""

    def __init__(self, device: Device, period_s: float) -> None:
        self.device = device
        self.period_s = period_s
        self.batches: deque[Batch] = deque()
        """What was polled; the sampler takes from the left."""
        self._changed = threading.Condition()
        self._state = _State.IDLE
        self._closed = False
        self._call = 0
        self._ticker = Ticker(period_s, 0.0)
        self._edge_wanted = False
        self._edge_done = threading.Event()
        self._tail_left = 0
        self._lost = False
        self._open = True
        self._reopen_s = 0.0
        self._thread = threading.Thread(target=self._work, name=device.name, daemon=True)
        self._thread.start()

    def begin(self, call: int, start_s: float) -> None:
        """A call starts: poll its edge now, then on a grid that starts with it."""
        with self._changed:
            self._state, self._call = _State.POLLING, call
            self._ticker = Ticker(self.period_s, start_s)
            self._want_edge()

    def end(self) -> None:
        """The call ends: poll its edge now, then `TAIL_POLLS` times more."""
        with self._changed:
            self._state, self._tail_left = _State.TAIL, TAIL_POLLS
            self._want_edge()

    def _want_edge(self) -> None:
        self._edge_wanted = True
        self._edge_done.clear()
        self._changed.notify()

    def wait_edge(self, until_s: float) -> bool:
        """Wait for the edge's poll; return whether it came in time."""
        return self._edge_done.wait(max(0.0, until_s - now_s()))

    @property
    def resting(self) -> bool:
        """Whether nothing more will come for the call that ended."""
        return self._state is _State.IDLE

    def close(self, timeout_s: float) -> None:
        """Stop, and close the device if its thread comes back in time."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._closed:
            with self._changed:
                while not self._due():
                    wait_s = None
                    if self._state in {_State.POLLING, _State.TAIL}:
                        wait_s = max(0.0, self._ticker.due_s - now_s())
                    self._changed.wait(wait_s)
                if self._closed:
                    break
                call, edge = self._call, self._edge_wanted
                self._edge_wanted = False
            batch = self._poll(call, edge=edge)
            self.batches.append(batch)
            with self._changed:
                if edge and not self._edge_wanted:
                    self._edge_done.set()
                if not edge:
                    self._ticker.advance(now_s())
                    if self._state is _State.TAIL:
                        self._tail_left -= 1
                        if self._tail_left <= 0:
                            self._state = _State.IDLE
        self.device.close()

    def _due(self) -> bool:
        if self._closed or self._edge_wanted:
            return True
        return self._state is not _State.IDLE and now_s() >= self._ticker.due_s

    def _poll(self, call: int, *, edge: bool) -> Batch:
        before_s = now_s()
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
        after_s = now_s()
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
