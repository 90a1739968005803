"""The sensors there are, and what they find on this machine.

A sensor of this package is one line in `BUILT_IN`; one of another package is an entry point of the
group ``pactmeter.sensors`` that loads to a `Sensor`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from pactmeter.errors import ConfigError, DeviceError
from pactmeter.model.channel import Origin
from pactmeter.model.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pactmeter.model.channel import Domain
    from pactmeter.sensors.base import Device, Discovery, Request, Sensor

BUILT_IN = (
    "pactmeter.sensors.psu",
    "pactmeter.sensors.wall",
    "pactmeter.sensors.rapl",
    "pactmeter.sensors.rapl_perf",
    "pactmeter.sensors.nvml",
    "pactmeter.sensors.hwmon",
    "pactmeter.sensors.battery",
    "pactmeter.sensors.cpu_estimate",
)
"""Modules of the sensors, in the order in which they look; each is told what was found before."""

ENTRY_POINTS = "pactmeter.sensors"


@dataclass(frozen=True, slots=True)
class Found:
    """What all sensors found.

    Attributes:
        devices: Ready to `open`; no two give a channel of the same name.
        findings: One for each thing looked for.
        problems: Devices asked for by name and not there; empty unless ``on_missing="warn"``.
    """

    devices: tuple[Device, ...] = ()
    findings: tuple[Finding, ...] = ()
    problems: tuple[DeviceError, ...] = ()


def discover_all(request: Request, *, on_missing: Literal["raise", "warn"]) -> Found:
    """Return what the sensors find, each told which domains those before it measure.

    Args:
        request: What the run asks for.
        on_missing: What happens when a device asked for by name is not there: ``raise``, or
            ``warn``: it is one of the result's `problems`.

    Raises:
        ConfigError: A name asked for is not known.
        DeviceError: A device asked for by name is not there, and ``on_missing="raise"``.
    """
    devices: list[Device] = []
    findings: list[Finding] = []
    problems: list[DeviceError] = []
    owners: dict[str, str] = {}
    measured: set[Domain] = set(request.measured)
    for label, load in _sensors():
        try:
            found = load().discover(replace(request, measured=frozenset(measured)))
            if found.problems and on_missing == "raise":
                raise found.problems[0]
            accepted, refused = _without_duplicates(found, owners)
        except ConfigError:
            raise
        except DeviceError as error:
            if on_missing == "raise":
                raise
            problems.append(error)
            continue
        except Exception as error:  # noqa: BLE001  a broken sensor must not cost a run the others
            detail = f"the sensor failed while looking: {type(error).__name__}: {error}"
            findings.append(Finding("sensor", label, found=False, detail=detail))
            continue
        devices += accepted
        findings += [*found.findings, *refused]
        problems += found.problems
        for device in accepted:
            owners.update((channel.name, device.name) for channel in device.channels)
            measured |= _domains(device)
    return Found(tuple(devices), tuple(findings), tuple(problems))


def _sensors() -> Iterator[tuple[str, Callable[[], Sensor]]]:
    """Give each sensor's name and how to load it; the last built-in, the estimate, comes last."""
    for name in BUILT_IN[:-1]:
        yield name, _importer(name)
    # In the order of their names, so that two runs on one machine see the same.
    for entry in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda item: item.name):
        yield f"{entry.name} ({entry.value})", entry.load
    for name in BUILT_IN[-1:]:
        yield name, _importer(name)


def _importer(name: str) -> Callable[[], Sensor]:
    def load() -> Sensor:
        sensor: Sensor = importlib.import_module(name)
        return sensor

    return load


def _without_duplicates(
    found: Discovery, owners: dict[str, str]
) -> tuple[list[Device], list[Finding]]:
    """Return the devices whose channels are all new, and a finding for each other one."""
    accepted: list[Device] = []
    refused: list[Finding] = []
    names = dict(owners)
    for device in found.devices:
        own = [channel.name for channel in device.channels]
        taken = next((name for name in own if name in names or own.count(name) > 1), None)
        if taken is None:
            names.update(dict.fromkeys(own, device.name))
            accepted.append(device)
            continue
        detail = f"left out: channel {taken!r} is given by {names.get(taken, device.name)} already"
        refused.append(Finding("sensor", device.name, found=False, detail=detail))
    return accepted, refused


def _domains(device: Device) -> set[Domain]:
    """Return the domains of which a device gives more than an estimate."""
    return {
        channel.domain
        for channel in device.channels
        if channel.domain is not None and channel.origin is not Origin.ESTIMATED
    }
