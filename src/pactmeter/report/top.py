"""A run while it goes on, from its files alone: what the last row of power says, cheaply.

Only what has been appended since the last look is read, and of that only the last row is decoded;
the manifest is read once a run and at its end.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.form import flaw
from pactmeter.clock import now_s
from pactmeter.errors import FileError
from pactmeter.model.channel import Channel, Kind
from pactmeter.store.files import is_live, short_path
from pactmeter.store.manifest import read_manifest
from pactmeter.store.spool import printable

if TYPE_CHECKING:
    from pactmeter.store.files import RunFiles

_MOST_BYTES = 65536
"""How much of the file's end is looked at for its last row."""
_GONE_S = 5.0
"""How long a file that has gone may take to come again, with the next run."""
_LATE_S = 1.5
"""How much later than its period a row may come before the block says that none does."""


@dataclass(frozen=True, slots=True)
class View:
    """What there is to see of a run now.

    Attributes:
        status: ``starting``, or as in the manifest.
        reason: Why the run is not complete, or how it ended.
        measured_s: Seconds from the run's start to the end of the last row; None: there is no row.
        silent_s: Seconds for which no row has come, once that is longer than it should be.
        is_new: Whether there is a row that was not there at the last look.
        rows: Name, what it is now, what it has come to, and what it is.
    """

    status: str
    reason: str | None = None
    measured_s: float | None = None
    silent_s: float = 0.0
    is_new: bool = False
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)


class Follower:
    """Looks at a run's files again and again; a later run under the same name is followed too."""

    def __init__(self, files: RunFiles) -> None:
        """Take the run's files.

        Raises:
            FileError: There is no such run.
        """
        self._files = files
        if not files.power.is_file():
            raise FileError(f"there is no run {files.power}", "name a file that PACT has written")
        self._forget(None)

    def _forget(self, file: tuple[int, int] | None) -> None:
        """Begin with another file."""
        self._file = file
        self._header: list[str] = []
        self._seen = 0
        self._row: dict[str, str] = {}
        self._joules: dict[str, str] = {}
        self._manifest: dict[str, Any] | None = None
        self._channels: list[Channel] = []
        self._new_s = now_s()

    def look(self) -> View:
        """Return what there is to see now.

        Raises:
            FileError: It is no run of PACT, or cannot be read.
        """
        is_running = is_live(self._files.power)  # before reading: what comes after is seen next
        try:
            is_new = self._read()
        except FileNotFoundError as error:
            if now_s() > self._new_s + _GONE_S:
                raise FileError(f"{self._files.power} has gone") from error
            return View("starting")  # a new run has moved the old one away and has yet to begin
        except OSError as error:
            raise FileError(f"cannot read {self._files.power}: {error.strerror}") from error
        if not is_running and not self._header:
            raise FileError(f"{self._files.power} has no first line, so it is no run")
        if self._manifest is None or not is_running:
            self._manifest = self._described(is_running)
        if self._manifest is None:
            return View("starting")
        status, reason = "running", None
        if not is_running:
            status, reason = str(self._manifest.get("status")), self._manifest.get("reason")
            if status == "running":
                status, reason = "incomplete", "the sampler process died"
        period_s = self._manifest.get("config", {}).get("measure_period_s") or 1.0
        silent_s = now_s() - self._new_s
        read_s = _number(self._row.get("read_s"))
        is_silent = is_running and silent_s > period_s + _LATE_S
        return View(status, reason, read_s, silent_s if is_silent else 0.0, is_new, self._rows())

    def _described(self, is_running: bool) -> dict[str, Any] | None:
        """Return the manifest; None where there is none yet."""
        try:
            manifest = read_manifest(self._files.manifest)
        except FileError:
            if is_running:
                return None
            raise
        if not self._header:
            return None
        wrong = flaw(manifest, self._header)
        if wrong is not None:
            raise FileError(f"{self._files.manifest} does not describe the run: {wrong}")
        self._channels = [Channel.from_dict(data) for data in manifest.get("channels", [])]
        return manifest

    def _read(self) -> bool:
        """Take in what has been appended; return whether there is another last row."""
        fd = os.open(self._files.power, os.O_RDONLY | os.O_CLOEXEC)
        try:
            about = os.fstat(fd)
            file = (about.st_dev, about.st_ino)
            if file != self._file or about.st_size < self._seen:
                self._forget(file)
            if not self._header and not self._read_header(os.pread(fd, _MOST_BYTES, 0)):
                return False
            start = max(self._seen, about.st_size - _MOST_BYTES)
            data = os.pread(fd, _MOST_BYTES, start)
        finally:
            os.close(fd)
        end = data.rfind(b"\n") + 1
        lines = data[:end].split(b"\n")[:-1]
        if start > self._seen:
            lines = lines[1:]  # it may have been cut
        self._seen = max(self._seen, start + end)
        if not lines:
            return False
        cells = _cells(lines[-1])
        if len(cells) != len(self._header):
            return False
        self._row = dict(zip(self._header, cells, strict=True))
        totals = [k for k, name in enumerate(self._header) if name.endswith("_j")]
        if not all(cells[k] for k in totals):  # a gap: its joules are those before it
            for row in map(_cells, lines):
                if len(row) == len(cells):
                    self._joules.update((self._header[k], row[k]) for k in totals if row[k])
        self._joules.update((self._header[k], cells[k]) for k in totals if cells[k])
        self._new_s = now_s()
        return True

    def _read_header(self, data: bytes) -> bool:
        """Take the names of the columns, if their line is whole."""
        line, end, _ = data.partition(b"\n")
        if not end:
            return False
        header = _cells(line)
        if "read_s" not in header or "window_s" not in header:
            raise FileError(
                f"{self._files.power} is not a power table of PACT", "name it, as PACT.csv"
            )
        self._header, self._seen = header, len(line) + 1
        return True

    def _rows(self) -> list[tuple[str, str, str, str]]:
        row, found = self._row, []
        for channel in self._channels:
            now = _number(row.get(channel.columns[0]))
            unit = channel.unit.symbol if channel.kind is Kind.QUANTITY else "W"
            shown = "-" if now is None else f"{now:.1f} {unit}"
            total, what = "", ""
            if channel.kind is not Kind.QUANTITY:
                joules = _number(self._joules.get(channel.columns[1]))
                total = "-" if joules is None else f"{joules:.1f} J"
                what = channel.origin.value + (f" ({channel.synthetic})" * bool(channel.synthetic))
            found.append((printable(channel.name), shown, total, printable(what)))
        window_s = _number(row.get("window_s")) or 0.0
        for event in (self._manifest or {}).get("events", []):
            count = _number(row.get(event["column"]))
            if event["status"] == "ok":
                is_known = count is not None and window_s > 0
                shown = f"{(count or 0.0) / window_s:.4g} /s" if is_known else "-"
                found.append((printable(event["column"]), shown, "", str(event["scope"])))
        return found


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode(errors="replace")]), [])
    except csv.Error:  # not written by PACT
        return []


def _number(cell: str | None) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return None


def head(files: RunFiles, view: View) -> str:
    """Return the first line: which run, how it stands, and since when."""
    text = f"{printable(short_path(files.power))}  {view.status}"
    if view.reason:
        text += f" ({printable(view.reason)})"
    if view.measured_s is not None:
        minutes, seconds = divmod(int(view.measured_s), 60)
        text += f"  {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    if view.silent_s:
        text += f"  no row for {view.silent_s:.0f} s: no call is open, or the sampler is held up"
    return text


def block(files: RunFiles, view: View, width: int, height: int) -> list[str]:
    """Return the lines of a terminal of that size, none longer than it."""
    lines = [head(files, view)]
    if view.rows:
        widths = [max(len(row[k]) for row in view.rows) for k in range(3)]
        lines += [
            f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}"
            for row in view.rows
        ]
    if not _has_power(view):
        lines.append("  no power source is recorded (pactmeter doctor says why)")
    if len(lines) > height:
        left = len(lines) - height + 1
        lines = [*lines[: height - 1], f"  and {left} more: the window is too low"]
    return [line[:width].rstrip() for line in lines]


def _has_power(view: View) -> bool:
    """Whether a source of power is recorded, or that is not yet known."""
    return view.status == "starting" or any(total for _, _, total, _ in view.rows)


def line(view: View) -> str:
    """Return one line with all of it, for a pipe or a file."""
    parts = [f"{view.measured_s:.1f} s" if view.measured_s is not None else view.status]
    for name, now, total, what in view.rows:
        # an event has its scope there, and a measured source is what one expects
        mark = f"({what})" if total and what != "measured" else ""
        parts.append(" ".join(filter(None, (name, now, total, mark))))
    if not _has_power(view):
        parts.append("no power source")
    return "  ".join(parts)
