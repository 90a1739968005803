"""The CSV of the original PACT: one row a period, twelve columns with its default events.

The columns have no place for units other than their names, for origins and uncertainties: those
stand in a JSON file beside it. Where nothing is known a cell is empty; the original wrote 0.
"""

from __future__ import annotations

import csv
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pactmeter.export.base import about
from pactmeter.export.times import Clock
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel

NAME = "original"
EXTRA = None

# as in analysis.powermodel.original, which needs scikit-learn and so cannot be asked
_FIRST = ("index", "start_time", "duration(s)")
_POWERS = {
    "Total_PSU_Power(W)": Domain.DC,
    "Nvidia_SMI_Power(W)": Domain.GPU,
    "Intel_RAPL_Power(W)": Domain.PACKAGE,
}
_SHARES = {"GPU_Util_SM(%)": ".util_sm_pct", "GPU_Util_Memory(%)": ".util_mem_pct"}
_NOTES = (
    "Total_PSU_Power(W) is DC output power",
    "powers are means over the row, of all devices together; shares are means over the GPUs",
    "counts are those of the row; the original's are (N+1)/2 times as large, N readings a row",
    "an empty cell is unknown; the original wrote 0",
)


def write(run: RecordedRun, path: Path) -> None:
    """Write the rows of power, and beside them ``NAME.json`` with what they are."""
    parts = {name: _power_channels(run, domain) for name, domain in _POWERS.items()}
    parts |= {name: _share_channels(run, ending) for name, ending in _SHARES.items()}
    events = [event["column"] for event in run.manifest.get("events", [])]
    columns = {name: _combined(run, name, channels) for name, channels in parts.items()}
    columns |= {event: run.columns.get(event, []) for event in events}
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_FIRST, *columns])
        for number, (row, started, window_s) in enumerate(_rows(run)):
            cells = [values[row] if values else None for values in columns.values()]
            writer.writerow([number, started, _cell(window_s), *map(_cell, cells)])
    told = {**about(run), "columns": _told(parts, run), "notes": _NOTES}
    text = json.dumps(told, indent=1)
    path.with_name(f"{path.name}.json").write_text(text + "\n", encoding="utf-8")


def _rows(run: RecordedRun) -> Iterator[tuple[int, str, float]]:
    """Yield number, local time of the start and length in seconds of each row that has one."""
    clock = Clock(run)
    for row, (read_s, window_s) in enumerate(
        zip(run.columns["read_s"], run.windows_s, strict=True)
    ):
        if read_s is None or window_s <= 0:
            continue
        started = ""
        if clock.is_known:
            local = datetime.fromtimestamp(clock.utc_s(read_s - window_s)).astimezone()
            started = local.strftime("%Y-%m-%d %H:%M:%S")
        yield row, started, window_s


def _power_channels(run: RecordedRun, domain: Domain) -> list[Channel]:
    """Return what the original would have read: never an estimate."""
    return [
        channel
        for channel in run.channels
        if channel.domain is domain
        and channel.kind is not Kind.QUANTITY
        and channel.origin is not Origin.ESTIMATED
    ]


def _share_channels(run: RecordedRun, ending: str) -> list[Channel]:
    return [
        channel
        for channel in run.channels
        if channel.unit is Unit.PERCENT
        and channel.name.startswith("gpu")
        and channel.name.endswith(ending)
    ]


def _combined(run: RecordedRun, name: str, channels: list[Channel]) -> list[float | None]:
    """Return the sum of powers or the mean of shares by row; unknown where one of them is."""
    divisor = len(channels) if name in _SHARES else 1
    columns = [run.columns[channel.columns[0]] for channel in channels]
    result: list[float | None] = []
    for cells in zip(*columns, strict=True):
        known = [cell for cell in cells if cell is not None]
        result.append(sum(known) / divisor if len(known) == len(cells) else None)
    return result


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _told(parts: dict[str, list[Channel]], run: RecordedRun) -> dict[str, Any]:
    """Return what each column is."""
    columns: dict[str, Any] = {}
    for name, channels in parts.items():
        columns[name] = {
            "unit": "%" if name in _SHARES else "W",
            "channels": [channel.name for channel in channels],
            "origin": sorted({channel.origin.value for channel in channels}),
            "synthetic": sorted({channel.synthetic for channel in channels if channel.synthetic}),
            "accuracy_pct": max(
                (channel.accuracy_pct for channel in channels if channel.accuracy_pct is not None),
                default=None,
            ),
        }
    for event in run.manifest.get("events", []):
        told = {key: event[key] for key in ("scope", "status", "reason")}
        columns[event["column"]] = {"unit": "1", **told}
    return columns
