"""What a run comes to, as the plain data of ``pactmeter report --json`` (schema 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.checks.calibrated import calibrated, read_calibration
from pactmeter.analysis.checks.check import Beside, Case
from pactmeter.analysis.combined import table
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline, sum_name
from pactmeter.analysis.regions import regions
from pactmeter.analysis.rules import rules
from pactmeter.analysis.verdict import verdict
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.analysis.carbon import Footprint
    from pactmeter.analysis.checks.check import Idle
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

SCHEMA = 1


def summarize(
    run: RecordedRun,
    *,
    with_regions: bool = True,
    calibration: Path | None = None,
    idle: tuple[Idle, ...] = (),
) -> dict[str, Any]:
    """Return the run's summary; figures are rounded for reading, not for further arithmetic.

    Args:
        run: The run.
        with_regions: Whether the regions are told too: where there are many, they take their time.
        calibration: File of the calibration that is to be applied to the headline; None: none.
        idle: The idle machine, before the run and after it, where it was measured.

    Raises:
        PactError: The calibration cannot be applied.
    """
    found = energies(run)
    first = headline(found)
    proof, figure = None, first
    if calibration is not None:
        if first is None:
            raise PactError("there is no measured energy that a calibration could be applied to")
        host = (run.manifest.get("host") or {}).get("name")
        proof = read_calibration(calibration, sum_name(found) or first.channel, host)
        figure = calibrated(proof, first)
    case = None if figure is None else Case(run, figure, tuple(found), Beside(proof, idle))
    told = found if figure is None or figure in found else [figure, *found]
    sampler = run.manifest.get("sampler") or {}
    summary = {
        "schema": SCHEMA,
        "status": run.status,
        "reason": run.reason,
        "duration_s": round(run.duration_s, 6),
        "calls": run.manifest.get("calls", 0),
        "marks": run.marks,
        "headline": None if first is None else source(first),
        "sources": [source(energy) for energy in found],
        "counters": _counters(run),
        "verdict": verdict(run, case),
        "sampler": {
            "cpu_s": sampler.get("cpu_s"),
            "late_rows": sampler.get("late_rows"),
            "rows": len(run.windows_s),
        },
        "rules": [] if case is None else rules(case),
        "budget": [
            {"channel": e.channel, "label": e.label, "u_j": source(e)["u_j"], "items": table(e)}
            for e in told
        ],
    }
    if proof is not None and figure is not None:
        summary["calibrated"] = source(figure)
    if with_regions:
        summary["regions"] = regions(run)
    return summary


def source(energy: Energy) -> dict[str, Any]:
    """Return one source as plain data; of what nothing was read the energy is unknown, not 0."""
    is_known = energy.covered_s > 0
    return {
        "channel": energy.channel,
        "label": energy.label,
        "domain": energy.domain,
        "origin": energy.origin,
        "synthetic": energy.synthetic,
        "energy_j": round(energy.energy_j, 6) if is_known else None,
        "u_j": round(energy.u_j, 6) if is_known and energy.u_j is not None else None,
        "mean_w": None if energy.mean_w is None else round(energy.mean_w, 6),
        "coverage": round(energy.coverage, 6),
        "gaps": energy.gaps,
    }


def footprint_dict(footprint: Footprint) -> dict[str, Any]:
    """Return a footprint as plain data."""
    factor = footprint.intensity
    return {
        "kwh": footprint.kwh,
        "pue": footprint.pue,
        "carbon_g": footprint.carbon_g,
        "intensity_g_per_kwh": factor.g_per_kwh if factor else None,
        "region": factor.region if factor else None,
        "year": factor.year if factor else None,
        "source": factor.source if factor else None,
    }


def _counters(run: RecordedRun) -> dict[str, Any]:
    """Totals of the events over all calls, from the deltas of the power rows."""
    result = {}
    for event in run.manifest.get("events", []):
        values = [v for v in run.columns.get(event["column"], []) if v is not None]
        # a count below zero was not written by PACT
        counted = event["status"] == "ok" and bool(values) and min(values) >= 0
        result[event["column"]] = {
            "total": int(sum(values)) if counted else None,
            "scope": event["scope"],
            "status": event["status"],
            "reason": event["reason"],
            "running_share": _running_share(run, event) if counted else None,
        }
    return result


def _running_share(run: RecordedRun, event: dict[str, Any]) -> float | None:
    shares: dict[str, float | None] = run.manifest.get("running_shares") or {}
    return shares.get(event["group"])
