"""The rate of each event over time: one panel an event.

The counters' table is thinned while it is read: a day of bins of 10 ms is 8.6 million rows.
"""

from __future__ import annotations

import math
from itertools import islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from pactmeter.errors import FileError, PactError, unknown_name
from pactmeter.report.plots.style import (
    CYCLE,
    about,
    head,
    panels,
    plain,
    thousands,
    time_unit,
)
from pactmeter.report.plots.thin import MOST, Series, holes
from pactmeter.report.plots.thin import draw as draw_series
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from pactmeter.analysis.agreement.pairs import Array
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.report.plots.asked import Asked

_MOST_EVENTS = 8
_FIRST_ROWS = 256
_FEW = 0.995
"""Below this share of the time an event was not counted all of it, and is scaled."""


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        ConfigError: There are several runs, or no such event.
        PactError: Nothing was counted.
    """
    run = asked.only_run
    events, absent = _events(run, asked.channels)
    series = read_series(run, [event["column"] for event in events])
    events = [event for event in events if not np.isnan(series[event["column"]].mean).all()]
    if not events:
        raise PactError(f"{run.files.counters.name} holds no count of what was asked for")
    shown = events[:_MOST_EVENTS]
    figure, all_axes = panels(asked, len(shown), 1.05, shared_x=True)
    unit_s, unit = time_unit(max(float(series[e["column"]].end_s[-1]) for e in shown))
    for k, (event, axes) in enumerate(zip(shown, all_axes, strict=True)):
        draw_series(axes, series[event["column"]], unit_s, CYCLE[k % len(CYCLE)])
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{plain(event['column'], 16)}\n/ (1/s)", fontsize=7)
        thousands(axes)
    all_axes[-1].set_xlabel(f"time since the start / {unit}")
    scopes = sorted({str(event["scope"]) for event in shown})
    notes = [f"counts of: {' and '.join(scopes)}"]
    shares = run.manifest.get("running_shares") or {}
    notes += [
        f"{plain(event['column'])} was counted {100 * share:.0f} % of the time, the rest is scaled"
        for event in shown
        if isinstance(share := shares.get(event.get("group")), float) and share < _FEW
    ]
    if any(series[event["column"]].is_thinned for event in shown):
        notes.append("line: mean, band: least to most; tick: a short gap")
    if absent:
        notes.append(f"not counted: {', '.join(map(plain, absent))}")
    if len(events) > _MOST_EVENTS:
        notes.append(f"and {len(events) - _MOST_EVENTS} more events: --channel names those wanted")
    head(all_axes[0], about(run), *notes)
    figure.align_ylabels(all_axes)
    return figure


def _events(run: RecordedRun, names: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events that were counted, and those that were not."""
    known = {event["column"]: event for event in run.manifest.get("events", [])}
    for name in names:
        if name.lower() not in known:
            raise unknown_name("event", name, known)
    wanted = [known[name.lower()] for name in names] or list(known.values())
    counted = [event for event in wanted if event["status"] == "ok"]
    absent = [event for event in wanted if event["status"] != "ok"]
    if not counted:
        why = "; ".join(f"{e['column']}: {e['reason']}" for e in absent) or "none was asked for"
        raise PactError(
            f"{run.files.power.name} has no counters to draw ({why})",
            "`pactmeter events` says what can be counted here",
        )
    return counted, [event["column"] for event in absent]


def read_series(run: RecordedRun, names: Sequence[str]) -> dict[str, Series]:
    """Return the rate of each event in events a second, with at most about `MOST` stretches.

    Args:
        run: The run.
        names: Columns of the counters' table; one that is not there is never known.

    Raises:
        FileError: There is no such table, it is damaged or has no rows.
    """
    file = run.files.counters
    header, rows = read_table(file)
    if header[:2] != ["start_s", "dt_s"]:
        raise FileError(f"{file} is not a table of counters")
    places = [header.index(name) if name in header else None for name in names]
    first = list(islice(rows, _FIRST_ROWS))
    if not first:
        raise FileError(f"{file} has no rows yet", "wait for the run, or record a longer one")
    row_bytes = sum(len(",".join(row)) + 1 for row in first) / len(first)
    each = max(1, math.ceil(file.stat().st_size / row_bytes / MOST))
    stretches: list[tuple[float, float, float]] = []
    figures: list[list[tuple[float, float, float]]] = []
    for start_s, end_s, rates in _bins(_chained(first, rows), each, places):
        dt_s = end_s - start_s
        edges = [0, *holes(start_s, end_s).tolist(), start_s.size]
        for low, high in pairwise(edges):
            part = slice(low, high)
            stretches.append((start_s[low], end_s[high - 1], float(np.isnan(rates[:, part]).any())))
            figures.append([_envelope(rate[part], dt_s[part]) for rate in rates])
    if not stretches:
        raise FileError(f"{file} has no row that tells its time", "use the original file")
    starts, ends, gaps = np.array(stretches, np.float64).T
    if (np.diff(starts) < 0).any():
        raise FileError(f"{file}: its rows are not in order of time", "use the original file")
    table = np.array(figures, np.float64)  # a stretch, an event, least and mean and most
    is_thinned = each > 1
    result = {}
    for k, name in enumerate(names):
        low_rate, mean, high_rate = table[:, k].T
        has_gaps = np.where(np.isnan(mean) | (not is_thinned), 0.0, gaps)
        result[name] = Series(
            starts, ends, low_rate, mean, high_rate, has_gaps, is_thinned=is_thinned
        )
    return result


def _chained(first: list[list[str]], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield from first
    yield from rows


def _bins(
    rows: Iterator[list[str]], each: int, places: Sequence[int | None]
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield start, end and rates of so many rows at a time; what is no count is not known."""
    while chunk := list(islice(rows, each)):
        start_s = _column(chunk, 0)
        dt_s = _column(chunk, 1)
        kept = np.isfinite(start_s) & (dt_s > 0)
        if not kept.any():
            continue
        counts = np.array(
            [
                np.full(len(chunk), np.nan) if place is None else _column(chunk, place)
                for place in places
            ]
        )[:, kept]
        start_s, dt_s = start_s[kept], dt_s[kept]
        yield start_s, start_s + dt_s, np.where(counts >= 0, counts, np.nan) / dt_s


def _column(rows: list[list[str]], place: int) -> Array:
    cells = map(itemgetter(place), rows)
    try:
        found = np.array([float(cell) if cell else math.nan for cell in cells], np.float64)
    except ValueError:  # a damaged cell
        found = np.array([_number(row[place]) for row in rows], np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _envelope(rate: Array, dt_s: Array) -> tuple[float, float, float]:
    """Return the least, the mean and the most of a rate; NaN where none is known."""
    known = ~np.isnan(rate)
    if not known.any():
        return math.nan, math.nan, math.nan
    rate, dt_s = rate[known], dt_s[known]
    return float(rate.min()), float((rate * dt_s).sum() / dt_s.sum()), float(rate.max())
