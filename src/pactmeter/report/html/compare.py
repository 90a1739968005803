"""The page of a comparison: of the sources within runs, or of sets of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pactmeter.analysis.gpu_update import Unknown
from pactmeter.analysis.verdict import two_digits
from pactmeter.report.agreement import with_interval
from pactmeter.report.html.forest import Interval, forest
from pactmeter.report.html.markup import Markup, name, paragraph, section, table, text
from pactmeter.report.variants import answer, cells, further

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pactmeter.analysis.agreement.beside import Beside
    from pactmeter.analysis.agreement.lag import Lag
    from pactmeter.analysis.agreement.remainder import Remainder
    from pactmeter.analysis.agreement.result import Agreement, SourcePair
    from pactmeter.analysis.agreement.scores import Scores
    from pactmeter.analysis.variants import Variant, Variants

_FIGURES = {"energy_j": ("Energy", "J"), "duration_s": ("Time", "s"), "mean_w": ("Power", "W")}
_NONE = "None."
_Known = TypeVar("_Known")


def sets_sections(found: Variants, shown: Mapping[str, str]) -> tuple[Markup, ...]:
    """Return the sections of sets of runs compared.

    Args:
        found: The comparison.
        shown: What each file is shown as.
    """
    drawn = [
        Interval(f"{variant.name}: {word}", *(100 * (end - 1) for end in (r.low, r.value, r.high)))
        for variant in found.variants
        for key, (word, _) in _FIGURES.items()
        if (r := variant.figures[key].ratio) is not None
    ]
    methods = {v.figures["energy_j"].difference.method for v in found.variants}
    notes = [*found.notes, f"intervals: 95 %, {'; '.join(sorted(methods))}"]
    files = [
        (name(each), Markup("; ".join(name(shown.get(file, file)) for file in of)))
        for each, of in (("A", found.base), *((v.name, v.files) for v in found.variants))
    ]
    return (
        section(
            "answer",
            "Do they differ?",
            _said(found.first_line, found.synthetic),
            forest("Change against A, 95 % intervals", drawn, "%"),
            *map(_variant, found.variants),
            *map(paragraph, notes),
        ),
        section("runs", "Runs", table("Runs of each set", ("Set", "Runs"), files)),
    )


def _variant(variant: Variant) -> str:
    """Return a variant against the base: the answer, the figures, and what else was asked for."""
    energy = variant.figures["energy_j"]
    rows = [
        (word, *(cell.replace("+/-", "±") for cell in cells(variant.figures[key], unit)))
        for key, (word, unit) in _FIGURES.items()
    ]
    caption = f"{variant.name} against A: mean ± half of its 95 % interval (runs); [95 % intervals]"
    head = ("Figure", "A", variant.name, "Difference", "Ratio", "p", "Verdict")
    told = []
    if energy.t_test is not None:
        told.append(f"p is that of {energy.t_test.method}")
    told += [f"energy: {line}" for line in further(energy)]
    for key, (word, _) in _FIGURES.items():
        if key != "energy_j":
            told += [f"{word.lower()}: left out: {why}" for why in variant.figures[key].left_out]
    if variant.u_ratio_pct is None:
        told.append("how much the sensors' own errors change the ratio is unknown")
    elif variant.u_ratio_pct:
        told.append(f"the sensors' own errors may change it by {variant.u_ratio_pct:.1f} %")
    said = Markup(f"<strong>{text(answer(variant.name, energy))}</strong>")
    return paragraph(said) + table(caption, head, rows, range(1, 6)) + _items(told)


def sources_sections(found: Agreement) -> tuple[Markup, ...]:
    """Return the sections of the sources within runs compared."""
    drawn = [
        Interval(
            f"{p.source} against {p.reference}",
            p.limits_pct.lower.value,
            p.limits_pct.bias.value,
            p.limits_pct.upper.value,
        )
        for p in found.pairs
        if not isinstance(p.limits_pct, Unknown)
    ]
    taken = ", ".join(f"{channel} {1000 * s:.0f} ms" for channel, s in found.lag_s.items())
    agreement = [
        _said(found.first_line, found.synthetic),
        paragraph(f"Delays taken out before: {taken}.") if taken else "",
        forest("Bias of the spans, and limits that hold 95 % of them", drawn, "%"),
        *(map(_pair, found.pairs) if found.pairs else [paragraph(_NONE)]),
    ]
    left = [_remainder(each) for each in found.remainders] or [paragraph(_NONE)]
    refused = [(name(each.what), each.why, each.fix) for each in found.refused]
    listed = table("Not compared", ("What", "Why", "Fix"), refused) if refused else paragraph(_NONE)
    return (
        section("agreement", "Sources of one measurand: a difference is an error", *agreement),
        section("remainder", "Uncovered remainder: what the parts leave is no error", *left),
        section("beside", "What other tools would have said", _beside(found.beside)),
        section("refused", "Not compared", listed),
    )


def _said(first_line: str, synthetic: str | None) -> str:
    return paragraph(first_line, "banner" if synthetic else "")


def _items(told: Iterable[str]) -> str:
    lines = "".join(f"<li>{text(line.replace('+/-', '±'))}</li>\n" for line in told)
    return f"<ul>\n{lines}</ul>\n" if lines else ""


def _pair(pair: SourcePair) -> str:
    rows: list[tuple[str, str]] = []

    def add(what: str, told: _Known | Unknown | None, words: Callable[[_Known], str]) -> None:
        if isinstance(told, Unknown):
            rows.append((what, f"unknown: {told.reason}"))
        elif told is not None:
            rows.append((what, words(told)))

    add("Bias of the total", pair.bias, lambda b: with_interval(b.total_pct, "%"))
    add("Bias of the total, in watts", pair.bias, lambda b: with_interval(b.mean_w, "W"))
    add("Bias of the spans", pair.limits_pct, lambda b: with_interval(b.bias, "%"))
    add("Lower limit of 95 % of the spans", pair.limits_pct, lambda b: with_interval(b.lower, "%"))
    add("Upper limit of 95 % of the spans", pair.limits_pct, lambda b: with_interval(b.upper, "%"))
    add("Gain", pair.line, lambda b: with_interval(b.gain, "", ".4f"))
    add("Offset", pair.line, lambda b: with_interval(b.offset_w, "W"))
    add("Line seen", pair.line, lambda b: "{:.0f} to {:.0f} W".format(*b.range_w))
    add("Errors", pair.scores, _scores)
    add("Lag", pair.lag, _lag)
    stated = [
        f"{channel} ({origin}, U {'unknown' if u_pct is None else f'{u_pct:.1f} %'})"
        for channel, origin, u_pct in zip(
            (pair.reference, pair.source), pair.origins, pair.u_pct, strict=True
        )
    ]
    runs = f"{pair.runs} run{'s' * (pair.runs != 1)}, {pair.spans} spans"
    caption = f"{stated[1]} against {stated[0]}: {runs}"
    return table(caption, ("Figure", "Value (its 95 % interval)"), rows)


def _scores(scores: Scores) -> str:
    r2 = "-" if scores.r2_pct is None else f"{scores.r2_pct / 100:.4f}"
    return f"MAPE {scores.mape_pct:.2f} %, WMAPE {scores.wmape_pct:.2f} %, R2 {r2}"


def _lag(lag: Lag) -> str:
    low, high = (1000 * end for end in lag.lag_s.interval)
    word = "taken out" if lag.applied else "not taken out: others fit as well"
    return f"{1000 * lag.lag_s.value:.0f} ms ({low:.0f} to {high:.0f}), {word}"


def _remainder(found: Remainder) -> str:
    u = "unknown" if found.u_j is None else f"{two_digits(found.u_j):g} J (k=2)"
    share = "" if found.share_pct is None else f", {found.share_pct:.1f} % of {found.whole}"
    what = f"{found.whole} less {' + '.join(found.parts)}"
    told = f"{what}: {found.energy_j:.1f} J ± {u}{share} in {found.covered_s:.0f} s"
    parts: list[str] = [paragraph(told)]
    if found.violated:
        words = "The parts exceed the whole beyond U: one of them is wrong."
        parts.append(paragraph(words, "banner"))
    elif found.violations:
        words = f"In {found.violations} spans the parts exceed the whole beyond U."
        parts.append(paragraph(words, "banner"))
    rows = [
        (
            f"{each.load_w:.1f} W",
            f"{each.remainder_w:.1f} W",
            "unknown" if each.u_w is None else f"{two_digits(each.u_w):g} W",
            "-" if each.share_pct is None else f"{each.share_pct:.1f} %",
            each.spans,
        )
        for each in found.by_load()
    ]
    head = ("Load", "Remainder", "U (k=2)", "Of the load", "Spans")
    return "".join([*parts, table(f"{what}, by load", head, rows, (1, 2, 3, 4))])


def _beside(found: Iterable[Beside]) -> str:
    rows = [
        (
            name(beside.run),
            each.tool,
            each.covers,
            f"{each.energy_j:.1f} J",
            "-" if (share := beside.share_pct(each)) is None else f"{share:.1f} %",
            "-" if beside.reference is None else f"{beside.reference} {beside.reference_j:.1f} J",
            "-" if each.carbon_g is None else f"{each.carbon_g:.4g} gCO2e",
        )
        for beside in found
        for each in beside.estimates
    ]
    head = ("Run", "Tool", "Covers", "Energy", "Of the reference", "Reference", "Carbon")
    return table("Estimates", head, rows, (3, 4, 6)) if rows else paragraph(_NONE)
