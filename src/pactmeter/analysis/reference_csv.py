"""The file of any meter, as its own program wrote it: times on UTC and values in SI units.

Nothing is guessed that would change a figure: the columns are named, a local time needs its zone, a
time that happened twice is refused. What says plainly that there was no value is left out.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pactmeter.errors import ConfigError, FileError
from pactmeter.units import JOULES_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POWER_UNITS = {"W": 1.0, "mW": 1e-3, "kW": 1e3}
ENERGY_UNITS = {
    "J": 1.0,
    "kJ": 1e3,
    "mWh": JOULES_PER_KWH / 1e6,
    "Wh": JOULES_PER_KWH / 1e3,
    "kWh": JOULES_PER_KWH,
}
_DELIMITERS = (",", ";", "\t", "|")
_MOST_PREAMBLE = 200
"""So many lines about the instrument may come before the names of the columns."""
_NO_VALUE = frozenset(
    {"", "-", "--", "---", "nan", "null", "none", "n/a", "na", "unknown", "unavailable"}
)
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e8, 1.0))
"""From this on a plain number is an epoch in ns, us, ms, s: all of them after 1973."""
_BRACKETS = re.compile(r"[\[(]\s*(\w+)\s*[\])]\s*$")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a meter's file holds what, and how it is written.

    Attributes:
        time: Name of the column of times.
        value: Name of the column of power or energy.
        counts_energy: Whether that is an energy counter, else power.
        unit: Unit of the values; None: as in brackets in the column's name, else W for power.
        time_zone: Zone of times that name none: as ``Europe/Berlin``, ``UTC`` or ``+02:00``.
        time_format: How times are written, as for `strptime`; None: ISO 8601 or an epoch.
    """

    time: str
    value: str
    counts_energy: bool
    unit: str | None = None
    time_zone: str | None = None
    time_format: str | None = None

    @property
    def factor(self) -> float:
        """What makes watts or joules of a value.

        Raises:
            ConfigError: The unit is unknown, or that of an energy is not said.
        """
        units = ENERGY_UNITS if self.counts_energy else POWER_UNITS
        bracketed = _BRACKETS.search(self.value)
        unit = self.unit or (bracketed[1] if bracketed else None)
        if unit is None and self.counts_energy:
            raise ConfigError(
                f"the unit of {self.value!r} is not said", f"name one of: {', '.join(units)}"
            )
        if unit is not None and unit not in units:
            raise ConfigError(f"unknown unit {unit!r}", f"one of: {', '.join(units)}")
        return 1.0 if unit is None else units[unit]


@dataclass(frozen=True, slots=True)
class Row:
    """One reading.

    Attributes:
        line: Its line in the file.
        utc_s: Its time, in seconds since 1970-01-01 UTC.
        value: Watts or joules; None where the file says that there is none.
    """

    line: int
    utc_s: float
    value: float | None


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Give the readings of a meter's file, in its order.

    Raises:
        ConfigError: A column, unit or zone is not there.
        FileError: The file cannot be read, or a cell is neither a time nor a value.
    """
    factor, zone = columns.factor, _zone(columns.time_zone)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from _rows(path, _whole_lines(file), columns, factor, zone)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except csv.Error as error:
        raise FileError(f"{path} is no CSV: {error}", "save it as CSV in UTF-8") from error


def _whole_lines(file: Iterator[str]) -> Iterator[str]:
    """Give the lines; the last one only if it was written to its end."""
    return (line for line in file if line.endswith(("\n", "\r")))


def _rows(
    path: Path, lines: Iterator[str], columns: Columns, factor: float, zone: tzinfo | None
) -> Iterator[Row]:
    delimiter, skipped, places = _header(path, lines, columns)
    is_first = True
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), skipped + 1):
        if len(cells) <= max(places):
            continue  # a blank line, or one that was cut short
        told, text = (cells[place].strip() for place in places)
        is_units = is_first and not any(c.isdigit() for c in told + text)
        is_first = False
        if is_units:
            continue
        where = f"{path}, line {number}"
        utc_s = _utc_s(told, where, columns.time_format, zone)
        value = _value(text, where, delimiter)
        yield Row(number, utc_s, None if value is None else value * factor)


def _header(path: Path, lines: Iterator[str], columns: Columns) -> tuple[str, int, tuple[int, int]]:
    """Find the line with the names; return delimiter, its number and the places of both columns."""
    seen: list[str] = []
    for number, line in enumerate(lines, 1):
        for delimiter in _DELIMITERS:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
            if columns.time in cells and columns.value in cells:
                return delimiter, number, (cells.index(columns.time), cells.index(columns.value))
            seen = max(seen, cells, key=len)
        if number == _MOST_PREAMBLE:
            break
    if not seen:
        raise FileError(f"{path} is empty")
    missing = next((name for name in (columns.time, columns.value) if name not in seen), None)
    near = difflib.get_close_matches(missing or "", seen, n=1)
    names = ", ".join(repr(name) for name in seen[:20])
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"{path} has no column {missing!r}", f"{guess}it has: {names}")


def _value(text: str, where: str, delimiter: str) -> float | None:
    if text.casefold() in _NO_VALUE:
        return None
    if delimiter != "," and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text.replace("_", "?"))  # Python's own way of writing is none here
    except ValueError:
        raise FileError(
            f"{where}: {text!r} is no number", "check the column, and that units are no part of it"
        ) from None
    if math.isnan(value):
        return None
    if value < 0:
        raise FileError(f"{where}: {text} is negative", "check the column, or turn the clamp round")
    if value > 1e12:
        raise FileError(f"{where}: {text} cannot be", "check the column and its unit")
    return value


def _utc_s(text: str, where: str, time_format: str | None, zone: tzinfo | None) -> float:
    try:
        if time_format is None:
            try:
                return _epoch_s(float(text.replace("_", "?")), where)
            except ValueError:
                # instruments write 2026/11/21
                moment = datetime.fromisoformat(text.replace("/", "-"))
        else:
            moment = datetime.strptime(text, time_format)  # noqa: DTZ007  its zone follows
    except ValueError:
        raise FileError(
            f"{where}: {text!r} is not understood as a time",
            "ISO 8601 and epochs are; say how others are written, as %d.%m.%Y %H:%M:%S",
        ) from None
    if moment.tzinfo is None:
        if zone is None:
            raise ConfigError(
                f"{where}: {text!r} does not say its time zone",
                "name the meter's zone, as Europe/Berlin, UTC or +02:00",
            )
        moment = moment.replace(tzinfo=zone)
        if moment.utcoffset() != moment.replace(fold=1).utcoffset():
            raise FileError(
                f"{where}: {text!r} happened twice, or never, where clocks were changed",
                "let the meter write UTC",
            )
    return moment.timestamp()


def _epoch_s(number: float, where: str) -> float:
    for least, factor in _EPOCHS:
        if least <= number < 1e20:
            return number * factor
    raise FileError(
        f"{where}: {number:g} is no epoch in s, ms, us or ns", "check the column of times"
    )


def _zone(name: str | None) -> tzinfo | None:
    """Return a time zone.

    Raises:
        ConfigError: It is not known.
    """
    if name is None or name.upper() in {"UTC", "Z"}:
        return None if name is None else UTC
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", name)
    if offset:
        from datetime import timezone

        minutes = int(offset[2]) * 60 + int(offset[3])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"unknown time zone {name!r}", "write it as Europe/Berlin, UTC or +02:00"
        ) from None
