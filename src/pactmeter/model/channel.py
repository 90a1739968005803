"""A channel: one quantity of one device, with unit, origin and perimeter."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pactmeter.units import Unit

MACHINE_MODEL = "machine.model"
"""The channel of what a calibration, a curve or a model gives, where one is named."""
WALL_REFERENCE = "wall.reference"
"""The channel of a meter's own file, where one is named."""


class Kind(StrEnum):
    """How a channel's readings are to be understood."""

    POWER = "power"
    """Watts at (or averaged up to) the time of reading; PACT integrates them."""
    ENERGY = "energy"
    """Joules since the device was opened, never falling; PACT takes differences."""
    QUANTITY = "quantity"
    """Anything else (volts, degrees, percent, a second power reading): averaged, never summed."""


class Origin(StrEnum):
    """Where a figure comes from. An estimate is never shown as a measurement."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    MODELLED = "modelled"


class Domain(StrEnum):
    """The perimeter of an energy: what part of the machine it covers."""

    AC = "ac"
    DC = "dc"
    PACKAGE = "package"
    CORE = "core"
    UNCORE = "uncore"
    DRAM = "dram"
    PSYS = "psys"
    GPU = "gpu"
    BATTERY = "battery"
    MACHINE = "machine"


CPU_DOMAINS = frozenset({Domain.PACKAGE, Domain.PSYS})
"""Domains that, once measured, make an estimate of the CPU needless."""


def mark(origin: str, synthetic: str | None) -> str:
    """Return what stands behind a name whose figures are no measurement of hardware.

    >>> mark("estimated", "emulated"), mark("measured", None)
    (' (estimated, emulated)', '')
    """
    words = [word for word in (origin, synthetic) if word and word != Origin.MEASURED]
    return f" ({', '.join(words)})" if words else ""


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity of one device.

    Attributes:
        name: Name in every file and report, such as ``cpu.package0`` (DESIGN: interfaces).
        unit: Unit of the readings; watts for power, joules for energy.
        kind: How readings are to be understood.
        description: What it is, in one line, naming the register or file behind it.
        domain: What part of the machine it covers; None for quantities and unknown perimeters.
        origin: Measured, estimated or modelled.
        resolution: Smallest step of a reading, in the channel's unit; None if unknown.
        update_period_s: How often the sensor itself updates, where its maker says so.
        window_s: Over how long each reading is a mean, where that is known; shorter than the
            update period, the sensor does not see the rest.
        most_w: The most that the device can draw, in watts, where it says so.
        accuracy_pct: Half-width (k=2) of the sensor's own error, in percent of the reading;
            None where nobody knows.
        accuracy_source: Where `accuracy_pct` comes from.
        synthetic: None for real hardware, else ``emulated`` or ``replayed``.
    """

    name: str
    unit: Unit
    kind: Kind
    description: str
    domain: Domain | None = None
    origin: Origin = Origin.MEASURED
    resolution: float | None = None
    update_period_s: float | None = None
    window_s: float | None = None
    most_w: float | None = None
    accuracy_pct: float | None = None
    accuracy_source: str | None = None
    synthetic: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The channel's columns in ``PACT.csv``."""
        if self.kind is Kind.QUANTITY:
            suffix = f"_{self.unit.value}"
            return (self.name if self.name.endswith(suffix) else self.name + suffix,)
        return (f"{self.name}_w", f"{self.name}_j", f"{self.name}_n")

    def to_dict(self) -> dict[str, Any]:
        """Return the channel as plain data, for the manifest."""
        data = asdict(self)
        data["unit"] = self.unit.value
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Channel:
        """Return the channel that `to_dict` described; unknown keys are ignored."""
        known = {key: data[key] for key in cls.__dataclass_fields__ if key in data}
        known["unit"] = Unit(known["unit"])
        known["kind"] = Kind(known["kind"])
        known["origin"] = Origin(known.get("origin", Origin.MEASURED))
        if known.get("domain") is not None:
            known["domain"] = Domain(known["domain"])
        return cls(**known)
