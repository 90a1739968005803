"""The summary of a run as plain text, at most some fifteen lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.quality import aligned
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    from pactmeter.analysis.carbon import Footprint
    from pactmeter.analysis.run import RecordedRun


_MOST_REGIONS = 40
"""Lines of a table for people; a program reads them all from JSON."""


def render(run: RecordedRun, summary: dict[str, Any], footprint: Footprint | None = None) -> str:
    """Return the summary's lines."""
    lines = [_first_line(summary), _headline(run, summary)]
    if "calibrated" in summary:
        told = summary["calibrated"]
        lines.append(f"          {energy_text(told)}  {told['label']}, {told['origin']}")
    if footprint is not None:
        lines += _footprint(footprint)
    lines += _sources(summary)
    lines += _counters(summary)
    lines.append(_verdict(summary))
    notes = [*run.manifest.get("problems", []), *run.manifest.get("notes", [])]
    lines += [f"note      {text}" for text in notes[:3]]
    lines.append(f"files     {short_path(run.files.power)} (+ .counters.csv, .regions.csv, .json)")
    return "\n".join(lines)


def _first_line(summary: dict[str, Any]) -> str:
    calls = summary["calls"]
    what = f"{calls} call{'s' * (calls != 1)}, {summary['duration_s']:.3f} s"
    line = f"PACT run  {summary['status']}, {what}"
    if summary["status"] in {"incomplete", "failed"} and summary["reason"]:
        line += f" ({summary['reason']})"
    synthetic = {s["synthetic"] for s in summary["sources"]} - {None}
    return line + (f"  [{', '.join(sorted(synthetic))} devices]" if synthetic else "")


def _headline(run: RecordedRun, summary: dict[str, Any]) -> str:
    first = summary["headline"]
    elsewhere = run.manifest.get("used", {}).get("devices_sampled_by")
    if elsewhere:
        return f"energy    not in this file: {elsewhere} samples this machine's devices"
    if first is None:
        origins = sorted({s["origin"] for s in summary["sources"] if s["origin"] != "measured"})
        found = f"what was found is {' or '.join(origins)}" if origins else "no source was found"
        silent = [s["channel"] for s in summary["sources"] if s["origin"] == "measured"]
        if silent:
            found = f"{', '.join(silent)} gave no reading"
        return f"energy    not measured: {found} (pactmeter doctor says why)"
    return f"energy    {energy_text(first)}  {first['label']}, {first['origin']}"


def energy_text(source: dict[str, Any]) -> str:
    """Return an energy with its uncertainty, as ``2000.1 J +/- 100 J (k=2)``."""
    if source["energy_j"] is None:
        return "unknown"
    if source["u_j"] is None:
        return f"{source['energy_j']:.1f} J +/- unknown"
    return f"{source['energy_j']:.1f} J +/- {two_digits(source['u_j']):g} J (k=2)"


def _footprint(footprint: Footprint) -> list[str]:
    pue = f"PUE {footprint.pue:g}"
    line = f"          {footprint.kwh:.6g} kWh ({pue})"
    if footprint.intensity is not None and footprint.carbon_g is not None:
        i = footprint.intensity
        where = f"{i.region}, {i.year}" if i.year else i.region
        line += f", {footprint.carbon_g:.4g} gCO2e ({i.g_per_kwh:g} g/kWh: {where}; {i.source})"
    return [line]


def _sources(summary: dict[str, Any]) -> list[str]:
    rows = []
    for s in summary["sources"]:
        mean = "-" if s["mean_w"] is None else f"{s['mean_w']:.1f} W"
        gaps = f", {s['gaps']} gap{'s' * (s['gaps'] != 1)}" if s["gaps"] else ""
        rows.append(
            (
                s["channel"],
                s["domain"] or "-",
                s["origin"] + (f" ({s['synthetic']})" if s["synthetic"] else ""),
                energy_text(s),
                mean,
                f"{100 * s['coverage']:.1f} % covered{gaps}",
            )
        )
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"{'sources' if number == 0 else '':<10}{cells}".rstrip())
    return lines


def _counters(summary: dict[str, Any]) -> list[str]:
    counted = []
    absent: dict[str, list[str]] = {}
    for name, event in summary["counters"].items():
        if event["total"] is None:
            absent.setdefault(f"{event['status']}: {event['reason']}", []).append(name)
            continue
        share = event["running_share"]
        part = f" ({100 * share:.0f} % of the time)" if share is not None and share < 0.995 else ""
        if event["reason"]:  # counted, but not all of it
            part += f" ({event['reason'].partition(':')[0]})"
        counted.append(f"{name} {event['total']}{part}")
    lines = []
    if counted:
        scopes = {e["scope"] for e in summary["counters"].values() if e["total"] is not None}
        lines.append(f"counters  {', '.join(counted)}  ({' and '.join(sorted(scopes))})")
    if absent:
        told = [f"{', '.join(names)} ({why})" for why, names in absent.items()]
        lines.append(f"absent    {'; '.join(told)}")
    return lines


def regions_table(regions: list[dict[str, Any]]) -> str:
    """Return the regions as a table, and below it why a figure is not there."""
    if not regions:
        return "regions   none was marked: with pactmeter.region(name): ..."
    channels, events = list(regions[0]["energy"]), list(regions[0]["counters"])
    rows = [["region", "count", "total", "mean", *channels, *events]]
    refused: dict[str, str] = {}
    for region in regions[:_MOST_REGIONS]:
        index = region.get("index")
        name = region["name"] if index is None else f"{region['name']} {index}"
        duration, mean = (f"{region[key]:.3f} s" for key in ("duration_s", "mean_s"))
        rows.append([name, str(region["count"]), duration, mean])
        for channel in channels:
            found = region["energy"][channel]
            if "refused" in found:
                refused.setdefault(f"{name}, {channel}", found["refused"])
            rows[-1].append("-" if "refused" in found else energy_text(found))
        rows[-1] += ["-" if (n := region["counters"][e]) is None else str(n) for e in events]
    lines = aligned(rows)
    if len(regions) > _MOST_REGIONS:
        lines.append(f"and {len(regions) - _MOST_REGIONS} more (--json has all)")
    whys: dict[str, list[str]] = {}
    for what, why in refused.items():
        whys.setdefault(why, []).append(what)
    lines += [f"no figure for {'; '.join(what)}: {why}" for why, what in whys.items()]
    return "\n".join(lines)


def _verdict(summary: dict[str, Any]) -> str:
    if summary["headline"] is None:
        return "verdict   none: no measured energy to judge"
    level = summary["verdict"]["level"]
    told = [
        c["text"]
        for c in summary["verdict"]["checks"]
        if c["outcome"] != "pass" and (c["id"] != "Q13" or summary["verdict"]["level"] == "none")
    ]
    checks = summary["verdict"]["checks"]
    proof = next((c["text"] for c in checks if c["id"] == "Q13"), "not calibrated")
    text = "no accuracy claimed" if level == "none" else f"{level} class, {proof}"
    return f"verdict   {text}" + (f"; {'; '.join(told)}" if told else "")
