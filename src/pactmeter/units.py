"""Units and constants. Inside, values are plain SI floats; a channel names its unit once."""

from __future__ import annotations

from enum import Enum

JOULES_PER_KWH = 3_600_000.0
"""Exactly: 1 kWh = 1000 W * 3600 s."""


class Unit(Enum):
    """A unit of a channel; the value is the suffix of its columns."""

    WATT = "w"
    JOULE = "j"
    VOLT = "v"
    AMPERE = "a"
    CELSIUS = "c"
    PERCENT = "pct"
    HERTZ = "hz"

    @property
    def symbol(self) -> str:
        """The unit as printed, such as ``W`` or ``°C``."""
        return _SYMBOLS[self]


_SYMBOLS = {
    Unit.WATT: "W",
    Unit.JOULE: "J",
    Unit.VOLT: "V",
    Unit.AMPERE: "A",
    Unit.CELSIUS: "°C",
    Unit.PERCENT: "%",
    Unit.HERTZ: "Hz",
}
