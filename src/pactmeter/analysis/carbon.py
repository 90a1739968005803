"""From joules to kWh and gCO2e: only with a region or an intensity that the user names."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.data import open_table
from pactmeter.errors import ConfigError, unknown_name
from pactmeter.units import JOULES_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTRIES = "carbon_intensity_by_country.csv"
REGIONS = "carbon_intensity_regions.csv"
_MOST_PUE = 100.0


@dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon intensity of electricity.

    Attributes:
        g_per_kwh: Grams of CO2e per kWh.
        region: Where.
        year: When; None if the user gave the figure.
        source: Who says so.
    """

    g_per_kwh: float
    region: str
    year: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Footprint:
    """Energy in kWh and, with an intensity, its carbon.

    Attributes:
        kwh: Energy of the run times PUE, in kWh.
        pue: Power usage effectiveness applied.
        carbon_g: Grams of CO2e; None without an intensity.
        intensity: The intensity applied.
    """

    kwh: float
    pue: float
    carbon_g: float | None
    intensity: Intensity | None


def footprint(
    energy_j: float, *, pue: float = 1.0, intensity: Intensity | None = None
) -> Footprint:
    """Return the footprint of an energy.

    >>> footprint(7_200_000.0, intensity=Intensity(100.0, "here", None, "test")).carbon_g
    200.0

    Raises:
        ConfigError: The PUE is below 1, or more than there is.
    """
    if not 1.0 <= pue < _MOST_PUE:
        raise ConfigError(
            f"a PUE of {pue:g} is not possible", "use 1.0 (the machine alone) or more"
        )
    kwh = energy_j * pue / JOULES_PER_KWH
    return Footprint(kwh, pue, kwh * intensity.g_per_kwh if intensity else None, intensity)


def given(g_per_kwh: float) -> Intensity:
    """Return an intensity that the user stated, in gCO2e/kWh."""
    if not 0 <= g_per_kwh < 5000:
        raise ConfigError(f"a carbon intensity of {g_per_kwh:g} gCO2e/kWh is not possible")
    return Intensity(g_per_kwh, "as given", None, "the user")


def for_region(region: str) -> Intensity:
    """Return the latest yearly intensity of a country (``DE``, ``DEU``, ``Germany``) or region.

    Raises:
        ConfigError: The region is not in the tables; names the nearest.
    """
    wanted = region.strip().casefold()
    best: Intensity | None = None
    names: list[str] = []
    for row in _rows(COUNTRIES):
        keys = (row["iso_alpha2"], row["iso_alpha3"], row["name"])
        names += keys
        if wanted in {key.casefold() for key in keys if key}:
            year = int(row["year"])
            if best is None or (best.year or 0) < year:
                source = "Ember; Our World in Data, CC BY 4.0"
                best = Intensity(float(row["gco2e_per_kwh"]), row["name"], year, source)
    if best is not None:
        return best
    for row in _rows(REGIONS):
        names += (row["region_code"], row["name"])
        if wanted in {row["region_code"].casefold(), row["name"].casefold()}:
            label = f"{row['name']} ({row['country']}, {row['gas']})"
            return Intensity(float(row["g_per_kwh"]), label, int(row["year"]), row["source_id"])
    raise unknown_name(
        "region", region, dict.fromkeys(filter(None, names)), fix="or give --carbon-intensity"
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    with open_table(name) as lines:
        yield from csv.DictReader(line for line in lines if not line.startswith("#"))
