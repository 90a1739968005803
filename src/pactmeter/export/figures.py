"""All figures of a run as one long table, each with unit, uncertainty, origin and mark."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline, sum_name
from pactmeter.analysis.regions import Marks, regions
from pactmeter.errors import FileError
from pactmeter.model.channel import Channel, Kind
from pactmeter.store.table import read_table
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

Number = float | None
_QUANTITIES = {
    Unit.WATT: "power",
    Unit.JOULE: "energy",
    Unit.VOLT: "voltage",
    Unit.AMPERE: "current",
    Unit.CELSIUS: "temperature",
    Unit.PERCENT: "share",
    Unit.HERTZ: "frequency",
}


class Figure(NamedTuple):
    """One figure.

    Attributes:
        level: ``run``, ``region`` (all of one name), ``mark`` (one call or region), ``row`` of the
            power table, or ``bin`` of the counters.
        region: Name of the region; None where it is of none.
        index: Of the region.
        start_s: Start of what it covers, in seconds since the run's start; None: not one stretch.
        end_s: Its end.
        source: The channel or event; ``headline`` as the report shows it.
        quantity: ``energy``, ``power``, ``count``, ``duration``, ``temperature`` and so on.
        value: The figure, in `unit`.
        unit: Its unit, in SI without prefix.
        u: Expanded uncertainty (k=2), in `unit`; None: unknown.
        u_basis: ``budget``: all that is known; ``sensor``: the sensor's own accuracy and resolution
            alone, which is the least it can be.
        domain: What part of the machine it covers.
        origin: Measured, estimated or modelled.
        synthetic: None for real hardware.
        scope: Of a count: ``tree`` or ``system``.
    """

    level: str
    region: str | None
    index: int | None  # type: ignore[assignment]  # as the regions' file calls it
    start_s: Number
    end_s: Number
    source: str | None
    quantity: str
    value: Number
    unit: str
    u: Number = None
    u_basis: str | None = None
    domain: str | None = None
    origin: str | None = None
    synthetic: str | None = None
    scope: str | None = None


def figures(run: RecordedRun) -> Iterator[Figure]:
    """Yield the figures of a run: totals, regions, marks, rows and bins."""
    yield from _totals(run)
    yield from _regions(run)
    yield from _marks(run)
    yield from _rows(run)
    yield from _bins(run)


def _totals(run: RecordedRun) -> Iterator[Figure]:
    read_s = [value for value in run.columns["read_s"] if value is not None]
    span: tuple[Number, Number] = (0.0, max(read_s)) if read_s else (None, None)
    yield Figure("run", None, None, *span, None, "duration", run.duration_s, "s")
    found = energies(run)
    first = headline(found)
    if first is not None:
        yield from _energy(first, f"headline: {sum_name(found)}", span)
    for energy in found:
        yield from _energy(energy, energy.channel, span)
    for event in run.manifest.get("events", []):
        values = [v for v in run.columns.get(event["column"], []) if v is not None]
        if event["status"] == "ok" and values:
            count = math.fsum(values)
            yield Figure("run", None, None, *span, **_event(event), value=count)


def _energy(energy: Energy, source: str, span: tuple[Number, Number]) -> Iterator[Figure]:
    if energy.covered_s <= 0:  # nothing was read: unknown, not 0
        return
    marked = (energy.domain, energy.origin, energy.synthetic)
    for quantity, value, unit, u in (
        ("energy", energy.energy_j, "J", energy.u_j),
        ("power", energy.mean_w, "W", energy.u_mean_w),
    ):
        if value is None:  # of a sum that lacks a part
            continue
        basis = None if u is None else "budget"
        yield Figure("run", None, None, *span, source, quantity, value, unit, u, basis, *marked)
    share_pct = 100 * energy.coverage
    yield Figure("run", None, None, *span, source, "coverage", share_pct, "%", None, None, *marked)


def _regions(run: RecordedRun) -> Iterator[Figure]:
    channels = {channel.name: channel for channel in run.channels}
    events = {event["column"]: event for event in run.manifest.get("events", [])}
    for told in regions(run):
        name = told["name"]
        yield Figure("region", name, None, None, None, None, "duration", told["duration_s"], "s")
        for source, found in told["energy"].items():
            if "refused" in found:
                continue
            u_j = found["u_j"]
            yield Figure(
                "region", name, None, None, None, source, "energy", found["energy_j"], "J",
                u_j, None if u_j is None else "budget", *_marked(channels[source]),
            )  # fmt: skip
        for source, count in told["counters"].items():
            if count is not None:
                yield Figure(
                    "region", name, None, None, None, **_event(events[source]), value=count
                )


def _marks(run: RecordedRun) -> Iterator[Figure]:
    for name, index, start_s, end_s, _tid in Marks(run):
        yield Figure("mark", name, index, start_s, end_s, None, "duration", end_s - start_s, "s")


def _rows(run: RecordedRun) -> Iterator[Figure]:
    for channel in run.channels:
        names = channel.columns
        quantity, unit = _QUANTITIES[channel.unit], channel.unit.symbol
        if channel.kind is not Kind.QUANTITY:  # what counts joules has its mean power first too
            quantity, unit = "power", "W"
        before_j = 0.0
        for row, (read_s, window_s) in enumerate(
            zip(run.columns["read_s"], run.windows_s, strict=True)
        ):
            value = run.columns[names[0]][row]
            if read_s is None or window_s <= 0 or value is None:
                continue
            span = (read_s - window_s, read_s)
            yield _row(channel, span, value, quantity, unit)
            total_j = run.columns[names[1]][row] if len(names) > 1 else None
            if total_j is not None:
                yield _row(channel, span, total_j - before_j, "energy", "J")
                before_j = total_j


def _row(
    channel: Channel, span: tuple[float, float], value: float, quantity: str, unit: str
) -> Figure:
    u = _sensor_u(channel, value, span[1] - span[0], unit)
    basis = None if u is None else "sensor"
    return Figure(
        "row", None, None, *span, channel.name, quantity, value, unit, u, basis, *_marked(channel)
    )


def _sensor_u(channel: Channel, value: float, window_s: float, unit: str) -> float | None:
    """Return the uncertainty (k=2) of a row's figure after the sensor's own data.

    The step of a polled power is that of each poll, at most; that of a counter is at both edges.
    """
    if channel.accuracy_pct is None:
        return None
    step = channel.resolution or 0.0
    if channel.kind is Kind.ENERGY:
        part = 2 * step / math.sqrt(6) / (1.0 if unit == "J" else window_s)
    else:
        part = 2 * step / math.sqrt(12)
        part *= window_s if channel.kind is Kind.POWER and unit == "J" else 1.0
    return math.hypot(channel.accuracy_pct / 100 * value, part)


def _bins(run: RecordedRun) -> Iterator[Figure]:
    try:
        header, rows = read_table(run.files.counters)
        if header[:2] != ["start_s", "dt_s"]:
            return
        events = [
            (header.index(event["column"]), event["column"], event["scope"])
            for event in run.manifest.get("events", [])
            if event["column"] in header
        ]
        for row in rows:
            try:
                start_s = float(row[0])
                end_s = start_s + float(row[1])
                for place, name, scope in events:
                    if row[place]:
                        count = float(row[place])
                        yield Figure(
                            "bin", None, None, start_s, end_s, name, "count", count, "1",
                            None, None, None, "measured", None, scope,
                        )  # fmt: skip
            except ValueError:  # not written by PACT
                continue
    except FileError:
        return


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": event["column"],
        "quantity": "count",
        "unit": "1",
        "origin": "measured",
        "scope": event["scope"],
    }


def _marked(channel: Channel) -> tuple[str | None, str, str | None]:
    domain = None if channel.domain is None else channel.domain.value
    return domain, channel.origin.value, channel.synthetic
