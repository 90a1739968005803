"""A calibration that is named: applied to the headline, and whether it holds for the run (Q13)."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pactmeter.analysis.calibration.files import load_calibration
from pactmeter.analysis.checks.check import NOT_CHECKED, PASS, WARN, Case, Check
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import MACHINE_MODEL, Domain, Origin
from pactmeter.model.energy import BudgetItem

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.model.calibration import Calibration
    from pactmeter.model.energy import Energy

UNCALIBRATED = "not calibrated: never better than 5 %"


def read_calibration(path: Path, channel: str, host: str | None) -> Calibration:
    """Return the calibration of a channel of a host from its file.

    Raises:
        FileError: It cannot be read, is no calibration, or is of a newer schema.
        ConfigError: It is of another channel or host.
    """
    found = load_calibration(path)
    if found.source != channel:
        raise ConfigError(
            f"{path} is a calibration of {found.source}, the figure is that of {channel}",
            "name the calibration of this channel",
        )
    if host is not None and host != found.host:
        raise ConfigError(
            f"{path} is a calibration of {found.host}, the run is of {host}",
            "calibrate the machine of the run: pactmeter validate",
        )
    return found


def calibrated(proof: Calibration, energy: Energy) -> Energy:
    """Return an energy as the meter would have told it: AC, modelled.

    The prediction's uncertainty stands in place of the sensor's own; the rest of the budget is that
    of the channel times the gain.

    Raises:
        PactError: A part of the energy is unknown.
    """
    if energy.silent:
        raise PactError(
            f"{energy.silence}: no calibration of the sum can be applied",
            "leave --calibration out",
        )
    told = proof.apply(energy.mean_w or 0.0)
    rest = [
        replace(item, u_j=proof.line.gain * item.u_j)
        for item in energy.budget
        if not item.is_systematic
    ]
    basis = f"{told.u_w:.3g} W: {validated(proof)}, of a load that it has not seen"
    proved = BudgetItem("calibration", told.u_w * energy.covered_s / 2, basis, is_systematic=True)
    return replace(
        energy,
        channel=MACHINE_MODEL,
        label=f"{energy.channel} as {validated(proof)} would tell it",
        domain=Domain.AC,
        origin=Origin.MODELLED,
        energy_j=told.power_w * energy.covered_s,
        budget=(proved, *rest),
    )


def validated(proof: Calibration) -> str:
    """Return the meter and the day, as they are stated."""
    return f"{proof.reference} on {proof.made.isoformat()}"


def calibration(case: Case) -> Check:
    """Q13: what a reference meter has proved, of this machine, in date and in range."""
    rule = "calibration of this machine, in date and in range; without one the level is 5 % at best"
    proof = case.beside.calibration
    if proof is None:
        todo = "`pactmeter validate` against a meter, then name its calibration"
        return Check("Q13", NOT_CHECKED, None, UNCALIBRATED, rule, todo)
    problems = _problems(case, proof)
    if problems:
        todo = f"calibrate {proof.source} again on this machine, idle and under two loads"
        return Check("Q13", WARN, None, "; ".join(problems), rule, todo)
    return Check("Q13", PASS, None, f"accuracy validated against {validated(proof)}", rule)


def _problems(case: Case, proof: Calibration) -> list[str]:
    manifest = case.run.manifest
    found = []
    if case.run.started_s is None:
        found.append("when the run was is not recorded")
    else:
        day = datetime.fromtimestamp(case.run.started_s, tz=UTC).date()
        if not proof.made <= day <= proof.expires:
            found.append(
                f"the run of {day} is out of date: the calibration holds from {proof.made} to"
                f" {proof.expires}"
            )
    host = (manifest.get("host") or {}).get("name")
    if host != proof.host:
        found.append(f"the calibration is of {proof.host}, the run of {host}")
    mean_w = math.fsum(part.mean_w or 0.0 for part in case.parts)
    if proof.apply(mean_w).extrapolated:
        found.append(
            f"extrapolated: {mean_w:.0f} W is outside of {proof.line.from_w:.0f} to"
            f" {proof.line.to_w:.0f} W"
        )
    return found
