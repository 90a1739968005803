"""PACT's own polling, rows and analysis on a clock that a test moves: hours in seconds.

The devices are real ones of `pactmeter.sensors`; what they read is driven by the same clock.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

from pactmeter.analysis.energy import energies
from pactmeter.analysis.run import RecordedRun
from pactmeter.clock import Ticker
from pactmeter.sampling.polling import Polling
from pactmeter.sampling.power import Power
from pactmeter.store.files import RunFiles

ROW_GRACE_S = 0.05


class VirtualPoller:
    """What `sampling.poller.Poller` does, without a thread."""

    def __init__(self, device, period_s, clock):
        self.device = device
        self.batches = deque()
        self._polling = Polling(device, period_s, clock)

    def begin(self, call, start_s):
        self._polling.begin(call, start_s)
        self.step()

    def end(self, end_s):
        self._polling.end(end_s)
        self.step()

    def wait_edge(self, _until_s):
        return True

    @property
    def resting(self):
        return self._polling.resting

    @property
    def due_s(self):
        return self._polling.due_s

    def step(self):
        call, edge = self._polling.take()
        batch = self._polling.poll(call, edge=edge)
        self.batches.append(batch)
        self._polling.done(batch)

    def close(self, _timeout_s):
        self.device.close()


class VirtualRun:
    """Calls measured on a virtual clock; the result is a run as read from its files."""

    def __init__(self, devices, clock, *, poll_s=0.1, row_s=1.0):
        self.clock = clock
        self.row_s = row_s
        self._pollers = []
        self.power = Power(devices, poll_s, self._poller)
        self._rows = []
        self._calls = 0
        self._zero_s = None

    def _poller(self, device, period_s):
        self._pollers.append(VirtualPoller(device, period_s, self.clock))
        return self._pollers[-1]

    def call(self, duration_s, pause_s=math.inf):
        """Measure from now on for some seconds; the next call comes after a pause."""
        start_s = row_from_s = self.clock()
        self._zero_s = start_s if self._zero_s is None else self._zero_s
        end_s = start_s + duration_s
        self._calls += 1
        self.power.begin(self._calls, start_s)
        ticker = Ticker(self.row_s, start_s)
        while ticker.due_s < end_s:
            due_s = ticker.due_s
            self._poll_until(min(due_s + ROW_GRACE_S, end_s))
            self._row(row_from_s, due_s, final=False)
            row_from_s = due_s
            ticker.advance(due_s)
        self._poll_until(end_s)
        self._wait_until(end_s)
        self.power.end(end_s, 0.0)
        while not self.power.resting and self._poll_next(end_s + pause_s):
            pass
        self._row(row_from_s, end_s, final=True)
        if math.isfinite(pause_s):
            self._wait_until(end_s + pause_s)

    def _poll_until(self, time_s):
        while self._poll_next(time_s):
            pass

    def _poll_next(self, before_s):
        poller = min(self._pollers, key=lambda one: one.due_s)
        if poller.due_s >= before_s:
            return False
        self._wait_until(poller.due_s)
        poller.step()
        return True

    def _wait_until(self, time_s):
        self.clock.now_s = max(self.clock.now_s, time_s)

    def _row(self, from_s, to_s, *, final):
        zero_s = self._zero_s
        cells = self.power.cells(to_s, final=final)
        self._rows.append([to_s - zero_s, to_s - zero_s, 0.0, to_s - from_s, *cells])

    def recorded(self):
        """Return the run as `analysis.run.load` would."""
        header = ["due_s", "read_s", "late_s", "window_s", *self.power.columns]
        columns = {name: [row[i] for row in self._rows] for i, name in enumerate(header)}
        gaps = [
            {**g, "start_s": g["start_s"] - self._zero_s, "end_s": g["end_s"] - self._zero_s}
            for g in self.power.gaps
        ]
        manifest = {"channels": self.power.channels, "calls": self._calls, "gaps": gaps}
        return RecordedRun(RunFiles(Path("virtual.csv")), manifest, "complete", None, columns)

    def energies(self):
        """Return the energy of each channel by name."""
        return {energy.channel: energy for energy in energies(self.recorded())}
