"""The time lines of a run, as plain data for ``page.js``: power, counters, regions."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from pactmeter.analysis.regions import Marks
from pactmeter.errors import FileError
from pactmeter.model.channel import Kind
from pactmeter.report.html.encode import codes, packed, ticks, watts
from pactmeter.report.html.grid import Grid, envelope, grid
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pactmeter.analysis.run import RecordedRun

    Floats = NDArray[np.float64]

MOST_POINTS = 400_000
"""A series that is longer becomes an envelope."""
_MOST_VALUES = 2_000_000
"""So many in all series together: some 5 MB."""
_RATE_STEPS = 1000
"""Steps of a rate in an envelope: a thousandth of a count per second."""
_MOST_LANES = 12
_MOST_SPANS = 5000
_ROWS_AT_ONCE = 65_536
_NOT_THERE = (FileError, ValueError)


def time_lines(run: RecordedRun) -> dict[str, Any]:
    """Return panels (each with its lines) and regions of a run."""
    marks = Marks(run)
    marked = sorted(((m.name, m.start_s, m.end_s) for m in marks), key=lambda span: span[1])
    borders_s = sorted({edge_s for _, start_s, end_s in marked for edge_s in (start_s, end_s)})
    tables = [table for table in (_power(run), _counters(run)) if table is not None]
    values = sum(table.values for table in tables)
    panels = []
    for table in sorted(tables, key=lambda table: -table.values):
        if len(table.rows.start_s) <= MOST_POINTS and values <= _MOST_VALUES:
            panels += table.whole()
        else:
            panels += table.condensed(borders_s)
            values -= table.values
    panels.sort(key=lambda panel: panel["unit"] != "W")
    ends_s = [float(table.rows.end_s[-1]) for table in tables]
    return {
        "end_s": round(max([*ends_s, *(end_s for _, _, end_s in marked), 0.0]), 6),
        "panels": panels,
        "regions": {**_lanes(marked), "problem": marks.problem},
    }


class _Table:
    """Rows of one file, and the lines that are made of them."""

    def __init__(self, rows: Grid, lines: list[tuple[dict[str, Any], Floats]], unit: str) -> None:
        self.rows, self.lines, self.unit = rows, lines, unit
        self.values = len(lines) * len(rows.start_s)

    def whole(self) -> list[dict[str, Any]]:
        """Return the panels with every row in them."""
        encode = watts if self.unit == "W" else codes
        told = [{**about, "mean": packed(encode(values))} for about, values in self.lines]
        return self._panels(self.rows, told, "W" if self.unit == "W" else "count")

    def condensed(self, borders_s: list[float]) -> list[dict[str, Any]]:
        """Return the panels with smallest, mean and largest value of stretches of rows."""
        stretches = envelope(self.rows, borders_s)
        told = []
        for about, values in self.lines:
            if self.unit == "W":
                parts = [packed(watts(part)) for part in stretches.of(values)]
            else:
                with np.errstate(divide="ignore", invalid="ignore"):
                    rates = values / stretches.length_s
                rates[~np.isfinite(rates)] = np.nan
                parts = [packed(codes(part * _RATE_STEPS)) for part in stretches.of(rates)]
            told.append({**about, **dict(zip(("low", "mean", "high"), parts, strict=True))})
        return self._panels(stretches.grid, told, "W" if self.unit == "W" else "rate")

    def _panels(self, on: Grid, told: list[dict[str, Any]], form: str) -> list[dict[str, Any]]:
        axis = _axis(on)
        head = {"unit": self.unit, "form": form, "rows": len(self.rows.start_s)}
        if self.unit == "W":
            return [{"title": "Power", **head, "axis": axis, "lines": told}]
        # one below the other: counts differ by orders of magnitude; they share their times
        return [
            {"title": line["name"], **head, "axis": axis if k == 0 else None, "lines": [line]}
            for k, line in enumerate(told)
        ]


def _axis(on: Grid) -> dict[str, Any]:
    """Return a grid as lengths, whose sum is the time, and where it starts anew after a pause."""
    starts, ends = ticks(on.start_s), ticks(on.end_s)
    lengths = np.empty(len(starts), dtype=np.int64)
    lengths[:-1] = np.where(on.pauses[1:], ends[:-1] - starts[:-1], np.diff(starts))
    lengths[-1] = ends[-1] - starts[-1]
    anew = np.flatnonzero(on.pauses)
    return {
        "lengths": packed(np.clip(lengths, 0, 2**32 - 1).astype(np.uint32)),
        "anew": [[int(k), round(float(on.start_s[k]), 6)] for k in anew],
    }


def _power(run: RecordedRun) -> _Table | None:
    known = [k for k, read_s in enumerate(run.columns.get("read_s", [])) if read_s is not None]
    known = [k for k in known if run.windows_s[k] > 0]
    shown = [c for c in run.channels if c.kind is not Kind.QUANTITY and c.columns[0] in run.columns]
    if not known or not shown:
        return None
    read_s = _floats([run.columns["read_s"][k] for k in known])
    lengths_s = _floats([run.windows_s[k] for k in known])
    lines = []
    for channel in shown:
        cells = run.columns[channel.columns[0]]
        about = {
            "name": channel.name,
            "label": channel.description,
            "origin": channel.origin.value,
            "synthetic": channel.synthetic,
        }
        lines.append((about, _floats([cells[k] for k in known])))
    return _Table(grid(read_s - lengths_s, lengths_s), lines, "W")


def _counters(run: RecordedRun) -> _Table | None:
    """Return the counters' rows; None where there are none, or another wrote the file."""
    events = [e for e in run.manifest.get("events", []) if e.get("status") == "ok"]
    try:
        header, rows = read_table(run.files.counters)
        if header[:2] != ["start_s", "dt_s"]:
            return None
        events = [e for e in events if e["column"] in header]
        places = [0, 1, *(header.index(e["column"]) for e in events)]
        parts: list[list[Floats]] = [[] for _ in places]
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            for part, place in zip(parts, places, strict=True):
                cells = [row[place] for row in chunk]
                part.append(np.array([float(cell) if cell else np.nan for cell in cells]))
    except _NOT_THERE:
        return None
    if not events or not parts[0]:
        return None
    start_s, length_s, *counts = (np.concatenate(part) for part in parts)
    lines = [
        ({"name": str(e["column"]), "label": f"{e['column']} ({e.get('scope')})"}, values)
        for e, values in zip(events, counts, strict=True)
    ]
    return _Table(grid(start_s, length_s), lines, "1/s")


def _floats(cells: list[float | None]) -> Floats:
    return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)


def _lanes(marked: list[tuple[str, float, float]]) -> dict[str, Any]:
    """Return the regions of up to 12 names as lanes; those too near to be told apart as one."""
    names = list(dict.fromkeys(name for name, _, _ in marked))
    shown = names[:_MOST_LANES]
    kept = [(shown.index(name), a, b) for name, a, b in marked if name in shown]
    apart_s, drawn = 0.0, kept
    whole_s = max((end_s for _, _, end_s in kept), default=0.0)
    while len(drawn) > _MOST_SPANS:
        apart_s = 2 * apart_s or whole_s / _MOST_SPANS / 4
        drawn = _joined(kept, apart_s)
    return {
        "names": shown,
        "left_out": len(names) - len(shown),
        "joined_s": round(apart_s, 6),
        "spans": [[lane, round(a, 6), round(b, 6)] for lane, a, b in drawn],
    }


def _joined(kept: list[tuple[int, float, float]], apart_s: float) -> list[tuple[int, float, float]]:
    """Return the spans with those of one lane as one that are less than some time apart."""
    result: list[tuple[int, float, float]] = []
    last: dict[int, int] = {}
    for lane, start_s, end_s in kept:
        k = last.get(lane)
        if k is not None and start_s - result[k][2] < apart_s:
            result[k] = (lane, result[k][1], max(result[k][2], end_s))
        else:
            last[lane] = len(result)
            result.append((lane, start_s, end_s))
    return result
