"""A power supply as a device of the sampler: its channels, and which readings are believed."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pactmeter.errors import DeviceError, ReadError
from pactmeter.model import psu as models
from pactmeter.sensors import psu_hid
from pactmeter.sensors.psu_channels import channels_of
from pactmeter.sensors.psu_hwmon import HwmonReader
from pactmeter.sensors.psu_scan import WHERE, Found, find_again
from pactmeter.sensors.psu_usb import CorsairReader, NzxtReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.sensors.base import Reading

_log = logging.getLogger(__name__)

_SLOW_S = 1.0
"""How often voltage and temperature are asked for: each costs an exchange of its own."""

_NEAR_ZERO_W = 10.0
"""A load of more does not vanish between two polls: a zero that follows is the firmware's fault,
however long it lasts."""
_BEFORE_S = 10.0
"""What was read longer ago, as before a pause between calls, says nothing of a zero."""


class Reader(Protocol):
    """One way to a supply's registers; `ReadError` where a reading fails."""

    def total_w(self) -> float:
        """Return the total DC output power, in watts."""

    def rails_w(self) -> tuple[float, ...]:
        """Return the output power of each rail, in watts."""

    def input_v(self) -> float:
        """Return the input voltage, in volts."""

    def temp_c(self) -> float:
        """Return the temperature, in degrees Celsius."""

    def settle(self, turn: int) -> None:
        """Make sure that no earlier question is still to be answered; `turn` is another each time.

        Old answers look like new ones. But they come in order, so that those which are out are in
        once another question is answered.
        """

    def close(self) -> None:
        """Let go of the supply. Never raises."""


@dataclass(slots=True)
class _Slow:
    """A quantity that is read about once a second and held between."""

    low: float
    high: float
    value: float | None = None
    read_s: float = -math.inf


def check_usable(found: Found) -> None:
    """Make sure that a supply that is plugged in can be read, without opening it.

    Raises:
        DeviceError: It cannot; says why, and the fix.
    """
    model, node = found.model, found.node
    if found.hwmon:
        return
    if found.bound:
        raise DeviceError(
            f"{model.name} is held by the kernel driver corsair-psu, which offers no hwmon files, "
            "and asking it beside the driver would swap rails without an error",
            fix="sudo modprobe -r corsair-psu, then replug the PSU's USB cable",
        )
    if model.kernel_only:
        raise DeviceError(
            f"{model.name} is read through the kernel driver corsair-psu alone, which is not bound",
            fix="sudo modprobe corsair-psu",
        )
    if node is None or not node.exists():
        raise DeviceError(
            f"{model.name} is plugged in, but its device node {node or '/dev/hidrawN'} is missing",
            fix=f"in a container: start it with --device {node}" if node else None,
        )
    if not os.access(node, os.R_OK | os.W_OK):
        raise DeviceError(
            f"{model.name} is at {node}, which this user may not read and write",
            fix=_udev_fix(model),
        )
    psu_hid.require()


def _is_corsair(found: Found) -> bool:
    return found.model.protocol is models.Protocol.CORSAIR


def _udev_fix(model: models.PsuModel) -> str:
    return (
        f'sudo pactmeter setup, then sudo usermod -aG {models.GROUP} "$USER" and log in again'
        f" (it writes {models.UDEV_FILE} with {model.udev_rule})"
    )


class PsuDevice:
    """A power supply, read through hwmon or over USB, whichever it has when it is opened."""

    def __init__(
        self,
        found: Found,
        prefix: str,
        *,
        name: str | None = None,
        rails: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name or found.model.name
        self.channels = channels_of(found, prefix, rails=rails)
        self._found = found
        self._rails = rails
        self._clock = clock
        self._sleep = sleep
        self._reader: Reader | None = None
        self._slow = {"temp_c": _Slow(-50.0, 150.0)}
        if found.model.measures_input_v:
            # First, because the AC estimate of the very first poll needs it.
            self._slow = {"input_v": _Slow(0.0, 500.0), **self._slow}
        self._last_w = 0.0
        self._last_s = -math.inf
        self._turn = 0
        self._is_settled = True

    def open(self) -> None:
        """Find the supply again, under whatever number it has now, and connect.

        Raises:
            DeviceError: It is not there, or cannot be used.
        """
        self.close()
        found = find_again(self._found)
        if found is None:
            raise DeviceError(
                f"{self.name} ({self._found.identity}) is not plugged in: looked in {WHERE}",
                fix="check the PSU's USB cable",
            )
        check_usable(found)
        self._reader = self._connect(found)

    def read(self) -> Reading:
        """Return DC output, AC input, input voltage where measured, temperature, rails.

        Raises:
            ReadError: There is no believable DC output this time.
        """
        if self._reader is None:
            raise ReadError(f"{self.name} is not open")
        was_settled, self._is_settled = self._is_settled, False
        if not was_settled:
            self._turn += 1
            self._reader.settle(self._turn)
        total_w, rails_w = self._power(self._reader)
        self._is_settled = None not in rails_w  # an old answer could pass for another rail's
        if was_settled:  # else this poll has had its second exchange
            self._refresh(self._reader)
        held = {name: slow.value for name, slow in self._slow.items()}
        ac_w = models.ac_input_w(self._found.model, total_w, held.get("input_v"))
        return (total_w, ac_w, *held.values(), *rails_w)

    def close(self) -> None:
        """Let go of the supply. Never raises."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _connect(self, found: Found) -> Reader:
        if found.hwmon:
            return HwmonReader(found.hwmon)
        link = psu_hid.connect(found, clock=self._clock, sleep=self._sleep)
        return CorsairReader(link) if _is_corsair(found) else NzxtReader(link)

    def _power(self, reader: Reader) -> tuple[float, tuple[float | None, ...]]:
        if not _is_corsair(self._found):
            rails_w = reader.rails_w()
            for rail_w in rails_w:
                self._plausible(rail_w)
            total_w = self._plausible(sum(rails_w))
            if total_w == 0.0:
                # A fault of the firmware that is known: rails stuck at 0 A and 0 W.
                raise ReadError(f"{self.name} reads 0 W on every rail")
            return total_w, rails_w if self._rails else ()
        total_w = self._plausible(reader.total_w())
        self._believe_zero(reader, total_w)
        return total_w, self._corsair_rails(reader) if self._rails else ()

    def _plausible(self, power_w: float) -> float:
        limit_w = models.MAX_LOAD * self._found.model.rated_w
        # A comparison with NaN is false, so NaN is refused too.
        if 0.0 <= power_w <= limit_w:
            return power_w
        raise ReadError(
            f"{self.name} reads {power_w:g} W, which cannot be: it is rated "
            f"{self._found.model.rated_w:g} W"
        )

    def _believe_zero(self, reader: Reader, total_w: float) -> None:
        """Refuse a total of 0 W that the poll before or, at first, the rails contradict."""
        before_s, now_s = self._last_s, self._clock()
        if total_w == 0.0 and now_s - before_s > _BEFORE_S:
            rails_w = reader.rails_w()
            if any(rails_w):
                raise ReadError(f"{self.name} reads 0 W in total, but {max(rails_w):g} W on a rail")
            self._last_w = 0.0
        self._last_s = now_s
        if total_w == 0.0 and self._last_w > _NEAR_ZERO_W:
            raise ReadError(f"{self.name} reads 0 W, right after {self._last_w:g} W")
        self._last_w = total_w

    def _corsair_rails(self, reader: Reader) -> tuple[float | None, ...]:
        """Return the rails, or no value for each: the total is good without them."""
        try:
            return tuple(self._plausible(rail_w) for rail_w in reader.rails_w())
        except ReadError as error:
            _log.debug("%s: rails not read: %s", self.name, error)
            return (None, None, None)

    def _refresh(self, reader: Reader) -> None:
        """Read the quantity that has waited longest, if it has waited long enough.

        A failure costs that quantity its value, not the poll its power.
        """
        now_s = self._clock()
        name, slow = min(self._slow.items(), key=lambda item: item[1].read_s)
        if now_s - slow.read_s < _SLOW_S:
            return
        slow.read_s, slow.value = now_s, None
        try:
            value = reader.input_v() if name == "input_v" else reader.temp_c()
        except ReadError as error:
            _log.debug("%s: %s not read: %s", self.name, name, error)
            return
        if slow.low <= value <= slow.high:
            slow.value = value
