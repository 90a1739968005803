"""Wall meters in the network: what the machine draws from the socket, only where they are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.errors import DeviceError
from pactmeter.model.finding import Finding
from pactmeter.sensors.base import Discovery

if TYPE_CHECKING:
    from pactmeter.model.meter import MeterAddress
    from pactmeter.sensors.base import Device, Request

NAME = "wall"


def discover(request: Request) -> Discovery:
    """Return the meters asked for; nothing is contacted where none is.

    Raises:
        ConfigError: A URL names no meter.
    """
    if not request.meters:
        return Discovery()
    # HTTP costs some 10 ms and 2 MB: only whoever has a meter pays for it
    from concurrent.futures import ThreadPoolExecutor

    from pactmeter.model.meter import parse_all
    from pactmeter.sensors.wall_meter import MeterDevice, connect

    def tried(address: MeterAddress) -> MeterDevice | DeviceError:
        try:
            return connect(address)
        except DeviceError as error:
            return error

    addresses = parse_all(request.meters)
    devices: list[Device] = []
    findings: list[Finding] = []
    problems: list[DeviceError] = []
    # at once: each that does not answer costs its whole time-out
    with ThreadPoolExecutor(len(addresses)) as pool:
        results = list(pool.map(tried, addresses))
    names: dict[str, str] = {}
    for address, result in zip(addresses, results, strict=True):
        name = f"wall.{address.name}"
        if isinstance(result, MeterDevice) and result.unit in names:
            result = DeviceError(
                f"{name} is the same meter as {names[result.unit]}: {result.name}",
                "name it once: its energy would count twice",
            )
        if isinstance(result, DeviceError):
            problems.append(result)
            findings.append(Finding(NAME, name, found=False, detail=result.message, fix=result.fix))
        else:
            devices.append(result)
            names[result.unit] = name
            detail = f"{result.name} at {address.place}"
            findings.append(Finding(NAME, name, found=True, detail=detail))
    return Discovery(tuple(devices), tuple(findings), tuple(problems))
