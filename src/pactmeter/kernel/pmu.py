"""The kernel's table of performance monitoring units: ``/sys/bus/event_source/devices``.

The root of sysfs is ``$PACTMETER_SYSFS`` where that is set: counters and sensors must see the same
tree, and neither may import the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONFIGS = ("config", "config1", "config2")


class TermError(ValueError):
    """A term of an event does not fit the PMU's format."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What an event's terms come to."""

    config: int = 0
    config1: int = 0
    config2: int = 0


class Pmu:
    """One PMU; its files are read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    @property
    def type(self) -> int:
        """The PMU's number in ``perf_event_attr.type``; raises OSError or ValueError."""
        return int(_text(self.path / "type"))

    @property
    def events(self) -> list[str]:
        """Names of the events, sorted; none for a PMU that names none."""
        try:
            return sorted(f.name for f in (self.path / "events").iterdir() if "." not in f.name)
        except OSError:
            return []

    @property
    def cpumask(self) -> tuple[int, ...] | None:
        """The CPUs to open on, where the PMU counts for more than its own CPU; else None."""
        return _cpu_file(self.path / "cpumask")

    @property
    def cpus(self) -> tuple[int, ...] | None:
        """The CPUs a core PMU of a hybrid machine belongs to; None elsewhere."""
        return _cpu_file(self.path / "cpus")

    def scale(self, event: str) -> float | None:
        """Return what one count is worth in `unit`, where the kernel says so."""
        try:
            return float(_text(self.path / "events" / f"{event}.scale"))
        except (OSError, ValueError):
            return None

    def unit(self, event: str) -> str | None:
        """Return the unit of `scale`, such as ``Joules``."""
        try:
            return _text(self.path / "events" / f"{event}.unit")
        except OSError:
            return None

    def encode(self, terms: str) -> Encoding:
        """Return the configuration of comma-separated terms: events, fields and ``config=``.

        Raises:
            TermError: A term is not known here, has no value or one that is too large.
        """
        configs = dict.fromkeys(_CONFIGS, 0)
        for key, value in self._assignments(terms):
            if key in configs:
                configs[key] |= _spread(key, value, range(64))
            else:
                name, bits = self._field(key)
                configs[name] |= _spread(key, value, bits)
        return Encoding(**configs)

    def _assignments(self, terms: str, *, depth: int = 0) -> list[tuple[str, int]]:
        found = []
        for term in terms.split(","):
            key, equals, value = (part.strip() for part in term.partition("="))
            event = self.path / "events" / key
            if not key or "/" in key:
                raise TermError(f"{term!r} is not a term")
            if not equals and depth == 0 and "." not in key and event.is_file():
                found += self._assignments(_text(event), depth=1)
                continue
            try:
                found.append((key, int(value, 0) if equals else 1))
            except ValueError:
                raise TermError(f"{key!r} needs a number, not {value!r}") from None
        return found

    def _field(self, key: str) -> tuple[str, list[int]]:
        """Return where a field's bits go, lowest first, from a file such as ``config:0-7,32``."""
        try:
            name, _, ranges = _text(self.path / "format" / key).partition(":")
            bits = list(cpu_list(ranges))
        except (OSError, ValueError):
            raise TermError(f"{self.name} has no event or field {key!r}") from None
        if name not in _CONFIGS:
            raise TermError(f"field {key!r} lies in {name}, which is not supported")
        return name, bits


def pmus() -> list[Pmu]:
    """Return the PMUs of this machine, by name; none where sysfs does not show them."""
    try:
        return [Pmu(path) for path in sorted((sysfs_root() / "bus/event_source/devices").iterdir())]
    except OSError:
        return []


def find(name: str) -> Pmu | None:
    """Return the PMU of that name (any case where no other differs only in case), or None."""
    every = pmus()
    exact = [pmu for pmu in every if pmu.name == name]
    folded = [pmu for pmu in every if pmu.name.casefold() == name.casefold()]
    match = exact or folded
    return match[0] if len(match) == 1 else None


def online_cpus() -> tuple[int, ...]:
    """Return the ids of the CPUs that are online; they need not be 0 to n-1."""
    try:
        return cpu_list(_text(sysfs_root() / "devices/system/cpu/online"))
    except OSError:  # sysfs hidden: those this process may run on
        return tuple(sorted(os.sched_getaffinity(0)))


def cpu_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a kernel list.

    >>> cpu_list("0-2,8")
    (0, 1, 2, 8)
    """
    numbers: list[int] = []
    for part in text.split(","):
        if part.strip():
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def sysfs_root() -> Path:
    """Return the root of sysfs."""
    return Path(os.environ.get("PACTMETER_SYSFS") or "/sys")


def _spread(key: str, value: int, bits: Sequence[int]) -> int:
    if value < 0 or value >> len(bits):
        raise TermError(f"{key}={value:#x} does not fit its {len(bits)} bits")
    return sum(1 << bit for index, bit in enumerate(bits) if value >> index & 1)


def _cpu_file(path: Path) -> tuple[int, ...] | None:
    try:
        return cpu_list(_text(path))
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()
