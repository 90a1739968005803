"""A comparison of two commands as plain text: the answer in a line, then a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.quality import aligned
from pactmeter.report.screen import INDENT, Screen, Style
from pactmeter.study.ab import orders
from pactmeter.study.ab_result import ENERGY, PER_WORK, POWER, TIME
from pactmeter.study.ab_stats import MOST_PAIRS

if TYPE_CHECKING:
    from pactmeter.study.ab_result import Result, Source
    from pactmeter.study.ab_stats import Paired

_ROWS = {ENERGY: "energy", TIME: "time", POWER: "power", PER_WORK: "energy per work"}
_MOST_ORDERS = 12
_SAME_WORK = 0.001


def render(found: Result, screen: Screen | None = None) -> str:
    """Return all there is to say, the answer first, for a screen (none: as on a pipe)."""
    screen = screen or Screen()
    rows = [["", "A", "B", "B / A", "95 % interval", "p", "pairs"]]
    rows += [
        [name, *_cells(found.figures[figure])]
        for figure, name in _ROWS.items()
        if figure in found.figures
    ]
    lines = [*screen.lines(answer(found), Style.BOLD), "", *aligned(rows), ""]
    about = [*_source(found), ("pairs", _pairs(found))]
    about += [("note", text) for text in found.notes]
    about.append(("files", f"{found.folder}: ab.json, and each run with what its command said"))
    for word, text in about:
        lines += screen.lines(f"{word:<{INDENT}}{text}")
    return "\n".join(lines)


def answer(found: Result) -> str:
    """Return the answer in one line."""
    main, time = found.main, found.figures[TIME]
    if main is time:
        return f"{_time_alone(time)}; {_noise(found)}"
    used = f"{_energy(main, found.margin_pct)}{_per_work(found)}"
    return f"{used}, {_speed(time)}; {_noise(found)}"


def _energy(found: Paired, margin_pct: float | None) -> str:
    if found.p_value is None:
        return f"energy: {_untested(found)}"
    same = f"the same within {margin_pct:g} %" if found.same and margin_pct else ""
    if not found.differ:
        said = f"A and B use {same}" if same else "no difference in energy is shown"
        return f"{said} ({_interval(found)})"
    word = "less" if found.value < 1 else "more"
    size = _digits(abs(found.change_pct), found)
    said = f"B uses {size} % {word} ({_interval(found)})"
    return f"{said}, which is {same}" if same else said


def _per_work(found: Result) -> str:
    """Return what a unit of work takes where A and B do not do the same amount of it."""
    per = found.figures.get(PER_WORK)
    if per is None or abs(per.value / found.main.value - 1) < _SAME_WORK:
        return ""
    unit = per.unit.removeprefix("J/")
    if per.p_value is None:
        return f", per {unit}: {_untested(per)}"
    if not per.differ:
        return f", per {unit} no difference is shown ({_interval(per)})"
    word = "less" if per.value < 1 else "more"
    return f", per {unit} {_digits(abs(per.change_pct), per)} % {word} ({_interval(per)})"


def _untested(found: Paired) -> str:
    return f"B / A is {found.value:.4g} in every pair, and without scatter nothing can be tested"


def _speed(found: Paired) -> str:
    if found.p_value is None:
        return "in the same time" if found.value == 1 else f"time: {_untested(found)}"
    if not found.differ:
        worst_pct = 100 * max(1 - found.low, found.high - 1)
        return f"as fast within {worst_pct:.2g} %"
    word = "faster" if found.value < 1 else "slower"
    return f"{_digits(abs(found.change_pct), found)} % {word}"


def _time_alone(found: Paired) -> str:
    if found.p_value is None:
        return f"time: {_untested(found)}; no energy to compare"
    if not found.differ:
        return f"no difference in time is shown ({_interval(found)}); no energy to compare"
    return f"B is {_speed(found)} ({_interval(found)}); no energy to compare"


def _interval(found: Paired) -> str:
    """Return the interval as sizes where all of it has one sign, else as changes with theirs."""
    low, high = 100 * (found.low - 1), 100 * (found.high - 1)
    if not found.differ:
        return f"95 % interval {_digits(low, found):+} to {_digits(high, found):+} %"
    ends = sorted((abs(low), abs(high)))
    return f"95 % interval {_digits(ends[0], found)} to {_digits(ends[1], found)}"


def _digits(value_pct: float, found: Paired) -> float:
    """Round to what the interval's width leaves of it."""
    return round(value_pct, 1 if found.half_pct >= 0.2 else 2)


def _noise(found: Result) -> str:
    wanted, more = found.resolve_pct, found.pairs_needed
    if found.main.p_value is None:
        return "make the runs longer"
    if found.main.half_pct <= wanted:
        return f"that resolves {found.main.half_pct:.2g} %"
    if more is None:
        if (found.main.left_pct or 0.0) >= wanted:
            left = f"the sensor's own errors leave {found.main.left_pct:.2g} %"
            return f"no number of pairs would resolve {wanted:g} %: {left}"
        return f"more than {MOST_PAIRS} pairs would be needed to resolve {wanted:g} %"
    more = max(1, more - found.main.n)
    pairs = "1 more pair" if more == 1 else f"{more} more pairs"
    return f"at this noise {pairs} would resolve {wanted:g} %"


def _cells(found: Paired) -> list[str]:
    decimals = 4 if found.half_pct >= 0.02 else 5
    return [
        f"{found.a:.5g} {found.unit}",
        f"{found.b:.5g} {found.unit}",
        f"{found.value:.{decimals}f}",
        f"{found.low:.{decimals}f} to {found.high:.{decimals}f}",
        "-" if found.p_value is None else f"{found.p_value:.2g}",
        str(found.n),
    ]


def _source(found: Result) -> list[tuple[str, str]]:
    source, left_pct = found.source, found.main.left_pct
    if source is None:
        return []
    marks = f"  [{source.synthetic} devices]" if source.synthetic else ""
    said = [("source", f"{source.channel} ({source.label}), {source.origin}{marks}")]
    own = _own(source)
    if left_pct is None:
        said.append(("sensor", f"{own}; what is left of it in B / A is unknown"))
    else:
        left = f"{two_digits(left_pct):g} %" if left_pct >= 0.001 else "next to nothing"
        text = f"{own} and cancels in B / A; {left} (k=2) is left, and is in the intervals"
        said.append(("sensor", text))
    return said


def _own(source: Source) -> str:
    if source.u_pct is None:
        return "its own error is unknown, the same in A and B"
    return f"its own error ({two_digits(source.u_pct):g} % of a run, k=2) is the same in A and B"


def _pairs(found: Result) -> str:
    order = orders(found.runs, found.seed)[: found.pairs]
    shown = " ".join(order[:_MOST_ORDERS]) + (" ..." if len(order) > _MOST_ORDERS else "")
    of = f"{found.pairs} of at most {found.runs}" if found.until_pct else f"{found.runs}"
    return f"{of}, in this order: {shown} (seed {found.seed})"
