"""A supply's AC input power over its DC output, from a few points of it, with an interval.

The curve is AC input as a polynomial of the load. Three terms are what the points say: what is
lost always, in proportion, and with the square of the current. The fourth, cubic one is what real
curves have beyond that; where three points cannot tell it, it is taken for none and its usual size
makes the interval. Fitted in `pactmeter.analysis.calibration.psu`, kept as JSON, evaluated here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pactmeter.errors import ConfigError, FileError
from pactmeter.model.calibration import fields_of, number, text
from pactmeter.model.psu import MAX_LOAD, VALID_INPUT_V

SCHEMA = 1
KIND = "pactmeter supply curve"
CONSTANT_EFFICIENCY = 0.92
"""What the original PACT divided any DC power by; for comparison only."""
LOW_LOAD_PCT = 10.0
"""No tier below Titanium certifies an efficiency below this load."""
LOW_LOAD_U_PCT = 10.0
"""Least half-width (k=2) there, unless the supply was metered there, in percent of the AC power."""
_MAINS_PCT = 3.0
"""Half-width (k=2) of taking the curve of another mains voltage, in percent of the AC power: the
published curves of twelve supplies at 115 V and 230 V differ by 0.1 to 3.7 %."""
_SAME_MAINS = 0.1
"""Voltages that differ by no more than this share have one curve."""
_TERMS = 4


@dataclass(frozen=True, slots=True)
class AcInput:
    """AC input power as a curve gives it.

    Attributes:
        ac_w: The power, in watts.
        u_w: Half-width (k=2) of its interval, in watts, without the error of the DC power.
        extrapolated: The load is outside the points of the curve.
    """

    ac_w: float
    u_w: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class MainsCurve:
    """The curve at one mains voltage, powers as shares of the rated one.

    Attributes:
        input_v: The voltage, in volts.
        terms: Factors of load to the power of 0, 1, 2 and 3.
        covariance: Of the terms, row by row.
        from_pct: Load of the lowest point, in percent of the rated power.
        to_pct: Load of the highest point.
    """

    input_v: float
    terms: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    from_pct: float
    to_pct: float

    def at(self, load_pct: float) -> tuple[float, float]:
        """Return AC input and its half-width (k=2), as shares of the rated power."""
        load = load_pct / 100
        powers = [load**power for power in range(_TERMS)]
        share = math.fsum(t * p for t, p in zip(self.terms, powers, strict=True))
        variance = math.fsum(
            p * q * c
            for p, row in zip(powers, self.covariance, strict=True)
            for q, c in zip(powers, row, strict=True)
        )
        return max(share, load), 2 * math.sqrt(max(0.0, variance))  # none gives more than it takes


@dataclass(frozen=True, slots=True)
class PointsCurve:
    """The curves of one supply, at one mains voltage or two.

    Attributes:
        name: The supply.
        rated_w: Its rated DC output, in watts.
        source: Where the points come from.
        accuracy_pct: Half-width (k=2) of the points themselves for this very unit, in percent: of
            the meter for its own points, of the model's spread for a certificate.
        curves: The curves, in order of their voltage.
    """

    name: str
    rated_w: float
    source: str
    accuracy_pct: float
    curves: tuple[MainsCurve, ...]

    def apply(self, dc_w: float, input_v: float | None = None) -> AcInput:
        """Return the AC input power.

        Between two voltages and beyond them it changes linearly. Where the voltage is not known the
        mean of the curves is taken and half their difference added to the interval.

        Args:
            dc_w: DC output power, in watts.
            input_v: Input voltage, in volts; None if it is not known.

        Raises:
            ConfigError: The power or the voltage is outside what the supply can have.
        """
        if not 0 <= dc_w <= MAX_LOAD * self.rated_w:
            raise ConfigError(
                f"{dc_w:g} W is no output of {self.name}, which is rated at {self.rated_w:g} W",
                "check which supply the curve is of",
            )
        low_v, high_v = VALID_INPUT_V
        if input_v is not None and not low_v <= input_v <= high_v:
            raise ConfigError(f"an input of {input_v:g} V is outside {low_v:g} to {high_v:g} V")
        load_pct = 100 * dc_w / self.rated_w
        first, last = self.curves[0], self.curves[-1]
        (low, u_low), (high, u_high) = first.at(load_pct), last.at(load_pct)
        mains = 0.0
        if first is last:
            share, u_share = low, u_low
            if input_v is None or abs(input_v / first.input_v - 1) > _SAME_MAINS:
                mains = _MAINS_PCT / 100 * share
        elif input_v is None:
            share, u_share, mains = (low + high) / 2, max(u_low, u_high), abs(high - low) / 2
        else:
            to_last = (input_v - first.input_v) / (last.input_v - first.input_v)
            share = max(load_pct / 100, low + to_last * (high - low))
            u_share = max(u_low, u_high)
        u_share = math.hypot(u_share, mains, self.accuracy_pct / 100 * share)
        from_pct = max(curve.from_pct for curve in self.curves)
        to_pct = min(curve.to_pct for curve in self.curves)
        tiny = 1e-9 * load_pct
        if load_pct + tiny < min(LOW_LOAD_PCT, from_pct):
            u_share = max(u_share, LOW_LOAD_U_PCT / 100 * share)
        return AcInput(
            ac_w=max(dc_w, share * self.rated_w),
            u_w=u_share * self.rated_w,
            extrapolated=not from_pct - tiny <= load_pct <= to_pct + tiny,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain data, for JSON."""
        return {"schema": SCHEMA, "kind": KIND, **asdict(self)}


def from_dict(data: object) -> PointsCurve:
    """Return the curve that `PointsCurve.to_dict` described.

    Raises:
        FileError: It is no curve, a newer one, or lacks or misstates something.
    """
    top = fields_of(data, KIND, SCHEMA, PointsCurve)
    try:
        found = PointsCurve(
            name=text(top["name"]),
            rated_w=number(top["rated_w"], signed=False),
            source=text(top["source"]),
            accuracy_pct=number(top["accuracy_pct"], signed=False),
            curves=tuple(_mains(each) for each in top["curves"]),
        )
    except (TypeError, ValueError) as error:
        raise FileError(f"not a supply curve: {error}") from error
    volts = [curve.input_v for curve in found.curves]
    if found.rated_w <= 0 or volts[:1] == [0]:
        raise FileError("not a supply curve: its figures contradict each other")
    if len(volts) not in (1, 2) or volts != sorted(set(volts)):
        raise FileError("not a supply curve: it needs one mains voltage, or two in order")
    return found


def _mains(data: object) -> MainsCurve:
    fields = fields_of(data, None, None, MainsCurve)
    terms, rows = fields["terms"], fields["covariance"]
    if not (
        isinstance(terms, list | tuple)
        and isinstance(rows, list | tuple)
        and all(isinstance(row, list | tuple) and len(row) == _TERMS for row in rows)
        and len(terms) == len(rows) == _TERMS
    ):
        raise ValueError(f"a curve has {_TERMS} terms and their covariance")
    found = MainsCurve(
        input_v=number(fields["input_v"], signed=False),
        terms=tuple(map(number, terms)),
        covariance=tuple(tuple(map(number, row)) for row in rows),
        from_pct=number(fields["from_pct"], signed=False),
        to_pct=number(fields["to_pct"], signed=False),
    )
    if min(found.covariance[i][i] for i in range(_TERMS)) < 0 or found.from_pct > found.to_pct:
        raise ValueError("its figures contradict each other")
    return found
