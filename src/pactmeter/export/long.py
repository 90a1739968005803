"""Long CSV: one figure a line, with unit, uncertainty, origin and synthetic mark."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from pactmeter.export.figures import Figure, figures
from pactmeter.export.times import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun

NAME = "long"
EXTRA = None


def write(run: RecordedRun, path: Path) -> None:
    """Write all figures; ``start_utc`` is the time of day of ``start_s``."""
    clock = Clock(run)
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*Figure._fields, "start_utc"])
        for figure in figures(run):
            moment = None if figure.start_s is None else clock.utc(figure.start_s)
            text = "" if moment is None else moment.isoformat(timespec="microseconds")
            writer.writerow([*map(_cell, figure), text])


def _cell(value: object) -> object:
    """Return a cell; times and values to the microunit, as the run's own tables have them."""
    return round(value, 6) if isinstance(value, float) else value
