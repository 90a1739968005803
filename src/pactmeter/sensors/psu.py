"""Power supplies with a USB port: Corsair HXi and RMi, NZXT E-series."""

from __future__ import annotations

from collections import Counter

from pactmeter.errors import DeviceError
from pactmeter.model import psu as models
from pactmeter.model.finding import Finding
from pactmeter.sensors.base import Discovery, Request
from pactmeter.sensors.psu_device import PsuDevice, check_usable
from pactmeter.sensors.psu_scan import WHERE, Found, scan

NAME = "psu"

_ALL = "auto"
_CABLE = "connect the PSU's USB cable to a USB header of the mainboard (`lsusb` must show it)"


def discover(request: Request) -> Discovery:
    """Return the supplies asked for, as devices ready to open.

    Raises:
        ConfigError: A name is no supported PSU.
        DeviceError: A PSU asked for by name is not there, or cannot be read.
    """
    if not request.psu:
        return Discovery()
    wanted = [models.match(name) for name in request.psu if name.casefold() != _ALL]
    present = scan()
    chosen = [_match(one, present) for one in wanted]
    for found in chosen:
        check_usable(found)
    unusable: list[Finding] = []
    if len(wanted) < len(request.psu):
        for found in present:
            if found in chosen:
                continue
            try:
                check_usable(found)
            except DeviceError as error:
                unusable.append(_finding(found, error))
            else:
                chosen.append(found)
    # The same unit may have been named twice; it must not be measured twice.
    chosen = list(dict.fromkeys(chosen))
    findings = [_finding(found) for found in chosen] + unusable
    return Discovery(_devices(chosen, request), tuple(findings or [_nothing()]))


def choose(name: str) -> Found:
    """Return the one unit that a name binds (``auto``: the only one there is).

    Raises:
        ConfigError: The name is no supported PSU.
        DeviceError: There is none, or the name fits several.
    """
    present = scan()
    if name.casefold() != _ALL:
        return _match(models.match(name), present)
    if not present:
        raise DeviceError(f"no supported PSU is there: looked in {WHERE}", fix=_CABLE)
    if len(present) > 1:
        names = " or ".join(dict.fromkeys(f"--psu {found.identity}" for found in present))
        raise DeviceError(f"{len(present)} supported PSUs are plugged in", fix=f"name one: {names}")
    return present[0]


def _match(wanted: models.Match, present: tuple[Found, ...]) -> Found:
    """Return the one unit that a name binds.

    Raises:
        DeviceError: There is none, or the name fits several.
    """
    model = wanted.model
    units = [found for found in present if found.model is model]
    if wanted.serial is not None:
        typed = wanted.serial.casefold()
        units = [found for found in units if found.serial.casefold() == typed]
    if len(units) == 1:
        return units[0]
    if units:
        names = " or ".join(f"PSU={found.identity!r}" for found in units if found.serial)
        raise DeviceError(
            f"{len(units)} units of {model.name} are plugged in, and the name fits them all",
            fix=f"name one by its serial: {names}" if names else "PSU='auto' takes all of them",
        )
    serial = f" with serial {wanted.serial!r}" if wanted.serial is not None else ""
    message = f"PSU {model.name} ({model.usb_id}){serial} is not there: looked in {WHERE}"
    if present:
        others = ", ".join(f"{found.model.name} (PSU={found.identity!r})" for found in present)
        raise DeviceError(message, fix=f"plugged in are: {others}")
    raise DeviceError(message, fix=_CABLE)


def _devices(chosen: list[Found], request: Request) -> tuple[PsuDevice, ...]:
    units = Counter(found.model.name for found in chosen)
    devices = []
    for index, found in enumerate(chosen):
        prefix = f"{NAME}{index or ''}"
        name = found.model.name
        if units[name] > 1:
            name = f"{name} ({found.serial or prefix})"
        devices.append(PsuDevice(found, prefix, name=name, rails=request.rails))
    return tuple(devices)


def _finding(found: Found, error: DeviceError | None = None) -> Finding:
    if error:
        return Finding(NAME, found.model.name, found=False, detail=error.message, fix=error.fix)
    way = f"{found.hwmon} (kernel driver corsair-psu)" if found.hwmon else f"{found.node}"
    serial = f", serial {found.serial}" if found.serial else ""
    return Finding(NAME, found.model.name, found=True, detail=f"{way}{serial}")


def _nothing() -> Finding:
    return Finding(
        NAME,
        "PSU with USB (Corsair HXi/RMi, NZXT E-series)",
        found=False,
        detail=f"no supported PSU in {WHERE}",
        fix=_CABLE,
    )
