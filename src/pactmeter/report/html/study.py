"""The page of a study: workloads over their trials, what is not covered, the power model."""

from __future__ import annotations

import math
from typing import Any

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.html.forest import Interval, forest
from pactmeter.report.html.markup import (
    Markup,
    folded,
    name,
    pairs,
    paragraph,
    section,
    table,
    text,
)
from pactmeter.report.html.study_model import model_section
from pactmeter.report.html.world import marks, named, worlds

_WIDEST = 1.25
"""A drawn interval ends at so many times the largest mean: those of two trials are endless."""
_ONE = {"bogo_ops": "bogo-op", "env_steps": "environment step", "work": "unit of work"}


def one(unit: str) -> str:
    """Return the name of one unit of work.

    >>> one("steps"), one("bogo_ops")
    ('step', 'bogo-op')
    """
    return _ONE.get(unit, unit.removesuffix("s"))


def study_sections(found: dict[str, Any]) -> tuple[Markup, ...]:
    """Return the sections of a study's page.

    Args:
        found: What ``pactmeter study report --json`` tells.
    """
    return (
        _answer(found),
        _energies(found),
        _work(found),
        _remainders(found),
        model_section(found),
        _idle(found),
        _trials(found),
        _stats(found),
    )


def mean_text(figure: dict[str, Any] | None, unit: str) -> str:
    """Return a mean with half of its 95 % interval, as far as that one's second digit.

    >>> mean_text({"value": 122.158, "low": 111.19, "high": 133.13}, "J")
    '122 ± 11 J'
    >>> mean_text({"value": 0.00527, "low": None, "high": None}, "J")
    '0.00527 J'
    """
    if figure is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.4g} {unit}"
    return pair_text(figure["value"], (figure["high"] - figure["low"]) / 2, unit)


def pair_text(value: float, error: float, unit: str) -> str:
    """Return a figure with what it may be off by, as far as that one's second digit."""
    half = two_digits(error)
    if half == 0:
        return f"{value:.6g} ± 0 {unit}"
    places = 1 - math.floor(math.log10(half))
    shown = max(0, places)
    return f"{round(value, places):.{shown}f} ± {half:.{shown}f} {unit}"


def _answer(found: dict[str, Any]) -> Markup:
    done = found["total"] - len(found["failed"]) - len(found["left"])
    parts: list[str] = []
    synthetic = sorted({m for row in found["rows"] for m in row["world"] if "devices" in m})
    if synthetic:
        parts.append(paragraph(f"Measured on {' and '.join(synthetic)}, no hardware.", "banner"))
    made_up = sorted({m for row in found["rows"] for m in row["world"] if "devices" not in m})
    if made_up:
        words = f"Some workloads used {' and '.join(made_up)}: compare them with none that did not."
        parts.append(paragraph(words, "banner"))
    if found["failed"]:
        count = len(found["failed"])
        parts.append(paragraph(f"{count} trial{'s' * (count != 1)} failed: see Trials.", "banner"))
    noise = found["noise_pct"]
    floor = "unknown"
    if noise is not None:
        floor = f"{two_digits(noise):g} %: {found['control']}, first and last in each block"
    channels = sorted({row["channel"] for row in found["rows"] if row["channel"]})
    facts: list[tuple[str, object]] = [
        ("Study", name(found["name"])),
        ("Profile", found["profile"]),
        ("Machine", name(found["host"])),
        ("Trials done", f"{done} of {found['total']}"),
        ("Failed", len(found["failed"])),
        ("Not run", len(found["left"])),
        ("Energy of", ", ".join(channels) or _no_source(found)),
        ("Noise floor", floor),
        ("Order drawn by", f"seed {found['seed']}"),
    ]
    parts += [pairs(facts), *(paragraph(note, "soft") for note in found["notes"])]
    return section("answer", "What was run", *parts)


def _no_source(found: dict[str, Any]) -> str:
    return "nothing that counts" if found["left_out"] else "nothing: no source was measured"


def _energies(found: dict[str, Any]) -> Markup:
    parts: list[str] = []
    for world, rows in worlds(found["rows"]):
        parts.append(_forest(world, rows))
        cells = [
            (
                name(row["workload"]),
                len(row["trials"]),
                mean_text(row["energy"], "J"),
                "-" if row["energy"] is None else _u(row["u_j"], "J"),
                mean_text(row["time"], "s"),
                mean_text(row["power"], "W"),
                mean_text(row["above_idle"], "J"),
                marks(row["world"]),
            )
            for row in rows
        ]
        head = ["Workload", "Trials", "Energy", "U of the sensor (k=2)", "Time", "Power"]
        head += ["Above idle", "Marks"]
        parts.append(table(f"Energy of a trial: {named(world)}", head, cells, range(1, 7)))
        parts += [paragraph(line) for line in _sources(rows)]
    words = (
        "Means over trials, ± half of a 95 % interval (Student's t): how trials scatter. What the"
        " sensor itself may be wrong by stands beside it and is in no interval."
    )
    return section("energy", "Energy", *parts, paragraph(words, "soft"))


def _sources(rows: list[dict[str, Any]]) -> list[str]:
    """Return what the energies of a table are those of."""
    by: dict[str, list[str]] = {}
    for row in rows:
        what = f"{row['label']}, {row['origin']}" if row["label"] else "no source was measured"
        by.setdefault(what, []).append(row["workload"])
    if len(by) == 1:
        return [f"Energy of all: {next(iter(by))}."]
    return [f"Energy of {', '.join(names)}: {what}." for what, names in by.items()]


def _forest(world: tuple[str, ...], rows: list[dict[str, Any]]) -> Markup:
    known = [row for row in rows if row["energy"] is not None]
    most = max((row["energy"]["value"] for row in known), default=0.0)
    drawn, cut = [], False
    for row in known:
        value, low, high = (row["energy"][end] for end in ("value", "low", "high"))
        ends = [value if low is None else low, value if high is None else high]
        kept = [max(0.0, ends[0]), min(_WIDEST * most, ends[1])]
        cut = cut or kept != ends
        drawn.append(Interval(row["workload"], kept[0], value, kept[1]))
    told = f"Energy of a trial, 95 % intervals: {named(world)}"
    if cut:
        told += f"; drawn from 0 to {_WIDEST * most:.4g} J, wider intervals are cut off"
    return forest(told, drawn, "J")


def _work(found: dict[str, Any]) -> Markup:
    parts: list[str] = []
    for world, rows in worlds(row for row in found["rows"] if row["amounts"]):
        units = sorted({unit for row in rows for unit in row["amounts"]})
        head: list[str] = ["Workload", *(f"{unit} a trial" for unit in units)]
        head += [f"J / {one(unit)}" for unit in units] + ["Marks"]
        cells = []
        for row in rows:
            counts = [row["amounts"].get(unit) for unit in units]
            each = [mean_text(row["per"].get(unit), "J") for unit in units]
            numbers = ["-" if count is None else f"{count:.6g}" for count in counts]
            cells.append((name(row["workload"]), *numbers, *each, marks(row["world"])))
        caption = f"Energy of a unit of work: {named(world)}"
        parts.append(table(caption, head, cells, range(1, len(head) - 1)))
    none = paragraph("No workload said what work it has done.")
    return section("work", "Energy per unit of work", *(parts or [none]))


def _remainders(found: dict[str, Any]) -> Markup:
    parts: list[str] = []
    for world, rows in worlds(row for row in found["rows"] if row["left"]):
        cells = [
            (
                name(row["workload"]),
                f"{left['whole']} less {' + '.join(left['parts'])}",
                _left(left),
                f"{left['mean_w']:.1f} W",
                "-" if left["share_pct"] is None else f"{left['share_pct']:.1f} %",
                _violated(left["violated"]),
                marks(row["world"]),
            )
            for row in rows
            for left in row["left"]
        ]
        head = ["Workload", "What is left", "Energy, U (k=2)", "Power", "Of the whole"]
        head += ["Parts above the whole", "Marks"]
        parts.append(table(f"Uncovered remainder: {named(world)}", head, cells, range(2, 5)))
    whys: dict[str, list[str]] = {}
    for row in found["rows"]:
        if row["left_why"]:
            whys.setdefault(row["left_why"], []).append(row["workload"])
    parts += [paragraph(f"Unknown for {', '.join(who)}: {why}.") for why, who in whys.items()]
    words = (
        "What the power supply gives beyond processors and GPUs is no error of either: memory,"
        " board, disks, fans and converters draw it. That of a mean trial, over the time in which"
        " all of them have readings."
    )
    return section("remainder", "Uncovered remainder", *parts, paragraph(words, "soft"))


def _left(left: dict[str, Any]) -> str:
    if left["u_j"] is None:
        return f"{left['energy_j']:.4g} J ± unknown"
    return pair_text(left["energy_j"], left["u_j"], "J")


def _violated(violated: bool | None) -> Markup:
    if violated is None:
        return text("unknown")
    return Markup('<span class="fail">yes</span>') if violated else text("no")


def _idle(found: dict[str, Any]) -> Markup:
    rows = [
        (
            name(rest["file"]),
            rest["channel"],
            "-" if rest["mean_w"] is None else f"{rest['mean_w']:.2f} W",
            _u(rest["u_w"], "W"),
            "-" if rest["duration_s"] is None else f"{rest['duration_s']:.0f} s",
            "-" if rest["drift_pct"] is None else f"{rest['drift_pct']:+.2f} %",
            "; ".join(rest["notes"]),
            marks([f"{rest['synthetic']} devices"] if rest["synthetic"] else []),
        )
        for rest in found["rests"]
    ]
    if not rows:
        return section("idle", "The machine at rest", paragraph("Idle power: not measured."))
    head = ("Baseline", "Source", "Power", "U (k=2)", "Over", "Drift", "Notes", "Marks")
    told = table("The machine at rest, before the trials and after them", head, rows, range(2, 6))
    return section("idle", "The machine at rest", told)


def _trials(found: dict[str, Any]) -> Markup:
    parts: list[str] = []
    for key, title in (("failed", "Failed"), ("left_out", "Done, but without a figure")):
        if found[key]:
            rows = [(name(stem), why) for stem, why in found[key]]
            parts.append(table(title, ("Trial", "Why"), rows))
    if found["left"]:
        parts.append(paragraph(f"Not run: {', '.join(found['left'])}."))
    if not parts:
        parts = [paragraph("Every trial that was planned is done and counts.")]
    return section("trials", "Trials", *parts)


def _stats(found: dict[str, Any]) -> Markup:
    """Return the original's table; its trials keep their marks."""
    told = found["stats"]
    by = worlds({**row, "world": told["trials"][row["TestRun"]]["marks"]} for row in told["rows"])
    parts: list[str] = []
    for world, rows in by:
        columns = [key for key in rows[0] if key != "world"]
        cells = [
            (name(row[columns[0]]), *(_number(row[c]) for c in columns[1:]), marks(world))
            for row in rows
        ]
        head = (*columns, "Marks")
        parts.append(table(f"EnergyStats: {named(world)}", head, cells, range(1, len(columns))))
    parts += [paragraph(note, "soft") for note in told["notes"]]
    return section("stats", "The original's table", folded("EnergyStats.csv", *parts))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _u(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{two_digits(value):g} {unit}"
