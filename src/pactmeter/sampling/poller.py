"""One thread a device, so that a slow one costs no other its time."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.sampling.polling import Batch, Polling

if TYPE_CHECKING:
    from pactmeter.sensors.base import Device


class Poller:
    """Polls one device in a thread of its own while a call goes on, and a little after."""

    def __init__(self, device: Device, period_s: float, *, is_open: bool = True) -> None:
        self.device = device
        self.batches: deque[Batch] = deque()
        """What was polled; the sampler takes from the left."""
        self._polling = Polling(device, period_s, is_open=is_open)
        self._changed = threading.Condition()
        self._closed = False
        self._edge_done = threading.Event()
        self._thread = threading.Thread(target=self._work, name=device.name, daemon=True)
        self._thread.start()

    def begin(self, call: int, start_s: float) -> None:
        """A call starts: poll its edge now, then on a grid that starts with it."""
        with self._changed:
            self._polling.begin(call, start_s)
            self._edge_done.clear()
            self._changed.notify()

    def end(self, end_s: float) -> None:
        """The call ends: poll its edge now, then some times more."""
        with self._changed:
            self._polling.end(end_s)
            self._edge_done.clear()
            self._changed.notify()

    def wait_edge(self, until_s: float) -> bool:
        """Wait for the edge's poll; return whether it came in time."""
        return self._edge_done.wait(max(0.0, until_s - now_s()))

    @property
    def resting(self) -> bool:
        """Whether nothing more will come for the call that ended."""
        return self._polling.resting

    def close(self, timeout_s: float) -> None:
        """Stop, and close the device if its thread comes back in time."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        polling = self._polling
        while not self._closed:
            with self._changed:
                while (wait_s := self._wait_s()) > 0.0:
                    self._changed.wait(wait_s if wait_s < threading.TIMEOUT_MAX else None)
                if self._closed:
                    break
                call, edge = polling.take()
            batch = polling.poll(call, edge=edge)
            self.batches.append(batch)
            with self._changed:
                polling.done(batch)
                if edge and not polling.edge_wanted:
                    self._edge_done.set()
        self.device.close()

    def _wait_s(self) -> float:
        """Return how long there is nothing to do, in seconds."""
        return 0.0 if self._closed else self._polling.due_s - now_s()
