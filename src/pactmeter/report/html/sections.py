"""The sections of a run's page: what a summary and a manifest say, as tables and lists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import two_digits
from pactmeter.model.channel import Kind, mark
from pactmeter.report.html.files import apart
from pactmeter.report.html.markup import (
    Markup,
    channel,
    folded,
    name,
    pairs,
    paragraph,
    section,
    table,
    text,
)
from pactmeter.report.html.top import energy, origin, watts
from pactmeter.report.text import excluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.report.html.files import RawFile

_COUNTS = ("Event", "Count", "Scope", "Counted", "Status")
_MOST_ROWS = 200
_STRETCHES = 40
"""Rows of the power table for people without scripts."""


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
            folded("Not checked", table("Not checked", ("Check", "Why", "What would tell"), todo))
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
        parts += [paragraph(told), folded("Timing rules", table("Timing rules", head, rules))]
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
                channel(s["channel"]),
                s["label"],
                s["domain"],
                origin(s),
                energy(s),
                watts(s["mean_w"]),
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


def budget(summary: dict[str, Any]) -> Markup:
    """Return what each uncertainty is made of."""
    figures = [*summary["sources"], summary["headline"], summary.get("calibrated")]
    marks = {s["channel"]: mark(s["origin"], s["synthetic"]) for s in figures if s}
    parts = []
    for source in summary["budget"]:
        what = f"{source['channel']}{marks.get(source['channel'], '')}"
        if source["u_j"] is None:
            parts.append(paragraph(f"{what}: U is not known."))
            continue
        rows = [
            (i["name"], i["type"], f"{two_digits(i['u_j']):g} J", i["basis"])
            for i in source["items"]
        ]
        caption = f"{what}: U {two_digits(source['u_j']):g} J (k=2)"
        parts.append(table(caption, ("Item", "Type", "u (k=1)", "Where it is from"), rows, (2,)))
    told = parts or [paragraph("There is no figure, so there is no uncertainty.")]
    return section("budget", "Uncertainty budget", *told)


def regions(run: RecordedRun, summary: dict[str, Any], problem: str | None) -> Markup:
    """Return energy and counts of each region, and of the windows that were asked for.

    Args:
        run: The run.
        summary: What is told of it.
        problem: What must be known of the file of the regions.
    """
    marks = {c.name: mark(c.origin, c.synthetic) for c in run.channels}
    tables = {
        "Energy and counts": summary.get("regions"),
        "One by one": summary.get("regions_each"),
        "Windows": summary.get("windows"),
    }
    parts = [
        part for title, found in tables.items() if found for part in _regions(title, found, marks)
    ]
    parts = parts or [paragraph("None was marked.")]
    if problem:
        parts.insert(0, paragraph(problem, "banner"))
    return section("regions", "Regions", *parts)


def _regions(title: str, found: list[dict[str, Any]], marks: dict[str, str]) -> list[str]:
    channels, events = list(found[0]["energy"]), list(found[0]["counters"])
    refused: dict[str, list[str]] = {}
    rows = []
    for region in found[:_MOST_ROWS]:
        index = "" if region.get("index") is None else f" {region['index']}"
        cells: list[object] = [name(f"{region['name']}{index}"), region["count"]]
        cells.append(_narrow(f"{region['duration_s']:.3f} s"))
        for source in channels:
            told = region["energy"][source]
            if "refused" in told:
                what = f"{name(region['name'] + index)}, {text(source)}"
                refused.setdefault(told["refused"], []).append(what)
            cells.append("-" if "refused" in told else _narrow(energy(told)))
        cells += ["-" if region["counters"][e] is None else region["counters"][e] for e in events]
        rows.append(cells)
    heads = [channel(source, marks.get(source, "")) for source in channels]
    head = ["Region", "Count", "Time", *heads, *map(channel, events)]
    parts: list[str] = [table(title, head, rows, range(1, len(head)))]
    if len(found) > _MOST_ROWS:
        parts.append(paragraph(f"{len(found) - _MOST_ROWS} more are in report --json."))
    parts += [
        paragraph(Markup(f"No figure for {'; '.join(whats)}: {text(why)}."))
        for why, whats in refused.items()
    ]
    return parts


def _narrow(told: str) -> str:
    """Return an energy that breaks between figure and uncertainty, never within one of them."""
    return told.replace(" ", "\u00a0").replace("\u00a0±", " ±").replace("\u00a0(", " (")


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
        for source in shown:
            column = run.columns[source.columns[0]]
            pairs_ = [(w, run.windows_s[k]) for k in part if (w := column[k]) is not None]
            over_s = math.fsum(s for _, s in pairs_)
            mean_w = math.fsum(w * s for w, s in pairs_) / over_s if over_s > 0 else None
            cells.append(watts(mean_w))
        rows.append(cells)
    head = ["Time", *(channel(c.name, mark(c.origin, c.synthetic)) for c in shown)]
    caption = "Mean power over time; - is a gap"
    return folded("Power as a table", table(caption, head, rows, range(1, len(head))))


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
            (
                name(g.get("device")),
                _seconds(g.get("start_s")),
                _seconds(g.get("end_s")),
                g.get("reason"),
            )
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
    host = [(key, name(value)) for key, value in _flat(manifest.get("host") or {})]
    parts: list[str] = [pairs(host)]
    rows = [
        (
            channel(c.name),
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


def files(told: list[RawFile], *, is_folded: bool = False) -> Markup:
    """Return the raw files with size and SHA-256, as they were when the page was made."""
    shown = apart(each.path for each in told)
    rows = [
        (name(shown[each.path]), f"{each.size:,}", Markup(f"<code>{text(each.sha256)}</code>"))
        for each in told
    ]
    listed = table("Raw files", ("File", "Bytes", "SHA-256"), rows, (1,))
    if is_folded:
        listed = folded(f"{len(rows)} files", listed)
    return section("files", "Raw files", listed, paragraph("sha256sum tells the same.", "soft"))


def _flat(told: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in told.items():
        if isinstance(value, dict):
            yield from ((f"{key}: {inner}", item) for inner, item in value.items())
        else:
            yield key, value


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g} s"
