"""What was looked for on this machine, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One source that was looked for.

    Attributes:
        source: Kind of source: ``psu``, ``cpu``, ``gpu``, ``hwmon``, ``battery``, ``perf``.
        name: What was looked for, such as ``RAPL (powercap)`` or ``Corsair HX1500i``.
        found: Whether it can be read.
        detail: What was found, or why it was not (where it was looked for).
        fix: The exact thing to do about it; None where nothing on this host helps.
    """

    source: str
    name: str
    found: bool
    detail: str
    fix: str | None = None

    def to_dict(self) -> dict[str, str | bool | None]:
        """Return the finding as plain data, for the manifest and `doctor --json`."""
        return asdict(self)
