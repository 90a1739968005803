"""Bins of counters where only we can read: all events, every period, in a thread of their own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pactmeter.clock import Ticker, now_s
from pactmeter.kernel.process import tighten_timer_slack
from pactmeter.sampling.counting import Counting, deltas, known, line, shares

if TYPE_CHECKING:
    from pactmeter.counters.backends import AnyCounters
    from pactmeter.counters.groups import Sample

_LONGEST_SLEEP_S = 0.1
"""A call that ends, or another that begins, is noticed within this time."""


class PolledCounting(Counting):
    """Reads counters on a grid while a call goes on; a bin is what lies between two readings."""

    def __init__(self, counters: AnyCounters, period_s: float) -> None:
        super().__init__(counters, period_s)
        self._running = threading.Event()
        self._ticks: list[tuple[Sample, Sample]] = []
        self._known = self._last
        self._ticker = Ticker(period_s, 0.0)
        self._run()

    def begin(self) -> float:
        """Read the opening edge; return its time."""
        with self._lock:
            self._first = self._last = self._row_last = self._known = self._read()
            return self._last.time_s

    def start(self, start_s: float, zero_s: float) -> None:
        """Let the thread tick from now on."""
        with self._lock:
            self._zero_s = zero_s
            self._ticker = Ticker(self._period_s, start_s)
            self._running.set()

    def end(self) -> float:
        """Read the closing edge and rest; return its time."""
        with self._lock:
            self._running.clear()
            self._tick()
            self._add_times()
            return self._last.time_s

    def lines(self) -> list[str]:
        """Return the table's lines since the last time.

        A tick only keeps its reading; it is put into words here, once a second, because what a
        tick costs is paid by whoever it interrupts.
        """
        with self._lock:
            ticks, self._ticks = self._ticks, []
        return [
            line(
                before.time_s - self._zero_s,
                after.time_s - before.time_s,
                deltas(before, after),
                shares(before, after),
            )
            for before, after in ticks
        ]

    def _failed(self) -> None:
        self._running.clear()

    def _wake(self) -> None:
        self._running.set()

    def _work(self) -> None:
        tighten_timer_slack()
        while not self._closed.is_set():
            self._running.wait()
            wait_s = self._ticker.due_s - now_s()
            if wait_s > 0:
                time.sleep(min(wait_s, _LONGEST_SLEEP_S))
            with self._lock:
                wanted = self._running.is_set() and not self._closed.is_set()
                if wanted and now_s() >= self._ticker.due_s:  # else an edge came in between
                    self._tick()
                    self._ticker.advance(self._last.time_s)

    def _tick(self) -> None:
        self._last = self._read()
        self._ticks.append((self._known, self._last))
        self._known = known(self._known, self._last)
