"""The page of a comparison: of the sources within runs, or of sets of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.html.forest import Interval, forest
from pactmeter.report.html.markup import name, paragraph, section, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.report.html.markup import Markup

_FIGURES = {"energy_j": ("Energy", "J"), "duration_s": ("Time", "s"), "mean_w": ("Power", "W")}
_NONE = "None."


def sets_sections(first_line: str, found: dict[str, Any]) -> tuple[Markup, ...]:
    """Return the sections of sets of runs compared.

    Args:
        first_line: What must be said before any figure.
        found: What ``pactmeter compare --vs --json`` tells.
    """
    drawn, tables, left_out = [], [], []
    for variant in found["variants"]:
        rows = []
        for key, (word, unit) in _FIGURES.items():
            figure = variant["figures"][key]
            ratio, p_value = figure["ratio"], figure["p_value"]
            rows.append(
                (
                    word,
                    _mean(figure["base"], unit),
                    _mean(figure["new"], unit),
                    _ends(figure["difference"], unit),
                    "-" if ratio is None else _ends(ratio, ""),
                    "-" if p_value is None else f"{p_value:.3g}",
                    figure["verdict"],
                )
            )
            left_out += [f"{variant['name']}, {word}: {why}" for why in figure["left_out"]]
            if ratio is not None:
                ends = [100 * (ratio[end] - 1) for end in ("low", "value", "high")]
                drawn.append(Interval(f"{variant['name']}: {word}", *ends))
        head = ("Figure", "A", variant["name"], "Difference", "Ratio", "p", "Verdict")
        tables.append(table(f"{variant['name']} against A", head, rows, range(1, 6)))
        told = variant["u_ratio_pct"]
        if told is None:
            words = "How much the sensors' own errors change the ratio is unknown."
            tables.append(paragraph(words))
        elif told:
            tables.append(paragraph(f"The sensors' own errors may change it by {told:.1f} %."))
    notes = "".join(paragraph(note) for note in [*found["notes"], *left_out])
    files = [("A", "; ".join(found["base"]))]
    files += [(v["name"], "; ".join(v["files"])) for v in found["variants"]]
    parts = [_said(first_line, found), forest("Change against A, 95 % intervals", drawn, "%")]
    return (
        section("answer", "Do they differ?", *parts, *tables, notes),
        section("runs", "Runs", table("Runs of each set", ("Set", "Runs"), files)),
    )


def sources_sections(first_line: str, found: dict[str, Any]) -> tuple[Markup, ...]:
    """Return the sections of the sources within runs compared.

    Args:
        first_line: What must be said before any figure.
        found: What ``pactmeter compare --json`` tells.
    """
    drawn = [
        Interval(
            f"{p['source']} against {p['reference']}",
            p["limits_pct"]["lower"]["value"],
            p["limits_pct"]["bias"]["value"],
            p["limits_pct"]["upper"]["value"],
        )
        for p in found["pairs"]
        if "reason" not in p["limits_pct"]
    ]
    agreement: list[str] = [_said(first_line, found)]
    agreement.append(forest("Bias, and limits that hold 95 % of the spans", drawn, "%"))
    agreement += [_pair(pair) for pair in found["pairs"]] or [paragraph(_NONE)]
    left = [_remainder(remainder) for remainder in found["remainders"]] or [paragraph(_NONE)]
    rows = [
        (
            name(each["run"]),
            estimate["tool"],
            estimate["covers"],
            f"{estimate['energy_j']:.1f} J",
            "-" if (of := estimate["of_reference_pct"]) is None else f"{of:.1f} %",
        )
        for each in found["beside"]
        for estimate in each["estimates"]
    ]
    head = ("Run", "Tool", "Covers", "Energy", "Of the reference")
    beside = table("Estimates", head, rows, (3, 4)) if rows else paragraph(_NONE)
    refused = [(each["what"], each["why"], each["fix"]) for each in found["refused"]]
    return (
        section("agreement", "Sources of one measurand: a difference is an error", *agreement),
        section("remainder", "Uncovered remainder: what the parts leave is no error", *left),
        section("beside", "What other tools would have said", beside),
        section("refused", "Not compared", table("Not compared", ("What", "Why", "Fix"), refused)),
        section("runs", "Runs", table("Runs", ("Run",), [(name(run),) for run in found["runs"]])),
    )


def _said(first_line: str, found: dict[str, Any]) -> str:
    kind = "banner" if found["synthetic"] else ""
    return paragraph(first_line, kind)


def _mean(summary: dict[str, Any], unit: str) -> str:
    mean = summary["mean"]
    half = two_digits((mean["high"] - mean["low"]) / 2)
    return f"{mean['value']:.5g} {unit} ± {half:g} (n={mean['n'][0]})"


def _ends(estimate: dict[str, Any], unit: str) -> str:
    told = f"{estimate['value']:.4g} {unit}".strip()
    return f"{told} ({estimate['low']:.4g} to {estimate['high']:.4g})"


def _estimate(told: dict[str, Any], unit: str) -> str:
    low, high = told["interval"]
    return f"{told['value']:+.4g} {unit} ({low:+.4g} to {high:+.4g})".replace("  ", " ")


def _pair(pair: dict[str, Any]) -> Markup:
    rows: list[tuple[str, str]] = []

    def add(what: str, told: dict[str, Any] | None, words: Callable[[dict[str, Any]], str]) -> None:
        if told is not None:
            reason = told.get("reason")
            rows.append((what, words(told) if reason is None else f"unknown: {reason}"))

    add("Bias, of all", pair["bias"], lambda b: _estimate(b["total_pct"], "%"))
    add("Bias, in watts", pair["bias"], lambda b: _estimate(b["mean_w"], "W"))
    add("Lower limit", pair["limits_pct"], lambda b: _estimate(b["lower"], "%"))
    add("Upper limit", pair["limits_pct"], lambda b: _estimate(b["upper"], "%"))
    add("Gain", pair["line"], lambda b: _estimate(b["gain"], ""))
    add("Offset", pair["line"], lambda b: _estimate(b["offset_w"], "W"))
    add("MAPE", pair["scores"], lambda b: f"{b['mape_pct']:.2f} %")
    add("WMAPE", pair["scores"], lambda b: f"{b['wmape_pct']:.2f} %")
    add("Lag", pair["lag"], lambda b: _estimate(b["lag_s"], "s"))
    what = f"{pair['source']} ({pair['origins'][1]}) against {pair['reference']}"
    caption = f"{what} ({pair['origins'][0]}): {pair['runs']} runs, {pair['spans']} spans"
    return table(caption, ("Figure", "Value (95 % interval)"), rows)


def _remainder(found: dict[str, Any]) -> str:
    u = "unknown" if found["u_j"] is None else f"{two_digits(found['u_j']):g} J (k=2)"
    what = f"{found['whole']} less {' + '.join(found['parts'])}"
    told = f"{what}: {found['energy_j']:.1f} J ± {u} in {found['covered_s']:.0f} s"
    parts: list[str] = [paragraph(told)]
    if found["violated"]:
        words = "The parts exceed the whole beyond U: one of them is wrong."
        parts.append(paragraph(words, "banner"))
    rows = [
        (
            f"{each['load_w']:.1f} W",
            f"{each['remainder_w']:.1f} W",
            "unknown" if each["u_w"] is None else f"{two_digits(each['u_w']):g} W",
            each["spans"],
        )
        for each in found["by_load"]
    ]
    head = ("Load", "Remainder", "U (k=2)", "Spans")
    return "".join([*parts, table(f"{what}, by load", head, rows, (1, 2, 3))])
