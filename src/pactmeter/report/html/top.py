"""The top of a run's page: its figure, what that stands for, and what nobody must miss."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.synthetic import synthetic_told
from pactmeter.analysis.verdict import level_text, two_digits
from pactmeter.model.channel import Kind
from pactmeter.report.html.markup import Markup, name, pairs, paragraph, section, text
from pactmeter.report.text import energy_text

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun

_SCALES = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"))


def energy(source: dict[str, Any]) -> str:
    """Return an energy with its uncertainty, as ``2000.1 J ± 100 J (k=2)``."""
    return energy_text(source).replace("+/-", "±")


def figure(source: dict[str, Any]) -> str:
    """Return an energy as far as its uncertainty's second digit, in a unit of its size.

    >>> figure({"energy_j": 19011152.5, "u_j": 968000.0})
    '19.01 MJ ± 0.97 MJ (k=2)'
    >>> figure({"energy_j": 6000.4, "u_j": 312.0})
    '6000 J ± 310 J (k=2)'
    """
    if source["energy_j"] is None or not source["u_j"]:
        return energy(source)
    size_j = abs(source["energy_j"])
    scale, unit = next((each for each in _SCALES if size_j >= 10 * each[0]), (1.0, "J"))
    u = two_digits(source["u_j"] / scale)
    places = 1 - math.floor(math.log10(u))
    value = round(source["energy_j"] / scale, places)
    shown = max(0, places)
    return f"{value:.{shown}f} {unit} ± {u:.{shown}f} {unit} (k=2)"


def top(run: RecordedRun, summary: dict[str, Any]) -> Markup:
    """Return the headline, what it stands for, and what the reader must not miss."""
    parts = [_banners(run, summary)]
    first = summary["headline"]
    elsewhere = (run.manifest.get("used") or {}).get("devices_sampled_by")
    if first is not None:
        parts.append(paragraph(figure(first), "figure"))
        parts.append(paragraph(Markup(f"{text(first['label'])} {origin(first)}")))
    elif elsewhere:
        parts.append(paragraph("No energy in this file", "figure"))
        parts.append(paragraph(f"{elsewhere} samples the devices of this machine."))
    else:
        parts.append(paragraph("Energy: not measured", "figure"))
        checks = summary["verdict"]["checks"]
        parts.append(paragraph(checks[0]["text"] if checks else "no source was found"))
    if summary["marks"]:
        marks = ", ".join(name(f"{key}: {told}") for key, told in summary["marks"].items())
        parts.append(paragraph(Markup(f"Marked by the program: {marks}")))
    if "calibrated" in summary:
        told = summary["calibrated"]
        parts.append(paragraph(f"Calibrated: {energy(told)}, {told['label']}"))
    calls, mean_w = summary["calls"], first["mean_w"] if first else None
    facts: list[tuple[str, object]] = [
        ("Energy", energy(first) if first else "unknown"),
        ("Verdict", level_text(summary["verdict"])),
        *_uncertainty(first),
        ("Mean power", "unknown" if mean_w is None else watts(mean_w)),
        *([("Covered", _covered(first))] if first else []),
        ("Time measured", f"{summary['duration_s']:.3f} s in {calls} call{'s' * (calls != 1)}"),
        ("Began", _when(run.started_s)),
        ("Machine", name((run.manifest.get("host") or {}).get("name"))),
    ]
    for net in summary.get("baseline", {}).get("net", ()):
        told = f"{energy(net)}; idle {net['idle_w']:.2f} W ± {two_digits(net['u_idle_w']):g} W"
        facts.append((f"Above idle, {net['channel']}", told))
    if "footprint" in summary:
        facts.append(("Footprint", _footprint(summary["footprint"])))
    return section("headline", "Energy of this run", *parts, pairs(facts))


def _banners(run: RecordedRun, summary: dict[str, Any]) -> str:
    status, reason = summary["status"], summary["reason"]
    told = []
    if status == "running":
        told.append("This run is still going on: the figures are those up to now.")
    elif status != "complete":
        told.append(f"This run is {status}" + (f": {reason}." if reason else "."))
    if marks := synthetic_told([c for c in run.channels if c.kind is not Kind.QUANTITY]):
        told.append(f"Not hardware: {marks}.")
    told += [str(problem) for problem in run.manifest.get("problems") or []]
    return "".join(paragraph(line, "banner") for line in told)


def _uncertainty(first: dict[str, Any] | None) -> list[tuple[str, object]]:
    """Return the uncertainty as a share; of nothing it is none."""
    if first is not None and first["energy_j"] == 0:
        return []
    if first is None or first["u_j"] is None or first["energy_j"] is None:
        return [("Uncertainty", "unknown")]
    share_pct = 100 * first["u_j"] / abs(first["energy_j"])
    return [("Uncertainty", f"{two_digits(share_pct):g} % of it (k=2)")]


def _covered(first: dict[str, Any]) -> str:
    gaps = first["gaps"]
    told = f"{100 * first['coverage']:.1f} %"
    return told + (f", {gaps} gap{'s' * (gaps != 1)}" if gaps else "")


def origin(source: dict[str, Any]) -> Markup:
    """Return a source's origin, and whether it is synthetic, as marks."""
    words = [source["origin"]] + ([source["synthetic"]] if source["synthetic"] else [])
    return Markup(" ".join(f'<span class="mark">{text(word)}</span>' for word in words))


def watts(value: float | None) -> str:
    """Return a power in watts; ``-`` where it is unknown."""
    return "-" if value is None else f"{value:.1f} W"


def _footprint(told: dict[str, Any]) -> str:
    line = f"{told['kwh']:.6g} kWh (PUE {told['pue']:g})"
    if told["carbon_g"] is None:
        return line
    line += f", {told['carbon_g']:.4g} gCO2e ({told['intensity_g_per_kwh']:g} g/kWh"
    return f"{line}: {told['region']}; {told['source']})"


def _when(utc_s: float | None) -> str:
    if utc_s is None:
        return "unknown"
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
