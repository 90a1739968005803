"""Power and energy that other chips report through hwmon: AMD GPUs, board meters, accelerators.

The files are those of the kernel's hwmon interface: ``power*_input`` and ``power*_average`` in
microwatts, ``energy*_input`` in microjoules. What a chip's figure covers is known for a few chips
only; elsewhere the channel carries no domain and enters no total.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.model.finding import Finding
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Discovery
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pactmeter.sensors.base import Device, Reading, Request

NAME = "hwmon"

_EXCLUDED = frozenset({"corsairpsu", "nvidia"})
"""Chips that another sensor reads."""

_ATTRIBUTE = re.compile(r"(power|energy)(\d+)_(average|input)$")

_PERIMETERS = (
    # chip, attribute, label: what it covers, after the kernel's documentation of each driver
    (re.compile(r"amdgpu power\d+ "), Domain.GPU),
    (re.compile(r"i915 energy1 "), Domain.GPU),
    (re.compile(r"xe energy\d+ card$"), Domain.GPU),
    (re.compile(r"amd_energy energy\d+ esocket\d+$"), Domain.PACKAGE),
    (re.compile(r"amd_energy energy\d+ ecore\d+$"), Domain.CORE),
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One file of a chip.

    Attributes:
        path: The file.
        stem: Its name without the last part, such as ``power1``.
        is_energy: Whether it counts microjoules (else it gives microwatts).
        label: What the driver calls it; empty where it does not say.
    """

    path: Path
    stem: str
    is_energy: bool
    label: str


class Gauge:
    """An attribute that is read again and again, in watts, or joules since it was first opened."""

    def __init__(self, attribute: Attribute) -> None:
        self.attribute = attribute
        self._file = sysfs.IntFile(attribute.path)
        self._last_uj: int | None = None
        self._total_uj = 0

    def open(self) -> None:
        """Open the file; a counter's first reading is its anchor. Raises `OSError`."""
        self._file.open()
        if self.attribute.is_energy and self._last_uj is None:
            # Where this fails, the first good reading is the anchor instead.
            with contextlib.suppress(ReadError):
                self.read()

    def read(self) -> float:
        """Return watts, or joules since first opened.

        Raises:
            CounterResetError: The counter fell; these counters have 64 bits and never wrap.
            ReadError: It could not be read, or gave a power that cannot be.
        """
        raw = self._file.read()
        if not self.attribute.is_energy:
            if raw < 0:
                raise ReadError(f"{self.attribute.path} gives a negative power, {raw} uW")
            return raw * 1e-6
        before, self._last_uj = self._last_uj, raw
        if before is not None:
            if raw < before:
                raise CounterResetError(f"{self.attribute.path} fell from {before} to {raw} uJ")
            self._total_uj += raw - before
        return self._total_uj * 1e-6

    def close(self) -> None:
        """Close the file; a counter's total stays."""
        self._file.close()


class HwmonDevice:
    """One chip."""

    def __init__(
        self, name: str, folder: Path, gauges: Sequence[Gauge], channels: Sequence[Channel]
    ) -> None:
        self._name = name
        self._folder = folder
        self._gauges = tuple(gauges)
        self._channels = tuple(channels)

    @property
    def name(self) -> str:
        """The chip's name, numbered where there are several."""
        return self._name

    @property
    def channels(self) -> Sequence[Channel]:
        """One channel a file."""
        return self._channels

    def open(self) -> None:
        """Open the chip's files.

        Raises:
            DeviceError: One of them cannot be opened.
        """
        try:
            for gauge in self._gauges:
                gauge.open()
        except OSError as error:
            self.close()
            raise DeviceError(f"cannot open hwmon chip {self._name}: {error}") from error

    def read(self) -> Reading:
        """Return watts and joules since opening; None for a file that cannot be read now.

        Raises:
            CounterResetError: An energy counter started again; the next reading is good.
            ReadError: Not one file could be read.
        """
        if is_asleep(self._folder):
            raise ReadError(f"hwmon chip {self._name} is suspended, it is not woken to be measured")
        values: list[float | None] = []
        reset: CounterResetError | None = None
        failure: ReadError | None = None
        for gauge in self._gauges:
            try:
                values.append(gauge.read())
            except CounterResetError as error:
                reset = error  # told only after the others have been read
                values.append(None)
            except ReadError as error:
                failure = error
                values.append(None)
        if reset is not None:
            raise reset
        if failure is not None and not any(value is not None for value in values):
            raise failure
        return tuple(values)

    def close(self) -> None:
        """Close the chip's files."""
        for gauge in self._gauges:
            gauge.close()


def is_asleep(folder: Path) -> bool:
    """Return whether the device behind a chip is in runtime suspend; reading would wake it."""
    return sysfs.read_text(folder / "device" / "power" / "runtime_status") == "suspended"


def discover(request: Request) -> Discovery:
    """Return one device for each chip with power or energy files."""
    base = sysfs.root() / "class" / "hwmon"
    devices: list[Device] = []
    findings: list[Finding] = []
    taken: set[str] = set()
    # Numbers of hwmon change between boots, the place of the hardware does not.
    folders = sorted(
        base.glob("hwmon*"),
        key=lambda path: (str(path.resolve().parent), sysfs.natural_order(path)),
    )
    for folder in folders:
        chip = sysfs.read_text(folder / "name") or ""
        attributes = _attributes(folder)
        # A battery's chip repeats what its power_supply folder says.
        is_battery = sysfs.read_text(folder / "device" / "type") == "Battery"
        if not attributes or is_battery or chip in _EXCLUDED:
            continue
        name = _unique(sanitised(chip) or "unnamed", taken, "")
        if is_asleep(folder):
            detail = f"{folder} is suspended, it is not woken to be measured"
            findings.append(Finding("hwmon", name, found=False, detail=detail))
            continue
        denied = [item.path for item in attributes if not _can_open(item.path)]
        if denied:
            detail = f"{len(denied)} files not readable, first {denied[0]}"
            fix = "run as root: the driver lets root alone read them"
            findings.append(Finding("hwmon", name, found=False, detail=detail, fix=fix))
        readable = [item for item in attributes if item.path not in denied]
        if not readable:
            continue
        device = _device(name, chip, folder, readable, request.measured)
        devices.append(device)
        detail = ", ".join(channel.name for channel in device.channels)
        findings.append(Finding("hwmon", name, found=True, detail=f"{detail} in {folder}"))
    if not findings:
        detail = f"no chip in {base} gives power or energy"
        findings.append(Finding("hwmon", "hwmon chips", found=False, detail=detail))
    return Discovery(tuple(devices), tuple(findings))


def sanitised(text: str) -> str:
    """Return a text as part of a channel's name.

    >>> sanitised("Esocket 0 (W)")
    'esocket_0_w'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _unique(name: str, taken: set[str], joint: str) -> str:
    """Return the name, or ``name`+ a number where it is taken, and take it."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}{joint}{number}"
    taken.add(candidate)
    return candidate


def _attributes(folder: Path) -> list[Attribute]:
    found: dict[str, Attribute] = {}
    # `average` comes before `input`: where a chip gives both for one quantity, the mean over the
    # chip's window is taken, since a mean cannot alias with the load.
    for path in sorted(folder.glob("*_*"), key=sysfs.natural_order):
        match = _ATTRIBUTE.match(path.name)
        if match is None or match[1] + match[2] in found:
            continue
        stem = match[1] + match[2]
        label = sysfs.read_text(folder / f"{stem}_label") or ""
        found[stem] = Attribute(path, stem, match[1] == "energy", label)
    return list(found.values())


def _can_open(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _device(
    name: str, chip: str, folder: Path, attributes: Iterable[Attribute], measured: frozenset[Domain]
) -> HwmonDevice:
    taken: set[str] = set()
    gauges, channels = [], []
    for item in attributes:
        label = _unique(sanitised(item.label) or item.stem, taken, "_")
        domain = _domain(chip, folder, item)
        if domain in measured and domain is not Domain.GPU:
            domain = None  # the sockets that RAPL counts already; another GPU is another device
        gauges.append(Gauge(item))
        channels.append(
            Channel(
                f"hwmon.{name}.{label}",
                Unit.JOULE if item.is_energy else Unit.WATT,
                Kind.ENERGY if item.is_energy else Kind.POWER,
                f"{item.label or item.stem} of chip {chip}, {item.path}",
                domain=domain,
                resolution=1e-6,
                synthetic=sysfs.synthetic(item.path),
            )
        )
    return HwmonDevice(f"hwmon {name}", folder, gauges, channels)


def _domain(chip: str, folder: Path, item: Attribute) -> Domain | None:
    if chip == "amdgpu" and sysfs.read_text(folder / "in1_label") == "vddnb":
        return None  # an APU (only these have the rail vddnb): its power includes the CPU
    described = f"{chip} {item.stem} {item.label.strip().lower()}"
    return next((domain for known, domain in _PERIMETERS if known.match(described)), None)
