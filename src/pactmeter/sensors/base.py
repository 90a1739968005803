"""The contract between the sampler and a sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.errors import DeviceError
    from pactmeter.model.channel import Channel, Domain
    from pactmeter.model.finding import Finding

Reading = tuple[float | None, ...]
"""One value a channel, in the order of `Device.channels`; None: no value this time."""


class Device(Protocol):
    """One device, read by one thread of the sampler; nothing in it needs to be thread-safe.

    Life cycle: `open`, then `read` any number of times, then `close`. After a failed `read` the
    sampler calls `close` and `open` again from time to time, so both must be repeatable, and an
    energy channel must go on from its total (never backwards) after being reopened.
    """

    @property
    def name(self) -> str:
        """Name in messages and gaps, such as ``Corsair HX1500i``."""

    @property
    def channels(self) -> Sequence[Channel]:
        """What `read` returns, in this order; fixed from construction on."""

    def open(self) -> None:
        """Take hold of the device.

        Raises:
            DeviceError: It cannot be used; says why and, if known, the fix.
        """

    def read(self) -> Reading:
        """Return one reading of all channels, in SI units.

        Raises:
            CounterResetError: An energy counter started again; the next reading is good.
            ReadError: No reading this time.
        """

    def close(self) -> None:
        """Let go of the device. Never raises."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a run asks of the sensors.

    Attributes:
        psu: ``("auto",)`` for every supported PSU, ``()`` for none, else the names asked for.
        meters: URLs of the wall meters asked for; no other one is contacted.
        rails: Whether the PSU's rails are wanted as further channels.
        estimate_cpu: Whether `cpu.estimate` is wanted even where the CPU is measured.
        measured: Domains that sensors earlier in the registry have found.
    """

    psu: tuple[str, ...] = ("auto",)
    meters: tuple[str, ...] = ()
    rails: bool = False
    estimate_cpu: bool = False
    measured: frozenset[Domain] = frozenset()


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a sensor found.

    Attributes:
        devices: Ready to `open`.
        findings: One for each thing looked for.
        problems: Devices asked for by name that are not there, where others are.
    """

    devices: tuple[Device, ...] = ()
    findings: tuple[Finding, ...] = ()
    problems: tuple[DeviceError, ...] = ()


class Sensor(Protocol):
    """A sensor: a module (or object) with a name and a way to find its devices."""

    NAME: str

    def discover(self, request: Request) -> Discovery:
        """Return what is there, without waking, changing or writing to anything.

        Raises:
            DeviceError: A device asked for by name is not there or not readable.
            ConfigError: A name asked for is not known.
        """
