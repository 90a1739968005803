"""A reference meter's own file, laid on the time line of a run."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.analysis.reference_csv import Columns, Row, read_rows
from pactmeter.errors import ConfigError, FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pactmeter.analysis.run import RecordedRun

_MARGIN_S = 60.0
"""So much before and after the run is kept: the meter's clock may be off by some of it."""
_MOST_STEP_S = 0.5
_MOST_SLEW = 500e-6
"""The kernel slews a clock by at most this; what is more was a step."""
_GAP_SPANS = 3.0
"""Readings that are so many usual spans apart have a gap between them."""
_LEAST = 2
_HALF_HOUR_S = 1800


@dataclass(frozen=True, slots=True)
class Reference:
    """A meter's readings on the time line of a run.

    Attributes:
        path: Its file.
        column: The column that was read.
        counts_energy: Whether `values` are an energy counter's joules, else watts.
        times_s: Seconds since the run's start; rising.
        values: Watts or joules at these times.
        accuracy_pct: Half-width (k=2) of the meter's own error in percent of the reading, as the
            user states it; None: not stated.
        left_out: Readings around the run that the file says had no value.
        merged: Readings of the same time as the one before, taken together.
        clock_drift_s: How much the machine's clock moved against its monotonic one in the run.
    """

    path: Path
    column: str
    counts_energy: bool
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    accuracy_pct: float | None
    left_out: int
    merged: int
    clock_drift_s: float

    @property
    def span_s(self) -> float:
        """Usual time between two readings, in seconds."""
        return statistics.median(b - a for a, b in pairwise(self.times_s))

    def energy(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Return the energy in joules within a window, and the seconds of it that are covered.

        Power is integrated by the trapezoidal rule; readings that lie far apart have a gap between
        them, which adds nothing. A counter is interpolated between its readings and needs no gap,
        but where it goes back nothing is known.

        Args:
            start_s: Start of the window, in seconds since the run's start.
            end_s: Its end.
        """
        times_s, values = self.times_s, self.values
        most_s = math.inf if self.counts_energy else _GAP_SPANS * self.span_s
        first = max(1, bisect_right(times_s, start_s))
        last = min(len(times_s) - 1, bisect_left(times_s, end_s))
        energies_j: list[float] = []
        covered_s: list[float] = []
        for index in range(first, last + 1):
            (t0_s, t1_s), (v0, v1) = times_s[index - 1 : index + 1], values[index - 1 : index + 1]
            from_s, to_s = max(t0_s, start_s), min(t1_s, end_s)
            if to_s <= from_s or t1_s - t0_s > most_s or (self.counts_energy and v1 < v0):
                continue
            slope = (v1 - v0) / (t1_s - t0_s)
            middle_w = slope if self.counts_energy else v0 + slope * ((from_s + to_s) / 2 - t0_s)
            energies_j.append(middle_w * (to_s - from_s))
            covered_s.append(to_s - from_s)
        return math.fsum(energies_j), math.fsum(covered_s)


def read_reference(
    path: str | Path,
    run: RecordedRun,
    *,
    time_column: str,
    power_column: str | None = None,
    energy_column: str | None = None,
    unit: str | None = None,
    time_zone: str | None = None,
    time_format: str | None = None,
    accuracy_pct: float | None = None,
) -> Reference:
    """Read any meter's CSV, and lay it on the time line of a run by both clocks of its manifest.

    Args:
        path: The meter's file.
        run: The run that it was metering.
        time_column: Name of the column of times: ISO 8601, epochs in s, ms, us or ns.
        power_column: Name of the column of power; or
        energy_column: that of an energy counter.
        unit: ``W mW kW`` or ``J kJ Wh kWh mWh``; else what stands in brackets in the column's
            name, else W for power.
        time_zone: Zone of times that name none.
        time_format: How times are written, as for `strptime`.
        accuracy_pct: Half-width (k=2) of the meter's own error, in percent of the reading.

    Raises:
        ConfigError: A column, unit or zone is not there, or not said.
        FileError: The file cannot be read, is out of order, or tells nothing of the run.
    """
    column = power_column or energy_column
    if column is None or (power_column and energy_column):
        raise ConfigError(
            "a reference needs a column of power or one of energy", "name one of the two"
        )
    if accuracy_pct is not None and not 0 < accuracy_pct < 100:
        raise ConfigError(
            f"an accuracy of {accuracy_pct:g} %", "state it in percent of the reading"
        )
    path = Path(path)
    columns = Columns(time_column, column, bool(energy_column), unit, time_zone, time_format)
    line = _TimeLine(path, run)
    rows, left_out, merged = _around(line, _in_order(path, read_rows(path, columns)), columns)
    times_s = tuple(line.run_s(row.utc_s) for row in rows)
    if sum(0.0 <= time_s <= line.length_s for time_s in times_s) < _LEAST:
        raise line.no_overlap()
    values = tuple(row.value or 0.0 for row in rows)
    return Reference(
        path,
        column,
        columns.counts_energy,
        times_s,
        values,
        accuracy_pct,
        left_out,
        merged,
        line.drift_s,
    )


class _TimeLine:
    """What UTC the run's time line has, and what the file had."""

    def __init__(self, path: Path, run: RecordedRun) -> None:
        self._path = path
        clock = run.manifest.get("clock") or {}
        start, end, zero_s = (
            clock.get("start"),
            clock.get("end"),
            run.manifest.get("zero_monotonic_s"),
        )
        if start is None or zero_s is None:
            raise FileError(f"{run.files.power} does not tell when it began: no call was measured")
        self._start = float(start["monotonic_s"]), float(start["utc_s"])
        end = end or start
        length_s = float(end["monotonic_s"]) - self._start[0]
        self.drift_s = float(end["utc_s"]) - self._start[1] - length_s
        if abs(self.drift_s) > _MOST_STEP_S + _MOST_SLEW * length_s:
            raise FileError(
                f"this machine's clock was set by {self.drift_s:+.1f} s during {run.files.power}",
                "the meter's times cannot be laid on it: measure again",
            )
        self._rate = 1.0 if length_s <= 0 else length_s / (length_s + self.drift_s)
        self._zero_s = float(zero_s)
        ends_s = [value for value in run.columns.get("due_s", []) if value is not None]
        self.length_s = max(ends_s, default=0.0)
        self.first_s = math.inf
        self.last_s = -math.inf

    def run_s(self, utc_s: float) -> float:
        """Return a moment in seconds since the run's start."""
        return self._start[0] + (utc_s - self._start[1]) * self._rate - self._zero_s

    def see(self, run_s: float) -> bool:
        """Take note of a reading's time; return whether it lies in the run or near it."""
        self.first_s, self.last_s = min(self.first_s, run_s), max(self.last_s, run_s)
        return -_MARGIN_S <= run_s <= self.length_s + _MARGIN_S

    def no_overlap(self) -> FileError:
        """Return the error for a file that tells nothing of the run, with what may be wrong."""
        if self.first_s > self.last_s:
            return FileError(f"{self._path} holds no reading")
        if self.first_s <= self.length_s and self.last_s >= 0:
            return FileError(
                f"{self._path} has fewer than {_LEAST} readings within the run's"
                f" {self.length_s:.1f} s",
                "let the meter write more often, or measure for longer",
            )
        texts = [self._utc(s) for s in (self.first_s, self.last_s, 0.0, self.length_s)]
        fix = "check that it is the file of this run, and the meter's clock"
        for steps in sorted(range(-28, 29), key=abs):
            moved_s = steps * _HALF_HOUR_S
            if self.first_s + moved_s <= 0 and self.last_s + moved_s >= self.length_s:
                fix = f"moved by {moved_s / 3600:+g} h it would: check the time zone"
                break
        return FileError(
            f"{self._path} tells of {texts[0]} to {texts[1]} UTC, the run is of {texts[2]} to"
            f" {texts[3]}: they do not overlap",
            fix,
        )

    def _utc(self, run_s: float) -> str:
        utc_s = self._start[1] + (run_s + self._zero_s - self._start[0]) / self._rate
        try:
            return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
        except (OSError, OverflowError, ValueError):  # no calendar goes so far
            return f"{utc_s:.3g} s"


def _in_order(path: Path, rows: Iterable[Row]) -> Iterator[Row]:
    """Give the rows.

    Raises:
        FileError: One is earlier than the one before.
    """
    before_s = -math.inf
    for row in rows:
        if row.utc_s < before_s:
            raise FileError(
                f"{path}, line {row.line}: its time is {before_s - row.utc_s:.1f} s before that of"
                " the line above",
                "sort the file, or let the meter write UTC if its clock was changed",
            )
        before_s = row.utc_s
        yield row


def _around(line: _TimeLine, rows: Iterator[Row], columns: Columns) -> tuple[list[Row], int, int]:
    """Return the rows around the run, each of another time; how many had no value, were merged."""
    kept: list[Row] = []
    left_out = merged = 0
    same = 1
    for row in rows:
        if not line.see(line.run_s(row.utc_s)):
            continue
        if row.value is None:
            left_out += 1
        elif kept and kept[-1].utc_s == row.utc_s:
            # time stamps of whole seconds: the mean of power, the last count of energy
            merged, same = merged + 1, same + 1
            before = kept[-1].value or 0.0
            mean = row.value if columns.counts_energy else before + (row.value - before) / same
            kept[-1] = Row(row.line, row.utc_s, mean)
        else:
            same = 1
            kept.append(row)
    return kept, left_out, merged
