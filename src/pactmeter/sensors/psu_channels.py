"""The channels of a power supply: what each is, in which step it comes, how true it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.model.psu import DC_ACCURACY_PCT, Protocol
from pactmeter.sensors import psu_corsair, psu_nzxt
from pactmeter.units import Unit

if TYPE_CHECKING:
    from pactmeter.sensors.psu_scan import Found

_DC_SOURCE = "Type B: uncalibrated PSU"

# The fixed exponents of Corsair's registers: total and 12 V power in 2 W, the other rails in
# 0.5 W, input in 0.5 V, temperature in 0.25 degrees.
_TOTAL_STEP_W = 2.0
_RAIL_STEPS_W = (2.0, 0.5, 0.5)
_INPUT_STEP_V = 0.5
_TEMP_STEP_C = 0.25


def channels_of(found: Found, prefix: str, *, rails: bool) -> tuple[Channel, ...]:
    """Return the channels of a supply, in the order of its readings."""
    corsair = found.model.protocol is Protocol.CORSAIR
    made = [_dc_output(found, prefix, corsair=corsair), _ac_input(found, prefix)]
    if found.model.measures_input_v:
        made.append(
            Channel(
                f"{prefix}.input_v",
                Unit.VOLT,
                Kind.QUANTITY,
                "input voltage (register 88)",
                resolution=_INPUT_STEP_V,
                synthetic=found.synthetic,
            )
        )
    register = "8D, voltage regulator" if corsair else "8E"
    made.append(
        Channel(
            f"{prefix}.temp_c",
            Unit.CELSIUS,
            Kind.QUANTITY,
            f"temperature of the PSU (register {register})",
            resolution=_TEMP_STEP_C if corsair else None,
            synthetic=found.synthetic,
        )
    )
    return (*made, *(_rails(found, prefix, corsair=corsair) if rails else ()))


def _dc_output(found: Found, prefix: str, *, corsair: bool) -> Channel:
    register = "register EE" if corsair else "sum of register 96 over its five rails"
    return Channel(
        f"{prefix}.dc_output",
        Unit.WATT,
        Kind.POWER,
        f"total DC output power of {found.model.name} ({register})",
        domain=Domain.DC,
        resolution=_TOTAL_STEP_W if corsair else None,
        accuracy_pct=DC_ACCURACY_PCT,
        accuracy_source=_DC_SOURCE,
        synthetic=found.synthetic,
    )


def _ac_input(found: Found, prefix: str) -> Channel:
    curve = found.model.efficiency
    at = "the input voltage" if found.model.measures_input_v else "an unknown input voltage"
    return Channel(
        f"{prefix}.ac_input",
        Unit.WATT,
        Kind.POWER,
        f"AC input power of {found.model.name}, estimated from its DC output by {curve.source} "
        f"at {at}; doubtful below 10 % load",
        domain=Domain.AC,
        origin=Origin.ESTIMATED,
        # Independent of each other: the sensor of the unit, and the curve of the model.
        accuracy_pct=round(math.hypot(DC_ACCURACY_PCT, curve.accuracy_pct), 1),
        accuracy_source=f"{_DC_SOURCE}, combined with {curve.accuracy_pct:g} % for the curve",
        synthetic=found.synthetic,
    )


def _rails(found: Found, prefix: str, *, corsair: bool) -> list[Channel]:
    names = psu_corsair.RAILS if corsair else psu_nzxt.RAILS
    steps_w = _RAIL_STEPS_W if corsair else (None,) * len(names)
    return [
        Channel(
            f"{prefix}.rail.{name}",
            Unit.WATT,
            Kind.POWER,
            f"DC output power of the rail {name} (register 96, page {page}); part of the total",
            resolution=step_w,
            accuracy_pct=DC_ACCURACY_PCT,
            accuracy_source=_DC_SOURCE,
            synthetic=found.synthetic,
        )
        for page, (name, step_w) in enumerate(zip(names, steps_w, strict=True))
    ]
