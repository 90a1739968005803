"""Pieces of HTML; every text goes through `text`."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_LONGEST = 80
_LONG = 30
_WIDE = 6
"""A table of more columns is printed smaller."""


class Markup(str):
    """What is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as text of a page; a name of any script keeps to itself (``bdi``).

    >>> text("a <b>"), text(None)
    ('a &lt;b&gt;', '-')
    """
    if isinstance(value, Markup):
        return value
    if value is None or value == "":
        return Markup("-")
    # what is not text in UTF-8 (a file name, say) shall not keep the page from being written
    clean = str(value).encode("utf-8", "backslashreplace").decode()
    return Markup(html.escape(clean))


def name(value: object) -> Markup:
    """Return a name that a user chose: it may be long, or run from right to left.

    What is longer than 80 characters is cut; its title (what pointing at it shows) is all of it.
    What has a title may be broken anywhere.
    """
    told = str(value)
    if isinstance(value, Markup):
        return value
    if len(told) <= _LONG:
        return Markup(f"<bdi>{text(value)}</bdi>")
    more = "…" if len(told) > _LONGEST else ""
    return Markup(f'<bdi title="{text(told)}">{text(told[:_LONGEST])}</bdi>{more}')


def channel(value: str, marked: str = "") -> Markup:
    """Return a channel's name with its mark, which breaks where lines may: after its dots."""
    return Markup(
        f"<bdi>{text(value).replace('.', '.<wbr>')}</bdi>{text(marked) if marked else ''}"
    )


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()
) -> Markup:
    """Return a table whose first cells head their rows.

    Args:
        caption: What it holds.
        head: Heads of the columns.
        rows: Cells, `Markup` or text.
        numbers: Columns that stand on the right.
    """
    told = [tuple(row) for row in rows]
    kinds = ["n" if k in numbers else _kind(row[k] for row in told) for k in range(len(head))]
    marks = [f' class="{kind}"' if kind else "" for kind in kinds]
    heads = "".join(f'<th scope="col"{m}>{text(h)}</th>' for h, m in zip(head, marks, strict=True))
    lines = []
    for first, *rest in told:
        cells = "".join(f"<td{m}>{text(c)}</td>" for c, m in zip(rest, marks[1:], strict=True))
        lines.append(f'<tr><th scope="row"{marks[0]}>{name(first)}</th>{cells}</tr>\n')
    label = text(caption)
    wide = " wide" if len(head) > _WIDE else ""
    return Markup(
        f'<div class="table{wide}" role="region" aria-label="{label}" tabindex="0"><table>'
        f"<caption>{label}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{''.join(lines)}</tbody></table></div>\n"
    )


def _kind(cells: Iterable[object]) -> str:
    """Return the class of a column of text: long ones keep some width on a small screen."""
    lengths = [len(str(cell)) for cell in cells if not isinstance(cell, Markup)]
    return "long" if max(lengths, default=0) > _LONG else ""


def section(ident: str, title: str, *parts: str) -> Markup:
    """Return a section with its heading."""
    return Markup(
        f'<section id="{ident}" aria-labelledby="{ident}-title">\n'
        f'<h2 id="{ident}-title">{text(title)}</h2>\n{"".join(parts)}</section>\n'
    )


def paragraph(value: object, kind: str = "") -> Markup:
    """Return a paragraph, of a class where one is named."""
    mark = f' class="{kind}"' if kind else ""
    return Markup(f"<p{mark}>{text(value)}</p>\n")


def folded(title: str, *parts: str) -> Markup:
    """Return what is shown on request."""
    return Markup(f"<details><summary>{text(title)}</summary>\n{''.join(parts)}</details>\n")


def pairs(rows: Iterable[tuple[str, object]]) -> Markup:
    """Return terms with what is told of each."""
    lines = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>\n" for k, v in rows)
    return Markup(f"<dl>\n{lines}</dl>\n")


def data(ident: str, value: Any) -> Markup:
    """Return plain data for the page's script; it cannot end its element."""
    told = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{ident}">{told}</script>\n')
