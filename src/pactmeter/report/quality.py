"""How good a run is, as plain text: timing rules, uncertainty budgets, an audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import two_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pactmeter.analysis.audit import Item

_WIDEST = 32
_WORDS = {True: "same", False: "DIFFERENT", None: "-"}


def rules_table(regimes: Iterable[dict[str, Any]]) -> str:
    """Return each regime with its demands."""
    lines = []
    for regime in regimes:
        lines.append(f"{regime['regime']}: timing rules {regime['timing']}")
        lines.append(f"  accuracy {regime['accuracy']}")
        rows = [
            ("  yes" if item["met"] else "  no", item["rule"], item["found"])
            for item in regime["items"]
        ]
        lines += aligned(rows)
    return "\n".join(lines or ["rules     none: there is no measured energy to judge"])


def budget_table(budgets: Iterable[dict[str, Any]]) -> str:
    """Return the items of each source's uncertainty, the largest first."""
    lines = []
    for source in budgets:
        if source["u_j"] is None:
            lines.append(f"{source['channel']}: U is not known")
            continue
        lines.append(f"{source['channel']}: U {two_digits(source['u_j']):g} J (k=2), of k=1 items:")
        lines += aligned(
            (f"  {item['name']}", f"{two_digits(item['u_j']):g} J", item["basis"])
            for item in source["items"]
        )
    return "\n".join(lines or ["budget    none: no source was found"])


def audit_table(items: Iterable[Item]) -> str:
    """Return each item of an audit with both figures."""
    rows = [("item", "told", "found", "")]
    rows += [(i.name, _cell(i.told), _cell(i.found), _WORDS[i.same]) for i in items]
    return "\n".join(aligned(rows))


def _cell(value: object) -> str:
    text = "-" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def aligned(
    rows: Iterable[Sequence[str]], justify: Callable[[str, int], str] = str.ljust
) -> list[str]:
    """Return the rows as lines with aligned columns."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(justify, row, widths)).rstrip() for row in cells]
