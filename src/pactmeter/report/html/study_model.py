"""The power model of a study: how it was fitted, what it is worth, how it does on other trials."""

from __future__ import annotations

from typing import Any

from pactmeter.report.html.markup import (
    Markup,
    name,
    pairs,
    paragraph,
    section,
    table,
)
from pactmeter.report.html.world import marks, named
from pactmeter.report.text import half_width_text

_PRESETS = {
    "nonnegative": "Elastic net",
    "linear": "Least squares",
    "original": "The original's",
}
_TARGETS = {
    "remainder": "DC output less what processors and GPUs tell",
    "psu.dc_output": "DC output of the power supply",
}


def model_section(found: dict[str, Any]) -> Markup:
    """Return what the models are worth, and what they say of trials that they have not seen."""
    told = found["model"]
    if not told["models"]:
        why = [paragraph(f"There is no model: {reason}.") for reason in told["refused"]]
        return section("model", "Power model", *why)
    fits = []
    for preset, model in told["models"].items():
        judged = model["validation"]["workload"]
        errors = judged["model"]
        fits.append(
            (
                _PRESETS.get(preset, preset),
                ", ".join(f["name"] for f in model["formula"]["features"]) or "none",
                len(model["formula"]["pieces"]),
                f"{errors['rmse_w']:.3g} W",
                *(f"{b['rmse_w']:.3g} W" for b in judged["baselines"].values()),
                *(_interval(model, by) for by in ("workload", "family")),
                "yes" if model["beats_baselines"] else "no",
            )
        )
    first = next(iter(told["models"].values()))
    lines = [f"RMSE of {b}" for b in first["validation"]["workload"]["baselines"]]
    intervals = [f"± a window of a new {by} (95 %)" for by in ("workload", "family")]
    head = ("Fit", "Takes", "Pieces", "RMSE", *lines, *intervals, "Better than both")
    stress = {run["workload"] for run in first["runs"]}
    count = sum(run["windows"] for run in first["runs"])
    facts = [
        ("What is modelled", _TARGETS.get(first["target"], first["target"])),
        ("Fitted on", f"{len(first['runs'])} trials of {len(stress)} stress workloads"),
        ("Windows", f"{count} of {told['window_s']:.3g} s"),
        ("Marks", marks([f"{first['synthetic']} devices"] if first["synthetic"] else [])),
    ]
    parts: list[str] = [
        pairs(facts),
        table("One stress workload left out at a time", head, fits, range(2, 6 + len(lines))),
        *(
            paragraph(f"{_PRESETS.get(preset, preset)}: {model['verdict']}.", "soft")
            for preset, model in told["models"].items()
        ),
        _tests(found),
        *(paragraph(f"{reason}.", "soft") for reason in told["refused"]),
    ]
    return section("model", "Power model: fitted on stress, tested on the rest", *parts)


def _interval(model: dict[str, Any], by: str) -> str:
    """Return the half-width of an interval in words."""
    judged = model["validation"][by]
    if judged is None:
        return "-"
    return half_width_text(judged["interval"]["window_w"], _range_w(model))


def _range_w(model: dict[str, Any]) -> float:
    return float(model["validation"]["workload"]["model"]["range_w"])


def _tests(found: dict[str, Any]) -> str:
    told = found["model"]["tests"]
    world = {stem: row["world"] for row in found["rows"] for stem in row["trials"]}
    by: dict[tuple[str, tuple[str, ...]], dict[str, list[dict[str, Any]]]] = {}
    for preset, tests in told.items():
        for test in tests:
            key = (test["workload"], tuple(world.get(test["trial"], ())))
            by.setdefault(key, {}).setdefault(preset, []).append(test)
    if not by:
        return paragraph("There is no other trial that it could be tested on.")
    rows = []
    for (workload, mark), each in by.items():
        judge, first = next(iter(each.items()))
        measured_j = sum(t["measured_j"] for t in first) / len(first)
        cells: list[object] = [name(workload), first[0]["family"], len(first)]
        cells.append(f"{measured_j:.4g} J")
        cells += [_off(each.get(preset, [])) for preset in told]
        model = found["model"]["models"][judge]
        inside = "-"  # all is inside an interval that is wider than the range
        if model["interval"]["window_w"] <= _range_w(model):
            inside = f"{sum(t['inside_pct'] for t in first) / len(first):.0f} %"
        outside = sorted({n for t in first for n in t["outside"]})
        cells += [inside, ", ".join(outside), marks(mark)]
        rows.append((mark, cells))
    head = [
        "Workload",
        "Family",
        "Trials",
        "Measured",
        *(_PRESETS.get(preset, preset) for preset in told),
    ]
    head += ["Windows inside", "Beyond what was seen", "Marks"]
    parts = []
    for mark in sorted({mark for mark, _ in rows}, key=lambda mark: (len(mark), mark)):
        mine = [cells for each, cells in rows if each == mark]
        caption = f"Energy as modelled, against measured: {named(mark)}"
        parts.append(table(caption, head, mine, range(2, 5 + len(told))))
    return "".join(parts)


def _off(tests: list[dict[str, Any]]) -> str:
    if not tests:
        return "-"
    off = [test["off_pct"] for test in tests]
    low, high = min(off), max(off)
    return f"{low:+.2f} %" if low == high else f"{low:+.2f} to {high:+.2f} %"
