"""How every power channel of a recorded run follows the burst that is marked in it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pactmeter.analysis.gpu_update import Unknown
from pactmeter.analysis.regions import region_rows
from pactmeter.analysis.sync.burst import BURST, Phase, in_order
from pactmeter.analysis.sync.fit import Readings, SensorFit, fit
from pactmeter.errors import FileError
from pactmeter.model.channel import Kind

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel

SCHEMA = 1
_ALIKE = 0.1
"""A row whose window differs by a larger share from the others' is left out (first and last)."""
_LONGEST_ROW_S = 2.0
_LAUNCH = "pactmeter sync records one"


@dataclass(frozen=True, slots=True)
class ChannelSync:
    """A channel, and how it follows the burst or why that is unknown."""

    channel: Channel
    found: SensorFit | Unknown

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: ``fit`` is null where there is a ``reason``."""
        found = self.found
        return {
            "channel": self.channel.name,
            "domain": self.channel.domain,
            "origin": self.channel.origin,
            "synthetic": self.channel.synthetic,
            "fit": None if isinstance(found, Unknown) else found.to_dict(),
            "reason": found.reason if isinstance(found, Unknown) else None,
        }


def phases_of(run: RecordedRun) -> list[Phase]:
    """Return the on-phases of the burst that is marked in a run, on the run's own time line.

    Raises:
        FileError: None is marked, or what is marked cannot be read.
        ConfigError: There are too few.
    """
    try:
        rows = region_rows(run)
        next(rows)
        phases = [(float(row[0]), float(row[1])) for row in rows if row[2] == BURST]
    except (IndexError, ValueError) as error:
        raise FileError(f"{run.files.regions} is no table of regions", _LAUNCH) from error
    if not phases:
        raise FileError(f"no burst is marked in {run.files.power}", _LAUNCH)
    return in_order(phases)


def sync(run: RecordedRun) -> list[ChannelSync]:
    """Return how each channel of power or energy follows the burst.

    Raises:
        FileError: No burst is marked in the run.
        ConfigError: It has too few on-phases.
    """
    phases = phases_of(run)
    found = []
    for channel in run.channels:
        if channel.kind is not Kind.QUANTITY:
            readings = _readings(run, channel)
            told = readings if isinstance(readings, Unknown) else fit(readings, phases)
            found.append(ChannelSync(channel, told))
    return found


def _readings(run: RecordedRun, channel: Channel) -> Readings | Unknown:
    """Return the rows of a channel as readings: each is a mean over its window.

    A row of a counter is a mean over all of its window, one of a gauge over the polls in it, whose
    grid starts with the call as that of the rows does.
    """
    nothing: list[float | None] = [None] * len(run.windows_s)
    rows = zip(
        run.columns.get("read_s", nothing),
        run.windows_s,
        run.columns.get(channel.columns[0], nothing),
        strict=True,
    )
    known = [(r, w, p) for r, w, p in rows if r is not None and p is not None and w > 0.0]
    if not known:
        return Unknown("was never read")
    end_s, window_s, power_w = np.array(known, dtype=np.float64).T
    over_s = float(np.median(window_s))
    if not math.isfinite(over_s) or over_s > _LONGEST_ROW_S:
        return Unknown(f"rows of {over_s:g} s are too long to tell a delay")
    alike = np.abs(window_s - over_s) < _ALIKE * over_s
    is_gauge = channel.kind is Kind.POWER
    poll_s = float(run.about(channel.name).get("poll_period_s") or over_s) if is_gauge else 0.0
    step_w = (channel.resolution or 0.0) / (1.0 if is_gauge else over_s)
    middle_s = end_s - window_s / 2
    return Readings(middle_s[alike], power_w[alike], over_s, min(poll_s, over_s), step_w)


def read_delays(path: str | Path) -> dict[str, float]:
    """Return the mean delay of each channel, in seconds, as `pactmeter sync --json` wrote them.

    Channels that did not follow are left out.

    Raises:
        FileError: There is no such file, or it is none of these.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise FileError(f"{path} is of schema {data['schema']!r}, not {SCHEMA}")
        fits = {str(one["channel"]): one["fit"] for one in data["channels"]}
        found = {name: float(fit["delay_s"]) for name, fit in fits.items() if fit is not None}
        if not all(map(math.isfinite, found.values())):
            raise ValueError("a delay is no number")
    except OSError as error:
        fix = f"pactmeter sync --json > {path}"
        raise FileError(f"cannot read {path}: {error.strerror}", fix) from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FileError(
            f"{path} is not what `pactmeter sync --json` writes",
            f"pactmeter sync --json > {path}",
        ) from error
    return found
