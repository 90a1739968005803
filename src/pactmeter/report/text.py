"""The summary of a run as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import why_none
from pactmeter.analysis.synthetic import synthetic_told
from pactmeter.analysis.verdict import level_text, two_digits
from pactmeter.model.channel import Domain, Kind
from pactmeter.report.quality import aligned
from pactmeter.report.screen import INDENT, Screen, Style, cut
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    from pactmeter.analysis.carbon import Footprint
    from pactmeter.analysis.run import RecordedRun

_MOST_REGIONS = 40
"""Lines of a table for people; a program reads them all from JSON."""
_MOST_LINES = 15
_LONGEST_NAME = 40
_COLUMNS = (
    ("channel", "domain", "origin", "energy", "mean", "coverage"),
    ("channel", "origin", "energy", "mean", "coverage"),
    ("channel", "origin", "energy", "coverage"),
    ("channel", "origin alone", "energy alone", "coverage"),
)
"""Of a source: the first of these that fit are shown."""
_EXCLUDED = {
    Domain.AC: "what another outlet than the metered one feeds",
    Domain.DC: "the power supply's own losses",
    Domain.PSYS: "what the processor's platform counter does not see, supply losses",
}


class _Room(NamedTuple):
    """How many sources, findings of the verdict and notes are shown."""

    sources: int
    findings: int
    notes: int


_ROOM = (
    *(_Room(sources, 20, 3) for sources in (20, 12, 8)),
    *(_Room(sources, 20, 1) for sources in (8, 7, 6, 5, 4)),
    *(_Room(sources, 4, 1) for sources in (4, 3)),
    *(_Room(sources, 1, 0) for sources in (3, 2, 1)),
)
"""Tried one after the other, until all fits."""


def render(
    run: RecordedRun,
    summary: dict[str, Any],
    footprint: Footprint | None = None,
    screen: Screen | None = None,
) -> str:
    """Return the summary's lines: at most 15, where the verdict's own words leave room.

    Args:
        run: The run.
        summary: What `summarize` says of it.
        footprint: Its energy as kWh and carbon.
        screen: Where it is shown; None: in a pipe, where lines are as long as they are.
    """
    screen = screen or Screen()
    shown: list[str] = []
    for room in _ROOM:
        lines = _lines(run, summary, footprint, room, screen.width)
        shown = [part for line in lines for part in screen.lines(line, _style(line, summary))]
        if len(shown) <= _MOST_LINES:
            break
    return "\n".join(shown)


def _lines(
    run: RecordedRun,
    summary: dict[str, Any],
    footprint: Footprint | None,
    room: _Room,
    width: int | None,
) -> list[str]:
    """Return the summary's lines, as many as the room is for."""
    lines = [_first_line(run, summary), _headline(run, summary)]
    if "calibrated" in summary:
        figure = summary["calibrated"]
        lines.append(f"          {energy_text(figure)}  {figure['label']}, {figure['origin']}")
    if footprint is not None:
        lines += _footprint(footprint)
    if summary["marks"]:
        told = ", ".join(f"{name}: {text}" for name, text in summary["marks"].items())
        lines.append(f"marks     {told}")
    lines += _sources(summary["sources"], room.sources, width)
    if summary["headline"] is not None and (what := excluded(summary["headline"])):
        lines.append(f"excluded  {what}")
    lines += _counters(summary)
    lines.append(_verdict(summary, room.findings))
    noted = [*run.manifest.get("problems", []), *run.manifest.get("notes", [])]
    lines += [f"note      {text}" for text in noted[: room.notes]]
    lines.append(f"files     {short_path(run.files.power)} (+ .counters.csv, .regions.csv, .json)")
    return lines


def _style(line: str, summary: dict[str, Any]) -> Style:
    """Return how a line looks on a terminal that has colours."""
    if line.startswith("energy") and summary["headline"] is not None:
        return Style.BOLD
    if line.startswith("verdict") and summary["verdict"]["level"] == "none":
        return Style.WARN
    return Style.PLAIN


def excluded(headline: dict[str, Any]) -> str | None:
    """Return what a headline leaves out; None where its label says so."""
    return _EXCLUDED.get(headline["domain"])


def _first_line(run: RecordedRun, summary: dict[str, Any]) -> str:
    calls = summary["calls"]
    what = f"{calls} call{'s' * (calls != 1)}, {summary['duration_s']:.3f} s"
    line = f"PACT run  {summary['status']}, {what}"
    if summary["status"] in {"incomplete", "failed"} and summary["reason"]:
        line += f" ({summary['reason']})"
    marks = synthetic_told([c for c in run.channels if c.kind is not Kind.QUANTITY])
    return line + (f"  [{marks}]" if marks else "")


def _headline(run: RecordedRun, summary: dict[str, Any]) -> str:
    first = summary["headline"]
    elsewhere = run.manifest.get("used", {}).get("devices_sampled_by")
    if elsewhere:
        return f"energy    not in this file: {elsewhere} samples this machine's devices"
    if first is None:
        why = why_none(energies(run))
        return f"energy    not measured: {why} (pactmeter doctor says why)"
    return f"energy    {energy_text(first)}  {first['label']}, {first['origin']}"


def half_width_text(half_w: float, range_w: float) -> str:
    """Return an interval's half-width, or that it is wider than what there is to be told.

    >>> half_width_text(12.345, 300.0), half_width_text(9e5, 300.0)
    ('12.3 W', 'over 300 W, the whole range')
    """
    return f"{half_w:.3g} W" if half_w <= range_w else f"over {range_w:.3g} W, the whole range"


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


def _sources(found: list[dict[str, Any]], most: int, width: int | None) -> list[str]:
    """Return a line a source; what tells least is left out first where a line is too long."""
    if not found:
        return []
    # what is emulated as a whole stands in the first line
    whole = len({s["synthetic"] for s in found}) == 1
    lines: list[str] = []
    for columns in _COLUMNS:
        rows = [[_cell(s, column, whole) for column in columns] for s in found[:most]]
        lines = aligned(rows)
        if width is None or max(map(len, lines)) + INDENT <= width:
            break
    if len(found) > most:
        lines.append(f"and {len(found) - most} more (--json has all)")
    return [f"{'' if k else 'sources':<{INDENT}}{line}" for k, line in enumerate(lines)]


def _cell(source: dict[str, Any], column: str, whole: bool) -> str:
    """Return a source's cell of a column, as named in `_COLUMNS`."""
    mark = f" ({source['synthetic']})" if source["synthetic"] else ""
    gaps = f", {source['gaps']} gap{'s' * (source['gaps'] != 1)}" if source["gaps"] else ""
    cells: dict[str, str] = {
        "channel": source["channel"],
        "domain": source["domain"] or "-",
        "origin": source["origin"] + mark,
        "origin alone": source["origin"] + ("" if whole else mark),
        "energy": energy_text(source),
        "energy alone": energy_text(source).removesuffix(" (k=2)"),
        "mean": "-" if source["mean_w"] is None else f"{source['mean_w']:.1f} W",
        "coverage": f"{100 * source['coverage']:.1f} % covered{gaps}",
    }
    return cells[column]


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


def regions_table(
    regions: list[dict[str, Any]], sources: list[dict[str, Any]], screen: Screen | None = None
) -> str:
    """Return the regions as a table, and below it why a figure is not there.

    Args:
        regions: The regions, as the summary has them.
        sources: Its sources, for what they are.
        screen: Where it is shown; columns that do not fit are named below.
    """
    if not regions:
        return "regions   none was marked: with pactmeter.region(name): ..."
    screen = screen or Screen()
    origins = {s["channel"]: s["origin"] for s in sources if s["origin"] != "measured"}
    channels, events = list(regions[0]["energy"]), list(regions[0]["counters"])
    heads = [name + (f" ({origins[name]})" if name in origins else "") for name in channels]
    rows = [["region", "count", "total", "mean", *heads, *events]]
    refused: dict[str, str] = {}
    for region in regions[:_MOST_REGIONS]:
        index = "" if region.get("index") is None else f" {region['index']}"
        name = cut(region["name"], _LONGEST_NAME) + index
        duration, mean = (f"{region[key]:.3f} s" for key in ("duration_s", "mean_s"))
        rows.append([name, str(region["count"]), duration, mean])
        for channel in channels:
            found = region["energy"][channel]
            if "refused" in found:
                refused.setdefault(f"{name}, {channel}", found["refused"])
            rows[-1].append("-" if "refused" in found else energy_text(found))
        rows[-1] += ["-" if (n := region["counters"][e]) is None else str(n) for e in events]
    lines = aligned(rows)
    left_out: list[str] = []
    while screen.width is not None and len(rows[0]) > 5 and max(map(len, lines)) > screen.width:
        left_out.insert(0, rows[0][-1])
        rows = [row[:-1] for row in rows]
        lines = aligned(rows)
    if left_out:
        lines += screen.lines(f"no room for {', '.join(left_out)} (--json has all)")
    if len(regions) > _MOST_REGIONS:
        lines.append(f"and {len(regions) - _MOST_REGIONS} more (--json has all)")
    whys: dict[str, list[str]] = {}
    for what, why in refused.items():
        whys.setdefault(why, []).append(what)
    lines += [f"no figure for {'; '.join(what)}: {why}" for why, what in whys.items()]
    return "\n".join(lines)


def _verdict(summary: dict[str, Any], most: int) -> str:
    if summary["headline"] is None:
        return "verdict   none: no measured energy to judge"
    level, checks = summary["verdict"]["level"], summary["verdict"]["checks"]
    told = [
        c["text"]
        for c in checks
        if c["outcome"] != "pass" and (c["id"] != "Q13" or level == "none")
    ]
    if len(told) > most:
        told = [*told[:most], f"and {len(told) - most} more (--json has all)"]
    text = "; ".join([level_text(summary["verdict"]), *told])
    return f"verdict   {text}"
