"""What a run comes to, as the plain data of ``pactmeter report --json`` (schema 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline
from pactmeter.analysis.regions import regions
from pactmeter.analysis.verdict import verdict

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

SCHEMA = 1


def summarize(run: RecordedRun, *, with_regions: bool = True) -> dict[str, Any]:
    """Return the run's summary; figures are rounded for reading, not for further arithmetic.

    Regions can be left out: where there are many, they take their time.
    """
    found = energies(run)
    first = headline(found)
    sampler = run.manifest.get("sampler") or {}
    summary = {
        "schema": SCHEMA,
        "status": run.status,
        "reason": run.reason,
        "duration_s": round(run.duration_s, 6),
        "calls": run.manifest.get("calls", 0),
        "headline": None if first is None else source(first),
        "sources": [source(energy) for energy in found],
        "counters": _counters(run),
        "verdict": verdict(run, first),
        "sampler": {
            "cpu_s": sampler.get("cpu_s"),
            "late_rows": sampler.get("late_rows"),
            "rows": len(run.windows_s),
        },
    }
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


def _counters(run: RecordedRun) -> dict[str, Any]:
    """Totals of the events over all calls, from the deltas of the power rows."""
    result = {}
    for event in run.manifest.get("events", []):
        values = [v for v in run.columns.get(event["column"], []) if v is not None]
        counted = event["status"] == "ok" and bool(values)
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
