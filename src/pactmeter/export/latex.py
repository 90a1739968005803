r"""LaTeX: macros, a table and a sentence for the paper, and the BibTeX entry that it cites.

Needs the packages ``booktabs`` and ``siunitx`` (2 or 3), and runs in any engine: what the fonts of
pdfLaTeX have no letter for becomes a question mark. ``\input`` the file once, or several of them in
groups, as each defines the same macros.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import level_text, two_digits
from pactmeter.export.base import about

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.export.figures import Number

NAME = "latex"
EXTRA = None

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # no font of LaTeX's default encoding has the straight one
    "[": "{[}",  # at the start of a row it would be an option of the row before
    "]": "{]}",
    "*": "{*}",
    "\N{DEGREE SIGN}": r"\textdegree{}",
}
_LONGEST_LABEL = 400
"""A label names what it lacks, and marks are what a reader must know."""
_UNKNOWN = "unknown"


def write(run: RecordedRun, path: Path) -> None:
    """Write the macros, and beside them ``NAME.bib``."""
    told = about(run)
    lines = [
        f"% {NAME} export of pactmeter {told['pactmeter']}; needs booktabs and siunitx",
        *(rf"\providecommand*{{\{name}}}{{}}" for name in _macros(told)),
        *(rf"\renewcommand*{{\{name}}}{{{text}}}" for name, text in _macros(told).items()),
        r"\providecommand{\PactTable}{}",
        r"\renewcommand{\PactTable}{%",
        *_table(told["summary"]["sources"]),
        "}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_suffix(".bib").write_text(_bibtex(told["pactmeter"]), encoding="utf-8")


def escaped(text: str, longest: int = 80) -> str:
    r"""Return a text as LaTeX sets it, in one line and not all of a longer one.

    >>> escaped("50 % of {a_b}")
    '50 \\% of \\{a\\_b\\}'
    """
    words = " ".join(text.split())
    cut = words[:longest]
    # printable ASCII and Latin-1: what every engine has letters for
    known = (c if " " <= c <= "~" or "\xa1" <= c <= "\xff" else "?" for c in cut)
    more = r"\ldots{}" if len(words) > len(cut) else ""
    return "".join(_SPECIAL.get(c, c) for c in known).replace("\xad", "?") + more


def stated(value: float, u: Number) -> tuple[str, str | None]:
    """Return a figure and its uncertainty, both as far as the uncertainty's second digit.

    >>> stated(24031.7, 1201.6), stated(2.34567, 0.0213), stated(12.3456, None)
    (('24000', '1200'), ('2.346', '0.021'), ('12.35', None))
    """
    if u is None:
        places = 3 - math.floor(math.log10(abs(value))) if value else 0
        return _rounded(value, places), None
    if u <= 0:
        return _rounded(value, 3), _rounded(u, 3)
    rounded = two_digits(u)
    places = 1 - math.floor(math.log10(rounded))
    return _rounded(value, places), _rounded(rounded, places)


def _rounded(value: float, places: int) -> str:
    text = f"{round(value, places):.{max(0, places)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _macros(told: dict[str, Any]) -> dict[str, str]:
    """Return the text of each macro."""
    summary, first = told["summary"], told["summary"]["headline"]
    marks = ", ".join(f"{name}: {mark}" for name, mark in summary["marks"].items())
    found = {
        "PactVersion": escaped(told["pactmeter"]),
        "PactFile": escaped(told["file"]),
        "PactHost": escaped(told["host"] or _UNKNOWN),
        "PactDate": escaped((told["started_utc"] or _UNKNOWN)[:10]),
        "PactStatus": escaped(summary["status"]),
        "PactMarks": escaped(marks, _LONGEST_LABEL),
        "PactDuration": _si(_duration(summary["duration_s"]), None, r"\second"),
        "PactEnergy": _UNKNOWN,
        "PactPower": _UNKNOWN,
        "PactSource": "none",
        "PactOrigin": "not measured",
        "PactCoverage": _UNKNOWN,
        "PactVerdict": escaped(level_text(summary["verdict"])),
    }
    if first is not None and first["energy_j"] is not None:
        mean_w = first["mean_w"]
        share = None if not first["energy_j"] or mean_w is None else mean_w / first["energy_j"]
        u_w = None if first["u_j"] is None or share is None else first["u_j"] * share
        found |= {
            "PactEnergy": _si(*stated(first["energy_j"], first["u_j"]), r"\joule"),
            "PactPower": _UNKNOWN if mean_w is None else _si(*stated(mean_w, u_w), r"\watt"),
            "PactSource": escaped(first["label"], _LONGEST_LABEL),
            "PactOrigin": escaped(_origin(first)),
            "PactCoverage": _si(f"{100 * first['coverage']:.1f}", None, r"\percent"),
        }
    found["PactSentence"] = _sentence(summary, first)
    return found


def _sentence(summary: dict[str, Any], first: dict[str, Any] | None) -> str:
    status = "" if summary["status"] == "complete" else r" (\PactStatus)"
    if summary["marks"]:
        status += r" (\PactMarks)"
    if first is None:
        what = "no energy was measured"
    elif first["u_j"] is None:
        what = (
            r"its energy was \PactEnergy{}, with an unknown uncertainty (\PactSource, \PactOrigin)"
        )
    else:
        what = r"its energy was \PactEnergy{} ($k = 2$; \PactSource, \PactOrigin)"
    if first is not None:
        what += r", \PactCoverage{} covered (\PactVerdict)"
    return (
        rf"The run took \PactDuration{{}}{status} and {what};"
        r" recorded with PACT~\PactVersion~\cite{pactmeter}."
    )


def _table(sources: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table; a cell in braces is text in a column of numbers."""
    rows = []
    for source in sources:
        energy, u, mean = _UNKNOWN, _UNKNOWN, _UNKNOWN
        if source["energy_j"] is not None:
            energy, half_width = stated(source["energy_j"], source["u_j"])
            u = half_width or _UNKNOWN
            mean = f"{source['mean_w']:.1f}"
        covered = f"{100 * source['coverage']:.1f}"
        rows.append((energy, u, mean, covered))
    forms = " ".join(f"S[table-format={_form(column)}]" for column in zip(*rows, strict=True))
    # as narrow as a text column of the article class
    yield r"  \begingroup\setlength{\tabcolsep}{3pt}%"
    yield rf"  \begin{{tabular}}{{@{{}}ll{forms or 'rrrr'}@{{}}}}"
    yield r"    \toprule"
    heads = [r"Energy / \si{\joule}", r"$U$ ($k=2$) / \si{\joule}"]
    heads += [r"Mean / \si{\watt}", r"Covered / \si{\percent}"]
    yield rf"    Source & Origin & {' & '.join(f'{{{head}}}' for head in heads)} \\"
    yield r"    \midrule"
    for source, cells in zip(sources, rows, strict=True):
        numbers = [cell if cell != _UNKNOWN else f"{{{cell}}}" for cell in cells]
        texts = [escaped(source["channel"]), escaped(_origin(source))]
        yield rf"    {' & '.join([*texts, *numbers])} \\"
    if not sources:
        yield r"    \multicolumn{6}{l}{no energy was measured} \\"
    yield r"    \bottomrule"
    yield r"  \end{tabular}\endgroup"


def _form(column: tuple[str, ...]) -> str:
    """Return how many digits the numbers of a column have, as siunitx is told it."""
    numbers = [cell.partition(".") for cell in column if cell != _UNKNOWN]
    before = max((len(whole) for whole, _, _ in numbers), default=1)
    behind = max((len(part) for _, _, part in numbers), default=0)
    return f"{before}.{behind}"


def _duration(duration_s: float) -> str:
    return f"{duration_s:.1f}" if duration_s >= 100 else f"{duration_s:.3f}"


def _origin(source: dict[str, Any]) -> str:
    words = [source["origin"], source["synthetic"]]
    return ", ".join(str(word) for word in words if word)


def _si(value: str, half_width: str | None, unit: str) -> str:
    r"""Return a quantity; ``\SI`` is understood by both versions of siunitx."""
    number = value if half_width is None else f"{value} +- {half_width}"
    return rf"\SI[separate-uncertainty=true]{{{number}}}{{{unit}}}"


def _bibtex(version: str) -> str:
    title = "{PACT}: how many joules a training took, where they went, and how sure that is"
    return (
        "@misc{pactmeter,\n"
        "  author = {{The PACT authors}},\n"
        f"  title = {{{title}}},\n"
        f"  note = {{Computer software, version {version}}},\n"
        "}\n"
    )
