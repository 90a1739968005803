"""What is real and what is not: rows of different worlds never share a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.report.html.markup import Markup, text

if TYPE_CHECKING:
    from collections.abc import Iterable

_REAL = "real devices and data"


def marks(world: Iterable[str]) -> Markup:
    """Return what must stand beside a figure; a dash: nothing, all is real."""
    return Markup(" ".join(f'<span class="mark">{text(word)}</span>' for word in world) or "-")


def worlds(rows: Iterable[dict[str, Any]]) -> list[tuple[tuple[str, ...], list[dict[str, Any]]]]:
    """Return the rows by world, the real one first: they never share a table."""
    each: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        each.setdefault(tuple(row["world"]), []).append(row)
    return sorted(each.items(), key=lambda item: (len(item[0]), item[0]))


def named(world: tuple[str, ...]) -> str:
    """Return a world in words."""
    return ", ".join(world) or _REAL
