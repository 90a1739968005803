"""Energy and counts of each named region, as far as the files resolve it; else a refusal.

Energy comes from the cumulative joules of the power rows, taken to flow evenly within a row;
counts from the counters' bins, taken to come evenly within a bin. Regions of one name that overlap
count once. What is shorter than its source resolves has no figure:

- energy: the typical (median) region must be at least 10 updates of the sensor and 2 rows long,
- counts: at least 10 bins, so that the two bins that its edges cut are at most a fifth of it,
- both: 99 % of its time must have been measured (inside calls, without gaps).
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.energy import energy as whole_energy
from pactmeter.errors import FileError
from pactmeter.model.channel import Kind
from pactmeter.session.regions import CALL
from pactmeter.store.spool import marks_left
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel

LEAST_UPDATES = 10
LEAST_ROWS = 2
LEAST_BINS = 10
LEAST_MEASURED = 0.99
Span = tuple[float, float]


@dataclass(slots=True)
class _Named:
    """All regions of one name (and, where asked for, of one index)."""

    name: str
    index: int | None = None
    spans: list[Span] = field(default_factory=list)

    @property
    def typical_s(self) -> float:
        return median(end_s - start_s for start_s, end_s in self.spans)

    def merged(self) -> list[Span]:
        """The time in which at least one is open."""
        result: list[Span] = []
        for start_s, end_s in sorted(self.spans):
            if result and start_s <= result[-1][1]:
                result[-1] = (result[-1][0], max(result[-1][1], end_s))
            else:
                result.append((start_s, end_s))
        return result


def region_rows(run: RecordedRun) -> Iterator[list[str]]:
    """Yield the header and the rows of the regions, with those not yet taken into the file.

    Raises:
        FileError: The file cannot be read.
    """
    folder, zero_s = run.manifest.get("marks"), run.manifest.get("zero_monotonic_s")
    left: Counter[tuple[str, ...]] = Counter()
    if folder and zero_s is not None:  # first these, then the file, into which they go
        lines = (mark.line(zero_s) for mark in marks_left(Path(folder)))
        left.update(map(tuple, csv.reader(lines)))
    header, rows = read_table(run.files.regions)
    yield header
    for row in rows:
        if left and left.get(tuple(row), 0):
            left[tuple(row)] -= 1
        yield row
    yield from map(list, left.elements())


def regions(run: RecordedRun, each: str | None = None) -> list[dict[str, Any]]:
    """Return what each region comes to, as plain data (`report --json`); calls are none.

    Args:
        run: The run.
        each: A name whose regions are told apart by their index.
    """
    found = _marked(run, each)
    if not found:
        return []
    channels = [c for c in run.channels if c.kind is not Kind.QUANTITY]
    sources = [_Source(run, channel) for channel in channels]
    bins = _Bins(run)
    result = []
    for named in found:
        merged = named.merged()
        told: dict[str, Any] = {"name": named.name}
        if each is not None:
            told["index"] = named.index
        told |= {
            "count": len(named.spans),
            "duration_s": round(math.fsum(end_s - start_s for start_s, end_s in merged), 6),
            "mean_s": round(fmean(end_s - start_s for start_s, end_s in named.spans), 6),
            "energy": {s.channel.name: s.energy(merged, named.typical_s) for s in sources},
            "counters": bins.counts(merged, named.typical_s),
        }
        result.append(told)
    return result


def _marked(run: RecordedRun, each: str | None) -> list[_Named]:
    found: dict[tuple[str, str], _Named] = {}
    try:
        rows = region_rows(run)
        next(rows)
        for start, end, name, index, _tid in rows:
            if name == CALL or (each is not None and name != each):
                continue
            key = (name, index if each is not None else "")
            if key not in found:
                found[key] = _Named(name, int(index) if each is not None and index else None)
            found[key].spans.append((float(start), float(end)))
    except (FileError, ValueError):  # no regions were recorded, or another wrote the file
        return []
    return sorted(found.values(), key=lambda named: min(named.spans))


class _Cumulative:
    """A quantity that adds up over stretches of time, even within each; None: not known there."""

    def __init__(self, stretches: Iterable[tuple[float, float, float | None, float]]) -> None:
        """Take start, end, amount and known time of each stretch, in order (seconds)."""
        self.times_s: list[float] = []
        self._amounts, self._known = [0.0], [0.0]
        for start_s, end_s, amount, known_s in stretches:
            if end_s <= start_s:
                continue
            if not self.times_s:
                self.times_s.append(start_s)
            elif start_s > self.times_s[-1]:  # a pause
                self._append(start_s, 0.0, 0.0)
            self._append(end_s, amount or 0.0, 0.0 if amount is None else known_s)

    def _append(self, end_s: float, amount: float, known_s: float) -> None:
        self.times_s.append(end_s)
        self._amounts.append(self._amounts[-1] + amount)
        self._known.append(self._known[-1] + known_s)

    def over(self, spans: list[Span]) -> tuple[float, float]:
        """Return the amount over some spans, and the known part of their time in seconds."""
        ends = [(self._at(start_s), self._at(end_s)) for start_s, end_s in spans]
        return (
            math.fsum(end[0] - start[0] for start, end in ends),
            math.fsum(end[1] - start[1] for start, end in ends),
        )

    def _at(self, time_s: float) -> tuple[float, float]:
        if not self.times_s or time_s <= self.times_s[0]:
            return 0.0, 0.0
        if time_s >= self.times_s[-1]:
            return self._amounts[-1], self._known[-1]
        k = bisect_right(self.times_s, time_s) - 1
        share = (time_s - self.times_s[k]) / (self.times_s[k + 1] - self.times_s[k])
        return tuple(  # type: ignore[return-value]
            column[k] + share * (column[k + 1] - column[k])
            for column in (self._amounts, self._known)
        )


class _Source:
    """A channel's energy over time."""

    def __init__(self, run: RecordedRun, channel: Channel) -> None:
        self.channel = channel
        about = run.about(channel.name)
        poll_s = float(about.get("poll_period_s") or 0.1)
        update_s = channel.update_period_s or about.get("seen_update_period_s") or 0.0
        tau_s = float((about.get("lag") or {}).get("tau_s") or 0.0)
        self._update_s = max(poll_s, float(update_s), tau_s)
        period_s = run.manifest.get("config", {}).get("measure_period_s")
        self._row_s = float(period_s or median(run.windows_s or [1.0]))
        self._is_taken_back = bool(about.get("taken_back"))
        self._whole = whole_energy(run, channel)
        watts, joules, _ = (run.columns.get(name, []) for name in channel.columns)
        self._rows: list[tuple[float, float, float | None]] = []
        stretches, before_j = [], 0.0
        for read_s, window_s, mean_w, total_j in zip(
            run.columns["read_s"], run.windows_s, watts, joules, strict=True
        ):
            if read_s is None or window_s <= 0:
                continue
            start_s, amount_j, known_s = read_s - window_s, None, 0.0
            if mean_w is not None and total_j is not None:
                amount_j, before_j = total_j - before_j, total_j
                known_s = amount_j / mean_w if mean_w > 0 else window_s
            stretches.append((start_s, read_s, amount_j, known_s))
            self._rows.append((start_s, read_s, mean_w))
        self._energy = _Cumulative(stretches)
        self._starts_s = [row[0] for row in self._rows]

    def energy(self, spans: list[Span], typical_s: float) -> dict[str, Any]:
        """Return energy and U (k=2) over some spans, or why there is none."""
        least_s = max(LEAST_UPDATES * self._update_s, LEAST_ROWS * self._row_s)
        if typical_s < least_s:
            return _refused(
                f"it typically lasts {typical_s:.3g} s, and {least_s:.3g} s is the least that is"
                f" resolved ({LEAST_UPDATES} updates of {self._update_s:.3g} s, {LEAST_ROWS} rows"
                f" of {self._row_s:.3g} s)"
            )
        energy_j, known_s = self._energy.over(spans)
        measured = known_s / math.fsum(end_s - start_s for start_s, end_s in spans)
        if measured < LEAST_MEASURED:
            return _refused(f"{100 * measured:.1f} % of its time is measured, 99 % is wanted")
        if self._is_taken_back:
            return _refused("the device was stuck in this run, and took energy back")
        u_j = self._u_j(spans, energy_j, known_s)
        return {
            "energy_j": round(energy_j, 6),
            "u_j": None if u_j is None else round(u_j, 6),
        }

    def _u_j(self, spans: list[Span], energy_j: float, known_s: float) -> float | None:
        """Return U (k=2): the budget of the run, for this part of it, and what the edges cut."""
        whole = {item.name: item.u_j for item in self._whole.budget}
        if not whole or self.channel.accuracy_pct is None:
            return None
        share = known_s / self._whole.covered_s if self._whole.covered_s > 0 else 1.0
        parts = [self.channel.accuracy_pct / 100 * energy_j / 2]
        parts.append(whole.get("sampling", 0.0) * math.sqrt(share))
        if self.channel.kind is Kind.POWER:
            parts.append(whole.get("resolution", 0.0) * share)
        else:
            parts.append((self.channel.resolution or 0.0) * math.sqrt(len(spans) / 6))
        # a load that begins with its region errs alike at every start: edges add linearly
        edges_j = math.fsum(self._edge_j(time_s) for span in spans for time_s in span)
        parts.append(edges_j / math.sqrt(3))
        return 2 * math.hypot(*parts)

    def _edge_j(self, time_s: float) -> float:
        """Return how much may lie on the wrong side of an edge, at most.

        Within the row that it cuts power may step by as much as it differs around that row, and
        the sensor may be one update late.
        """
        k = bisect_right(self._starts_s, time_s) - 1
        if k < 0:
            return 0.0
        start_s, end_s, _ = self._rows[k]
        around_w = [w for _, _, w in self._rows[max(0, k - 1) : k + 2] if w is not None]
        if not around_w:
            return 0.0
        share = min(1.0, (time_s - start_s) / (end_s - start_s))
        late_s = share * (1 - share) * (end_s - start_s) + self._update_s
        return late_s * (max(around_w) - min(around_w))


def _refused(why: str) -> dict[str, str]:
    return {"refused": why}


class _Bins:
    """The counters' table."""

    def __init__(self, run: RecordedRun) -> None:
        self._events: dict[str, _Cumulative | None] = {
            event["column"]: None for event in run.manifest.get("events", [])
        }
        self._least_s = math.inf
        try:
            header, rows = read_table(run.files.counters)
        except FileError:
            return
        counted = [e["column"] for e in run.manifest.get("events", []) if e["status"] == "ok"]
        places = {name: header.index(name) for name in counted if name in header}
        starts_s, bins_s = [], []
        amounts: dict[str, list[float | None]] = {name: [] for name in places}
        for row in rows:
            starts_s.append(float(row[0]))
            bins_s.append(float(row[1]))
            for name, place in places.items():
                amounts[name].append(float(row[place]) if row[place] else None)
        if not bins_s:
            return
        self._least_s = LEAST_BINS * median(bins_s)
        for name, values in amounts.items():
            # times are rounded to the microsecond: a bin ends where the next begins
            ends_s = [
                after_s if abs(after_s - start_s - bin_s) < 2e-6 else start_s + bin_s
                for (start_s, after_s), bin_s in zip(
                    pairwise([*starts_s, starts_s[-1] + bins_s[-1]]), bins_s, strict=True
                )
            ]
            self._events[name] = _Cumulative(
                (start_s, end_s, value, end_s - start_s)
                for start_s, end_s, value in zip(starts_s, ends_s, values, strict=True)
            )

    def counts(self, spans: list[Span], typical_s: float) -> dict[str, int | None]:
        """Return the count of each event over some spans; None where the bins do not tell."""
        duration_s = math.fsum(end_s - start_s for start_s, end_s in spans)
        result: dict[str, int | None] = {}
        for name, event in self._events.items():
            result[name] = None
            if event is not None and typical_s >= self._least_s:
                amount, known_s = event.over(spans)
                if known_s >= LEAST_MEASURED * duration_s:
                    result[name] = round(amount)
        return result
