"""Finding and connecting a supply through liquidctl; the only file that knows liquidctl.

liquidctl (GPL-3.0-or-later) is optional. Of its drivers only discovery and connection are used:
`initialize` would change over-current protection and fan mode, `get_status` takes 23 exchanges
and waits 5 s for a lost reply.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
import types
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pactmeter.errors import DeviceError
from pactmeter.model.psu import Protocol
from pactmeter.sensors.psu_link import TRANSPORT_ERRORS, Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.sensors.psu_link import Handle
    from pactmeter.sensors.psu_scan import Found

_REPORT_BYTES = 64


def require() -> None:
    """Make sure that liquidctl and hidapi can be imported.

    Raises:
        DeviceError: They cannot.
    """
    _drivers()


def connect(
    found: Found,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    wrap: Callable[[Handle], Handle] = lambda handle: handle,
) -> Link:
    """Connect to a supply.

    Args:
        found: The supply.
        clock: What times replies.
        sleep: What waits for the lock.
        wrap: What stands between the exchange loop and the device, if anything does.

    Raises:
        DeviceError: liquidctl does not list it, or it cannot be opened.
    """
    node = found.node
    if node is None:
        raise DeviceError(f"{found.model.name} has no hidraw node")
    drivers, timeout = _drivers()
    try:
        listed = drivers[found.model.protocol].find_supported_devices()
        driver = next((one for one in listed if one.address == str(node)), None)
        if driver is None:
            raise DeviceError(
                f"liquidctl does not list {found.model.name} at {node}",
                fix="pip install 'liquidctl>=1.16'",
            )
        driver.connect()
    except TRANSPORT_ERRORS as error:
        raise DeviceError(f"cannot connect to {found.model.name} at {node}: {error}") from error
    handle = wrap(_Handle(driver, timeout))
    try:
        return Link(handle, node, clock=clock, sleep=sleep)
    except OSError as error:
        with suppress(*TRANSPORT_ERRORS):
            handle.close()
        raise DeviceError(f"cannot open {node}: {error.strerror}") from error


def _drivers() -> tuple[dict[Protocol, Any], type[Exception]]:
    """Return liquidctl's driver of each protocol, and the exception of a read that timed out."""
    # Its warnings go to stderr where no handler is set, and what they say does not concern us.
    logging.getLogger("liquidctl").setLevel(logging.CRITICAL + 1)
    if "smbus" not in sys.modules and importlib.util.find_spec("smbus") is None:
        # liquidctl imports it for the lights of mainboards. It has to be compiled; PSUs do without.
        stand_in = sys.modules["smbus"] = types.ModuleType("smbus")
        stand_in.__dict__["SMBus"] = None
    try:
        # Without this module liquidctl falls back to hidapi's libusb flavour, which detaches the
        # kernel driver: hidraw node and hwmon would vanish for everybody.
        import hidraw  # noqa: F401
        from liquidctl.driver.corsair_hid_psu import CorsairHidPsu
        from liquidctl.driver.nzxt_epsu import NzxtEPsu
        from liquidctl.error import Timeout
    except ImportError as error:
        raise DeviceError(
            f"reading a PSU over USB needs liquidctl and hidapi: {error}",
            fix="pip install 'pactmeter[psu]' (without a compiler: see requirements-psu.txt)",
        ) from error
    return {Protocol.CORSAIR: CorsairHidPsu, Protocol.NZXT: NzxtEPsu}, Timeout


class _Handle:
    """A connected liquidctl driver's device, with a time-out that is no exception."""

    def __init__(self, driver: Any, timeout: type[Exception]) -> None:
        self._driver = driver
        self._timeout = timeout

    def write(self, report: bytes) -> None:
        self._driver.device.write(report)

    def read(self, timeout_s: float) -> bytes:
        # Rounded up: 0 ms would mean "one", and None "for ever".
        timeout_ms = math.ceil(timeout_s * 1e3)
        try:
            return bytes(self._driver.device.read(_REPORT_BYTES, timeout=timeout_ms))
        except self._timeout:
            return b""

    def drain(self) -> None:
        self._driver.device.clear_enqueued_reports()

    def close(self) -> None:
        self._driver.disconnect()
