"""A run with the readings of a reference meter beside its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.reference import read_reference
from pactmeter.errors import FileError
from pactmeter.model.channel import WALL_REFERENCE, Channel, Domain, Kind
from pactmeter.units import Unit

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun

UNSTATED_PCT = 5.0
"""What a meter is taken to be off by whose accuracy is not stated: EEHPC's loosest class."""
_LEAST_KNOWN = 0.95
"""A row has a figure of the meter where so much of it is covered."""


def metered(run: RecordedRun, file: str, **columns: Any) -> RecordedRun:
    """Return a run with one more channel, `WALL_REFERENCE`: AC power after a meter's own file.

    Args:
        run: The run.
        file: The meter's CSV.
        columns: As the arguments of `read_reference`.

    Raises:
        ConfigError: A column, unit or zone is not there.
        FileError: The file cannot be read, or tells nothing of the run.
    """
    found = read_reference(file, run, **columns)
    watts: list[float | None] = []
    totals: list[float | None] = []
    readings: list[float | None] = []
    total_j = 0.0
    for read_s, window_s in zip(run.columns["read_s"], run.windows_s, strict=True):
        known_s = energy_j = 0.0
        if read_s is not None and window_s > 0:
            energy_j, known_s = found.energy(read_s - window_s, read_s)
        if known_s < _LEAST_KNOWN * window_s or known_s <= 0:
            for column in (watts, totals):
                column.append(None)
            readings.append(0.0)
            continue
        mean_w = energy_j / known_s
        total_j += mean_w * window_s
        watts.append(mean_w)
        totals.append(total_j)
        readings.append(window_s / found.span_s)
    if not any(value is not None for value in watts):
        raise FileError(f"{file} covers no row of {run.files.power}", "check the meter's clock")
    accuracy_pct = found.accuracy_pct
    channel = Channel(
        WALL_REFERENCE,
        Unit.WATT,
        Kind.POWER,
        f"AC input power after {found.path.name} ({found.column})",
        Domain.AC,
        synthetic=next((c.synthetic for c in run.channels if c.synthetic), None),
        accuracy_pct=UNSTATED_PCT if accuracy_pct is None else accuracy_pct,
        accuracy_source="as stated" if accuracy_pct is not None else "not stated: 5 % is taken",
    )
    about = {**channel.to_dict(), "poll_period_s": found.span_s}
    mine = dict(zip(channel.columns, (watts, totals, readings), strict=True))
    manifest = {**run.manifest, "channels": [*run.manifest.get("channels", []), about]}
    return replace(run, manifest=manifest, columns={**run.columns, **mine})
