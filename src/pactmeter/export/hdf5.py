"""HDF5 as perun writes it: read by ``perun export FILE csv`` and ``text`` (perun 1.0).

The tree is app, run id, run, host, kind of device, sensor. perun has one figure where there are
several sources, so run and host carry the headline's alone, and what is nested (rails, cores)
stands beside its whole without being added. It knows neither origin nor uncertainty: they are
attributes of each node and of each energy and power. Money and CO2 are left out: nobody has named
a price or an intensity.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.energy import energies, total
from pactmeter.analysis.headline import headline
from pactmeter.analysis.regions import Marks, regions
from pactmeter.export.base import about
from pactmeter.export.times import Clock
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.units import Unit

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel
    from pactmeter.model.energy import Energy

NAME = "hdf5"
EXTRA = "hdf5"

# perun.data_model: NodeType, and the DeviceType and MetricType that belong to a domain
_APP, _MULTI_RUN, _RUN, _NODE, _GROUP, _SENSOR = range(1, 7)
_DEVICES = {
    Domain.PACKAGE: "cpu",
    Domain.CORE: "cpu",
    Domain.UNCORE: "cpu",
    Domain.DRAM: "ram",
    Domain.GPU: "gpu",
    Domain.AC: "node",
    Domain.DC: "node",
    Domain.PSYS: "node",
    Domain.MACHINE: "node",
}
_PARTS = {Domain.PACKAGE: "cpu", Domain.GPU: "gpu", Domain.DRAM: "dram"}
_LONGEST = 200
_MOST_ATTRIBUTE = 60_000
"""Of bytes; HDF5 keeps no attribute above 64 KiB in a group."""


def write(run: RecordedRun, path: Path) -> None:
    """Write the run as the only one of its application.

    Raises:
        ImportError: h5py is missing.
    """
    import h5py  # type: ignore[import-untyped]

    clock = Clock(run)
    # perun compares these with times that name no zone
    started = datetime.fromtimestamp(clock.utc_s(0.0)).isoformat(timespec="milliseconds")  # noqa: DTZ006
    host = (run.manifest.get("host") or {}).get("name") or "unknown"
    found = energies(run)
    told = about(run)
    with h5py.File(path, "w") as file:
        times = {"creation_dt": started, "last_execution_dt": started}
        app = _Node(file, run.files.manifest.stem, _APP, times)
        app.metric("runtime", run.duration_s, "s", "max")
        settings = {
            "app_name": run.files.manifest.stem,
            "execution_dt": started,
            "n_runs": "1",
            "perun_version": f"written by pactmeter {told['pactmeter']}",
            "post-processing.price_unit": "",
        }
        app.group.create_dataset("pactmeter", data=json.dumps(told))  # as it is too long for them
        multi = app.child(started, _MULTI_RUN, settings)
        one = multi.child("0", _RUN, {"status": run.status, "reason": run.reason or ""})
        machine = one.child(host, _NODE, {"host": host})
        for node in (multi, one, machine):
            node.metric("runtime", run.duration_s, "s", "max")
        _whole(one, found)
        _whole(machine, found)
        _sensors(machine, run, {energy.channel: energy for energy in found})
        _regions(one, run)


class _Node:
    """A node of perun's tree."""

    def __init__(
        self, parent: Any, name: str, kind: int, texts: dict[str, str], device: str | None = None
    ) -> None:
        self.group = parent.create_group(_free_name(parent, name))
        self.group.attrs["type"] = kind
        if device is not None:
            self.group.attrs["device_type"] = device
        for key, text in texts.items():
            self.group.attrs[key] = _text(text)
        self._metrics = self.group.create_group("metrics")
        self.nodes = self.group.create_group("nodes")

    def child(
        self, name: str, kind: int, texts: dict[str, str], device: str | None = None
    ) -> _Node:
        """Add a node below this one."""
        return _Node(self.nodes, name, kind, texts, device)

    def energy(self, parts: list[Energy], word: str = "") -> None:
        """Add energy and power of parts together, each with origin, synthetic mark and U (k=2).

        Each power is that of its own covered time, and their errors add: equal sensors err alike.
        Where one gave no reading, the energy names it, and there is no power.
        """
        found = parts[0] if len(parts) == 1 else total(parts, word, word)
        figures = [("energy", found.energy_j, "J", found.u_j)]
        if not found.silent:
            power_w = math.fsum(part.mean_w or 0.0 for part in parts)
            u_w = [part.u_mean_w for part in parts]
            figures += [("power", power_w, "W", None if None in u_w else sum(filter(None, u_w)))]
        for what, value, unit, u in figures:
            group = self.metric(f"{word}{what}", value, unit, "sum")
            group.attrs["origin"] = found.origin.value
            group.attrs["synthetic"] = found.synthetic or ""
            group.attrs["u"] = "unknown" if u is None else f"{u:.6g}"
            if found.silent:
                group.attrs["silent"] = ", ".join(found.silent)

    def metric(self, name: str, value: float, unit: str, how: str) -> Any:
        """Add a figure and return its group."""
        group = self._metrics.create_group(name.upper())
        _describe(group, unit)
        group.attrs["type"] = name
        group.attrs["agg_type"] = how
        group.attrs["value"] = value
        return group


def _whole(node: _Node, found: list[Energy]) -> None:
    """Add the headline as energy and power, and the parts that add up to no more than it."""
    first = headline(found)
    if first is not None:
        node.energy([first])
        for key, text in _marks(first).items():
            node.group.attrs[key] = _text(text)
    for domain, word in _PARTS.items():
        parts = [e for e in found if e.domain is domain and _is_meter(e)]
        if any(part.covered_s > 0 for part in parts):
            node.energy(parts, f"{word}_")


def _is_meter(energy: Energy) -> bool:
    """Return whether a meter says it, be it one that models as AMD's RAPL; an estimate is none."""
    return energy.origin is not Origin.ESTIMATED


def _sensors(machine: _Node, run: RecordedRun, found: dict[str, Energy]) -> None:
    groups: dict[str, _Node] = {}
    for channel in run.channels:
        device = _device(channel)
        if device not in groups:
            groups[device] = machine.child(device, _GROUP, {}, device)
        times_s, values, joules = _series(run, channel)
        if not times_s:
            continue
        texts = {
            "description": channel.description,
            "kind": channel.kind.value,
            "origin": channel.origin.value,
            "synthetic": channel.synthetic or "",
            "accuracy_pct": "" if channel.accuracy_pct is None else f"{channel.accuracy_pct:g}",
        }
        energy = found.get(channel.name)
        if energy is not None:
            texts |= _marks(energy)
        sensor = groups[device].child(channel.name, _SENSOR, texts, device)
        sensor.metric("runtime", times_s[-1], "s", "max")
        if energy is not None and energy.mean_w is not None:
            sensor.energy([energy])
        elif channel.unit is Unit.PERCENT:
            name = f"{device}_util" if device in {"cpu", "gpu"} else "other_util"
            sensor.metric(name, fmean(values), "%", "mean")
        raw = sensor.group.create_group("raw_data")
        unit = "W" if channel.kind is not Kind.QUANTITY else channel.unit.symbol
        for name, series, symbol in (
            ("timesteps", times_s, "s"),
            ("values", values, unit),
            ("alt_values", joules, "J"),
        ):
            if series:
                _describe(raw.create_dataset(name, data=series, dtype="float64"), symbol)


def _series(run: RecordedRun, channel: Channel) -> tuple[list[float], list[float], list[float]]:
    """Return the ends, values and joules of the rows that are known; a gap has no row."""
    names = channel.columns[:2]  # power and joules, or the one quantity
    columns = [run.columns[name] for name in ("read_s", *names)]
    known: list[list[float]] = [[] for _ in columns]
    for cells in zip(*columns, strict=True):
        if None in cells:
            continue
        for column, cell in zip(known, cells, strict=True):
            column.append(cell)
    return known[0], known[1], known[2] if len(known) > 2 else []


def _device(channel: Channel) -> str:
    if channel.domain is not None:
        return _DEVICES.get(channel.domain, "other")
    return "gpu" if channel.name.startswith("gpu") else "other"


def _marks(energy: Energy) -> dict[str, str]:
    return {
        "channel": energy.channel,
        "label": energy.label,
        "origin": energy.origin.value,
        "synthetic": energy.synthetic or "",
        "energy_u_j": "unknown" if energy.u_j is None else f"{energy.u_j:.6g}",
        "power_u_w": "unknown" if energy.u_mean_w is None else f"{energy.u_mean_w:.6g}",
        "coverage": f"{energy.coverage:.6g}",
    }


def _regions(node: _Node, run: RecordedRun) -> None:
    """Add the regions: starts and ends, and how long they take."""
    told = {region["name"]: region for region in regions(run)}
    spans: dict[str, list[tuple[float, float]]] = {}
    for name, _index, start_s, end_s, _tid in Marks(run):
        spans.setdefault(name, []).append((start_s, end_s))
    if not spans:
        return
    parent = node.group.create_group("regions")
    for name, pairs in spans.items():
        key = _free_name(parent, name)
        group = parent.create_group(key)
        group.attrs["id"] = key
        group.attrs["processed"] = True
        group.attrs["energy"] = _text(json.dumps(told.get(name, {}).get("energy")))
        _stats(group.create_group("N_RUNS"), "n_runs", [float(len(pairs))], "")
        lengths_s = [end_s - start_s for start_s, end_s in pairs]
        _stats(group.create_group("metrics/RUNTIME"), "runtime", lengths_s, "s")
        edges_s = [time_s for pair in sorted(pairs) for time_s in pair]
        group.create_group("raw_data").create_dataset("0", data=edges_s, dtype="float64")


def _stats(group: Any, name: str, values: list[float], unit: str) -> None:
    _describe(group, unit)
    group.attrs["type"] = name
    group.attrs["sum"] = sum(values)
    group.attrs["mean"] = fmean(values)
    group.attrs["std"] = pstdev(values)
    group.attrs["min"] = min(values)
    group.attrs["max"] = max(values)


def _describe(item: Any, unit: str) -> None:
    """Say what numbers these are; perun writes float32, whose times are coarse after a day."""
    item.attrs["unit"] = unit
    item.attrs["mag"] = 1.0
    item.attrs["dtype"] = "float64"
    item.attrs["valid_min"] = 0.0
    item.attrs["valid_max"] = 1e15
    item.attrs["fill"] = -1.0


def _text(text: str) -> str:
    """Return what an attribute can hold: Unicode, no NUL, not longer than HDF5 keeps."""
    data = text.replace("\x00", " ").encode("utf-8", "replace")
    if len(data) > _MOST_ATTRIBUTE:
        data = data[:_MOST_ATTRIBUTE] + b" (cut)"
    return data.decode("utf-8", "ignore")


def _free_name(parent: Any, name: str) -> str:
    """Return a name for a group: no path, not too long, and not taken."""
    wanted = _text(name).replace("/", "\u2215")[:_LONGEST]
    if not wanted.strip("."):  # nothing, or what stands for the group itself
        wanted = f"_{wanted}"
    found, number = wanted, 1
    while found in parent:
        number += 1
        found = f"{wanted} ({number})"
    return found
