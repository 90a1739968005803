"""The files of one run, as the sampler writes them."""

from __future__ import annotations

import os
import platform
import socket
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter import __version__
from pactmeter.clock import ClockPair, now_s
from pactmeter.store.files import RunFiles, claim
from pactmeter.store.manifest import SCHEMA, write_manifest
from pactmeter.store.spool import SpoolReader
from pactmeter.store.table import TableWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.store.table import Cell

ROW_COLUMNS = ("due_s", "read_s", "late_s", "window_s")
REGION_COLUMNS = ("start_s", "end_s", "name", "index", "tid")
_MANIFEST_EVERY_S = 0.25
_MARKS_AT_ONCE = 20_000
"""Marks put into words at a time while the sampler has more to do: some 30 ms."""
_MARKS_A_WRITE = 4_000
"""So few that the longest names stay below what a table keeps for a full disk."""


class Record:
    """Power, counters and regions tables and the manifest of one run."""

    def __init__(self, wanted: Path) -> None:
        self.files, self._lock_fd = claim(RunFiles(wanted))
        self.wanted = wanted
        self.rows = 0
        self._power: TableWriter | None = None
        self._counters: TableWriter | None = None
        self._regions: TableWriter | None = None
        self._marks = SpoolReader(None)
        self._manifest: dict[str, Any] = {}
        self._written_s = 0.0
        self._manifest_problem: str | None = None

    def begin(self, power: Sequence[str], counters: Sequence[str], about: dict[str, Any]) -> None:
        """Write the tables' headers and the first manifest.

        Raises:
            FileError: A file cannot be written.
        """
        self._power = TableWriter(self._lock_fd, [*ROW_COLUMNS, *power])
        self._counters = TableWriter.create(self.files.counters, counters)
        self._regions = TableWriter.create(self.files.regions, REGION_COLUMNS)
        self._marks = SpoolReader.create()
        folder = self._marks.folder
        self._manifest = {
            "schema": SCHEMA,
            "status": "running",
            "reason": None,
            "pactmeter": __version__,
            "marks": None if folder is None else str(folder),
            **about,
        }
        self.write(force=True)

    @property
    def clock_start(self) -> dict[str, float]:
        """Both clocks at the start of the sampler."""
        start: dict[str, float] = self._manifest["clock"]["start"]
        return start

    def add_row(self, cells: Sequence[Cell]) -> None:
        """Append a row of power."""
        if self._power is not None:
            self._power.add(cells)
            self.rows += 1

    def add_counters(self, lines: list[str]) -> None:
        """Append lines of counters."""
        if self._counters is not None:
            self._counters.add_text(lines)

    def add_regions(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Append regions."""
        if self._regions is not None:
            self._regions.add_rows(rows)

    def add_marks(self, zero_s: float | None, *, whole: bool = False, final: bool = False) -> bool:
        """Append the regions that were marked, in this or other processes, since the last time.

        Args:
            zero_s: CLOCK_MONOTONIC at time 0 of the tables; None: it is not known yet.
            whole: All of them, however many.
            final: All of them, for the last time.

        Returns:
            Whether more are waiting.
        """
        if self._regions is None or zero_s is None:
            return False
        while True:
            marks = self._marks.take(_MARKS_AT_ONCE, final=final)
            for first in range(0, len(marks), _MARKS_A_WRITE):
                part = marks[first : first + _MARKS_A_WRITE]
                self._regions.add_text(mark.line(zero_s) for mark in part)
            more = len(marks) >= _MARKS_AT_ONCE
            if not more or not (whole or final):
                return more

    def update(self, **values: Any) -> None:
        """Change the manifest; it reaches the disk with the next `write`."""
        self._manifest.update(values)

    def write(self, *, force: bool = False) -> bool:
        """Write the manifest, unless that was done a moment ago; return whether it was written."""
        if not force and now_s() - self._written_s < _MANIFEST_EVERY_S:
            return False
        self._written_s = now_s()
        try:
            write_manifest(self.files.manifest, self._manifest)
        except OSError as error:
            self._manifest_problem = error.strerror or str(error)
        return True

    @property
    def problems(self) -> list[str]:
        """What could not be written, in words."""
        told = []
        tables = (("rows of power", self._power), ("rows of counters", self._counters))
        for what, table in (*tables, ("regions", self._regions)):
            if table is not None and table.problem is not None:
                lost = f"{table.lost_rows} were lost" if table.lost_rows else "none was lost"
                told.append(f"{what} could not be written for a while ({table.problem}); {lost}")
        if self._marks.lost:
            told.append(f"{self._marks.lost} regions were lost: marked faster than taken in")
        if self._manifest_problem is not None:
            told.append(f"the manifest was not updated: {self._manifest_problem}")
        return told

    def close(self) -> None:
        """Close all files; the power file's lock goes last."""
        self._marks.remove()
        for table in (self._counters, self._regions, self._power):
            if table is not None:
                table.close()

    def abandon(self) -> None:
        """Remove what a run that never began has created."""
        self.close()
        for path in self.files.all:
            path.unlink(missing_ok=True)


def about_host(start: ClockPair) -> dict[str, Any]:
    """Return what the manifest says of the machine and the software."""
    packages = ("liquidctl", "hidapi", "nvidia-ml-py", "performance-features")
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return {
        "packages": {name: package_version(name) for name in packages},
        "host": {
            "name": socket.gethostname(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "boot_id": boot_id.read_text(encoding="ascii").strip() if boot_id.exists() else None,
        },
        "python": sys.version.split()[0],
        "clock": {"start": clock_dict(start), "end": None},
    }


def clock_dict(pair: ClockPair) -> dict[str, float]:
    """Return both clocks as plain data."""
    return {"monotonic_s": pair.monotonic_s, "utc_s": pair.utc_s}


def package_version(name: str) -> str | None:
    """Return an installed package's version, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
