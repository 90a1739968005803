"""Energy and counts over any spans of a run's time, as far as the files resolve them.

Energy comes from the cumulative joules of the power rows, taken to flow evenly within a row; counts
from the counters' bins, taken to come evenly within a bin. What is shorter than its source resolves
has no figure:

- energy: the typical (median) span must be at least 10 updates of the sensor and 2 rows long,
- counts: at least 10 bins, so that the two bins that its edges cut are at most a fifth of it,
- both: 99 % of its time must have been measured (inside calls, without gaps).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import islice
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.energy import energy as whole_energy
from pactmeter.errors import FileError
from pactmeter.model.channel import Kind
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel

LEAST_UPDATES = 10
LEAST_ROWS = 2
LEAST_BINS = 10
LEAST_MEASURED = 0.99
_ROWS_AT_ONCE = 1024
_ROUNDED_S = 2e-6
"""Times are written to six places."""
_LENGTH = itemgetter(1)
Span = tuple[float, float]


class Cumulative:
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


class EnergyOver:
    """A channel's energy over any spans of a run's time."""

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
        self._energy = Cumulative(stretches)
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
        parts += [whole.get(name, 0.0) * share for name in ("extrapolated", "duty")]
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


class CountsOver:
    """The events' counts over any spans whose edges are known beforehand.

    The counters' table is read once and not kept: a day of bins of 10 ms is 8.6 million rows.
    """

    def __init__(self, run: RecordedRun, edges_s: Iterable[float]) -> None:
        """Read the table; of one that is not there or damaged nothing is counted."""
        self._names = [event["column"] for event in run.manifest.get("events", [])]
        self._edges_s = sorted(set(edges_s))
        self._place = {edge_s: k for k, edge_s in enumerate(self._edges_s)}
        self._at: dict[str, list[tuple[float, float]]] = {}
        self._least_s = math.inf
        counted = [e["column"] for e in run.manifest.get("events", []) if e["status"] == "ok"]
        lengths_s = []
        try:
            header, rows = read_table(run.files.counters)
            if header[:2] != ["start_s", "dt_s"]:
                return
            columns = {name: header.index(name) for name in counted if name in header}
            sums = _Sums(list(columns.values()), self._edges_s)
            while chunk := list(islice(rows, _ROWS_AT_ONCE)):
                lengths_s.append(sums.add(chunk))
        except (FileError, ValueError):
            return
        if lengths_s:
            self._least_s = LEAST_BINS * median(lengths_s)
            self._at = dict(zip(columns, sums.at_edges(), strict=True))

    def counts(self, spans: list[Span], typical_s: float) -> dict[str, int | None]:
        """Return the count of each event over some spans; None where the bins do not tell."""
        duration_s = math.fsum(end_s - start_s for start_s, end_s in spans)
        result: dict[str, int | None] = dict.fromkeys(self._names)
        if typical_s < self._least_s:
            return result
        for name, at in self._at.items():
            ends = [(at[self._place[start_s]], at[self._place[end_s]]) for start_s, end_s in spans]
            known_s = math.fsum(end[1] - start[1] for start, end in ends)
            if known_s >= LEAST_MEASURED * duration_s:
                result[name] = round(math.fsum(end[0] - start[0] for start, end in ends))
        return result


class _Sums:
    """What the bins of some events add up to until each of some times."""

    def __init__(self, columns: list[int], edges_s: list[float]) -> None:
        self._columns = columns
        self._edges_s = edges_s
        self._amounts = [0.0] * len(columns)
        self._known_s = [0.0] * len(columns)
        self._found: list[list[tuple[float, float]]] = [[] for _ in columns]
        self._next = 0
        self._reached_s = -math.inf

    def add(self, rows: list[list[str]]) -> float:
        """Take rows in order of time; return the mean length of their bins in seconds.

        Raises:
            ValueError: They overlap, or a cell is no time or no count.
        """
        lengths_s = list(map(float, map(_LENGTH, rows)))
        all_s = sum(lengths_s)
        start_s, end_s = float(rows[0][0]), float(rows[-1][0]) + lengths_s[-1]
        rounded_s = _ROUNDED_S * (len(rows) + 1)
        if (
            not all_s - rounded_s <= end_s - start_s < math.inf
            or min(lengths_s) < 0
            or start_s < self._reached_s - rounded_s
        ):
            raise ValueError("bins overlap")
        self._reached_s = start_s
        if self._next < len(self._edges_s) and self._edges_s[self._next] <= end_s:
            for row, length_s in zip(rows, lengths_s, strict=True):
                bin_s = float(row[0])
                if not bin_s >= self._reached_s - _ROUNDED_S:
                    raise ValueError("bins overlap")
                self._reached_s = bin_s + length_s
                self._pass_edges(bin_s, length_s, row)
                self._add_row(row, length_s)
        else:
            for k, cell in enumerate(map(itemgetter, self._columns)):
                try:
                    self._amounts[k] += sum(map(float, map(cell, rows)))
                    self._known_s[k] += all_s
                except ValueError:  # some were not counted
                    pairs = zip(map(cell, rows), lengths_s, strict=True)
                    known = [(float(text), length_s) for text, length_s in pairs if text]
                    self._amounts[k] += sum(amount for amount, _ in known)
                    self._known_s[k] += sum(length_s for _, length_s in known)
        self._reached_s = end_s
        if not all(map(math.isfinite, self._amounts)):
            raise ValueError("a count is no number")
        return all_s / len(rows)

    def _pass_edges(self, start_s: float, length_s: float, row: list[str]) -> None:
        """Note what there is at each edge before this bin and within it."""
        while self._next < len(self._edges_s) and self._edges_s[self._next] < start_s + length_s:
            share = max(0.0, self._edges_s[self._next] - start_s) / length_s
            for k, column in enumerate(self._columns):
                amount, known_s = self._amounts[k], self._known_s[k]
                if row[column] and share > 0:
                    amount += share * float(row[column])
                    known_s += share * length_s
                self._found[k].append((amount, known_s))
            self._next += 1

    def _add_row(self, row: list[str], length_s: float) -> None:
        for k, column in enumerate(self._columns):
            if row[column]:
                self._amounts[k] += float(row[column])
                self._known_s[k] += length_s

    def at_edges(self) -> list[list[tuple[float, float]]]:
        """Return amount and known time at each edge, of each event; what is behind has it all."""
        left = len(self._edges_s) - self._next
        totals = zip(self._amounts, self._known_s, strict=True)
        return [[*found, *[total] * left] for found, total in zip(self._found, totals, strict=True)]
