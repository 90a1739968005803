"""The battery's own discharge power: what the whole machine draws while it runs from it.

While the battery charges or stands full, its power says nothing about the machine's, so there is
no value then. The files are those of the kernel's power_supply class: ``power_now`` in microwatts,
or ``current_now`` in microamperes and ``voltage_now`` in microvolts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.errors import DeviceError, ReadError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.model.finding import Finding
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Discovery
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pactmeter.sensors.base import Reading, Request

NAME = "battery"


class BatteryDevice:
    """One battery of the machine."""

    def __init__(self, folder: Path, channel: Channel, *, has_power: bool) -> None:
        self._folder = folder
        self._channels = (channel,)
        self._has_power = has_power

    @property
    def name(self) -> str:
        """The channel's name and the kernel's, such as ``battery BAT0``."""
        return f"{self._channels[0].name} {self._folder.name}"

    @property
    def channels(self) -> Sequence[Channel]:
        """One channel of power."""
        return self._channels

    def open(self) -> None:
        """Check that the battery is there.

        Raises:
            DeviceError: It has gone.
        """
        if sysfs.read_text(self._folder / "status") is None:
            raise DeviceError(f"cannot read {self._folder / 'status'}: the battery is not there")

    def read(self) -> Reading:
        """Return the discharge power in watts; None while the battery does not discharge.

        Raises:
            ReadError: One of its files could not be read.
        """
        if self._text("status") != "Discharging":
            return (None,)
        # Some drivers give the current of a discharging battery as negative.
        if self._has_power:
            power_w = abs(self._number("power_now")) * 1e-6
        else:
            power_w = abs(self._number("current_now") * self._number("voltage_now")) * 1e-12
        # Firmware that has not yet noticed the unplugged adapter gives 0 W, which cannot be.
        return (power_w or None,)

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _text(self, name: str) -> str:
        text = sysfs.read_text(self._folder / name)
        if text is None:
            raise ReadError(f"cannot read {self._folder / name}")
        return text

    def _number(self, name: str) -> int:
        number = sysfs.read_int(self._folder / name)
        if number is None:
            raise ReadError(f"cannot read {self._folder / name}")
        return number


def discover(request: Request) -> Discovery:
    """Return one device for each battery that gives power, or current and voltage."""
    base = sysfs.root() / "class" / "power_supply"
    devices: list[BatteryDevice] = []
    findings: list[Finding] = []
    for folder in sorted(base.glob("*"), key=sysfs.natural_order):
        # Mice and headsets have batteries too; the kernel marks them with the scope "Device".
        is_battery = sysfs.read_text(folder / "type") == "Battery"
        if not is_battery or sysfs.read_text(folder / "scope") == "Device":
            continue
        has_power = (folder / "power_now").exists()
        if not has_power and not all(
            (folder / name).exists() for name in ("current_now", "voltage_now")
        ):
            detail = f"{folder} gives neither power_now nor current_now and voltage_now"
            findings.append(Finding("battery", folder.name, found=False, detail=detail))
            continue
        channel = _channel(f"battery{len(devices) or ''}", folder, has_power=has_power)
        devices.append(BatteryDevice(folder, channel, has_power=has_power))
        status = sysfs.read_text(folder / "status") or "unknown"
        detail = f"{folder}, status now {status}; gives values only while discharging"
        findings.append(Finding("battery", folder.name, found=True, detail=detail))
    if not findings:
        detail = f"no battery in {base}"
        findings.append(Finding("battery", "battery", found=False, detail=detail))
    return Discovery(tuple(devices), tuple(findings))


def _channel(name: str, folder: Path, *, has_power: bool) -> Channel:
    files = "power_now" if has_power else "current_now * voltage_now"
    return Channel(
        name,
        Unit.WATT,
        Kind.POWER,
        f"discharge power of {folder.name}, {files}",
        domain=Domain.BATTERY,
        resolution=1e-6,
        synthetic=sysfs.synthetic(folder),
    )
