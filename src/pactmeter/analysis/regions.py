"""Energy and counts of each named region, each call or any window, or a refusal with its reason.

Regions of one name that overlap count once.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from pactmeter.analysis.spans import CountsOver, EnergyOver
from pactmeter.errors import ConfigError, FileError
from pactmeter.model.channel import Kind
from pactmeter.session.regions import CALL
from pactmeter.store.spool import marks_left
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.analysis.spans import Span

_ROUNDING_S = 1e-3


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


class Mark(NamedTuple):
    """One call or region.

    Attributes:
        name: Its name; ``call`` for a call.
        index: Its index; None where it has none.
        start_s: Start, in seconds since the run's start.
        end_s: End.
        tid: The thread; 0 where it is not known.
    """

    name: str
    index: int | None  # type: ignore[assignment]  # as the regions' file calls it
    start_s: float
    end_s: float
    tid: int


class Marks:
    """The calls and regions of a run, read as they are asked for; what is none is left out.

    Attributes:
        unread: How many rows were left out so far, as they are none of PACT's.
        cut_short: Why the file could not be read to its end; None: it could, or there is none.
    """

    def __init__(self, run: RecordedRun) -> None:
        self._run = run
        self.unread = 0
        self.cut_short: str | None = None

    def __iter__(self) -> Iterator[Mark]:
        """Yield the marks in the order of the file."""
        self.unread, self.cut_short = 0, None
        try:
            rows = region_rows(self._run)
            next(rows)
            for row in rows:
                mark = _mark(row)
                if mark is None:
                    self.unread += 1
                else:
                    yield mark
        except FileError as error:
            if self._run.files.regions.exists():  # else none were recorded
                self.cut_short = error.message

    @property
    def problem(self) -> str | None:
        """What a reader must know of those that were read; None: they are all there are."""
        told = []
        if self.unread:
            what = "row is no region" if self.unread == 1 else "rows are no regions"
            told.append(f"{self.unread} {what} and left out")
        if self.cut_short:
            told.append(f"what follows is left out: {self.cut_short}")
        return f"{self._run.files.regions.name}: {'; '.join(told)}" if told else None


def _mark(row: list[str]) -> Mark | None:
    """Return what a row says; None where PACT cannot have written it."""
    try:
        start, end, name, index, tid = row
        start_s, end_s = float(start), float(end)
        if -math.inf < start_s <= end_s < math.inf:
            return Mark(name, int(index) if index else None, start_s, end_s, int(tid or 0))
    except ValueError:
        pass
    return None


def regions(run: RecordedRun, each: str | None = None) -> list[dict[str, Any]]:
    """Return what each region comes to, as plain data (`report --json`).

    Args:
        run: The run.
        each: A name whose regions are told apart by their index; ``call`` for the run's calls.
    """
    return _figures(run, _marked(run, each), with_index=each is not None)


def region_names(run: RecordedRun) -> list[str]:
    """Return the names of the regions, in the order of their first."""
    return [named.name for named in _marked(run, None)]


def windows(run: RecordedRun, spans: list[Span]) -> list[dict[str, Any]]:
    """Return what some windows of a run come to, as regions whose names are their times.

    Args:
        run: The run.
        spans: Start and end of each, in seconds since the run's start.

    Raises:
        ConfigError: A window lies outside the run, or ends before it starts.
    """
    last_s = max((s for s in run.columns.get("read_s", []) if s is not None), default=0.0)
    for start_s, end_s in spans:
        if not 0 <= start_s < end_s <= last_s + _ROUNDING_S:
            raise ConfigError(
                f"the window {start_s:g}:{end_s:g} is not within the run",
                f"it lasts from 0 to {last_s:g} s: --window 0:{last_s:g}",
            )
    named = [_Named(f"{start_s:g}:{end_s:g}", spans=[(start_s, end_s)]) for start_s, end_s in spans]
    return _figures(run, named)


def _figures(
    run: RecordedRun, found: list[_Named], *, with_index: bool = False
) -> list[dict[str, Any]]:
    if not found:
        return []
    spans = [named.merged() for named in found]
    sources = [EnergyOver(run, c) for c in run.channels if c.kind is not Kind.QUANTITY]
    bins = CountsOver(run, (edge_s for merged in spans for span in merged for edge_s in span))
    result = []
    for named, merged in zip(found, spans, strict=True):
        told: dict[str, Any] = {"name": named.name}
        if with_index:
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
    found: dict[tuple[str, int | None], _Named] = {}
    for mark in Marks(run):
        if mark.name != each if each is not None else mark.name == CALL:
            continue
        key = (mark.name, mark.index if each is not None else None)
        if key not in found:
            found[key] = _Named(*key)
        found[key].spans.append((mark.start_s, mark.end_s))
    return sorted(found.values(), key=lambda named: min(named.spans))
