"""A study as the original PACT's table ``EnergyStats.csv``: a row a trial, in kWh and grams.

Its columns have no place for origins and uncertainties: those stand in a JSON file beside it. Where
nothing is known a cell is empty.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.comparable import too_little
from pactmeter.analysis.energy import energies, total
from pactmeter.model.channel import Domain, Origin
from pactmeter.study.report_model import LINEAR, PIECEWISE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pactmeter.model.energy import Energy
    from pactmeter.study.report_model import Modelled
    from pactmeter.study.report_trial import Counted

SCHEMA = 1
FILE = "EnergyStats.csv"
_KIND = "EnergyStats of a pactmeter study"
COLUMNS = (
    "TestRun",
    "actualEnergy(kWh)",
    "actualCC(gCO₂eq)",
    "predEnergyLinear(kWh)",
    "predCarbonEmissionLinear(gCO₂eq)",
    "predEnergyPieceWise(kWh)",
    "predCarbonEmissionPieceWise(gCO₂eq)",
)
EFFICIENCY = 0.92
G_PER_KWH = 646.0
"""Both are the original's fixed figures, for every supply and every place."""
_J_PER_KWH = 3.6e6
NOTES = (
    f"energies are DC output over {EFFICIENCY:g}, carbon is {G_PER_KWH:g} g/kWh",
    "both are fixed figures of the original, neither measured nor those of your place",
    "a prediction is the actual energy times modelled over measured, where everything is known",
    "no prediction stands where the model was fitted on the trial, or where there is no model",
    "an empty cell is unknown",
)


@dataclass(frozen=True, slots=True)
class Stats:
    """The table and what its rows are.

    Attributes:
        rows: By column; None is unknown.
        trials: By trial: workload, family, marks, U of the DC energy (k=2) in percent.
        notes: What the figures rest on.
    """

    rows: tuple[dict[str, Any], ...]
    trials: dict[str, dict[str, Any]]
    notes: tuple[str, ...] = NOTES


def stats(trials: Sequence[Counted], model: Modelled) -> Stats:
    """Return the table of a study's trials."""
    found, about = [], {}
    for one in trials:
        dc = _dc(one)
        actual_kwh = None if dc is None else dc.energy_j / EFFICIENCY / _J_PER_KWH
        cells: list[Any] = [one.stem, actual_kwh, _grams(actual_kwh)]
        for preset in (LINEAR, PIECEWISE):
            tested = model.test(preset, one.stem)
            kwh = None
            if tested is not None and actual_kwh is not None:
                kwh = actual_kwh * (1 + tested.off_pct / 100)
            cells += [kwh, _grams(kwh)]
        found.append(dict(zip(COLUMNS, cells, strict=True)))
        about[one.stem] = {
            "workload": one.workload,
            "family": one.family,
            "marks": list(one.world),
            "u_dc_pct": _u_pct(dc),
        }
    return Stats(tuple(found), about)


def write(made: Stats, path: Path) -> None:
    """Write the table, and beside it ``NAME.json`` with what its rows are."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in made.rows:
            writer.writerow({column: _cell(value) for column, value in row.items()})
    told = {"schema": SCHEMA, "kind": _KIND, "trials": made.trials, "notes": made.notes}
    text = json.dumps(told, indent=1, allow_nan=False)
    path.with_name(f"{path.name}.json").write_text(f"{text}\n", encoding="utf-8")


def _dc(one: Counted) -> Energy | None:
    """Return the measured DC energy of all supplies; None where it does not count."""
    if one.no_energy is not None:
        return None
    parts = [
        energy
        for energy in energies(one.run)
        if energy.domain is Domain.DC and energy.origin is Origin.MEASURED
    ]
    if not parts:
        return None
    found = total(parts, "psu*.dc_output", "DC output of all supplies")
    return None if too_little(found) else found


def _u_pct(dc: Energy | None) -> float | None:
    if dc is None or dc.u_j is None or dc.energy_j <= 0:
        return None
    return round(100 * dc.u_j / dc.energy_j, 3)


def _grams(kwh: float | None) -> float | None:
    return None if kwh is None else kwh * G_PER_KWH


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)
