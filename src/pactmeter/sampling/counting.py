"""Counters over the calls of a run: totals at every edge, rows of power, bins of counters."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.counters.backends import counts_anything

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.counters.backends import AnyCounters
    from pactmeter.counters.groups import Sample
    from pactmeter.store.table import Cell

_LONGEST_END_S = 5.0
"""How long the end of a run waits for bins: a thread is that late only on a machine that hangs."""


class Counting(ABC):
    """What both ways of filling bins share.

    Every reading goes through one lock, so the rows of counters and the rows of power are made of
    the same cumulative readings and their sums agree to the unit.
    """

    def __init__(self, counters: AnyCounters, period_s: float) -> None:
        self._counters = counters
        self._period_s = period_s
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.problem: str | None = None
        """Why counters could not be read, the last time that happened."""
        self._zero_s = 0.0
        self.anything = counts_anything(counters)
        """Whether at least one event is counted, whether or not it can be read just now."""
        self._last = counters.read()
        self._first = self._row_last = self._last
        self._times = [[0.0, 0.0] for _ in counters.groups]
        self._thread: threading.Thread | None = None

    def _run(self) -> None:
        """Start the thread, if there is anything to count."""
        if self.anything:
            self._thread = threading.Thread(target=self._work_on, name="counters", daemon=True)
            self._thread.start()

    @property
    def resting(self) -> bool:
        """Whether all bins of the calls that have ended are made."""
        return True

    @property
    def health(self) -> dict[str, float]:
        """What befell the counters, for the manifest."""
        return {"stale_counter_reads": self._counters.stale_reads}

    @property
    def notes(self) -> list[str]:
        """What whoever reads the counters must know."""
        return [] if self.problem is None else [self.problem]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the counters' table."""
        running = tuple(f"{group}_running" for group in self._counters.groups)
        return ("start_s", "dt_s", *self._counters.columns, *running)

    @abstractmethod
    def begin(self) -> float:
        """Read the opening edge; return its time."""

    @abstractmethod
    def start(self, start_s: float, zero_s: float) -> None:
        """Make bins from now on, counted in seconds since ``zero_s``."""

    @abstractmethod
    def end(self) -> float:
        """Read the closing edge; return its time."""

    @abstractmethod
    def lines(self) -> list[str]:
        """Return the table's lines since the last time."""

    @abstractmethod
    def _work(self) -> None: ...

    def row(self, *, fresh: bool) -> list[Cell]:
        """Return the events' deltas since the last row; ``fresh`` reads them now."""
        with self._lock:
            sample = self._read() if fresh else self._last
            before, self._row_last = self._row_last, known(self._row_last, sample)
        return list(deltas(before, sample))

    @property
    def row_s(self) -> float:
        """When the last row was read: CLOCK_MONOTONIC, in seconds."""
        return self._row_last.time_s

    @property
    def running_shares(self) -> dict[str, float | None]:
        """Share of the time that each group was really counting, over all calls; None: never."""
        return {
            group: round(min(1.0, running_s / enabled_s), 6) if enabled_s > 0 else None
            for group, (enabled_s, running_s) in zip(
                self._counters.groups, self._times, strict=True
            )
        }

    def stop(self) -> None:
        """Make the bins that are still to be made, and end the thread."""
        self._closed.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(_LONGEST_END_S)
            if self._thread.is_alive():
                self.problem = "the bins of the last call are not whole: the sampler got too late"

    def close(self) -> None:
        """Stop, and close the counters."""
        self.stop()
        self._counters.close()

    @abstractmethod
    def _wake(self) -> None: ...

    def _work_on(self) -> None:
        """Work; where that fails the run goes on, and its end tells."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001  see above
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.problem = f"bins of counters end early: {type(error).__name__}: {error}"
        with self._lock:
            self._failed()

    @abstractmethod
    def _failed(self) -> None:
        """Do without the thread."""

    def _read(self) -> Sample:
        """Read the counters; where that fails the last reading stands, and the failure is told."""
        try:
            return self._counters.read()
        except OSError as error:
            self.problem = f"counters could not be read: {error.strerror or error}"
            return self._last._replace(time_s=now_s())

    def _add_times(self) -> None:
        """Add the times of the call that ends with the last reading."""
        for sums, old, new in zip(self._times, self._first.times, self._last.times, strict=True):
            if old is not None and new is not None:
                sums[0] += new[0] - old[0]
                sums[1] += new[1] - old[1]


def line(start_s: float, length_s: float, counts: Sequence[int | None], shares: str) -> str:
    r"""Return a line of the counters' table.

    >>> line(1.5, 0.01, [3, None], ",1,1")
    '1.500000,0.010000,3,,1,1\n'
    """
    cells = ",".join(["" if count is None else str(count) for count in counts])
    return f"{start_s:.6f},{length_s:.6f},{cells}{shares}\n"


def known(before: Sample, after: Sample) -> Sample:
    """Return a reading with the totals of the one before where its own are not known.

    A group that waits for the hardware is not known until its turn; then it tells of the time
    since it was known last.
    """
    pairs = zip(before.totals, after.totals, strict=True)
    return after._replace(totals=tuple([old if new is None else new for old, new in pairs]))


def deltas(before: Sample, after: Sample) -> list[int | None]:
    """Return what was counted between two readings; None where one of them is not known."""
    return [
        None if new is None or old is None else new - old
        for old, new in zip(before.totals, after.totals, strict=True)
    ]


def shares(before: Sample, after: Sample) -> str:
    """Return running over enabled time a group as cells with a comma before; empty: not counted."""
    cells = []
    for old, new in zip(before.times, after.times, strict=True):
        if old is None or new is None:
            cells.append(",")
            continue
        enabled_s, running_s = new[0] - old[0], new[1] - old[1]
        # a tree whose threads all slept was enabled for no time at all, and missed nothing
        cells.append(f",{min(running_s / enabled_s, 1.0):.4g}" if enabled_s > 0 else ",1")
    return "".join(cells)
