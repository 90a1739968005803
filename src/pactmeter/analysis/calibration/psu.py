"""The curve of a power supply from certified, published or metered points of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pactmeter.analysis.calibration.checks import numbers, same_length
from pactmeter.errors import ConfigError
from pactmeter.model.psu import MAX_LOAD, VALID_INPUT_V
from pactmeter.model.psu_curve_points import MainsCurve, PointsCurve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST_LOADS = 3
"""So many different loads a curve needs: what is lost always, in proportion, and as the square."""
MODEL_PCT = 3.0
"""Half-width (k=2) of a certificate for another unit of the model: manual and certificate of one
model differ by -0.5 to +2.1 % from 20 % load on, and one plug meter read 2.0 % less."""
_CUBIC = 0.4
"""Standard deviation of the cubic term over the loss at full load: the third divided differences
of 1,906 certificates are within twice that in 95.6 % (80 PLUS table: 10, 20, 50, 100 %)."""
_POINT_PCT = 0.1
"""Standard uncertainty of a point against its neighbours, in percent: certificates give efficiency
to a hundredth of a percent, of tests that repeat to about a tenth."""
_APART = 0.01
"""Loads nearer to each other than this share of the rated power are one load."""
_LEAST_EFFICIENCY = 0.1


class Point(NamedTuple):
    """One point of a supply: DC output and AC input in watts, input voltage in volts."""

    dc_w: float
    ac_w: float
    input_v: float


def certified(rated_w: float, efficiencies: Mapping[float, float], input_v: float) -> list[Point]:
    """Return the points of a certificate.

    >>> certified(500.0, {0.5: 0.9, 1.0: 0.87}, 115.0)[0].ac_w
    277.77777777777777

    Args:
        rated_w: Rated DC output, in watts.
        efficiencies: Efficiency by load, both as shares, such as ``{0.1: 0.84, 0.2: 0.88}``.
        input_v: Mains voltage of the test, in volts.

    Raises:
        ConfigError: An efficiency is not between 0.1 and 1.
    """
    for load, efficiency in efficiencies.items():
        if not _LEAST_EFFICIENCY < efficiency < 1:
            raise ConfigError(
                f"efficiency {efficiency:g} at load {load:g} is not between"
                f" {_LEAST_EFFICIENCY:g} and 1",
                "give both as shares: 0.9 for 90 %",
            )
    return [
        Point(load * rated_w, load * rated_w / efficiency, input_v)
        for load, efficiency in efficiencies.items()
    ]


def fit_supply(
    name: str,
    rated_w: float,
    points: Sequence[Point],
    *,
    source: str,
    accuracy_pct: float = MODEL_PCT,
) -> PointsCurve:
    """Fit the curve of a supply to points at one mains voltage or two.

    Args:
        name: The supply.
        rated_w: Rated DC output, in watts.
        points: Three different loads at least at each voltage; more, and lower ones, are better.
        source: Where they come from.
        accuracy_pct: Half-width (k=2) of the points for this very unit, in percent.

    Raises:
        ConfigError: The points are too few, or no points of a supply.
    """
    if not (math.isfinite(rated_w) and rated_w >= 1):
        raise ConfigError(f"{name}: a rated power of {rated_w:g} W")
    if not (math.isfinite(accuracy_pct) and 0 <= accuracy_pct <= 100):
        raise ConfigError(f"{name}: an accuracy of {accuracy_pct:g} %")
    volts = sorted({point.input_v for point in points})
    low_v, high_v = VALID_INPUT_V
    if len(volts) not in (1, 2) or not all(low_v <= volt <= high_v for volt in volts):
        raise ConfigError(
            f"{name}: needs points at one mains voltage or two, from {low_v:g} to {high_v:g} V",
            "leave points at other voltages out",
        )
    curves = []
    for volt in volts:
        here = [point for point in points if point.input_v == volt]
        try:
            curves.append(_fit(rated_w, here, volt))
        except ConfigError as error:
            raise ConfigError(f"{name} at {volt:g} V: {error.message}", error.fix) from error
    return PointsCurve(name, rated_w, source, accuracy_pct, tuple(curves))


def _fit(rated_w: float, points: Sequence[Point], input_v: float) -> MainsCurve:
    """Fit one curve: least squares of relative errors, the cubic term held near none.

    That is the posterior of a normal linear model with a normal prior on the one term, whose
    covariance holds what three points cannot tell.
    """
    load = numbers("DC output", [p.dc_w for p in points], least=LEAST_LOADS) / rated_w
    ac = numbers("AC input", [p.ac_w for p in points], least=LEAST_LOADS) / rated_w
    same_length(dc=load, ac=ac)
    order = np.sort(load)
    found = 1 + int((np.diff(order) > _APART).sum())
    if found < LEAST_LOADS:
        raise ConfigError(
            f"{found} different loads, at least {LEAST_LOADS} are needed",
            "give points at 20, 50 and 100 % load, and lower ones where there are any",
        )
    if order[0] <= 0 or order[-1] > MAX_LOAD:
        raise ConfigError(f"loads must be above 0 and at most {100 * MAX_LOAD:.0f} % of the rated")
    wrong = np.flatnonzero((load >= ac) | (load <= _LEAST_EFFICIENCY * ac))
    if len(wrong):
        at = wrong[0]
        raise ConfigError(
            f"{points[at].dc_w:g} W out of {points[at].ac_w:g} W is no efficiency of a supply"
        )
    top = int(load.argmax())
    loss = (ac[top] - load[top]) / load[top] ** 2  # at full load, losses growing as the square
    rows = np.vander(load, 4, increasing=True) / (_POINT_PCT / 100 * ac)[:, None]
    prior = np.array([[0.0, 0.0, 0.0, 1 / (_CUBIC * loss)]])
    design = np.vstack([rows, prior])
    wanted = np.append(np.full(len(ac), 100 / _POINT_PCT), 0.0)
    terms = np.linalg.lstsq(design, wanted)[0]
    if terms[0] < 0:  # a supply loses something at rest
        terms = np.append(0.0, np.linalg.lstsq(design[:, 1:], wanted)[0])
    covariance = np.linalg.inv(design.T @ design)
    return MainsCurve(
        input_v=float(input_v),
        terms=tuple(map(float, terms)),
        covariance=tuple(tuple(map(float, row)) for row in (covariance + covariance.T) / 2),
        from_pct=100 * float(load.min()),
        to_pct=100 * float(load.max()),
    )
