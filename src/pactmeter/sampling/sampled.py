"""Bins of counters where the kernel takes the samples: its rings are emptied now and then."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from pactmeter.clock import now_s
from pactmeter.counters.bins import Bins
from pactmeter.counters.records import Grid
from pactmeter.sampling.counting import Counting, line, shares

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.counters.bins import Filled
    from pactmeter.counters.groups import Counters, Sample
    from pactmeter.counters.records import Span
    from pactmeter.store.table import Cell

_READ_EVERY_S = 1.0
"""Totals are read so often at least, and bins made until then; rows of power read them too."""
_READ_OFTEN_S = 0.01
"""Totals are read every period while nothing is sampled, but not more often than this."""
_ALWAYS = 0.999
"""Share of the time beyond which a group is taken to have counted all the time."""
_MOST_SPANS = 50_000
"""Beyond so many, at some 400 bytes each, totals are read and bins made at once."""
_LITTLE = 0.125
"""Share of a ring, some 600 samples in 0.5 ms, that whoever reads a row lays out at once: waking
another thread costs more. Beyond, the thread does, so that no edge of a call waits for it."""


class _Mark(NamedTuple):
    """Totals that bins are to be filled up to."""

    kind: Literal["begin", "on", "end"]
    sample: Sample


class SampledCounting(Counting):
    """Reads totals at edges and with rows of power; the kernel's samples tell what lies between.

    Readings are queued as marks: the bins are filled up to each with what the rings hold by then.
    Who reads a row does that too where it is little; the thread does where it is much, where a ring
    fills up, at the end of a call, and where rows are further apart than a second.
    """

    _counters: Counters

    def __init__(self, counters: Counters, period_s: float, row_period_s: float) -> None:
        super().__init__(counters, period_s)
        self._period_ns = round(period_s * 1e9)
        self._rows_serve = row_period_s <= _READ_EVERY_S
        self._marks: deque[_Mark] = deque()
        self._laying = threading.Lock()
        """Whose turn it is with the rings and the bins; taken before `_lock`, never after."""
        self._open = False
        self._paused = False
        self._dead = False
        self._read_s = float("inf")
        self._bins: Bins | None = None
        self._binned: Sample = self._last
        self._grid = Grid()
        self._spans: list[Span] = []
        self._lines: list[str] = []
        self._begun = threading.Event()
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._run()

    @property
    def resting(self) -> bool:
        """Whether all bins of the calls that have ended are made."""
        return not any(mark.kind == "end" for mark in list(self._marks))

    @property
    def health(self) -> dict[str, float]:
        """What befell the counters, for the manifest."""
        counters = self._counters
        return super().health | {
            "lost_records": counters.lost_records,
            "throttled": counters.throttled,
            "unsampled_s": round(counters.unsampled_s, 3),
        }

    @property
    def notes(self) -> list[str]:
        """What whoever reads the bins must know."""
        notes = super().notes
        if self._counters.lost_records:
            notes.append(
                "samples of counters were lost: totals are whole, their place in time is coarser"
            )
        if self._counters.unsampled_s:
            notes.append(
                "too many context switches to sample each: for a part of the time counters were"
                " read every period (sampler.unsampled_s)"
            )
        running = [share for share in self.running_shares.values() if share is not None]
        if self._counters.joined and min(running, default=1.0) < _ALWAYS:
            notes.append(
                "others used the hardware's counters for a part of the time: of that time totals"
                " of software events are whole, their place in time is coarser"
            )
        return notes

    def begin(self) -> float:
        """Read the opening edge; return its time."""
        with self._lock:
            if self._paused:
                self._counters.resume()
                self._paused = False
            self._first = self._last = self._row_last = self._read()
            self._open = True
            self._mark("begin")
            self._wake_to_read()
            return self._last.time_s

    def start(self, start_s: float, zero_s: float) -> None:
        """Count seconds from ``zero_s``; the bins have begun with the opening edge."""
        del start_s
        self._zero_s = zero_s
        self._begun.set()

    def end(self) -> float:
        """Read the closing edge; return its time."""
        with self._lock:
            self._last = self._read()
            self._open = False
            self._mark("end")
            self._add_times()
            self._wake()
            return self._last.time_s

    def row(self, *, fresh: bool) -> list[Cell]:
        """Return the events' deltas since the last row; bins are filled up to the same reading."""
        if fresh:
            with self._lock:
                self._last = self._read()
                self._mark("on")
            if self._thread is None or self._dead:
                pass
            elif self._counters.filled > _LITTLE:
                self._wake()
            elif self._laying.acquire(blocking=False):
                try:
                    self._settle()
                except Exception as error:  # noqa: BLE001  the run goes on, and its end tells
                    self._give_up(error)
                finally:
                    self._laying.release()
                self._wake_to_read()
        return super().row(fresh=False)

    def lines(self) -> list[str]:
        """Return the table's lines since the last time, many in a text."""
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def close(self) -> None:
        """Stop the thread and close the counters."""
        super().close()
        os.close(self._waker)

    def _mark(self, kind: Literal["begin", "on", "end"]) -> None:
        if self._thread is None or self._dead:  # nothing is counted, or laid out any more
            return
        self._marks.append(_Mark(kind, self._last))
        reads = self._open and not self._rows_serve
        self._read_s = self._last.time_s + _READ_EVERY_S if reads else float("inf")
        self._hurry()

    def _hurry(self) -> None:
        """Read sooner where nothing is sampled."""
        if self._open and self._counters.unsampled:
            soon_s = self._last.time_s + max(self._period_s, _READ_OFTEN_S)
            self._read_s = min(self._read_s, soon_s)

    def _wake_to_read(self) -> None:
        """Let the thread know when it is to read: it may sleep without an end."""
        if self._read_s < float("inf"):
            self._wake()

    def _wake(self) -> None:
        os.eventfd_write(self._waker, 1)

    def _work(self) -> None:
        poller = select.poll()
        poller.register(self._waker, select.POLLIN)
        for ring in self._counters.rings:
            poller.register(ring.fd, select.POLLIN)
        while not self._closed.is_set() and not self._dead:
            due_s = self._read_s
            wait_ms = max(0.0, due_s - now_s()) * 1000 + 0.5 if due_s < float("inf") else None
            ready = dict(poller.poll(wait_ms))
            woken = ready.pop(self._waker, 0)
            if woken:
                os.eventfd_read(self._waker)
            for fd, event in ready.items():
                if not event & select.POLLIN:  # the thread whose ring it was has ended
                    poller.unregister(fd)
            # a ring tells of half its size written, though a row may have emptied it meanwhile
            if ready and not woken and self._counters.filled < _LITTLE:
                continue
            self._read_due()
            self._settle_or_give_up()
        self._settle_or_give_up()

    def _settle_or_give_up(self) -> None:
        with self._laying:
            if self._dead:
                return
            try:
                self._settle()
            except Exception as error:  # noqa: BLE001  the run goes on, and its end tells
                self._give_up(error)

    def _failed(self) -> None:
        """Count on, and lay nothing out any more."""
        self._dead = True
        self._marks.clear()
        self._spans.clear()
        self._read_s = float("inf")
        with contextlib.suppress(OSError):
            self._counters.stop_sampling()
        self._wake()

    def _pause(self) -> None:
        self._paused = True
        with contextlib.suppress(OSError):
            self._counters.pause()

    def _read_due(self) -> None:
        with self._lock:
            if self._open and now_s() >= self._read_s:
                self._last = self._read()
                self._mark("on")

    def _settle(self) -> None:
        """Empty the rings and fill bins up to the marks there are."""
        due = list(self._marks)  # before the rings: what they hold then reaches up to each
        fresh = self._counters.collect(self._grid)
        for mark in due:
            self._fill(mark, fresh)
            self._marks.popleft()
        self._spans += fresh
        with self._lock:
            self._hurry()
            if self._open and len(self._spans) > _MOST_SPANS:
                self._read_s = 0.0
            if not self._open and not self._marks:
                self._read_s = float("inf")
                self._spans.clear()
                self._pause()  # again where a thread, started meanwhile, has inherited what was on

    def _fill(self, mark: _Mark, fresh: Iterator[Span]) -> None:
        sample = mark.sample
        at_ns = round(sample.time_s * 1e9)
        if mark.kind == "begin":
            self._begun.wait()
            shared = self._counters.shared
            self._bins = Bins(at_ns, self._period_ns, sample.totals, shared, self._grid)
        elif self._bins is not None:
            bins, self._spans = self._bins.fill(
                at_ns, sample.totals, chain(self._spans, fresh), last=mark.kind == "end"
            )
            made = _lines(bins, shares(self._binned, sample), self._zero_s)
            with self._lock:
                self._lines.append(made)
        self._binned = sample


def _lines(bins: Filled, words: str, zero_s: float) -> str:
    """Return bins as lines of the table; up to a thousand a second, so in one go."""
    starts_s = [start_ns / 1e9 - zero_s for start_ns in bins.starts_ns]
    lengths_ns = bins.lengths_ns
    if any(None in column for column in bins.columns):
        rows = zip(starts_s, lengths_ns, *bins.columns, strict=True)
        return "".join([line(row[0], row[1] / 1e9, row[2:], words) for row in rows])
    rest = f"{',%d' * len(bins.columns)}{words}\n"
    alike = lengths_ns.count(lengths_ns[0]) if lengths_ns else 0  # all, but for a last one
    layout = f"%.6f,{lengths_ns[0] / 1e9:.6f}{rest}" * alike if alike else ""
    layout += "".join([f"%.6f,{length_ns / 1e9:.6f}{rest}" for length_ns in lengths_ns[alike:]])
    return layout % tuple(chain.from_iterable(zip(starts_s, *bins.columns, strict=True)))
