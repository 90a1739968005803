"""A recorded run, loaded from its files with the standard library alone."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pactmeter.analysis.form import flaw
from pactmeter.clock import now_s
from pactmeter.errors import FileError
from pactmeter.model.channel import Channel
from pactmeter.session.run import request_sync
from pactmeter.store.files import RunFiles, is_live
from pactmeter.store.manifest import read_manifest
from pactmeter.store.table import read_table

_MOST = 1e15
"""No cell of a run is larger, in whatever unit."""
_SETTLE_S = 3.0
"""How long the last call may take to be whole on disk: its devices are polled a little longer."""


@dataclass(frozen=True)
class RecordedRun:
    """A run's manifest and power table.

    Attributes:
        files: Where it lies.
        manifest: The manifest as written.
        status: ``complete``, ``running``, ``incomplete`` or ``failed``.
        reason: Why it is not complete, or how it ended.
        columns: Values by column of the power table; None for an empty cell.
        is_aperiodic: Whether the user knows that the load does not repeat in step with a sensor;
            else what a sensor looks away from counts as unknown.
    """

    files: RunFiles
    manifest: dict[str, Any]
    status: str
    reason: str | None
    columns: dict[str, list[float | None]]
    is_aperiodic: bool = False

    @cached_property
    def channels(self) -> list[Channel]:
        """The channels that were recorded."""
        return [Channel.from_dict(data) for data in self.manifest.get("channels", [])]

    @cached_property
    def windows_s(self) -> list[float]:
        """Length of each row's window, in seconds."""
        return [value or 0.0 for value in self.columns["window_s"]]

    @property
    def duration_s(self) -> float:
        """Time measured: all windows together, in seconds."""
        return math.fsum(self.windows_s)

    @property
    def started_s(self) -> float | None:
        """When it began, in seconds since 1970 (UTC); None where no call was measured."""
        start = (self.manifest.get("clock") or {}).get("start")
        return None if start is None else float(start["utc_s"])

    @property
    def marks(self) -> dict[str, str]:
        """What the program told of what it measures, by name; of older runs nothing."""
        told: dict[str, str] = (self.manifest.get("config") or {}).get("marks") or {}
        return told

    def about(self, channel: str) -> dict[str, Any]:
        """Return what the manifest says of a channel."""
        found: dict[str, Any] = next(
            data for data in self.manifest["channels"] if data["name"] == channel
        )
        return found


def load(path: str | Path) -> RecordedRun:
    """Load a run by its power file (or its manifest).

    Waits for the last call to be whole on disk where this process is the one that is measured.

    Raises:
        FileError: There is no such run, or its files cannot be read.
    """
    files = RunFiles(_power_file(Path(path).absolute()))
    if not _is_file(files.power):
        raise FileError(f"there is no run {files.power}", "name a file that PACT has written")
    manifest = _settled_manifest(files)
    header, rows = read_table(files.power)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise FileError(f"{files.power} has the column {twice!r} twice", "use the original file")
    columns: dict[str, list[float | None]] = {name: [] for name in header}
    for row in rows:
        for name, cell in zip(header, row, strict=True):
            columns[name].append(_number(cell))
    if "window_s" not in columns:
        raise FileError(f"{files.power} is not a power table of PACT")
    wrong = flaw(manifest, header)
    if wrong is not None:
        raise FileError(f"{files.manifest} does not describe {files.power.name}: {wrong}")
    status, reason = _status(files, manifest)
    return RecordedRun(files, manifest, status, reason, columns)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # as of a name that is too long
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def _power_file(path: Path) -> Path:
    if path.suffix == ".json":
        return path.with_suffix(".csv")
    for ending in (".counters.csv", ".regions.csv"):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending) + ".csv")
    return path


def _settled_manifest(files: RunFiles) -> dict[str, Any]:
    """Read the manifest, once it tells of every call of this process that has ended."""
    until_s = now_s() + _SETTLE_S
    calls = request_sync(files.power)
    while True:
        try:
            manifest = read_manifest(files.manifest)
        except FileError:  # a run that has this moment begun may not have written it yet
            if not is_live(files.power) or now_s() > until_s:
                raise
        else:
            known = manifest.get("calls") or 0
            if known >= calls or now_s() > until_s or not is_live(files.power):
                return manifest
        time.sleep(0.005)


def _status(files: RunFiles, manifest: dict[str, Any]) -> tuple[str, str | None]:
    status = str(manifest.get("status"))
    if status != "running":
        return status, manifest.get("reason")
    if is_live(files.power):
        return "running", None
    return "incomplete", "the sampler process died (killed, or the machine went down)"


def _number(cell: str) -> float | None:
    """Return a cell's number; None where it is empty, or none that a run could have written."""
    try:
        value = float(cell) if cell else math.nan
    except ValueError:
        return None
    return value if abs(value) < _MOST else None
