"""Sources against a reference meter, the MLPerf way: idle and two loads, five minutes each.

MLPerf Training's power rules accept a software meter whose Olympic means over five non-overlapping
windows of a minute agree with a certified meter on the same machine within 5 %, idle and under two
different loads. From the same windows follows a line for each source, ``meter = offset + gain *
source``, with its intervals.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pactmeter.analysis.calibration.linear import calibrate
from pactmeter.analysis.checks.about import disorder
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline, headline_parts, sum_name
from pactmeter.analysis.regions import region_names, regions
from pactmeter.analysis.windows import AGREES_PCT, IDLE, LOADS, PREFIX, WINDOW_S, WINDOWS
from pactmeter.errors import ConfigError, PactError, unknown_name
from pactmeter.model.calibration import MOST_DAYS, Calibration
from pactmeter.model.channel import Domain, Kind, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.calibration import Line
    from pactmeter.model.channel import Channel

SCHEMA = 1
_METERED = re.compile(r"^AC input power,? (?:metered by|after) ")
"""What a meter's channel says before it says which meter it is."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a source and the meter said under one load.

    Attributes:
        name: The load.
        source_w: Mean power of each window after the source, in watts.
        meter_w: The same after the meter.
    """

    name: str
    source_w: tuple[float, ...]
    meter_w: tuple[float, ...]

    @property
    def olympic_w(self) -> tuple[float, float]:
        """Means without the smallest and the largest window: of the source and of the meter."""
        return _olympic(self.source_w), _olympic(self.meter_w)

    @property
    def apart_pct(self) -> float:
        """By how much the source's Olympic mean is above the meter's, in percent of that."""
        source_w, meter_w = self.olympic_w
        return 100 * (source_w / meter_w - 1)


@dataclass(frozen=True, slots=True)
class Validated:
    """One source against the meter.

    Attributes:
        channel: The source.
        label: What it is, in words.
        origin: Measured, estimated or modelled.
        is_ac: Whether it is AC power as the meter's is; else the line holds what lies between.
        loads: What both said, load by load.
        line: ``meter = offset + gain * source``; None where there is none.
        reason: Why there is none.
    """

    channel: str
    label: str
    origin: str
    is_ac: bool
    loads: tuple[Load, ...]
    line: Line | None
    reason: str | None

    @property
    def agrees(self) -> bool | None:
        """Whether it agrees within 5 % under each load; None: it measures something else."""
        if not self.is_ac:
            return None
        return all(abs(load.apart_pct) <= AGREES_PCT for load in self.loads)


class _Source(NamedTuple):
    """What is held against the meter: one channel, or several as one."""

    name: str
    label: str
    origin: str
    domain: Domain | None
    channels: tuple[str, ...]
    step_w: float


@dataclass(frozen=True, slots=True)
class Validation:
    """The sources of a machine against one meter.

    Attributes:
        file: The run.
        host: The machine.
        synthetic: None for real hardware.
        day: When.
        meter: The meter's channel.
        meter_label: What it is, in words.
        accuracy_pct: Half-width (k=2) of the meter's own error, in percent.
        window_s: Length of the shortest window, in seconds.
        sources: The sources.
        headline: The source that is the headline of a run without the meter; None: there is none.
        left_out: Sources without a figure, and why.
        notes: What makes it weaker than the rules want.
    """

    file: str
    host: str
    synthetic: str | None
    day: date
    meter: str
    meter_label: str
    accuracy_pct: float
    window_s: float
    sources: tuple[Validated, ...]
    headline: str | None
    left_out: dict[str, str]
    notes: tuple[str, ...]

    def calibration(self, channel: str | None = None) -> Calibration:
        """Return the calibration of a source, of the headline where none is named.

        Raises:
            ConfigError: There is no such source.
            PactError: It has no line, or there is no headline.
        """
        wanted = channel or self.headline
        if wanted is None:
            raise PactError("there is no measured source to calibrate", "pactmeter doctor")
        found = next((one for one in self.sources if one.channel == wanted), None)
        if found is None:
            if wanted in self.left_out:
                raise PactError(f"{wanted} was not validated: {self.left_out[wanted]}")
            raise unknown_name("source", wanted, [one.channel for one in self.sources])
        if found.line is None:
            raise PactError(f"{wanted} has no line to the meter: {found.reason}")
        return Calibration(
            line=found.line,
            host=self.host,
            source=wanted,
            reference=_METERED.sub("", self.meter_label).partition(",")[0],
            accuracy_pct=self.accuracy_pct,
            made=self.day,
            expires=self.day + timedelta(days=MOST_DAYS),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data (schema 1)."""
        sources = []
        for one in self.sources:
            told: dict[str, Any] = {**asdict(one), "agrees": one.agrees}
            if one.line is not None:
                told["line"] |= {"u_gain": one.line.u_gain, "u_offset_w": one.line.u_offset_w}
            for load, data in zip(one.loads, told["loads"], strict=True):
                data["olympic_w"] = list(load.olympic_w)
                data["apart_pct"] = load.apart_pct
            sources.append(told)
        whole = {**asdict(self), "day": self.day.isoformat(), "sources": sources}
        return {"schema": SCHEMA, **whole}


def validate(run: RecordedRun, meter: str | None = None) -> Validation:
    """Hold every source of a run against its meter.

    Args:
        run: A run with windows marked as `PREFIX` + load, of which one is `IDLE`.
        meter: Channel of the meter; None: the only AC source that is measured.

    Raises:
        ConfigError: There is no meter, several, or no such one.
        PactError: There are too few windows or loads (says how many are needed).
    """
    reference = _meter(run, meter)
    wrong = disorder(run, [reference.name])
    if wrong:
        raise PactError(f"{run.files.power} has {wrong} rows out of order", "use the original file")
    if run.started_s is None:
        raise PactError(f"{run.files.power} does not tell when it began", "measure again")
    marked = [name for name in region_names(run) if name.startswith(PREFIX)]
    windows = {name: regions(run, each=name) for name in marked}
    _require(windows)
    meter_w = {name: _means(found, (reference.name,)) for name, found in windows.items()}
    for name, means in meter_w.items():
        known = sum(mean is not None for mean in means)
        if known < WINDOWS:
            refused = [told["energy"][reference.name].get("refused") for told in windows[name]]
            why = next(filter(None, refused), "the meter has gaps")
            raise PactError(
                f"the meter covers {known} of {len(means)} windows of {name.removeprefix(PREFIX)},"
                f" {WINDOWS} are needed: {why}",
                "measure again, with the meter in reach all the time and windows long enough",
            )
    sources, left_out = judge(run, windows, meter_w, meter=reference.name)
    lengths_s = [one["duration_s"] for found in windows.values() for one in found]
    accuracy_pct = reference.accuracy_pct
    if accuracy_pct is None:
        raise ConfigError(
            f"the accuracy of {reference.name} is not known",
            "state it behind its address, as shelly://host#desk,accuracy=1%, or with --accuracy",
        )
    first = sum_name([e for e in energies(run) if e.channel != reference.name])
    return Validation(
        str(run.files.power),
        str((run.manifest.get("host") or {}).get("name") or "this machine"),
        reference.synthetic,
        datetime.fromtimestamp(run.started_s, UTC).date(),
        reference.name,
        reference.description,
        accuracy_pct,
        min(lengths_s),
        tuple(sources),
        first,
        left_out,
        tuple(_notes(lengths_s)),
    )


def judge(
    run: RecordedRun,
    windows: dict[str, list[dict[str, Any]]],
    meter_w: dict[str, list[float | None]],
    *,
    meter: str = "",
) -> tuple[list[Validated], dict[str, str]]:
    """Hold the sources of a run against what a meter said in some windows.

    Args:
        run: The run.
        windows: What `regions` or `windows` tells of the windows of each load.
        meter_w: Mean power of each window after the meter, in watts; None: not covered.
        meter: Channel of the meter, which is no source.

    Returns:
        The sources, and why others have no figure.
    """
    sources, left_out = [], {}
    for source in _sources(run, meter):
        try:
            sources.append(_validated(source, windows, meter_w))
        except PactError as error:
            left_out[source.name] = error.message
    return sources, left_out


def _meter(run: RecordedRun, name: str | None) -> Channel:
    meters = [c for c in run.channels if c.domain is Domain.AC and c.origin is Origin.MEASURED]
    if name is not None:
        found = next((c for c in meters if c.name == name), None)
        if found is None:
            raise unknown_name("meter", name, [c.name for c in meters])
        return found
    if len(meters) == 1:
        return meters[0]
    if not meters:
        raise ConfigError(
            f"{run.files.power} has no reference meter",
            "--meter shelly://ADDRESS when recording, or --reference METER.csv of the meter",
        )
    names = ", ".join(c.name for c in meters)
    raise ConfigError(f"{run.files.power} has several meters: {names}", "name one with --against")


def _require(windows: dict[str, list[dict[str, Any]]]) -> None:
    """Refuse too few loads or windows."""
    again = "pactmeter validate --meter URL records what is needed"
    if PREFIX + IDLE not in windows:
        raise PactError("no window of the idle machine is marked in this run", again)
    if len(windows) < LOADS:
        raise PactError(f"idle and {LOADS - 1} loads are needed, there are {len(windows)}", again)
    for name, found in windows.items():
        if len(found) < WINDOWS:
            load = name.removeprefix(PREFIX)
            raise PactError(f"{len(found)} windows of {load}, {WINDOWS} are needed", again)


def _sources(run: RecordedRun, meter: str) -> list[_Source]:
    """Return each source; the headline without the meter too, where that is a sum."""
    powers = [
        c
        for c in run.channels
        if c.kind is not Kind.QUANTITY and c.name not in {meter, f"{meter}.counter"}
    ]
    found = [
        _Source(c.name, c.description, c.origin, c.domain, (c.name,), _step_w(c)) for c in powers
    ]
    others = [e for e in energies(run) if e.channel not in {meter, f"{meter}.counter"}]
    first, parts, name = headline(others), headline_parts(others), sum_name(others)
    if first is not None and name is not None and len(parts) > 1:
        channels = tuple(part.channel for part in parts)
        found.append(_Source(name, first.label, first.origin, first.domain, channels, 0.0))
    return found


def _step_w(channel: Channel) -> float:
    return (channel.resolution or 0.0) if channel.kind is Kind.POWER else 0.0


def _means(windows: list[dict[str, Any]], channels: Sequence[str]) -> list[float | None]:
    """Return the mean power of each window, in watts; None where a channel has no figure."""
    means: list[float | None] = []
    for told in windows:
        parts = [told["energy"][name].get("energy_j") for name in channels]
        known = [part for part in parts if part is not None]
        means.append(sum(known) / told["duration_s"] if len(known) == len(parts) else None)
    return means


def _validated(
    source: _Source,
    windows: dict[str, list[dict[str, Any]]],
    meter_w: dict[str, list[float | None]],
) -> Validated:
    loads = []
    for load, found in windows.items():
        pairs = [
            (source_w, reference_w)
            for source_w, reference_w in zip(
                _means(found, source.channels), meter_w[load], strict=True
            )
            if source_w is not None and reference_w is not None
        ]
        if len(pairs) < WINDOWS:
            refused = [
                each["energy"][part].get("refused") for each in found for part in source.channels
            ]
            why = next(filter(None, refused), "the meter has gaps")
            raise PactError(f"{len(pairs)} whole windows of {load.removeprefix(PREFIX)}: {why}")
        sources_w, references_w = zip(*pairs, strict=True)
        loads.append(Load(load.removeprefix(PREFIX), sources_w, references_w))
    x = [power_w for load in loads for power_w in load.source_w]
    y = [power_w for load in loads for power_w in load.meter_w]
    groups = [load.name for load in loads for _ in load.source_w]
    line, reason = None, None
    try:
        line = calibrate(x, y, groups, source_step_w=source.step_w)
    except PactError as error:
        reason = error.message
    return Validated(
        source.name,
        source.label,
        source.origin,
        source.domain is Domain.AC,
        tuple(loads),
        line,
        reason,
    )


def _notes(lengths_s: Sequence[float]) -> list[str]:
    notes = []
    if min(lengths_s) < WINDOW_S - 0.5:
        notes.append(f"the windows last {min(lengths_s):.0f} s, the rules ask for {WINDOW_S:.0f} s")
    return notes


def _olympic(values_w: Sequence[float]) -> float:
    return statistics.fmean(sorted(values_w)[1:-1])
