"""A wall meter as a device of the sampler.

Power is the main reading: it is renewed about once a second by every make. The energy counter would
miss nothing between two polls, but how often it is renewed is not told by the makers, and its step
is 1 Wh (3600 J) in some of them. It is recorded beside, without a domain, so that the two can be
compared and are never added up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.sensors.wall_http import START_S, TIMEOUT_S, MeterClient
from pactmeter.sensors.wall_makes import make_of
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.model.meter import MeterAddress
    from pactmeter.sensors.base import Reading
    from pactmeter.sensors.wall_makes import Identity, Make, Sample

_UPDATE_S = 1.0
"""Tasmota measures once a second; a Shelly does not tell, and is taken to be no faster."""


class MeterDevice:
    """One meter that has answered."""

    def __init__(
        self,
        make: Make,
        client: MeterClient,
        identity: Identity,
        channels: Sequence[Channel],
        clock: Callable[[], float],
    ) -> None:
        self._make, self._client, self._identity = make, client, identity
        self._clock = clock
        self._channels = tuple(channels)
        self._kinds = {channel.kind for channel in channels}
        self._why: str | None = None
        self._asked_s = -math.inf
        self._reading: Reading | None = None
        self._counted_j = 0.0
        self._total_j: float | None = None

    @property
    def name(self) -> str:
        """The make and what the device calls itself."""
        return self._identity.label

    @property
    def unit(self) -> str:
        """What no other outlet of any meter is called."""
        return self._identity.unit

    @property
    def channels(self) -> Sequence[Channel]:
        """AC power; then voltage and energy counter where it gives them."""
        return self._channels

    def open(self) -> None:
        """After a failure, see that it answers again and is the same unit.

        Raises:
            DeviceError: It does not answer, or another one does.
        """
        if self._why is None:
            return
        try:
            identity = self._make.identify(self._client)
        except ReadError as error:
            raise DeviceError(error.message, error.fix) from error
        if identity.unit != self._identity.unit:
            place = self._client.place
            raise DeviceError(f"{identity.label} answers at {place}, not {self.name}")
        self._why = None

    def read(self) -> Reading:
        """Return power in watts; then volts and joules where it gives them.

        Raises:
            CounterResetError: The energy counter went back.
            ReadError: No answer, or not such a one.
        """
        if self._why is not None:
            raise ReadError(self._why)
        if self._reading is not None and self._clock() - self._asked_s < self._make.least_s:
            return self._reading
        self._reading, self._asked_s = None, self._clock()
        try:
            sample = self._make.ask(self._client)
        except ReadError as error:
            self._why = error.message
            raise
        reading: list[float | None] = [sample.power_w]
        if Kind.QUANTITY in self._kinds:
            reading.append(sample.voltage_v)
        if Kind.ENERGY in self._kinds:
            reading.append(self._count(sample.total_j))
        self._reading = tuple(reading)
        return self._reading

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
        self._reading = None
        self._why = self._why or f"the connection to {self._client.place} is closed"

    def _count(self, total_j: float | None) -> float | None:
        """Return the joules counted since the first reading.

        Raises:
            CounterResetError: The counter went back.
        """
        if total_j is None:
            return None
        before_j, self._total_j = self._total_j, total_j
        if before_j is not None and total_j < before_j:
            raise CounterResetError(f"the energy counter of {self.name} went back")
        self._counted_j += total_j - (total_j if before_j is None else before_j)
        return self._counted_j


def connect(address: MeterAddress, clock: Callable[[], float] = now_s) -> MeterDevice:
    """Return the meter at an address, asked once.

    Raises:
        DeviceError: There is none, or it cannot be read; with cause and fix.
    """
    client, make = MeterClient(address, START_S), make_of(address)
    try:
        identity = make.identify(client)
        sample = make.ask(client)
        if sample.power_w == 0:
            raise ReadError(
                f"{identity.label} at {client.place} shows 0 W, and this machine is running",
                "plug the machine into this meter, or name the meter that it is plugged into",
            )
    except ReadError as error:
        raise DeviceError(f"wall.{address.name}: {error.message}", error.fix) from error
    finally:
        client.close()  # the first reading connects again
    client.timeout_s = TIMEOUT_S
    channels = _channels(address, make, identity, sample)
    return MeterDevice(make, client, identity, channels, clock)


def _channels(
    address: MeterAddress, make: Make, identity: Identity, sample: Sample
) -> list[Channel]:
    name, label = f"wall.{address.name}", identity.label
    synthetic = "emulated" if identity.is_emulated else None
    accuracy_pct, source = make.accuracy_pct, make.accuracy_source
    if address.accuracy_pct is not None:
        accuracy_pct, source = address.accuracy_pct, "stated by the user"
    found = [
        Channel(
            name,
            Unit.WATT,
            Kind.POWER,
            f"AC input power, metered by {label}, {make.field}",
            domain=Domain.AC,
            resolution=sample.power_step_w,
            update_period_s=_UPDATE_S,
            accuracy_pct=accuracy_pct,
            accuracy_source=source,
            synthetic=synthetic,
        )
    ]
    if sample.voltage_v is not None:
        found.append(
            Channel(
                f"{name}.input_v",
                Unit.VOLT,
                Kind.QUANTITY,
                "AC voltage, as the meter has it",
                synthetic=synthetic,
            )
        )
    if sample.total_j is not None:
        found.append(
            Channel(
                f"{name}.counter",
                Unit.JOULE,
                Kind.ENERGY,
                "the meter's own energy counter: the same energy once more",
                resolution=sample.total_step_j,
                accuracy_pct=accuracy_pct,
                accuracy_source=source,
                synthetic=synthetic,
            )
        )
    return found
