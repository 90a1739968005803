"""The counters' own thread: reads all events every `perf_measure_period`, waits for no device."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pactmeter.clock import Ticker, now_s
from pactmeter.kernel.process import tighten_timer_slack

if TYPE_CHECKING:
    from pactmeter.counters.groups import Counters, Sample
    from pactmeter.store.table import Cell


_LONGEST_SLEEP_S = 0.1
"""A call that ends, or another that begins, is noticed within this time."""


class Counting:
    """Reads counters on a grid while a call goes on, and at once when told so.

    Every reading goes through one lock, so the rows of counters and the rows of power are made of
    the same cumulative readings and their sums agree to the unit.
    """

    def __init__(self, counters: Counters, period_s: float) -> None:
        self._counters = counters
        self._period_s = period_s
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._closed = threading.Event()
        self._ticks: list[tuple[Sample, Sample]] = []
        self.problem: str | None = None
        """Why counters could not be read, the last time that happened."""
        self._zero_s = 0.0
        self._ticker = Ticker(period_s, 0.0)
        self._last = counters.read()
        self._first = self._row_last = self._last
        self._times = [[0.0, 0.0] for _ in counters.groups]
        self._thread: threading.Thread | None = None
        if self.anything:
            self._thread = threading.Thread(target=self._work, name="counters", daemon=True)
            self._thread.start()

    @property
    def anything(self) -> bool:
        """Whether at least one event is counted."""
        return any(total is not None for total in self._last.totals)

    @property
    def stale_reads(self) -> int:
        """How often the kernel gave no reading of a group, and the last one stood in."""
        return self._counters.stale_reads

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the counters' table."""
        running = tuple(f"{group}_running" for group in self._counters.groups)
        return ("start_s", "dt_s", *self._counters.columns, *running)

    def begin(self) -> float:
        """Read the opening edge; return its time."""
        with self._lock:
            self._first = self._last = self._row_last = self._read()
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
            for sums, old, new in zip(
                self._times, self._first.times, self._last.times, strict=True
            ):
                if old is not None and new is not None:
                    sums[0] += new[0] - old[0]
                    sums[1] += new[1] - old[1]
            return self._last.time_s

    @property
    def running_shares(self) -> dict[str, float | None]:
        """Share of the time that each group was really counting, over all calls; None: never."""
        return {
            group: round(min(1.0, running_s / enabled_s), 6) if enabled_s > 0 else None
            for group, (enabled_s, running_s) in zip(
                self._counters.groups, self._times, strict=True
            )
        }

    def row(self, *, fresh: bool) -> list[Cell]:
        """Return the events' deltas since the last row; ``fresh`` reads them now."""
        with self._lock:
            sample = self._read() if fresh else self._last
            before, self._row_last = self._row_last, sample
        return list(_deltas(before, sample))

    def lines(self) -> list[str]:
        """Return the table's lines since the last time.

        A tick only keeps its reading; it is put into words here, once a second, because what a
        tick costs is paid by whoever it interrupts.
        """
        with self._lock:
            ticks, self._ticks = self._ticks, []
        return [_line(before, after, self._zero_s) for before, after in ticks]

    def close(self) -> None:
        """Stop the thread and close the counters."""
        self._closed.set()
        self._running.set()
        if self._thread is not None:
            self._thread.join(1.0)
        self._counters.close()

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

    def _read(self) -> Sample:
        """Read the counters; where that fails the last reading stands, and the failure is told."""
        try:
            return self._counters.read()
        except OSError as error:
            self.problem = f"counters could not be read: {error.strerror or error}"
            return self._last._replace(time_s=now_s())

    def _tick(self) -> None:
        before, self._last = self._last, self._read()
        self._ticks.append((before, self._last))


def _line(before: Sample, after: Sample, zero_s: float) -> str:
    cells = ["" if delta is None else str(delta) for delta in _deltas(before, after)]
    times = [f"{before.time_s - zero_s:.6f}", f"{after.time_s - before.time_s:.6f}"]
    return ",".join([*times, *cells, *_shares(before, after)]) + "\n"


def _deltas(before: Sample, after: Sample) -> list[int | None]:
    return [
        None if new is None or old is None else new - old
        for old, new in zip(before.totals, after.totals, strict=True)
    ]


def _shares(before: Sample, after: Sample) -> list[str]:
    """Running time over enabled time a group, between two readings; empty where not counted."""
    shares = []
    for old, new in zip(before.times, after.times, strict=True):
        if old is None or new is None:
            shares.append("")
            continue
        enabled_s, running_s = new[0] - old[0], new[1] - old[1]
        # a tree whose threads all slept was enabled for no time at all, and missed nothing
        shares.append(f"{min(running_s / enabled_s, 1.0):.4g}" if enabled_s > 0 else "1")
    return shares
