"""A calibration: what a reference meter would have told where a source tells a power.

Fitted in `pactmeter.analysis.calibration`, kept as JSON, evaluated here with no more than the
standard library. It belongs to one source of one host, and is used only where it is named.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pactmeter.errors import ConfigError, FileError

SCHEMA = 1
KIND = "pactmeter calibration"
MOST_DAYS = 365
"""A calibration is good for a year at most (measurement check Q13)."""

_AGAIN = "measure again beside the meter: pactmeter validate"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A power as the reference would have told it.

    Attributes:
        power_w: The power, in watts.
        low_w: Lower end of its 95 % interval, in watts.
        high_w: Upper end, in watts.
        extrapolated: The source's power is outside what the line was fitted to.
    """

    power_w: float
    low_w: float
    high_w: float
    extrapolated: bool

    @property
    def u_w(self) -> float:
        """The larger half of the interval (k=2), in watts."""
        return max(self.power_w - self.low_w, self.high_w - self.power_w)


@dataclass(frozen=True, slots=True)
class Line:
    """``reference = offset + gain * source``, for mean powers.

    Attributes:
        terms: Offset in watts, and gain: watts of the reference for each watt of the source.
        covariance: Of the two: variance of the offset, what both share, variance of the gain
            (k=1, such that twice the root is the half-width of a 95 % interval).
        low_pct: Lower end of the prediction interval, in percent of the power predicted.
        high_pct: Upper end.
        scatter_pct: Root mean square of what groups that were left out miss, in percent.
        from_w: Smallest power of the source that the line was fitted to, in watts.
        to_w: Largest.
        runs: Number of runs.
        groups: Number of groups.
    """

    terms: tuple[float, float]
    covariance: tuple[float, float, float]
    low_pct: float
    high_pct: float
    scatter_pct: float
    from_w: float
    to_w: float
    runs: int
    groups: int

    @property
    def offset_w(self) -> float:
        """Power of the reference where the source would tell none, in watts."""
        return self.terms[0]

    @property
    def gain(self) -> float:
        """Watts of the reference for each watt of the source."""
        return self.terms[1]

    @property
    def u_offset_w(self) -> float:
        """Half-width of the 95 % interval of the offset, in watts."""
        return 2 * math.sqrt(self.covariance[0])

    @property
    def u_gain(self) -> float:
        """Half-width of the 95 % interval of the gain."""
        return 2 * math.sqrt(self.covariance[2])

    def apply(self, source_w: float, accuracy_pct: float = 0.0) -> Calibrated:
        """Return what the reference would have told where the source tells a power.

        To the interval of a run that the line has not seen come, in quadrature, what the gain's
        uncertainty adds away from the middle of the fit, and the reference's own.

        Args:
            source_w: Mean power after the source, in watts.
            accuracy_pct: Half-width (k=2) of the reference's own error, in percent.

        Raises:
            ConfigError: The power is no number or negative.
        """
        if not (math.isfinite(source_w) and source_w >= 0):
            raise ConfigError(f"no power to calibrate: {source_w} W")
        _, both, gain2 = self.covariance
        power_w = self.offset_w + self.gain * source_w
        # runs left out have shown what the line errs by in the middle of its range
        away_w = source_w + both / gain2 if gain2 > 0 else 0.0
        line_w = 2 * math.sqrt(gain2) * abs(away_w)
        more_w = math.hypot(line_w, accuracy_pct / 100 * power_w)
        low_w = power_w - math.hypot(self.low_pct / 100 * power_w, more_w)
        return Calibrated(
            power_w=max(0.0, power_w),
            low_w=max(0.0, low_w),
            high_w=max(0.0, power_w + math.hypot(self.high_pct / 100 * power_w, more_w)),
            extrapolated=not self.from_w <= source_w <= self.to_w,
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """A line, and what it holds for.

    Attributes:
        line: The line.
        host: Name of the host that was calibrated.
        source: The channel that was calibrated, such as ``psu.dc_output``.
        reference: The meter, as a user would name it.
        accuracy_pct: Half-width (k=2) of the meter's own error, in percent (accuracy class).
        made: The day it was made.
        expires: The last day that it is good for.
    """

    line: Line
    host: str
    source: str
    reference: str
    accuracy_pct: float
    made: date
    expires: date

    def apply(self, source_w: float) -> Calibrated:
        """Return what the meter would have told where the source tells a power in watts.

        The interval holds the scatter of runs, the line's uncertainty and the meter's accuracy.
        """
        return self.line.apply(source_w, self.accuracy_pct)

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain data, for JSON."""
        data = {**asdict(self), "made": self.made.isoformat(), "expires": self.expires.isoformat()}
        return {"schema": SCHEMA, "kind": KIND, **data}


def from_dict(data: object) -> Calibration:
    """Return the calibration that `Calibration.to_dict` described.

    Raises:
        FileError: It is no calibration, a newer one, or lacks or misstates something.
    """
    top = fields_of(data, KIND, SCHEMA, Calibration)
    inner = fields_of(top["line"], None, None, Line)
    try:
        line = Line(
            terms=_numbers(inner["terms"], 2),
            covariance=_numbers(inner["covariance"], 3),
            low_pct=number(inner["low_pct"]),
            high_pct=number(inner["high_pct"]),
            scatter_pct=number(inner["scatter_pct"], signed=False),
            from_w=number(inner["from_w"], signed=False),
            to_w=number(inner["to_w"], signed=False),
            runs=_count(inner["runs"]),
            groups=_count(inner["groups"]),
        )
        found = Calibration(
            line=line,
            host=text(top["host"]),
            source=text(top["source"]),
            reference=text(top["reference"]),
            accuracy_pct=number(top["accuracy_pct"], signed=False),
            made=date.fromisoformat(text(top["made"])),
            expires=date.fromisoformat(text(top["expires"])),
        )
    except (TypeError, ValueError) as error:
        raise FileError(f"not a calibration: {error}", _AGAIN) from error
    offset2, both, gain2 = line.covariance
    # what no fit gives: a line that falls, ends the wrong way round, variances below zero
    if (
        line.gain <= 0
        or line.low_pct > 0
        or line.high_pct < 0
        or line.from_w > line.to_w
        or min(offset2, gain2) < 0
        or both**2 > offset2 * gain2 * (1 + 1e-6)
        or not 0 <= (found.expires - found.made).days <= MOST_DAYS
    ):
        raise FileError("not a calibration: its figures contradict each other", _AGAIN)
    return found


def fields_of(data: object, kind: str | None, schema: int | None, of: type[Any]) -> dict[str, Any]:
    """Return the fields of a kept object: all that its class has, and no others.

    Args:
        data: What was read.
        kind: What the object must say that it is; None: nothing.
        schema: The newest schema that is understood; None: it has none.
        of: The dataclass.

    Raises:
        FileError: It is something else, newer, or has other fields.
    """
    what = kind or f"{of.__name__.lower()}"
    if not isinstance(data, dict) or data.get("kind") != kind:
        raise FileError(f"not a {what}")
    if schema is not None:
        found = data.get("schema")
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise FileError(f"not a {what}: its schema is {found!r}")
        if found > schema:
            raise FileError(
                f"the {what} was written by a newer PACT (schema {found})", "upgrade pactmeter"
            )
    own = {key: value for key, value in data.items() if key not in {"schema", "kind"}}
    wanted = set(of.__dataclass_fields__)
    for wrong, text in ((wanted - set(own), "lacks"), (set(own) - wanted, "has unknown")):
        if wrong:
            raise FileError(f"the {what} {text} {', '.join(sorted(map(str, wrong)))}")
    return own


def number(value: object, *, signed: bool = True) -> float:
    """Return a finite number as read from JSON.

    Raises:
        TypeError: It is none.
        ValueError: It is infinite, or below zero and may not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not (math.isfinite(found) and (signed or found >= 0)):
        raise ValueError(f"{value!r} is no possible value")
    return found


def _numbers(value: object, count: int) -> Any:
    if not isinstance(value, list | tuple) or len(value) != count:
        raise ValueError(f"{value!r} are not {count} numbers")
    return tuple(map(number, value))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is no count")
    return value


def text(value: object) -> str:
    """Return a text that is not empty, as read from JSON.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value
