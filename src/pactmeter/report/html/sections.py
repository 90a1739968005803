"""The sections of a run's page: what a summary and a manifest say, as tables and lists."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import level_text, two_digits
from pactmeter.model.channel import Kind
from pactmeter.report.html.markup import Markup, name, pairs, paragraph, section, table, text
from pactmeter.report.text import energy_text, excluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.analysis.run import RecordedRun

_COUNTS = ("Event", "Count", "Scope", "Counted", "Status")
_MOST_ROWS = 200
_SCALES = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"))
_STRETCHES = 40
"""Rows of the power table for people without scripts."""


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
        parts.append(paragraph(Markup(f"{text(first['label'])} {_origin(first)}")))
    elif elsewhere:
        parts.append(paragraph("No energy in this file", "figure"))
        parts.append(paragraph(f"{elsewhere} samples the devices of this machine."))
    else:
        parts.append(paragraph("Energy: not measured", "figure"))
        checks = summary["verdict"]["checks"]
        parts.append(paragraph(checks[0]["text"] if checks else "no source was found"))
    if "calibrated" in summary:
        told = summary["calibrated"]
        parts.append(paragraph(f"Calibrated: {energy(told)}, {told['label']}"))
    calls = summary["calls"]
    share = None
    if first is not None and first["u_j"] is not None and first["energy_j"]:
        share = f"{100 * first['u_j'] / first['energy_j']:.2g} % of it (k=2)"
    facts: list[tuple[str, object]] = [
        ("Energy", energy(first) if first else "unknown"),
        ("Verdict", level_text(summary["verdict"])),
        ("Uncertainty", share or "unknown"),
        ("Mean power", _watts(first["mean_w"]) if first else "unknown"),
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
    marks = sorted({s["synthetic"] for s in summary["sources"]} - {None})
    if marks:
        told.append(f"These are {' and '.join(marks)} devices, not hardware.")
    told += [str(problem) for problem in run.manifest.get("problems") or []]
    return "".join(paragraph(line, "banner") for line in told)


def verdict(summary: dict[str, Any]) -> Markup:
    """Return the checks, the worst first, with what to do."""
    found = summary["verdict"]
    order = {"fail": 0, "warn": 1, "pass": 2}
    checks = sorted(found["checks"], key=lambda check: order.get(check["outcome"], 3))
    rows = [
        (c["id"], _outcome(c["outcome"]), c["text"], c.get("rule"), c.get("todo")) for c in checks
    ]
    parts: list[str] = [
        table("Checks", ("Check", "Outcome", "Found", "Wanted", "What to do"), rows)
    ]
    open_ = found.get("not_checked") or []
    if open_:
        todo = [(c["id"], c["text"], c.get("todo")) for c in open_]
        parts.append(
            _folded("Not checked", table("Not checked", ("Check", "Why", "What would tell"), todo))
        )
    regimes = summary.get("rules") or []
    if regimes:
        rules = [
            (r["regime"], item["rule"], item["found"], "yes" if item["met"] else "no")
            for r in regimes
            for item in r["items"]
        ]
        told = "; ".join(f"{r['regime']}: timing rules {r['timing']}" for r in regimes)
        head = ("Regime", "Rule", "Found", "Met")
        parts += [paragraph(told), _folded("Timing rules", table("Timing rules", head, rules))]
    return section("verdict", "Verdict: how good is the figure?", *parts)


def _outcome(outcome: str) -> Markup:
    kind = outcome if outcome in {"pass", "warn", "fail"} else "soft"
    return Markup(f'<span class="{kind}">{text(outcome)}</span>')


def sources(summary: dict[str, Any]) -> Markup:
    """Return each source of energy with origin and coverage, and each counter."""
    parts = []
    found = [*summary["sources"], *([summary["curve"]] if "curve" in summary else [])]
    if found:
        rows = [
            (
                name(s["channel"]),
                s["label"],
                s["domain"],
                _origin(s),
                energy(s),
                _watts(s["mean_w"]),
                f"{100 * s['coverage']:.1f} %",
                s["gaps"],
            )
            for s in found
        ]
        head = ("Source", "What it is", "Covers", "Origin", "Energy", "Mean", "Known", "Gaps")
        parts.append(table("Sources of energy", head, rows, (5, 6, 7)))
        parts.append(
            paragraph("Sources nest (a package holds its cores): do not add them up.", "soft")
        )
    else:
        parts.append(paragraph("No source of energy was recorded."))
    if summary["counters"]:
        counts = [
            (
                name(column),
                "not counted" if e["total"] is None else f"{e['total']:,}",
                e["scope"],
                "-" if e["running_share"] is None else f"{100 * e['running_share']:.1f} %",
                e["reason"] or e["status"],
            )
            for column, e in summary["counters"].items()
        ]
        parts.append(table("Counters", _COUNTS, counts, (1, 3)))
    else:
        parts.append(paragraph("No event was counted."))
    return section("sources", "Sources and counters", *parts)


def _origin(source: dict[str, Any]) -> Markup:
    words = [source["origin"]] + ([source["synthetic"]] if source["synthetic"] else [])
    return Markup(" ".join(f'<span class="mark">{text(word)}</span>' for word in words))


def budget(summary: dict[str, Any]) -> Markup:
    """Return what each uncertainty is made of."""
    parts = []
    for source in summary["budget"]:
        if source["u_j"] is None:
            parts.append(paragraph(f"{source['channel']}: U is not known."))
            continue
        rows = [
            (i["name"], i["type"], f"{two_digits(i['u_j']):g} J", i["basis"])
            for i in source["items"]
        ]
        caption = f"{source['channel']}: U {two_digits(source['u_j']):g} J (k=2)"
        parts.append(table(caption, ("Item", "Type", "u (k=1)", "Where it is from"), rows, (2,)))
    told = parts or [paragraph("There is no figure, so there is no uncertainty.")]
    return section("budget", "Uncertainty budget", *told)


def regions(summary: dict[str, Any]) -> Markup:
    """Return energy and counts of each region, and of the windows that were asked for."""
    tables = {
        "Energy and counts": summary.get("regions"),
        "One by one": summary.get("regions_each"),
        "Windows": summary.get("windows"),
    }
    parts = [part for title, found in tables.items() if found for part in _regions(title, found)]
    return section("regions", "Regions", *(parts or [paragraph("None was marked.")]))


def _regions(title: str, found: list[dict[str, Any]]) -> list[str]:
    channels, events = list(found[0]["energy"]), list(found[0]["counters"])
    refused: dict[str, list[str]] = {}
    rows = []
    for region in found[:_MOST_ROWS]:
        index = "" if region.get("index") is None else f" {region['index']}"
        cells: list[object] = [name(f"{region['name']}{index}"), region["count"]]
        cells.append(f"{region['duration_s']:.3f} s")
        for channel in channels:
            told = region["energy"][channel]
            if "refused" in told:
                refused.setdefault(told["refused"], []).append(
                    f"{region['name']}{index}, {channel}"
                )
            cells.append("-" if "refused" in told else energy(told))
        cells += ["-" if region["counters"][e] is None else region["counters"][e] for e in events]
        rows.append(cells)
    head = ["Region", "Count", "Time", *channels, *events]
    parts: list[str] = [table(title, head, rows, range(1, len(head)))]
    if len(found) > _MOST_ROWS:
        parts.append(paragraph(f"{len(found) - _MOST_ROWS} more are in report --json."))
    parts += [paragraph(f"No figure for {'; '.join(w)}: {why}.") for why, w in refused.items()]
    return parts


def over_time(run: RecordedRun) -> Markup:
    """Return power over time as a table of up to 40 stretches."""
    shown = [c for c in run.channels if c.kind is not Kind.QUANTITY and c.columns[0] in run.columns]
    known = [k for k, t in enumerate(run.columns.get("read_s", [])) if t is not None]
    if not shown or not known:
        return Markup("")
    size = math.ceil(len(known) / _STRETCHES)
    rows: list[list[object]] = []
    for at in range(0, len(known), size):
        part = known[at : at + size]
        first, last = (run.columns["read_s"][k] or 0.0 for k in (part[0], part[-1]))
        cells: list[object] = [f"{first - run.windows_s[part[0]]:.2f} to {last:.2f} s"]
        for channel in shown:
            column = run.columns[channel.columns[0]]
            pairs_ = [(w, run.windows_s[k]) for k in part if (w := column[k]) is not None]
            over_s = math.fsum(s for _, s in pairs_)
            mean_w = math.fsum(w * s for w, s in pairs_) / over_s if over_s > 0 else None
            cells.append(_watts(mean_w))
        rows.append(cells)
    head = ["Time", *(c.name for c in shown)]
    caption = "Mean power over time; - is a gap"
    return _folded("Power as a table", table(caption, head, rows, range(1, len(head))))


def sampling(run: RecordedRun, summary: dict[str, Any]) -> Markup:
    """Return how well the sampler kept its time, and every gap."""
    sampler = {**(run.manifest.get("sampler") or {}), **summary["sampler"]}
    used = run.manifest.get("used") or {}
    config = run.manifest.get("config") or {}
    words = {
        "rows": "Rows of power",
        "late_rows": "Rows later than 50 ms",
        "latest_s": "Greatest lateness (s)",
        "cpu_s": "CPU time of the sampler (s)",
        "stale_counter_reads": "Counter reads that failed",
        "lost_records": "Records lost",
        "unsampled_s": "Time read instead of sampled (s)",
    }
    rows: list[tuple[str, object]] = [(w, sampler[k]) for k, w in words.items() if k in sampler]
    rows += [(f"Set: {key}", value) for key, value in sorted(config.items())]
    rows += [(f"Used: {key}", value) for key, value in sorted(used.items())]
    parts: list[str] = [pairs(rows)]
    gaps = run.manifest.get("gaps") or []
    if gaps:
        told = [
            (g.get("device"), _seconds(g.get("start_s")), _seconds(g.get("end_s")), g.get("reason"))
            for g in gaps
        ]
        parts.append(table("Gaps", ("Device", "From", "To", "Why"), told, (1, 2)))
        if run.manifest.get("gaps_left_out"):
            parts.append(paragraph(f"{run.manifest['gaps_left_out']} more are not listed."))
    else:
        parts.append(paragraph("No gap was noted."))
    parts += [paragraph(note) for note in run.manifest.get("notes") or []]
    return section("sampling", "Sampling health", *parts)


def hardware(run: RecordedRun) -> Markup:
    """Return the machine, its sensors, what was looked for and not found, and versions."""
    manifest = run.manifest
    parts: list[str] = [pairs(_flat(manifest.get("host") or {}))]
    rows = [
        (
            name(c.name),
            c.description,
            run.about(c.name).get("device"),
            c.resolution and f"{c.resolution:g} {c.unit.value}",
            _seconds(c.update_period_s or run.about(c.name).get("seen_update_period_s")),
            c.accuracy_pct and f"{c.accuracy_pct:g} % (k=2)",
            c.accuracy_source,
        )
        for c in run.channels
    ]
    head = ("Channel", "What it is", "Device", "Step", "Update", "Accuracy", "Says")
    if rows:
        parts.append(table("Channels", head, rows, (3, 4)))
    missed = [f for f in manifest.get("findings") or [] if not f.get("found")]
    if missed:
        told = [(f.get("name"), f.get("detail"), f.get("fix")) for f in missed]
        parts.append(table("Looked for and not found", ("Source", "Why", "Fix"), told))
    versions = {"pactmeter": manifest.get("pactmeter"), "python": manifest.get("python")}
    versions |= manifest.get("packages") or {}
    parts.append(table("Versions", ("Package", "Version"), list(versions.items())))
    return section("hardware", "Hardware and versions", *parts)


def assumptions(run: RecordedRun, summary: dict[str, Any]) -> Markup:
    """Return what the figures rest on."""
    told = [
        "Energy is that of the known time: gaps are not filled in, and U holds what they may hide.",
        "U is k=2 (about 95 %). A figure without calibration is never claimed better than 5 %.",
    ]
    first = summary["headline"]
    if first is not None and (what := excluded(first)):
        told.append(f"The headline excludes {what}.")
    if first is not None:
        told.append("The headline is the whole of what that meter sees, idle power included.")
    if "baseline" not in summary:
        told.append("Idle power: not measured.")
    if run.is_aperiodic:
        told.append("The user states that the load does not repeat in step with a sensor.")
    if any(s["origin"] != "measured" for s in summary["sources"]):
        told.append("Estimated and modelled sources stand beside the measured ones, never in them.")
    items = "".join(f"<li>{text(line)}</li>\n" for line in told)
    return section("assumptions", "Assumptions", Markup(f"<ul>\n{items}</ul>\n"))


def files(hashes: list[tuple[str, int, str]]) -> Markup:
    """Return the raw files with size and SHA-256, as they were when the page was made."""
    rows = [(name(n), f"{size:,}", Markup(f"<code>{text(h)}</code>")) for n, size, h in hashes]
    told = table("Raw files", ("File", "Bytes", "SHA-256"), rows, (1,))
    return section("files", "Raw files", told, paragraph("sha256sum tells the same.", "soft"))


def _folded(title: str, *parts: str) -> Markup:
    return Markup(f"<details><summary>{text(title)}</summary>\n{''.join(parts)}</details>\n")


def _flat(told: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in told.items():
        if isinstance(value, dict):
            yield from ((f"{key}: {inner}", item) for inner, item in value.items())
        else:
            yield key, value


def _footprint(told: dict[str, Any]) -> str:
    line = f"{told['kwh']:.6g} kWh (PUE {told['pue']:g})"
    if told["carbon_g"] is None:
        return line
    line += f", {told['carbon_g']:.4g} gCO2e ({told['intensity_g_per_kwh']:g} g/kWh"
    return f"{line}: {told['region']}; {told['source']})"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g} s"


def _watts(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} W"


def _when(utc_s: float | None) -> str:
    if utc_s is None:
        return "unknown"
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
